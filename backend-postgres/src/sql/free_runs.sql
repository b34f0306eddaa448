-- Frees runs of dead workers: $1 now, $2 workers, $3 the most. Comes after their fence rows are gone, in a snapshot of
-- its own, so that no turn and no run of theirs is still to come.
with held as materialized (
    select run from longhaul.standing where owner = any($2::uuid[]) order by run limit $3 for update
),
freed as (
    update longhaul.standing s set owner = null, due_at = longhaul.at($1), woken_at = null, sealed = false,
    updated_at = longhaul.at($1),
    (lost, lost_turns) = (
        select case when x.had > s.lost_turns then 1 else s.lost + 1 end, x.had
        from (select coalesce(max(turn.turn) + 1, 0) as had from longhaul.turn
              where turn.run = s.run and turn.segment = s.segment) x)
from held where s.run = held.run
    returning s.run
)
select (select count(*) from freed) as freed, (select count(*) from held) as seen
