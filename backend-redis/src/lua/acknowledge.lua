-- Drops what another partition has taken in.
--
-- Arguments: the name of the list, its first items as they were read. Answers: `ok`.
-- Why atomic: an item goes only if it is still the first, so that one that came meanwhile stays.
local list = take()
for _ = 1, take_number() do
  local item = take()
  local first = redis.call('LINDEX', tag .. list, 0)
  if first and string.sub(first, 1, #item) == item then
    redis.call('LPOP', tag .. list)
  end
end
if redis.call('EXISTS', tag .. list) == 0 then
  redis.call('SREM', tag .. 'pending', list)
end
return { now, 'ok' }
