-- Appends turns to runs that the worker owns: the one place where an owned run changes.
--
-- Arguments: the worker, how many turns; of each how many arguments it has, and then: the run, its segment, its epoch, the
-- write, the number of the turn or nothing, the turn as it is stored; what becomes of the run (`append`, `drain`, `park`,
-- `release`, `block`, `end`), the last arrival read, when it is due, its status, why it is blocked and by which build,
-- whether it is sealed; how many of each, and then the data (key, whether there is a value, value), the operations
-- whose attempts are withdrawn, the attempts (key, attempt, queue, task, priority, due, content), the subworkflows of
-- this partition (this partition, the refusal, and what `take_start` takes) and of others (partition, content), the
-- messages (partition, content).
-- Answers: `ok`, and a verdict on each turn.
-- Why atomic: a turn is judged on the row as it is when it is written, and is written whole; what is refused is known
-- before the first write.
local worker, count = take(), take_number()

local function take_update()
  local update = {}
  for _, field in ipairs({ 'what', 'read', 'wake', 'status', 'reason', 'build', 'sealed' }) do
    update[field] = take()
  end
  return update
end

-- Tells whether this very write was committed before.
local function is_repeated(turn, row, length)
  if turn.number == '' then
    return row.last_write == turn.write
  end
  if row.segment ~= turn.segment or tonumber(turn.number) >= length then
    return false
  end
  local stored = redis.call('LINDEX', turns_key(turn.run, row), turn.number)
  return string.sub(stored, 1, 16) == turn.write
end

-- Returns the verdict on a turn, and its row when it is to be written.
local function judge(turn, update)
  local row = load(turn.run)
  if not row then
    return 'lost'
  end
  local length = redis.call('LLEN', turns_key(turn.run, row))
  local is_next = turn.number == '' or tonumber(turn.number) == length
  local is_owned = row.owner == worker and row.epoch == turn.epoch and row.segment == turn.segment
  if not is_next or not is_owned or turn.number == '' then
    if is_repeated(turn, row, length) then
      return 'committed'
    end
    if not is_next or not is_owned then
      return 'lost'
    end
  end
  local needs_all_read = update.what == 'park' or update.what == 'end'
  if needs_all_read and is_above(row.arrivals, update.read) then
    return 'unread'
  end
  return 'committed', row
end

local function take_effects(run)
  local is_news = false
  local data, withdrawn, attempts = take_number(), take_number(), take_number()
  local own, others, messages = take_number(), take_number(), take_number()
  for _ = 1, data do
    local key, has_value, value = take(), take(), take()
    if has_value ~= '' then
      redis.call('HSET', tag .. 'data:' .. run, key, value)
    else
      redis.call('HDEL', tag .. 'data:' .. run, key)
    end
  end
  for _ = 1, withdrawn do
    withdraw(run, take())
  end
  for _ = 1, attempts do
    enqueue(run, take(), take(), take(), take(), take(), take(), take())
    is_news = true
  end
  for _ = 1, own do
    local partition, body, start = take(), take(), take_start()
    if start_child(start) then
      send_refusal(partition, start.parent, body)
    end
    is_news = true
  end
  for _ = 1, others do
    local partition = take()
    send('starts', partition, take())
    is_news = true
  end
  for _ = 1, messages do
    local partition = take()
    send('messages', partition, take())
    is_news = true
  end
  return is_news
end

-- Returns whether the run is due, and whether it ended.
local function update_row(turn, row, update)
  local read = is_above(update.read, row.read) and update.read or row.read
  local changes = { read = read }
  if turn.number == '' then
    changes.last_write = turn.write
  end
  if update.what == 'drain' then
    if not is_above(row.arrivals, read) then
      changes.wake = ''
    end
    changes.sealed = (update.sealed ~= '' or row.sealed ~= '') and '1' or ''
    change(turn.run, row, changes)
    return false, false
  end
  changes.owner, changes.lost, changes.sealed = '', '0', ''
  changes.status, changes.reason, changes.build = update.status, update.reason, update.build
  changes.wake = update.wake == 'now' and now or update.wake
  changes.lost_turns = text(redis.call('LLEN', turns_key(turn.run, row)))
  if update.what == 'end' then
    changes.finished = '1'
  end
  change(turn.run, row, changes)
  if update.what == 'end' then
    withdraw_all(turn.run)
    redis.call('DEL', tag .. 'inbox:' .. turn.run, tag .. 'writes:' .. turn.run)
  end
  return changes.wake ~= '', update.what == 'end'
end

local refused = refusal(worker)
if refused then
  return { now, refused }
end
local verdicts, is_news, is_end = {}, false, false
for i = 1, count do
  local length = take_number()
  local stop = position + length
  local turn = {}
  for _, field in ipairs({ 'run', 'segment', 'epoch', 'write', 'number', 'stored' }) do
    turn[field] = take()
  end
  local update = take_update()
  local verdict, row = judge(turn, update)
  if row then
    if turn.number ~= '' then
      redis.call('RPUSH', turns_key(turn.run, row), turn.stored)
    end
    is_news = take_effects(turn.run) or is_news
    if update.what ~= 'append' then
      local is_due, has_ended = update_row(turn, row, update)
      is_news, is_end = is_news or is_due, is_end or has_ended
    elseif turn.number == '' then
      redis.call('HSET', tag .. 'run:' .. turn.run, 'last_write', turn.write)
    end
  end
  verdicts[i] = verdict
  position = stop
end
if is_news or is_end then
  tell(is_news and 'changed' or 'ended')
end
return { now, 'ok', verdicts }
