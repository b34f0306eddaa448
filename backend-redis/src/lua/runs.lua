-- Starting runs.

-- Takes the arguments of a start.
local function take_start()
  local start = {}
  for _, field in ipairs({ 'id', 'fixed', 'route', 'same', 'parent', 'root', 'first_turn' }) do
    start[field] = take()
  end
  return start
end

-- Inserts a run whose id is free.
local function insert(start, owner)
  local id, number = start.id, next_number()
  local row = {
    route = start.route, status = 'Pending', owner = '', epoch = '0', arrivals = '0', read = '0', wake = now, lost = '0',
    reason = '', build = '', segment = '1', sealed = '', lost_turns = '0', last_write = '', number = number,
    finished = '',
  }
  if owner ~= '' then
    row.status, row.owner, row.epoch, row.wake = 'Running', owner, '1', ''
  end
  local pairs_of = { 'fixed', start.fixed, 'same', start.same, 'created', now, 'updated', now }
  for _, field in ipairs(FIELDS) do
    pairs_of[#pairs_of + 1] = field
    pairs_of[#pairs_of + 1] = row[field]
  end
  redis.call('HSET', tag .. 'run:' .. id, unpack(pairs_of))
  redis.call('RPUSH', turns_key(id, row), start.first_turn)
  redis.call('ZADD', tag .. 'ids', 0, id)
  if start.parent ~= '' then
    redis.call('ZADD', tag .. 'children:' .. start.parent, 0, id)
    redis.call('ZADD', tag .. 'tree:' .. start.root, 0, id)
  end
  enter_indexes(id, row)
end

-- Starts a subworkflow; tells whether its id is taken by another run.
local function start_child(start)
  local same = redis.call('HGET', tag .. 'run:' .. start.id, 'same')
  if same then
    return same ~= start.same
  end
  insert(start, '')
  return false
end

-- Tells the parent that the id of a subworkflow is taken.
local function send_refusal(partition, parent, body)
  send('messages', partition, netstrings(parent, 'refused:' .. tag .. next_number(), body))
end
