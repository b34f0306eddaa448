-- Takes due runs: $5 routes, $6 build, $7 limit. Those that other builds blocked are found by one probe per build.
, builds as (
    with recursive found (route, build) as (
        select r.route, (
            select min(s.blocked_build) from longhaul.standing s
            where s.route = r.route and s.blocked_build is not null and s.due_at is not null)
        from unnest($5::text[]) as r (route)
        union all
        select f.route, (
            select min(s.blocked_build) from longhaul.standing s
            where s.route = f.route and s.blocked_build > f.build and s.due_at is not null)
        from found f where f.build is not null)
    select route, build from found where build <> $6
),
due as materialized (
    select x.run, x.due_at
    from fence cross join unnest($5::text[]) as r (route) cross join lateral (
        select s.run, s.due_at from longhaul.standing s
        where s.route = r.route and s.due_at is not null and s.due_at <= longhaul.at($1) and s.blocked_build is null
        order by s.due_at, s.run limit $7 for update skip locked) x
),
unblocked as materialized (
    select x.run, x.due_at
    from fence cross join builds b cross join lateral (
        select s.run, s.due_at from longhaul.standing s
        where s.route = b.route and s.blocked_build = b.build and s.due_at is not null
          and s.due_at <= longhaul.at($1)
        order by s.due_at, s.run limit $7 for update skip locked) x
),
picked as materialized (
    select run, due_at from (select * from due union all select * from unblocked) c order by due_at, run limit $7
),
taken as (
    update longhaul.standing s set owner = $2, epoch = s.epoch + 1, status = 'Running', due_at = null, woken_at = null,
        sealed = false, blocked_reason = null, blocked_build = null, updated_at = longhaul.at($1)
    from picked where s.run = picked.run
    returning s.run, s.epoch, picked.due_at
)
select (select count(*) from fence) as fenced, array(select run from taken order by due_at, run) as runs,
    array(select epoch from taken order by due_at, run) as epochs
