-- Lists the oldest due runs that a worker can execute.
--
-- Arguments: its build, how many at most, how many routes; the routes. Answers: `ok`, and pairs of the time that a run is
-- due and its number with its id.
-- Why atomic: it is not; it only reads.
local build, limit, count = take(), take(), take_number()
local found = {}
local function look(key)
  local due = redis.call('ZRANGEBYSCORE', key, '-inf', now, 'WITHSCORES', 'LIMIT', 0, limit)
  for i = 1, #due, 2 do
    found[#found + 1] = due[i + 1]
    found[#found + 1] = due[i]
  end
end
for _, route in ipairs(take_list(count)) do
  look(due_key(route, ''))
  for _, other in ipairs(redis.call('SMEMBERS', builds_key(route))) do
    if other ~= build then
      look(due_key(route, other))
    end
  end
end
return { now, 'ok', found }
