-- Gives attempts to a worker.
--
-- Arguments: the worker, how many; their numbers. Answers: `ok`, and the fields of each that nobody had claimed.
-- Why atomic: an attempt is claimed by one worker, and the member check and the claim are one step.
local worker, count = take(), take_number()
local refused = refusal(worker)
if refused then
  return { now, refused }
end
local claimed = {}
for _, number in ipairs(take_list(count)) do
  local attempt = load_attempt(number)
  local is_free = attempt and attempt.worker == ''
  if is_free and redis.call('HGET', tag .. 'run:' .. attempt.run, 'status') ~= 'Paused' then
    leave_waiting(attempt)
    count_in_queue('w', attempt.queue, -1)
    count_in_queue('c', attempt.queue, 1)
    redis.call('ZADD', tag .. 'claims:' .. worker, number, number)
    redis.call('HSET', tag .. 'attempt:' .. number, 'worker', worker)
    claimed[#claimed + 1] = { number, redis.call('HGETALL', tag .. 'attempt:' .. number) }
  end
end
return { now, 'ok', claimed }
