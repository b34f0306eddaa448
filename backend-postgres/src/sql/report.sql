-- Takes claimed attempts off their queues and puts their outcomes into inboxes: $1 now, $2 workers, $3 runs,
-- $4 segments, $5 operations, $6 attempts, $7 writes, $8 contents. No attempt and no write is named twice. Runs are
-- locked before their attempts, as everywhere: the window over all rows sees to it.
with asked as materialized (
    select a.*, r.number as run
    from unnest($2::uuid[], $3::text[], $4::bigint[], $5::text[], $6::bigint[], $7::uuid[], $8::bytea[])
        with ordinality as a (worker, id, segment, operation, attempt, write, content, position)
    left join lateral (select number from longhaul.run where run.id = a.id offset 0) r on true
),
held as materialized (
    select s.* from (select distinct run from asked where run is not null order by run offset 0) a
    cross join lateral (
        select run, status, owner, arrivals from longhaul.standing where standing.run = a.run for no key update) s
),
seen as materialized (
    select a.*, h.owner, h.arrivals, h.status not in ('Completed', 'Failed', 'Cancelled', 'Terminated') as open,
        count(*) over () as held,
        (select true from longhaul.inbox i where i.run = a.run and i.write_id = a.write) as before
    from asked a join held h on h.run = a.run
),
taken as (
    delete from longhaul.attempt q using seen s
    where s.open and s.before is null and q.run = s.run and q.segment = s.segment and q.operation = s.operation
      and q.attempt = s.attempt and q.claimed_by = s.worker
    returning s.position
),
ranked as materialized (
    select s.*, row_number() over (partition by s.run order by s.position) as rank
    from seen s join taken using (position)
),
put as (
    insert into longhaul.inbox (run, number, write_id, kind, name, content, accepted_at)
    select run, arrivals + rank, write, 'task_outcome', operation, content, longhaul.at($1) from ranked order by run, rank
),
raised as (
    update longhaul.standing s set arrivals = s.arrivals + c.count,
        due_at = case when s.owner is null and s.status <> 'Paused'
            then least(coalesce(s.due_at, longhaul.at($1)), longhaul.at($1)) end,
        woken_at = case when s.owner is not null then least(coalesce(s.woken_at, longhaul.at($1)), longhaul.at($1)) end,
        updated_at = longhaul.at($1)
    from (select run, count(*) as count from ranked group by run) c where s.run = c.run
)
select s.position, s.owner from seen s
where s.before or (select true from ranked where ranked.position = s.position)
order by s.position
