-- Attempts in task queues.
--
-- An attempt is a hash `attempt:NUMBER`. It waits in `delayed:QUEUE:TASK` by its time while that is ahead, in
-- `ready:QUEUE:TASK` by its rank after it, in neither while its run is paused, and is in `claims:WORKER` once it is
-- claimed. `queued:ID` finds the attempts
-- of a run by operation, `queues` counts those of each queue.

local function waiting_key(what, queue, task)
  return tag .. what .. ':' .. #queue .. ':' .. queue .. ':' .. task
end

-- Returns a time in 20 digits that sort as the times do.
local function sortable(time)
  local low = 372036854775808 + tonumber(time)
  local carry = math.floor(low / 1000000000000000)
  return string.format('%05.0f%015.0f', 9223 + carry, low - carry * 1000000000000000)
end

local function rank_of(attempt)
  local priority = string.format('%05.0f', 32767 - tonumber(attempt.priority))
  return priority .. sortable(attempt.ready_at) .. attempt.number
end

local ATTEMPT = { 'run', 'key', 'attempt', 'queue', 'task', 'priority', 'ready_at', 'worker' }

local function load_attempt(number)
  local values = redis.call('HMGET', tag .. 'attempt:' .. number, unpack(ATTEMPT))
  if not values[1] then
    return nil
  end
  local attempt = { number = number }
  for i, field in ipairs(ATTEMPT) do
    attempt[field] = values[i]
  end
  return attempt
end

local function count_in_queue(what, queue, by)
  if redis.call('HINCRBY', tag .. 'queues', what .. queue, by) == 0 then
    redis.call('HDEL', tag .. 'queues', what .. queue)
  end
end

-- Returns the numbers of the attempts of an operation, by attempt.
local function queued(run, key)
  local found = {}
  local stored = redis.call('HGET', tag .. 'queued:' .. run, key)
  for attempt, number in string.gmatch(stored or '', '(%d+)=(%d+)') do
    found[attempt] = number
  end
  return found
end

local function set_queued(run, key, found)
  local items = {}
  for attempt, number in pairs(found) do
    items[#items + 1] = attempt .. '=' .. number
  end
  if #items == 0 then
    redis.call('HDEL', tag .. 'queued:' .. run, key)
  else
    redis.call('HSET', tag .. 'queued:' .. run, key, table.concat(items, ','))
  end
end

local function enter_waiting(attempt)
  if tonumber(attempt.ready_at) <= tonumber(now) then
    redis.call('ZADD', waiting_key('ready', attempt.queue, attempt.task), 0, rank_of(attempt))
  else
    redis.call('ZADD', waiting_key('delayed', attempt.queue, attempt.task), attempt.ready_at, attempt.number)
  end
end

local function leave_waiting(attempt)
  redis.call('ZREM', waiting_key('ready', attempt.queue, attempt.task), rank_of(attempt))
  redis.call('ZREM', waiting_key('delayed', attempt.queue, attempt.task), attempt.number)
end

-- Puts an attempt into its queue, unless it is there.
local function enqueue(run, key, attempt, queue, task, priority, due, content)
  local found = queued(run, key)
  if found[attempt] then
    return
  end
  local row = {
    number = next_number(),
    queue = queue,
    task = task,
    priority = priority,
    ready_at = due ~= '' and due or now,
  }
  found[attempt] = row.number
  set_queued(run, key, found)
  redis.call('HSET', tag .. 'attempt:' .. row.number, 'run', run, 'key', key, 'attempt', attempt, 'queue', queue,
    'task', task, 'priority', priority, 'ready_at', row.ready_at, 'due', due, 'worker', '', 'content', content)
  enter_waiting(row)
  count_in_queue('w', queue, 1)
end

-- Takes an attempt off its queue, whoever has it.
local function remove_attempt(number)
  local attempt = load_attempt(number)
  if not attempt then
    return
  end
  if attempt.worker == '' then
    leave_waiting(attempt)
    count_in_queue('w', attempt.queue, -1)
  else
    redis.call('ZREM', tag .. 'claims:' .. attempt.worker, number)
    count_in_queue('c', attempt.queue, -1)
  end
  redis.call('DEL', tag .. 'attempt:' .. number)
  return attempt
end

-- Takes one attempt of an operation out of what is known of its run.
local function forget_queued(attempt)
  local found = queued(attempt.run, attempt.key)
  found[attempt.attempt] = nil
  set_queued(attempt.run, attempt.key, found)
end

-- Takes all attempts of an operation off their queues.
local function withdraw(run, key)
  for _, number in pairs(queued(run, key)) do
    remove_attempt(number)
  end
  redis.call('HDEL', tag .. 'queued:' .. run, key)
end

-- Takes all attempts of a run off their queues.
local function withdraw_all(run)
  for _, key in ipairs(redis.call('HKEYS', tag .. 'queued:' .. run)) do
    withdraw(run, key)
  end
end

local function each_unclaimed(run, work)
  for _, key in ipairs(redis.call('HKEYS', tag .. 'queued:' .. run)) do
    for _, number in pairs(queued(run, key)) do
      local attempt = load_attempt(number)
      if attempt and attempt.worker == '' then
        work(attempt)
      end
    end
  end
end

-- Takes the attempts of a run that nobody has claimed out of both indexes.
local function hold(run)
  each_unclaimed(run, leave_waiting)
end

-- Puts them back to where they were.
local function let_go(run)
  each_unclaimed(run, enter_waiting)
end

-- Makes delayed attempts ready whose time has come.
local function ripen(queue, task)
  local key = waiting_key('delayed', queue, task)
  local due = redis.call('ZRANGEBYSCORE', key, '-inf', now, 'LIMIT', 0, 1000)
  for _, number in ipairs(due) do
    local attempt = load_attempt(number)
    redis.call('ZREM', key, number)
    if attempt then
      redis.call('ZADD', waiting_key('ready', queue, task), 0, rank_of(attempt))
    end
  end
end
