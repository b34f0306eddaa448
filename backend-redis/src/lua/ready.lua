-- Lists the attempts that a worker could claim, best first within each task.
--
-- Arguments: how many; of each the queue, its free slots, the task. Answers: `ok`, and for each its ranks.
-- Why atomic: an attempt whose time has come is in one of the two indexes at every moment.
local found = {}
for i = 1, take_number() do
  local queue, slots, task = take(), take_number(), take()
  found[i] = {}
  if redis.call('HEXISTS', tag .. 'queues', 'w' .. queue) == 1 then
    ripen(queue, task)
    found[i] = redis.call('ZRANGE', waiting_key('ready', queue, task), 0, slots - 1)
  end
end
return { now, 'ok', found }
