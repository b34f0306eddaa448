-- Appends turns that change nothing else of their runs, which the worker owns.
--
-- Arguments: the worker, how many turns; of each the run, its segment, its epoch, the number of the turn, the turn as it is
-- stored. Answers: `ok` alone when all are committed; otherwise a verdict on each.
-- Why atomic: a turn is judged on the row as it is when it is written, and is written whole; what is refused is known
-- before the first write.
local worker, count = take(), take_number()
local refused = refusal(worker)
if refused then
  return { now, refused }
end
local verdicts, is_clean = {}, true
for i = 1, count do
  local at = position
  position = at + 5
  local verdict = append(worker, ARGV[at + 1], ARGV[at + 2], ARGV[at + 3], ARGV[at + 4], ARGV[at + 5])
  verdicts[i] = verdict
  is_clean = is_clean and verdict == 'committed'
end
return { now, 'ok', not is_clean and verdicts or nil }
