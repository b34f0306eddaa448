-- Rows of runs and the indexes that find them.
--
-- A run is a hash `run:ID`, with a list of turns `turns:SEGMENT:ID`, and as long as its segment is open a list of arrivals
-- `inbox:ID` with a hash of their writes `writes:ID`. Indexes: `due:ROUTE` holds the unowned runs of a route by the time
-- they are due, apart for each build that blocked them; `owned:WORKER` and `unread:WORKER` hold the runs of a worker.
-- They change in `change` alone, which keeps them in step with the row.
local FIELDS = {
  'route', 'status', 'owner', 'epoch', 'arrivals', 'read', 'wake', 'lost', 'reason', 'build', 'segment', 'sealed',
  'lost_turns', 'last_write', 'number', 'finished',
}

local function load(id)
  local values = redis.call('HMGET', tag .. 'run:' .. id, unpack(FIELDS))
  if not values[1] then
    return nil
  end
  local row = {}
  for i, field in ipairs(FIELDS) do
    row[field] = values[i]
  end
  return row
end

local function turns_key(id, row)
  return tag .. 'turns:' .. row.segment .. ':' .. id
end

local function due_key(route, build)
  local key = tag .. 'due:' .. #route .. ':' .. route
  if build == '' then
    return key
  end
  return key .. ':' .. build
end

local function builds_key(route)
  return tag .. 'builds:' .. route
end

local function is_unread(row)
  return is_above(row.arrivals, row.read)
end

local function is_due_some_time(row)
  return row.owner == '' and row.wake ~= '' and row.status ~= 'Paused'
end

local function leave_indexes(id, row)
  if row.owner ~= '' then
    redis.call('SREM', tag .. 'owned:' .. row.owner, id)
    redis.call('SREM', tag .. 'unread:' .. row.owner, id)
  elseif is_due_some_time(row) then
    local key = due_key(row.route, row.build)
    redis.call('ZREM', key, row.number .. id)
    if row.build ~= '' and redis.call('EXISTS', key) == 0 then
      redis.call('SREM', builds_key(row.route), row.build)
    end
  end
end

local function enter_indexes(id, row)
  if row.owner ~= '' then
    redis.call('SADD', tag .. 'owned:' .. row.owner, id)
    if is_unread(row) then
      redis.call('SADD', tag .. 'unread:' .. row.owner, id)
    end
  elseif is_due_some_time(row) then
    redis.call('ZADD', due_key(row.route, row.build), row.wake, row.number .. id)
    if row.build ~= '' then
      redis.call('SADD', builds_key(row.route), row.build)
    end
  end
end

-- Writes what changes of a row, which is `updated` now.
local function change(id, row, changes)
  local pairs_of = { 'updated', now }
  local after = setmetatable({}, { __index = row })
  for field, value in pairs(changes) do
    after[field] = value
    pairs_of[#pairs_of + 1] = field
    pairs_of[#pairs_of + 1] = value
  end
  leave_indexes(id, row)
  redis.call('HSET', tag .. 'run:' .. id, unpack(pairs_of))
  enter_indexes(id, after)
end

-- Returns a number that grows, also from one partition to the next as far as clocks agree, in 16 digits.
local function next_number()
  local last = tonumber(redis.call('GET', tag .. 'number') or '0')
  local number = text(math.max(server_time(), last + 1))
  redis.call('SET', tag .. 'number', number)
  return number
end
