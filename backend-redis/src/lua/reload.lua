-- Reads a run that the worker owns.
--
-- Arguments: the worker, the epoch, the most turns to return, the id. Answers: `ok`, and what an owner needs when it is the
-- worker's in that epoch.
-- Why atomic: the fields, the turns and the inbox are of one moment.
local worker, epoch, turns_max, id = take(), take(), take_number(), take()
local row = load(id)
if not row or row.owner ~= worker or row.epoch ~= epoch then
  return { now, 'ok' }
end
return { now, 'ok', loaded(id, turns_max) }
