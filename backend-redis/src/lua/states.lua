-- Tells how runs stand.
--
-- Arguments: how many; their ids. Answers: `ok`, and for each nothing, or its status, its segment, why it is blocked, how many
-- turns it has, and its last turn if it is finished.
-- Why atomic: the status and the last turn are of one moment.
local found = {}
for i, id in ipairs(take_list(take_number())) do
  local row, state = load(id), {}
  if row then
    state = { row.status, row.segment, row.reason, row.build }
    if row.finished ~= '' then
      state[5] = text(redis.call('LLEN', turns_key(id, row)))
      state[6] = redis.call('LINDEX', turns_key(id, row), -1)
    end
  end
  found[i] = state
end
return { now, 'ok', found }
