-- Lists what waits to go to other partitions, first subworkflows, then messages.
--
-- Arguments: the most items of each list. Answers: `ok`, and for each list that holds something its name and its first items.
-- Why atomic: a subworkflow that was sent before a message is listed whenever the message is.
local limit, found = take_number(), {}
local lists = redis.call('SMEMBERS', tag .. 'pending')
table.sort(lists)
for _, list in ipairs(lists) do
  found[#found + 1] = { list, redis.call('LRANGE', tag .. list, 0, limit - 1) }
end
return { now, 'ok', found }
