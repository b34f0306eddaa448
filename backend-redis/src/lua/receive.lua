-- Takes in what another partition sent, each item once.
--
-- Arguments: the name of the list, the partition that sent it, how many items; of each the generation and the number it
-- has, what it is, and then: of a message the run, the write and the body, of a subworkflow the refusal and what
-- `take_start` takes. Answers: `ok`, and how many were new.
-- Why atomic: what an item does and that it was taken in are one step; so it may be sent again.
local list, sender, count = take(), take(), take_number()
local from = list .. ':' .. sender

local known, order = {}, {}
for id, number in string.gmatch(redis.call('HGET', tag .. 'received', from) or '', '([^=;]+)=(%d+)') do
  known[id] = number
  order[#order + 1] = id
end

-- Numbers went back if the sender lost its last writes; it counts in another generation then.
local function is_new(id, number)
  if known[id] then
    return is_above(number, known[id])
  end
  order[#order + 1] = id
  return true
end

local news = 0
for _ = 1, count do
  local id, number, what = take(), take(), take()
  local is_message = what == 'message'
  local target, write, body, refused, start
  if is_message then
    target, write, body = take(), take(), take()
  else
    refused, start = take(), take_start()
  end
  if is_new(id, number) then
    known[id] = number
    news = news + 1
    if is_message then
      accept(target, write, body, '')
    elseif start_child(start) then
      send_refusal(sender, start.parent, refused)
    end
  end
end
if news > 0 then
  local kept = {}
  for i = math.max(#order - 3, 1), #order do
    kept[#kept + 1] = order[i] .. '=' .. known[order[i]]
  end
  redis.call('HSET', tag .. 'received', from, table.concat(kept, ';'))
  tell('changed')
end
return { now, 'ok', news }
