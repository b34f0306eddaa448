-- Moves messages from the outbox to inboxes: $1 now, $2 the most. One at a time delivers, so that messages keep their
-- order; a message that somebody delivered since this statement's snapshot is gone when its row is locked.
with turnstile as materialized (
    select id from longhaul.turnstile where id = 1 for update
),
messages as materialized (
    select m.* from turnstile cross join lateral (
        select * from longhaul.outbox order by outbox.number limit $2 for update) m
),
addressed as materialized (
    select m.*, r.number as run
    from messages m cross join lateral (select run.number from longhaul.run where run.id = m.recipient offset 0) r
    where m.child is null or (
        select true from longhaul.run c
        where c.id = m.child and c.parent is not distinct from m.child_parent and c.type = m.child_type
          and c.parent_operation is not distinct from m.child_operation and c.fingerprint = m.child_fingerprint) is null
),
held as materialized (
    select s.* from (select distinct run from addressed order by run offset 0) a cross join lateral (
        select run, arrivals from longhaul.standing
        where standing.run = a.run and standing.status not in ('Completed', 'Failed', 'Cancelled', 'Terminated')
        for no key update) s
),
ranked as materialized (
    select f.*, h.arrivals, row_number() over (partition by f.run order by f.number) as rank
    from (select distinct on (run, write_id) * from addressed order by run, write_id, number) f
    join held h on h.run = f.run
    where (select true from longhaul.inbox i where i.run = f.run and i.write_id = f.write_id) is null
),
put as (
    insert into longhaul.inbox (run, number, write_id, kind, name, content, accepted_at)
    select run, arrivals + rank, write_id, kind, name, content, longhaul.at($1) from ranked order by run, rank
),
raised as (
    update longhaul.standing s set arrivals = s.arrivals + c.count,
        due_at = case when s.owner is null and s.status <> 'Paused'
            then least(coalesce(s.due_at, longhaul.at($1)), longhaul.at($1)) end,
        woken_at = case when s.owner is not null then least(coalesce(s.woken_at, longhaul.at($1)), longhaul.at($1)) end,
        updated_at = longhaul.at($1)
    from (select run, count(*) as count from ranked group by run) c where s.run = c.run
),
gone as (
    delete from longhaul.outbox o using messages m where o.number = m.number
)
select count(*) from messages
