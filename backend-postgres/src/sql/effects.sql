-- Writes what turns change elsewhere. Each row names its turn by `member`.
, changed as (
    insert into longhaul.data (run, key, value)
    select d.number, c.key, c.value
    from done d join unnest($19::bigint[], $20::text[], $21::bytea[]) as c (member, key, value) using (member)
    where c.value is not null
    order by d.number, c.key
    on conflict (run, key) do update set value = excluded.value
),
cleared as (
    delete from longhaul.data x
    using done d join unnest($19::bigint[], $20::text[], $21::bytea[]) as c (member, key, value) using (member)
    where c.value is null and x.run = d.number and x.key = c.key
),
withdrawn as (
    delete from longhaul.attempt q
    using done d join unnest($22::bigint[], $23::text[]) as w (member, operation) using (member)
    where d.action <> 'end' and q.run = d.number and q.segment = d.segment and q.operation = w.operation
    returning q.number
),
enqueued as (
    insert into longhaul.attempt
        (run, segment, operation, attempt, queue, task, priority, due, ready_at, ready, content)
    select d.number, e.segment, e.operation, e.attempt, e.queue, e.task, e.priority, e.due,
        coalesce(e.due, longhaul.at($1)),
        case when d.action <> 'pause' then coalesce(e.due <= longhaul.at($1), true) end, e.content
    from (select count(*) from withdrawn) w, done d join unnest(
        $24::bigint[], $25::bigint[], $26::text[], $27::bigint[], $28::text[], $29::text[], $30::smallint[],
        $31::bigint[], $32::bytea[])
        with ordinality as e (member, segment, operation, attempt, queue, task, priority, due, content, position)
        using (member)
    where d.action <> 'end'
    order by e.position
    on conflict (run, segment, operation, attempt) do nothing
),
wanted as materialized (
    select d.id as sender, c.*
    from done d join unnest(
        $33::bigint[], $34::text[], $35::text[], $36::text[], $37::text[], $38::integer[], $39::bytea[], $40::text[],
        $41::text[], $42::text[], $43::bytea[])
        with ordinality as c (member, id, kind, type, route, partition, fingerprint, parent, root, operation, record,
            position)
        using (member)
),
born as (
    insert into longhaul.run (id, kind, type, partition, fingerprint, parent, root, parent_operation, created_at)
    select id, kind, type, partition, fingerprint, parent, root, operation, longhaul.at($1)
    from (select distinct on (id) * from wanted order by id, position) w order by id
    on conflict (id) do nothing returning number, id
),
grown as materialized (
    select w.*, born.number
    from (select distinct on (id) * from wanted order by id, position) w join born using (id)
),
placed as (
    insert into longhaul.standing (run, segment, route, status, epoch, due_at, updated_at)
    select number, 1, route, 'Pending', 0, longhaul.at($1), longhaul.at($1) from grown
),
begun as (
    insert into longhaul.turn (run, segment, turn, first_event, record) select number, 1, 0, 0, record from grown
),
labelled as (
    insert into longhaul.tag (run, position, name, value)
    select g.number, l.position, l.name, l.value
    from grown g join unnest($44::bigint[], $45::integer[], $46::text[], $47::text[]) as l (child, position, name, value)
        on l.child = g.position
),
-- A child whose id is taken. Whether it is the sender's own is looked at once more when the message is delivered, as
-- this statement may not see the run that took the id.
refused as materialized (
    select w.member, 0 as rank, w.position, w.sender as recipient, gen_random_uuid() as write,
        'subworkflow_closed' as kind, coalesce(w.operation, '') as name, ''::bytea as content,
        w.id as child, w.parent as child_parent, w.operation as child_operation, w.type as child_type,
        w.fingerprint as child_fingerprint
    from wanted w
    where (select true from grown where grown.position = w.position) is null
      and (select true from longhaul.run r
           where r.id = w.id and r.parent is not distinct from w.parent and r.type = w.type
             and r.parent_operation is not distinct from w.operation and r.fingerprint = w.fingerprint) is null
),
sent as (
    insert into longhaul.outbox (recipient, write_id, kind, name, content,
        child, child_parent, child_operation, child_type, child_fingerprint)
    select recipient, write, kind, name, content, child, child_parent, child_operation, child_type, child_fingerprint
    from (
        select * from refused
        union all
        select d.member, 1, m.position, m.recipient, m.write, m.kind, m.name, m.content, null, null, null, null, null
        from done d join unnest($48::bigint[], $49::text[], $50::uuid[], $51::text[], $52::text[], $53::bytea[])
            with ordinality as m (member, recipient, write, kind, name, content, position) using (member)) x
    order by member, rank, position
)
