-- Lists what a worker has claimed: $1 worker.
select r.id, a.segment, a.operation, a.attempt, a.queue, a.task, a.priority, a.due, a.content
from longhaul.attempt a cross join lateral (
    select run.id from longhaul.run where run.number = a.run offset 0) r
where a.claimed_by = $1 order by a.number
