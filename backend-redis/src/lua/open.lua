-- Makes a store, or reads what was fixed when it was made.
--
-- Arguments: the format, how many partitions, the hash key, a name for it. Answers: `ok`, and format, partitions, hash key
-- of the store that is there now.
-- Why atomic: of several that make it at once, one does.
local format, partitions, hash_key = take(), take(), take()
if redis.call('EXISTS', tag .. 'store') == 0 then
  redis.call('HSET', tag .. 'store', 'format', format, 'partitions', partitions, 'hash_key', hash_key)
end
local store = redis.call('HMGET', tag .. 'store', 'format', 'partitions', 'hash_key')
return { now, 'ok', store[1] or '', store[2] or '', store[3] or '' }
