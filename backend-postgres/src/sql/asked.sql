-- Names the turns of a commit, each with the number of its run.
, asked as materialized (
    select t.*, r.number
    from fence cross join unnest(
        $5::text[], $6::bigint[], $7::bigint[], $8::uuid[], $9::bigint[], $10::bigint[], $11::bytea[], $12::text[],
        $13::bigint[], $14::boolean[], $15::bigint[], $16::text[], $17::text[], $18::text[])
        with ordinality as t (id, segment, epoch, write, turn, first_event, record, action, read, seal, wake_at, status,
            reason, build, member)
    cross join lateral (select number from longhaul.run where run.id = t.id offset 0) r
),
-- Locks the rows that will be written. One that somebody holds delays its own turn and no other.
held as materialized (
    select s.run
    from (select * from asked where action <> 'append' or turn is null order by number offset 0) a
    cross join lateral (
        select standing.run from longhaul.standing
        where standing.run = a.number and standing.owner = $2 and standing.epoch = a.epoch
          and standing.segment = a.segment and (a.action not in ('park', 'end') or standing.arrivals <= a.read)
          and (a.turn is not null or standing.last_write is distinct from a.write)
        for no key update skip locked) s
),
-- Rests on what is locked; where nothing is, on an owner that nobody else can change while the lane is locked.
fit as materialized (
    select a.* from asked a
    where case when a.action = 'append' and a.turn is not null then (
              select true from longhaul.standing
              where standing.run = a.number and standing.owner = $2 and standing.epoch = a.epoch
                and standing.segment = a.segment)
          else (select true from held where held.run = a.number) end
      and case when a.turn > 0 then (
              select true from longhaul.turn
              where turn.run = a.number and turn.segment = a.segment and turn.turn = a.turn - 1)
          else true end
),
appended as (
    insert into longhaul.turn (run, segment, turn, first_event, write_id, record)
    select number, segment, turn, first_event, write, record from fit where turn is not null order by number
    on conflict do nothing returning run
),
done as materialized (
    select fit.* from fit where fit.turn is null or (select true from appended where appended.run = fit.number)
),
moved as (
    update longhaul.standing s set
        read_to = greatest(s.read_to, d.read),
        sealed = d.action = 'drain' and (s.sealed or d.seal),
        owner = case d.action when 'drain' then s.owner end,
        status = coalesce(d.status, s.status),
        due_at = case d.action when 'drain' then s.due_at when 'park' then d.wake_at when 'end' then null
            else longhaul.at($1) end,
        woken_at = case when d.action = 'drain' and s.arrivals > greatest(s.read_to, d.read) then s.woken_at end,
        lost = case d.action when 'drain' then s.lost else 0 end,
        lost_turns = case when d.action = 'drain' then s.lost_turns
            when d.turn is not null then d.turn + 1
            else coalesce((
                select max(turn.turn) + 1 from longhaul.turn where turn.run = s.run and turn.segment = s.segment), 0) end,
        blocked_reason = case d.action when 'drain' then s.blocked_reason else d.reason end,
        blocked_build = case d.action when 'drain' then s.blocked_build else d.build end,
        last_write = case when d.turn is null then d.write else s.last_write end,
        updated_at = longhaul.at($1)
    from done d where s.run = d.number and d.action <> 'append'
),
-- A write that changes nothing of the row is known by it all the same when no turn names it.
remembered as (
    update longhaul.standing s set last_write = d.write
    from done d where s.run = d.number and d.action = 'append' and d.turn is null
),
forgotten as (
    delete from longhaul.inbox i using done d where d.action = 'end' and i.run = d.number
),
outdated as (
    delete from longhaul.outcome o using done d where d.action = 'end' and o.run = d.number
),
dismissed as (
    delete from longhaul.attempt q using done d where d.action = 'end' and q.run = d.number
)
