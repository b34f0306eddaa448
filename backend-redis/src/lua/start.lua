-- Starts runs of one partition.
--
-- Arguments: the worker that owns them or nothing, how many; of each what `take_start` takes. Answers: `ok` alone
-- when all ids were free; otherwise for each nothing, or the fields of the run that has the id.
-- Why atomic: whether an id is free and the run that takes it are one step.
local worker, count = take(), take_number()
if worker ~= '' then
  local refused = refusal(worker)
  if refused then
    return { now, refused }
  end
end
local answers, is_news, is_taken = {}, false, false
for i = 1, count do
  local start = take_start()
  local existing = redis.call('HGETALL', tag .. 'run:' .. start.id)
  if #existing == 0 then
    insert(start, worker)
    is_news = is_news or worker == ''
  else
    is_taken = true
  end
  answers[i] = existing
end
if is_news then
  tell('changed')
end
return { now, 'ok', is_taken and answers or nil }
