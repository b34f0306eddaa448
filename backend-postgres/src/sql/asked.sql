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
    select s.run, s.status
    from (select * from asked where action <> 'append' or turn is null order by number offset 0) a
    cross join lateral (
        select standing.run, standing.status from longhaul.standing
        where standing.run = a.number and standing.owner is not distinct from $2 and standing.epoch = a.epoch
          and standing.segment = a.segment
          and standing.status not in ('Completed', 'Failed', 'Cancelled', 'Terminated')
          and (a.action not in ('park', 'end') or standing.arrivals <= a.read)
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
          else coalesce(a.number in (select run from held), false) end
      and case when a.turn > 0 then (
              select true from longhaul.turn
              where turn.run = a.number and turn.segment = a.segment and turn.turn = a.turn - 1)
          else true end
),
appended as (
    insert into longhaul.turn (run, segment, turn, first_event, write_id, record)
    select number, segment, turn, first_event, write, record from fit where turn is not null order by number
