    -- Goes on from `start`: gives what was born its standing, its first turn and its tags.
    returning number, id
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
