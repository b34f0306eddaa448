-- Commits turns of runs that the worker owns, which cause nothing beside the run.
--
-- Arguments: the worker, or nothing for runs that nobody owns, how many turns, what to tell or nothing; of each what
-- `take_turn` takes. Answers: `ok` alone when all are committed; otherwise a verdict on each.
-- Why atomic: a turn is judged on the row as it is when it is written, and is written whole; what is refused is known
-- before the first write.
local worker, count, news = take(), take_number(), take()
local refused = worker ~= '' and refusal(worker)
if refused then
  return { now, refused }
end
local verdicts, is_clean = {}, true
for i = 1, count do
  local turn = take_turn()
  local verdict, row, length
  if turn.what == 'append' then
    verdict = append(worker, turn.run, turn.segment, turn.epoch, turn.number, turn.stored)
  else
    verdict, row, length = judge(worker, turn)
  end
  if row then
    write(turn, row, length)
  end
  verdicts[i] = verdict
  is_clean = is_clean and verdict == 'committed'
end
if news ~= '' then
  tell(news)
end
return { now, 'ok', not is_clean and verdicts or nil }
