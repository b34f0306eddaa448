-- What every script begins with.
--
-- Keys: 1 the members (or, in the slot of leases, the leases), 2 a key that never exists. Both carry the tag of the one
-- slot that the script touches; all other keys are made from that tag, which ARGV[1] repeats. While the slot is on its
-- way to another node, the key that never exists makes that node refuse the script (TRYAGAIN) before it begins: half a
-- slot is never read as if it were all of it.
-- Arguments: 1 the tag, 2 the time in microseconds of a clock of a test, empty for the server's own; then what the
-- script says.
-- Answers: a list whose first item is the time in microseconds, whose second is `ok` or why nothing was done.
local tag, given, position = ARGV[1], ARGV[2], 2

local function take()
  position = position + 1
  return ARGV[position]
end

local function take_number()
  return tonumber(take())
end

local function take_list(count)
  local items = {}
  for i = 1, count do
    items[i] = take()
  end
  return items
end

local function text(number)
  return string.format('%.0f', number)
end

local function server_time()
  local time = redis.call('TIME')
  return time[1] .. string.sub(1000000 + time[2], 2)
end

local now = given ~= '' and given or server_time()

-- Compares numbers that are not negative, in decimal digits, whatever their size.
local function is_above(one, other)
  if #one ~= #other then
    return #one > #other
  end
  return one > other
end

-- Tells everybody who waits for hints: `changed`, or `ended` when runs ended and nothing else happened.
local function tell(hint)
  redis.call('PUBLISH', string.match(tag, '{(.*):[^:]*}') .. ':news', hint)
end
