-- Takes claimed attempts off their queues and puts their outcomes into inboxes.
--
-- Arguments: how many; of each the worker, the run, the operation, the attempt, the write, the body. Answers: `ok`, and for each
-- `accepted` with the owner of the run, or `stale`.
-- Why atomic: the attempt leaves its queue and its outcome reaches the run in one step.
local answers, is_news = {}, false

local function report(worker, run, key, attempt, write, body)
  if redis.call('HEXISTS', tag .. 'writes:' .. run, write) == 1 then
    return { 'accepted', redis.call('HGET', tag .. 'run:' .. run, 'owner') }
  end
  local number = queued(run, key)[attempt]
  if not number or redis.call('HGET', tag .. 'attempt:' .. number, 'worker') ~= worker then
    return { 'stale' }
  end
  forget_queued(remove_attempt(number))
  local answer = accept(run, write, body, '')
  if answer[1] ~= 'accepted' then
    return { 'stale' }
  end
  is_news = true
  return { 'accepted', answer[3] }
end

for i = 1, take_number() do
  answers[i] = report(take(), take(), take(), take(), take(), take())
end
if is_news then
  tell('changed')
end
return { now, 'ok', answers }
