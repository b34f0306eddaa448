-- Takes workers off the register that are dead and have nothing left.
--
-- Arguments: how many; those. Answers: `ok`.
-- Why atomic: a worker is on all parts of the register or on none.
for _, worker in ipairs(take_list(take_number())) do
  redis.call('HDEL', tag .. 'workers', worker)
  redis.call('ZREM', tag .. 'leases', worker)
  redis.call('SREM', tag .. 'runners', worker)
end
return { now, 'ok' }
