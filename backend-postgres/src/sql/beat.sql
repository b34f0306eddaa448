-- Tells a worker all it needs to know: $1 now, $2 worker, $3 the lease, if it is to be extended, $4 routes, $5 build,
-- $6 queues, $7 tasks, $8 the most to count.
with extended as (
    update longhaul.worker set lease_until = longhaul.at($1) + $3::bigint
    where id = $2 and died_at is null and $3::bigint is not null returning id
),
alive as materialized (
    select id from longhaul.worker where id = $2 and died_at is null and $3::bigint is null union all select id from extended
),
builds as materialized (
    with recursive found (route, build) as (
        select r.route, (
            select min(s.blocked_build) from longhaul.standing s
            where s.route = r.route and s.blocked_build is not null and s.due_at is not null)
        from unnest($4::text[]) as r (route)
        union all
        select f.route, (
            select min(s.blocked_build) from longhaul.standing s
            where s.route = f.route and s.blocked_build > f.build and s.due_at is not null)
        from found f where f.build is not null)
    select route, build from found where build <> $5
)
select longhaul.at($1) as now,
    (select count(*) from alive) as alive,
    array(
        select r.id from longhaul.standing s cross join lateral (
            select run.id from longhaul.run where run.number = s.run offset 0) r
        where s.owner = $2 and s.arrivals > s.read_to order by r.id) as arrivals,
    (select count(*) from (
        select from unnest($4::text[]) as r (route) cross join lateral (
            select from longhaul.standing s
            where s.route = r.route and s.due_at is not null and s.due_at <= longhaul.at($1) and s.blocked_build is null
            limit $8) x
        union all
        select from builds b cross join lateral (
            select from longhaul.standing s
            where s.route = b.route and s.blocked_build = b.build and s.due_at is not null
              and s.due_at <= longhaul.at($1)
            limit $8) y) z) as due,
    (select min(x.due_at) from unnest($4::text[]) as r (route) cross join lateral (
        select s.due_at from longhaul.standing s
        where s.route = r.route and s.due_at is not null and s.due_at > longhaul.at($1) and s.blocked_build is null
        order by s.due_at limit 1) x) as next_due,
    (select count(*) from unnest($6::text[]) as q (queue) cross join unnest($7::text[]) as t (task) cross join lateral (
        (select from longhaul.attempt a
         where a.queue = q.queue and a.task = t.task and a.claimed_by is null and a.ready limit $8)
        union all
        (select from longhaul.attempt a
         where a.queue = q.queue and a.task = t.task and a.claimed_by is null and not a.ready
           and a.ready_at <= longhaul.at($1) limit $8)) x) as claimable,
    (select min(x.ready_at) from unnest($6::text[]) as q (queue) cross join unnest($7::text[]) as t (task)
     cross join lateral (
        select a.ready_at from longhaul.attempt a
        where a.queue = q.queue and a.task = t.task and a.claimed_by is null and not a.ready
          and a.ready_at > longhaul.at($1)
        order by a.ready_at limit 1) x) as next_claimable,
    array(
        select w.id from longhaul.worker w
        where not w.freed and (w.died_at is not null or w.lease_until < longhaul.at($1) and (w.id <> $2 or $3::bigint is null))
        order by w.id) as dead,
    (select count(*) from longhaul.worker w
     where w.id <> $2 and w.died_at is null and w.lease_until >= longhaul.at($1) and cardinality(w.tasks) > 0) as peers,
    exists (select from longhaul.outbox) as outbox,
    (select count(*) from longhaul.standing s where s.owner = $2) as owned,
    (select count(*) from longhaul.attempt a where a.claimed_by = $2) as claimed
