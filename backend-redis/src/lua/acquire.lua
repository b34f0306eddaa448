-- Gives due runs to a worker.
--
-- Arguments: the worker, its build, the most turns to return of each, how many runs; their ids. Answers: `ok`, and for each run
-- that is still due and was taken its id, its fields, its turns if they are not too many, and what it has not read.
-- Why atomic: a run is taken by one worker, and the member check and the new owner are one step.
local worker, build, turns_max, count = take(), take(), take_number(), take_number()
local refused = refusal(worker)
if refused then
  return { now, refused }
end
local taken = {}
for _, id in ipairs(take_list(count)) do
  local row = load(id)
  local is_due = row and is_due_some_time(row) and tonumber(row.wake) <= tonumber(now)
  if is_due and (row.build == '' or row.build ~= build) then
    local epoch = text(tonumber(row.epoch) + 1)
    change(id, row, {
      'owner', worker, 'epoch', epoch, 'status', 'Running', 'wake', '', 'reason', '', 'build', '', 'sealed', '',
    })
    taken[#taken + 1] = loaded(id, turns_max)
  end
end
return { now, 'ok', taken }
