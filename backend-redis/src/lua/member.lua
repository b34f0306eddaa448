-- Whether a worker may write here.
--
-- A partition's generation is the replication id of the node when it last may have lost what it acknowledged: when it
-- was restarted, or a replica took its place. Who joined in another generation may rely on what is gone, and has to join
-- again. A partition that moved to another node as it is keeps its generation.
local function generation()
  local info = redis.call('INFO', 'replication')
  local known = redis.call('HMGET', tag .. 'generation', 'seen', 'node', 'id')
  if known[1] and string.find(info, 'master_replid:' .. known[1] .. '\r', 1, true) then
    return known[3]
  end
  local id = string.match(info, 'master_replid:(%x+)')
  local node = redis.pcall('CLUSTER', 'MYID')
  if type(node) == 'table' then
    node = ''
  end
  local took_over = string.match(info, 'master_replid2:(%x+)') == known[1]
  local is_other = not known[1] or took_over or known[2] == node
  local current = is_other and id or known[3]
  redis.call('HSET', tag .. 'generation', 'seen', id, 'node', node, 'id', current)
  return current
end

-- Returns why the worker may not write, or nothing.
local function refusal(worker)
  local joined = redis.call('HGET', tag .. 'members', worker)
  if not joined then
    return 'dead'
  end
  if joined ~= generation() then
    return 'generation'
  end
end
