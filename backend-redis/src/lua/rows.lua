-- Rows of runs and the indexes that find them.
--
-- A run is a hash `run:ID`, with a list of turns `turns:SEGMENT:ID`, and as long as its segment is open a list of arrivals
-- `inbox:ID` with a hash of their writes `writes:ID`. Indexes: `due:ROUTE` holds the unowned runs of a route by the time
-- they are due, apart for each build that blocked them; `owned:WORKER` and `unread:WORKER` hold the runs of a worker.
-- They change in `change` and `change_owned` alone, which keep them in step with the row, and in `insert`.
local function load(id)
  local values = redis.call('HMGET', tag .. 'run:' .. id, 'route', 'status', 'owner', 'epoch', 'arrivals', 'read', 'wake',
    'lost', 'reason', 'build', 'segment', 'sealed', 'lost_turns', 'last_write', 'number', 'finished')
  if not values[1] then
    return nil
  end
  return {
    route = values[1], status = values[2], owner = values[3], epoch = values[4], arrivals = values[5], read = values[6],
    wake = values[7], lost = values[8], reason = values[9], build = values[10], segment = values[11],
    sealed = values[12], lost_turns = values[13], last_write = values[14], number = values[15], finished = values[16],
  }
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

-- Writes fields, a list of each with its value, into the row, which is `updated` now.
local function write_fields(id, row, fields)
  local length = #fields
  for i = 1, length, 2 do
    row[fields[i]] = fields[i + 1]
  end
  fields[length + 1], fields[length + 2] = 'updated', now
  redis.call('HSET', tag .. 'run:' .. id, unpack(fields))
end

-- Changes a row.
local function change(id, row, fields)
  leave_indexes(id, row)
  write_fields(id, row, fields)
  enter_indexes(id, row)
end

-- Changes a row that stays with its owner.
local function change_owned(id, row, fields)
  local was_unread = is_unread(row)
  write_fields(id, row, fields)
  if is_unread(row) ~= was_unread then
    redis.call(was_unread and 'SREM' or 'SADD', tag .. 'unread:' .. row.owner, id)
  end
end

-- Returns a number that grows, also from one partition to the next as far as clocks agree, in 16 digits.
local function next_number()
  local last = tonumber(redis.call('GET', tag .. 'number') or '0')
  local number = text(math.max(tonumber(server_time()), last + 1))
  redis.call('SET', tag .. 'number', number)
  return number
end
