-- Makes a worker a member of a partition, in the generation that the partition has now.
--
-- Arguments: the worker. Answers: `ok`, or `dead` when it was declared dead.
-- Why atomic: a join that comes late, after the worker was declared dead and what it had was freed, finds it among the
-- dead and makes no member of it.
local worker = take()
if redis.call('ZSCORE', tag .. 'dead', worker) then
  return { now, 'dead' }
end
redis.call('HSETNX', tag .. 'members', worker, generation())
return { now, 'ok' }
