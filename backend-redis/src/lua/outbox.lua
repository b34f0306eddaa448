-- What goes to other partitions, or to other runs of this one.
--
-- `starts:PARTITION` and `messages:PARTITION` are lists in the order of the commits. An item says which generation wrote
-- it and which number it has, so that the receiver takes it once; `pending` names the lists that hold something.

local function netstrings(...)
  local parts = {}
  for i, part in ipairs({ ... }) do
    parts[i] = #part .. ':' .. part
  end
  return table.concat(parts)
end

local function send(what, partition, content)
  local list = what .. ':' .. partition
  local number = redis.call('HINCRBY', tag .. 'sent', list, 1)
  redis.call('RPUSH', tag .. list, netstrings(generation(), text(number)) .. content)
  redis.call('SADD', tag .. 'pending', list)
end
