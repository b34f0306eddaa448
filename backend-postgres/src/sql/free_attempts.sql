-- Gives up attempts that dead workers claimed: $1 now, $2 workers, $3 the most runs. Their runs are told.
with held as materialized (
    select s.* from (
        select distinct run from longhaul.attempt where claimed_by = any($2::uuid[]) order by run limit $3) a
    cross join lateral (
        select run, arrivals, status from longhaul.standing where standing.run = a.run for no key update) s
),
taken as (
    delete from longhaul.attempt q using held h
    where q.run = h.run and q.claimed_by = any($2::uuid[])
    returning q.run, q.number, q.claimed_by, q.operation, q.attempt, h.arrivals, h.status
),
ranked as materialized (
    select t.*, row_number() over (partition by t.run order by t.claimed_by, t.number) as rank
    from taken t where t.status not in ('Completed', 'Failed', 'Cancelled', 'Terminated')
),
put as (
    insert into longhaul.inbox (run, number, write_id, kind, name, content, accepted_at)
    select run, arrivals + rank, gen_random_uuid(), 'attempt_lost', operation, substring(int8send(attempt) from 5), longhaul.at($1)
    from ranked order by run, rank
),
raised as (
    update longhaul.standing s set arrivals = s.arrivals + c.count,
        due_at = case when s.owner is null and s.status <> 'Paused'
            then least(coalesce(s.due_at, longhaul.at($1)), longhaul.at($1)) end,
        woken_at = case when s.owner is not null then least(coalesce(s.woken_at, longhaul.at($1)), longhaul.at($1)) end,
        updated_at = longhaul.at($1)
    from (select run, count(*) as count from ranked group by run) c where s.run = c.run
)
select (select count(*) from taken) as freed, (select count(*) from held) as seen
