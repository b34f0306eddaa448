-- What an owner needs of a run.

-- Returns the id, the fields, the turns unless they are too many, and the arrivals that were not read.
local function loaded(id, turns_max)
  local row = load(id)
  local turns = {}
  if redis.call('LLEN', turns_key(id, row)) <= turns_max then
    turns = redis.call('LRANGE', turns_key(id, row), 0, -1)
  end
  local inbox = {}
  if is_unread(row) then
    inbox = redis.call('LRANGE', tag .. 'inbox:' .. id, row.read, -1)
  end
  return { id, redis.call('HGETALL', tag .. 'run:' .. id), turns, inbox }
end
