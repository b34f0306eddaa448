-- Reads arrivals of runs that the worker owns.
--
-- Arguments: the worker, how many; of each the run and the last arrival it knows. Answers: `ok`, and for each run that it owns the
-- id, that number and the arrivals after it.
-- Why atomic: the owner and what is read are of one moment.
local worker, found = take(), {}
for _ = 1, take_number() do
  local id, after = take(), take()
  local row = load(id)
  if row and row.owner == worker then
    local arrivals = {}
    if is_above(row.arrivals, after) then
      arrivals = redis.call('LRANGE', tag .. 'inbox:' .. id, after, -1)
    end
    found[#found + 1] = { id, after, arrivals }
  end
end
return { now, 'ok', found }
