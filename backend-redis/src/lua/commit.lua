-- Commits turns of runs that the worker owns, with what they cause.
--
-- Arguments: the worker, or nothing for runs that nobody owns, how many turns, what to tell or nothing; of each how many
-- arguments its effects are, what `take_turn` takes, and then, unless they are none: how many of each, and then the data
-- (key, whether there is a value, value), the operations whose attempts are withdrawn, the attempts (key, attempt, queue,
-- task, priority, due, content), the subworkflows of this partition (this partition, the refusal, and what `take_start`
-- takes) and of others (partition, content), the messages (partition, content).
-- Answers: `ok` alone when all are committed; otherwise a verdict on each.
-- Why atomic: a turn is judged on the row as it is when it is written, and is written whole; what is refused is known
-- before the first write.
local function take_effects(run)
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
  end
  for _ = 1, own do
    local partition, body, start = take(), take(), take_start()
    if start_child(start) then
      send_refusal(partition, start.parent, body)
    end
  end
  for _ = 1, others do
    local partition = take()
    send('starts', partition, take())
  end
  for _ = 1, messages do
    local partition = take()
    send('messages', partition, take())
  end
end

local worker, count, news = take(), take_number(), take()
local refused = worker ~= '' and refusal(worker)
if refused then
  return { now, refused }
end
local verdicts, is_clean = {}, true
for i = 1, count do
  local effects = take_number()
  local turn = take_turn()
  local stop = position + effects
  local verdict, row, length = judge(worker, turn)
  if row then
    if effects > 0 then
      take_effects(turn.run)
    end
    write(turn, row, length)
  end
  verdicts[i] = verdict
  is_clean = is_clean and verdict == 'committed'
  position = stop
end
if news ~= '' then
  tell(news)
end
return { now, 'ok', not is_clean and verdicts or nil }
