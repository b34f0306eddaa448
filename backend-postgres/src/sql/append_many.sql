-- Appends turns of many runs and touches nothing else; arrays of what `append_one` takes. A turn that is there already
-- fails the statement, as each row that may be there costs a look and a record of its own.
, asked as materialized (
    select t.*, r.number
    from fence cross join unnest(
        $5::text[], $6::bigint[], $7::bigint[], $8::uuid[], $9::bigint[], $10::bigint[], $11::bytea[])
        with ordinality as t (id, segment, epoch, write, turn, first_event, record, member)
    cross join lateral (select number from longhaul.run where run.id = t.id offset 0) r
),
fit as materialized (
    select a.* from asked a
    where (select true from longhaul.standing
           where standing.run = a.number and standing.owner = $2 and standing.epoch = a.epoch
             and standing.segment = a.segment)
      and case when a.turn > 0 then (
              select true from longhaul.turn
              where turn.run = a.number and turn.segment = a.segment and turn.turn = a.turn - 1)
          else true end
),
appended as (
    insert into longhaul.turn (run, segment, turn, first_event, write_id, record)
    select number, segment, turn, first_event, write, record from fit order by number returning run
)
select member from fit where coalesce(number in (select run from appended), false)
