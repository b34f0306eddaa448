-- Reads a page of runs in the order of their ids.
--
-- Arguments: the index, what the ids begin with, the id before, how many at most. Answers: `ok`, and id and fields of each.
-- Why atomic: it is not; it only reads.
local index, prefix, after, limit = take(), take(), take(), take()
local first = '[' .. prefix
if after ~= '' and after >= prefix then
  first = '(' .. after
end
local last = prefix == '' and '+' or '(' .. prefix .. '\255'
local found = {}
for i, id in ipairs(redis.call('ZRANGEBYLEX', tag .. index, first, last, 'LIMIT', 0, limit)) do
  found[i] = { id, redis.call('HGETALL', tag .. 'run:' .. id) }
end
return { now, 'ok', found }
