-- Frees what a dead worker had in a partition.
--
-- Arguments: the worker, the most runs and attempts to free, when its death may be forgotten that long ago. Answers: `ok`,
-- how many runs and attempts were freed, and whether there may be more.
-- Why atomic: the worker is no member any more before anything of it is free, so that nothing it asks for later is taken;
-- each run and attempt is freed whole. Asked again, it frees what is left.
local function lost_body(attempt)
  local operation = string.match(attempt.key, '^%d+:(.*)$')
  return netstrings('attempt_lost', operation, struct.pack('>I4', tonumber(attempt.attempt)))
end

local worker, limit, forgotten = take(), take_number(), take()
redis.call('HDEL', tag .. 'members', worker)
redis.call('ZADD', tag .. 'dead', now, worker)
redis.call('ZREMRANGEBYSCORE', tag .. 'dead', '-inf', '(' .. forgotten)
local runs = redis.call('SRANDMEMBER', tag .. 'owned:' .. worker, limit)
for _, id in ipairs(runs) do
  local row = load(id)
  local turns = redis.call('LLEN', turns_key(id, row))
  local has_progress = turns > tonumber(row.lost_turns)
  change(id, row, {
    'owner', '', 'wake', now, 'sealed', '', 'lost_turns', text(turns),
    'lost', has_progress and '1' or text(tonumber(row.lost) + 1),
  })
end
local claims = redis.call('ZRANGE', tag .. 'claims:' .. worker, 0, limit - 1)
for _, number in ipairs(claims) do
  local attempt = remove_attempt(number)
  forget_queued(attempt)
  accept(attempt.run, 'lost:' .. number, lost_body(attempt), '')
end
if #runs + #claims > 0 then
  tell('changed')
end
return { now, 'ok', #runs, #claims, (#runs == limit or #claims == limit) and 1 or 0 }
