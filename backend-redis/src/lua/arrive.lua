-- Puts arrivals into the inboxes of runs.
--
-- Arguments: how many; of each the run, the write, the body, the most unread arrivals that the run may have. Answers: `ok`
-- and for each `accepted` with number, owner and time, or `sealed`, `full`, `finished` with the status, `unknown`.
-- Why atomic: the number of an arrival, the arrival and the time the run is due are one step, so that a park or an end
-- comes before all of it or after.
local answers, is_news = {}, false
for i = 1, take_number() do
  answers[i] = accept(take(), take(), take(), take())
  is_news = is_news or answers[i][1] == 'accepted'
end
if is_news then
  tell('changed')
end
return { now, 'ok', answers }
