-- Tells a worker what there is to do in a partition.
--
-- Arguments: the worker or nothing, its build, the largest count, how many routes; the routes; how many pairs of queue
-- and task; the pairs. Answers: `ok`, the runs of the worker that have something unread, how many runs are due, when the next
-- is, how many attempts can be claimed, when the next can be, whether anything waits to go to other partitions, how
-- many runs and attempts the worker has, the members.
-- Why atomic: it is not; it only reads.
local worker, build, most, routes = take(), take(), take_number(), take_number()
local due, next_due = 0, ''

local function earlier(one, other)
  return (one == '' or tonumber(other) < tonumber(one)) and other or one
end

for _, route in ipairs(take_list(routes)) do
  local key = due_key(route, '')
  due = due + redis.call('ZCOUNT', key, '-inf', now)
  local ahead = redis.call('ZRANGEBYSCORE', key, '(' .. now, '+inf', 'LIMIT', 0, 1)[1]
  if ahead then
    next_due = earlier(next_due, redis.call('HGET', tag .. 'run:' .. string.sub(ahead, 17), 'wake'))
  end
  for _, other in ipairs(redis.call('SMEMBERS', builds_key(route))) do
    if other ~= build then
      due = due + redis.call('ZCOUNT', due_key(route, other), '-inf', now)
    end
  end
end

local claimable, next_claimable = 0, ''
local has_queues = redis.call('EXISTS', tag .. 'queues') == 1
for _ = 1, take_number() do
  local queue, task = take(), take()
  if has_queues and redis.call('HEXISTS', tag .. 'queues', 'w' .. queue) == 1 then
    local delayed = waiting_key('delayed', queue, task)
    claimable = claimable + redis.call('ZCARD', waiting_key('ready', queue, task))
      + redis.call('ZCOUNT', delayed, '-inf', now)
    local ahead = redis.call('ZRANGEBYSCORE', delayed, '(' .. now, '+inf', 'LIMIT', 0, 1)[1]
    if ahead then
      next_claimable = earlier(next_claimable, redis.call('HGET', tag .. 'attempt:' .. ahead, 'ready_at'))
    end
  end
end

return {
  now, 'ok', redis.call('SMEMBERS', tag .. 'unread:' .. worker), math.min(due, most), next_due,
  math.min(claimable, most), next_claimable, redis.call('SCARD', tag .. 'pending'),
  redis.call('SCARD', tag .. 'owned:' .. worker), redis.call('ZCARD', tag .. 'claims:' .. worker),
  redis.call('HGETALL', tag .. 'members'), redis.call('HGET', tag .. 'generation', 'id') or '',
}
