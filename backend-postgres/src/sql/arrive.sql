-- Puts arrivals into inboxes: $1 now, $2 runs, $3 writes, $4 kinds, $5 names, $6 contents, $7 the most unread ones of
-- the run. No write is named twice. An arrival that came meanwhile is met by the unique key, and asked again.
with asked as materialized (
    select a.*, r.number as run
    from unnest($2::text[], $3::uuid[], $4::text[], $5::text[], $6::bytea[], $7::bigint[])
        with ordinality as a (id, write, kind, name, content, most, position)
    left join lateral (select number from longhaul.run where run.id = a.id offset 0) r on true
),
held as materialized (
    select s.* from (select distinct run from asked where run is not null order by run offset 0) a
    cross join lateral (
        select run, status, owner, arrivals, read_to, sealed from longhaul.standing where standing.run = a.run
        for no key update) s
),
seen as materialized (
    select a.*, h.status, h.owner, h.arrivals, h.read_to, h.sealed,
        h.status in ('Completed', 'Failed', 'Cancelled', 'Terminated') as ended,
        (select number from longhaul.inbox i where i.run = a.run and i.write_id = a.write) as before
    from asked a left join held h on h.run = a.run
),
ranked as materialized (
    select s.*, row_number() over (partition by s.run order by s.position) as rank
    from seen s where s.run is not null and not s.ended and not s.sealed and s.before is null
),
accepted as materialized (
    select * from ranked where arrivals - read_to + rank <= most
),
put as (
    insert into longhaul.inbox (run, number, write_id, kind, name, content, accepted_at)
    select run, arrivals + rank, write, kind, name, content, longhaul.at($1) from accepted order by run, rank
),
raised as (
    update longhaul.standing s set arrivals = s.arrivals + c.count,
        due_at = case when s.owner is null and s.status <> 'Paused'
            then least(coalesce(s.due_at, longhaul.at($1)), longhaul.at($1)) end,
        woken_at = case when s.owner is not null then least(coalesce(s.woken_at, longhaul.at($1)), longhaul.at($1)) end,
        updated_at = longhaul.at($1)
    from (select run, count(*) as count from accepted group by run) c where s.run = c.run
)
select s.position, s.run, s.status, s.owner, s.sealed, s.ended, s.before,
    (select a.arrivals + a.rank from accepted a where a.position = s.position) as number,
    coalesce(
        (select i.accepted_at from longhaul.inbox i where i.run = s.run and i.number = s.before), longhaul.at($1))
        as accepted_at
from seen s order by s.position
