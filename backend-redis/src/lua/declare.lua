-- Declares workers dead: those whose lease is over, those that were declared before and are still on the register, and
-- those that are named.
--
-- Arguments: when a death may be forgotten that long ago; how many to declare dead if they are registered; those; how many
-- to declare dead if they are not registered; those. Answers: `ok`, and those that are dead.
-- Why atomic: a lease that was extended before is not over, and one that is over is extended by nobody after.
local forgotten = take()
local forced, strangers = take_list(take_number()), take_list(take_number())
local dead = {}

local function declare(worker)
  redis.call('ZADD', tag .. 'dead', 'NX', now, worker)
  dead[worker] = true
end

for _, worker in ipairs(redis.call('ZRANGEBYSCORE', tag .. 'leases', '-inf', '(' .. now)) do
  declare(worker)
end
for _, worker in ipairs(redis.call('ZRANGE', tag .. 'leases', 0, -1)) do
  if redis.call('ZSCORE', tag .. 'dead', worker) then
    declare(worker)
  end
end
for _, worker in ipairs(forced) do
  if redis.call('ZSCORE', tag .. 'leases', worker) then
    declare(worker)
  end
end
for _, worker in ipairs(strangers) do
  if not redis.call('ZSCORE', tag .. 'leases', worker) then
    declare(worker)
  end
end
redis.call('ZREMRANGEBYSCORE', tag .. 'dead', '-inf', '(' .. forgotten)
local declared = {}
for worker in pairs(dead) do
  declared[#declared + 1] = worker
end
table.sort(declared)
return { now, 'ok', declared }
