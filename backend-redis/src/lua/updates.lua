-- Turns that change the row of their run.

-- Takes a turn: what becomes of the run, and what `append` takes; unless it is only appended, also what changes.
local function take_turn()
  local at = position
  local turn = {
    what = ARGV[at + 1], run = ARGV[at + 2], segment = ARGV[at + 3], epoch = ARGV[at + 4], number = ARGV[at + 5],
    stored = ARGV[at + 6], read = '0',
  }
  position = at + 6
  if turn.what ~= 'append' then
    turn.read, turn.wake, turn.status = ARGV[at + 7], ARGV[at + 8], ARGV[at + 9]
    turn.reason, turn.build, turn.sealed = ARGV[at + 10], ARGV[at + 11], ARGV[at + 12]
    position = at + 12
  end
  return turn
end

-- Returns the verdict on a turn, and its row and how many turns are there when it is to be written.
local function judge(worker, turn)
  local row = load(turn.run)
  if not row then
    return 'lost'
  end
  local key = turns_key(turn.run, row)
  local length, number = redis.call('LLEN', key), tonumber(turn.number)
  local is_owned = row.owner == worker and row.finished == '' and row.epoch == turn.epoch and row.segment == turn.segment
  if not number and row.last_write == turn.stored then
    return 'committed'
  end
  if not is_owned or number and number ~= length then
    local is_repeated = number and row.segment == turn.segment and is_there(key, number, length, turn.stored)
    return is_repeated and 'committed' or 'lost'
  end
  local needs_all_read = turn.what == 'park' or turn.what == 'end'
  if needs_all_read and is_above(row.arrivals, turn.read) then
    return 'unread'
  end
  return 'committed', row, length
end

-- Marks arrivals as read, of a run that stays where it is.
local function drain(turn, row, read, changes)
  local wake = row.wake
  if not is_above(row.arrivals, read) then
    wake = ''
  end
  local is_sealed = turn.sealed ~= '' or row.sealed ~= ''
  change_owned(turn.run, row, { 'read', read, 'wake', wake, 'sealed', is_sealed and '1' or '', unpack(changes) })
end

-- Gives a run up. The attempts of a paused one wait in no index.
local function give_up(turn, row, read, length, changes)
  if turn.what == 'pause' then
    hold(turn.run)
  elseif row.status == 'Paused' then
    let_go(turn.run)
  end
  local wake = turn.wake == 'now' and now or turn.wake
  change(turn.run, row, {
    'read', read, 'owner', '', 'lost', row.owner == '' and row.lost or '0', 'sealed', '', 'status', turn.status,
    'reason', turn.reason, 'build', turn.build, 'wake', wake, 'lost_turns', text(length), unpack(changes),
  })
end

-- Writes a turn that was judged, and what becomes of its run.
local function write(turn, row, length)
  local changes = {}
  if turn.number ~= '' then
    redis.call('RPUSH', turns_key(turn.run, row), turn.stored)
    length = length + 1
  else
    changes = { 'last_write', turn.stored }
  end
  if turn.what == 'append' then
    if turn.number == '' then
      redis.call('HSET', tag .. 'run:' .. turn.run, 'last_write', turn.stored)
    end
    return
  end
  local read = is_above(turn.read, row.read) and turn.read or row.read
  if turn.what == 'drain' then
    return drain(turn, row, read, changes)
  end
  if turn.what == 'end' then
    changes[#changes + 1], changes[#changes + 2] = 'finished', '1'
  end
  give_up(turn, row, read, length, changes)
  if turn.what == 'end' then
    withdraw_all(turn.run)
    redis.call('DEL', tag .. 'inbox:' .. turn.run, tag .. 'writes:' .. turn.run)
  end
end
