-- Lists the attempts that a worker has claimed.
--
-- Arguments: the worker. Answers: `ok`, and number and fields of each.
-- Why atomic: the claims and the attempts are of one moment.
local claimed = {}
for i, number in ipairs(redis.call('ZRANGE', tag .. 'claims:' .. take(), 0, -1)) do
  claimed[i] = { number, redis.call('HGETALL', tag .. 'attempt:' .. number) }
end
return { now, 'ok', claimed }
