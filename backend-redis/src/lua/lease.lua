-- Looks at leases, and extends one.
--
-- Arguments: the worker, its lease in microseconds from now or nothing. Answers: `ok`, the workers that are dead, how many
-- others live and can run tasks, and all that are registered; or `dead` when the worker is not registered.
-- Why atomic: a worker that was declared dead extends nothing.
local worker, lease = take(), take()
if redis.call('ZSCORE', tag .. 'dead', worker) or not redis.call('ZSCORE', tag .. 'leases', worker) then
  return { now, 'dead' }
end
if lease ~= '' then
  redis.call('ZADD', tag .. 'leases', text(tonumber(now) + tonumber(lease)), worker)
end
local dead, peers = {}, 0
local registered = redis.call('ZRANGE', tag .. 'leases', 0, -1, 'WITHSCORES')
local all = {}
for i = 1, #registered, 2 do
  local other = registered[i]
  all[#all + 1] = other
  if tonumber(registered[i + 1]) < tonumber(now) or redis.call('ZSCORE', tag .. 'dead', other) then
    dead[#dead + 1] = other
  elseif other ~= worker and redis.call('SISMEMBER', tag .. 'runners', other) == 1 then
    peers = peers + 1
  end
end
return { now, 'ok', dead, peers, all }
