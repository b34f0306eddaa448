-- Judging and appending turns.

-- Tells whether the turn with that number is there already as this very write, whose name it begins with.
local function is_there(key, number, length, stored)
  if number >= length then
    return false
  end
  local there = redis.call('LINDEX', key, number)
  return string.sub(there, 1, 16) == string.sub(stored, 1, 16)
end

-- Appends a turn that changes nothing else of its run, and returns the verdict.
local function append(worker, run, segment, epoch, number, stored)
  local row = redis.call('HMGET', tag .. 'run:' .. run, 'segment', 'owner', 'epoch')
  if row[1] ~= segment then
    return 'lost'
  end
  local key = tag .. 'turns:' .. segment .. ':' .. run
  local length = redis.call('LLEN', key)
  number = tonumber(number)
  if number == length and row[2] == worker and row[3] == epoch then
    redis.call('RPUSH', key, stored)
    return 'committed'
  end
  return is_there(key, number, length, stored) and 'committed' or 'lost'
end
