-- Starts runs: $1 now, $5 to $14 what they are, $15 to $18 their tags, $19 the owner, who is the lane's worker or null.
, asked as materialized (
    select s.* from fence cross join unnest(
        $5::text[], $6::text[], $7::text[], $8::text[], $9::integer[], $10::bytea[], $11::text[], $12::text[],
        $13::text[], $14::bytea[])
        with ordinality as s (id, kind, type, route, partition, fingerprint, parent, root, operation, record, position)
),
born as (
    insert into longhaul.run (id, kind, type, partition, fingerprint, parent, root, parent_operation, created_at)
    select id, kind, type, partition, fingerprint, parent, root, operation, longhaul.at($1) from asked order by id
    on conflict (id) do nothing returning number, id
),
grown as materialized (
    select asked.*, born.number from asked join born using (id)
),
placed as (
    insert into longhaul.standing (run, segment, route, status, owner, epoch, due_at, updated_at)
    select number, 1, route, case when $19::uuid is null then 'Pending' else 'Running' end, $19,
        case when $19 is null then 0 else 1 end, case when $19 is null then longhaul.at($1) end, longhaul.at($1)
    from grown
),
begun as (
    insert into longhaul.turn (run, segment, turn, first_event, record) select number, 1, 0, 0, record from grown
),
labelled as (
    insert into longhaul.tag (run, position, name, value)
    select g.number, l.place, l.name, l.value
    from grown g join unnest($15::bigint[], $16::integer[], $17::text[], $18::text[]) as l (run, place, name, value)
        on l.run = g.position
)
select (select count(*) from fence) as fenced, array(select position from grown) as new
