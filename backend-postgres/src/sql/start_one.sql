-- Starts one run without tags: $5 to $14 what it is, $15 the owner, who is the lane's worker. An id that is taken fails
-- the statement.
, born as (
    insert into longhaul.run (id, kind, type, partition, fingerprint, parent, root, parent_operation, created_at)
    select $5::text, $6::text, $7::text, $9::integer, $10::bytea, $11::text, $12::text, $13::text, longhaul.at($1)
    from fence
    returning number
),
placed as (
    insert into longhaul.standing (run, segment, route, status, owner, epoch, updated_at)
    select number, 1, $8::text, 'Running', $15::uuid, 1, longhaul.at($1) from born
),
begun as (
    insert into longhaul.turn (run, segment, turn, first_event, record)
    select number, 1, 0, 0, $14::bytea from born
)
select (select count(*) from fence) as fenced, array(select 1::bigint from born) as new
