-- Puts a worker on the register, with a lease that starts now.
--
-- Arguments: the worker, its lease in microseconds, whether it can run tasks, what it said of itself. Answers: `ok`, or `dead`
-- when it was declared dead.
-- Why atomic: whether it is dead and its lease are one step.
local worker, lease, runs_tasks, info = take(), take_number(), take(), take()
if redis.call('ZSCORE', tag .. 'dead', worker) then
  return { now, 'dead' }
end
redis.call('HSETNX', tag .. 'workers', worker, info)
redis.call('ZADD', tag .. 'leases', text(tonumber(now) + lease), worker)
if runs_tasks ~= '' then
  redis.call('SADD', tag .. 'runners', worker)
end
return { now, 'ok' }
