-- Starting runs.

-- Takes the arguments of a start.
local function take_start()
  return {
    id = take(), fixed = take(), route = take(), same = take(), parent = take(), root = take(), first_turn = take(),
  }
end

-- Inserts a run whose id is free.
local function insert(start, owner)
  local id, number = start.id, next_number()
  local status, epoch, wake = 'Pending', '0', now
  if owner ~= '' then
    status, epoch, wake = 'Running', '1', ''
  end
  redis.call('HSET', tag .. 'run:' .. id, 'fixed', start.fixed, 'same', start.same, 'created', now, 'updated', now,
    'route', start.route, 'status', status, 'owner', owner, 'epoch', epoch, 'arrivals', '0', 'read', '0', 'wake', wake,
    'lost', '0', 'reason', '', 'build', '', 'segment', '1', 'sealed', '', 'lost_turns', '0', 'last_write', '',
    'number', number, 'finished', '')
  redis.call('RPUSH', tag .. 'turns:1:' .. id, start.first_turn)
  redis.call('ZADD', tag .. 'ids', 0, id)
  if start.parent ~= '' then
    redis.call('ZADD', tag .. 'children:' .. start.parent, 0, id)
    redis.call('ZADD', tag .. 'tree:' .. start.root, 0, id)
  end
  if owner ~= '' then
    redis.call('SADD', tag .. 'owned:' .. owner, id)
  else
    redis.call('ZADD', due_key(start.route, ''), wake, number .. id)
  end
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
