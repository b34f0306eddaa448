-- Makes attempts ready whose time has come: $1 now, $2 queues, $3 tasks.
update longhaul.attempt set ready = true
where number in (
    select x.number
    from unnest($2::text[]) as q (queue) cross join unnest($3::text[]) as t (task) cross join lateral (
        select a.number from longhaul.attempt a
        where a.queue = q.queue and a.task = t.task and a.claimed_by is null and not a.ready
          and a.ready_at <= longhaul.at($1)
        for update skip locked) x)
