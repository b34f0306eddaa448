-- Declares workers dead: those that are named, and if all are asked for, those whose lease is over and those that were
-- declared before and are still on the register.
--
-- Arguments: whether all are asked for; when a death may be forgotten that long ago; how many to declare dead if they are registered; those; how many
-- to declare dead if they are not registered; those. Answers: `ok`, and those that are dead.
-- Why atomic: a lease that was extended before is not over, and one that is over is extended by nobody after.
local wants_all, forgotten = take() ~= '', take()
local forced, strangers = take_list(take_number()), take_list(take_number())
local dead = {}

local function declare(worker)
  redis.call('ZADD', tag .. 'dead', 'NX', now, worker)
  dead[worker] = true
end

local registered = wants_all and redis.call('ZRANGE', tag .. 'leases', 0, -1, 'WITHSCORES') or {}
for i = 1, #registered, 2 do
  local is_over = tonumber(registered[i + 1]) < tonumber(now)
  if is_over or redis.call('ZSCORE', tag .. 'dead', registered[i]) then
    declare(registered[i])
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
