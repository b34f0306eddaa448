-- Lists the runs of a worker.
--
-- Arguments: the worker. Answers: `ok`, and id and epoch of each.
-- Why atomic: the owner and the epoch are of one moment.
local found = {}
for i, id in ipairs(redis.call('SMEMBERS', tag .. 'owned:' .. take())) do
  found[i] = { id, redis.call('HGET', tag .. 'run:' .. id, 'epoch') }
end
return { now, 'ok', found }
