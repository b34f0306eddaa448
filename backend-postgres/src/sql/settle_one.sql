-- Appends the last turn of one run for now and writes its row: $5 to $11 as `append_one`, $12 what becomes of the run,
-- $13 read, $14 seal, $15 when to wake, $16 status, $17 reason, $18 build. A turn that is there already fails the
-- statement.
, held as materialized (
    select r.number
    from fence cross join lateral (select number from longhaul.run where run.id = $5 offset 0) r
    cross join lateral (
        select true from longhaul.standing
        where standing.run = r.number and standing.owner = $2 and standing.epoch = $7::bigint
          and standing.segment = $6::bigint
          and ($12::text not in ('park', 'end') or standing.arrivals <= $13::bigint)
        for no key update skip locked) s
    where case when $9::bigint > 0 then (
            select true from longhaul.turn where turn.run = r.number and turn.segment = $6 and turn.turn = $9 - 1)
        else true end
),
appended as (
    insert into longhaul.turn (run, segment, turn, first_event, write_id, record)
    select number, $6, $9, $10::bigint, $8::uuid, $11::bytea from held
),
moved as (
    update longhaul.standing s set
        read_to = greatest(s.read_to, $13),
        sealed = $12 = 'drain' and (s.sealed or $14::boolean),
        owner = case $12 when 'drain' then s.owner end,
        status = coalesce($16::text, s.status),
        due_at = case $12 when 'drain' then s.due_at when 'park' then $15::bigint when 'end' then null
            else longhaul.at($1) end,
        woken_at = case when $12 = 'drain' and s.arrivals > greatest(s.read_to, $13) then s.woken_at end,
        lost = case $12 when 'drain' then s.lost else 0 end,
        lost_turns = case $12 when 'drain' then s.lost_turns else $9 + 1 end,
        blocked_reason = case $12 when 'drain' then s.blocked_reason else $17::text end,
        blocked_build = case $12 when 'drain' then s.blocked_build else $18::text end,
        updated_at = longhaul.at($1)
    from held where s.run = held.number
),
forgotten as (
    delete from longhaul.inbox i using held where $12 = 'end' and i.run = held.number
),
outdated as (
    delete from longhaul.outcome o using held where $12 = 'end' and o.run = held.number
),
dismissed as (
    delete from longhaul.attempt q using held where $12 = 'end' and q.run = held.number
)
select 1::bigint as member from held
