-- Accepting what reaches a run from elsewhere.

-- Puts an arrival into the inbox of a run. `unread_max` is empty for what has nobody to send it again: that is taken by a
-- sealed run and by a full inbox.
local function accept(id, write, body, unread_max)
  local row = load(id)
  if not row then
    return { 'unknown' }
  end
  if row.finished ~= '' then
    return { 'finished', row.status }
  end
  local before = redis.call('HGET', tag .. 'writes:' .. id, write)
  if before then
    local number, accepted_at = string.match(before, '^(%d+):(.*)$')
    return { 'accepted', number, row.owner, accepted_at }
  end
  if unread_max ~= '' then
    if row.sealed ~= '' then
      return { 'sealed' }
    end
    local unread = math.max(tonumber(row.arrivals) - tonumber(row.read), 0)
    if unread >= tonumber(unread_max) then
      return { 'full' }
    end
  end
  local number = text(tonumber(row.arrivals) + 1)
  local is_earlier = row.status ~= 'Paused' and (row.wake == '' or tonumber(now) < tonumber(row.wake))
  redis.call('RPUSH', tag .. 'inbox:' .. id, now .. ':' .. body)
  redis.call('HSET', tag .. 'writes:' .. id, write, number .. ':' .. now)
  local write_row = row.owner ~= '' and change_owned or change
  write_row(id, row, { 'arrivals', number, 'wake', is_earlier and now or row.wake })
  return { 'accepted', number, row.owner, now }
end
