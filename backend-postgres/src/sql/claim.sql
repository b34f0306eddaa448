-- Claims ready attempts: $5 queues, $6 the slots of each, $7 tasks.
, picked as materialized (
    select c.number, q.place
    from fence cross join unnest($5::text[], $6::bigint[]) with ordinality as q (queue, slots, place) cross join lateral (
        select x.number
        from unnest($7::text[]) as t (task) cross join lateral (
            select a.number, a.priority, a.ready_at from longhaul.attempt a
            where a.queue = q.queue and a.task = t.task and a.claimed_by is null and a.ready
            order by a.priority desc, a.ready_at, a.number limit q.slots for update skip locked) x
        order by x.priority desc, x.ready_at, x.number limit q.slots) c
),
taken as (
    update longhaul.attempt a set claimed_by = $2 from picked where a.number = picked.number
    returning a.*, picked.place
)
select (select count(*) from fence) as fenced, r.id, a.segment, a.operation, a.attempt, a.queue, a.task, a.priority,
    a.due, a.content
from (select 1) one left join taken a on true
left join lateral (select run.id from longhaul.run where run.number = a.run offset 0) r on true
order by a.place, a.priority desc, a.ready_at, a.number
