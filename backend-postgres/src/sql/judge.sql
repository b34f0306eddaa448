-- Reads why turns were not committed, in a snapshot of its own: $1 worker, $2 lane, $3 runs, $4 segments, $5 turns.
select t.member, s.owner,
    coalesce(s.status in ('Completed', 'Failed', 'Cancelled', 'Terminated'), true) as is_finished, s.epoch, s.segment, s.arrivals, s.last_write,
    (select turn.write_id from longhaul.turn
     where turn.run = r.number and turn.segment = t.segment and turn.turn = t.turn) as before,
    coalesce((select max(turn.turn) + 1 from longhaul.turn where turn.run = r.number and turn.segment = s.segment), 0)
        as turns,
    (select fence.n from longhaul.fence where fence.worker = $1 and fence.lane = $2) as n
from unnest($3::text[], $4::bigint[], $5::bigint[]) with ordinality as t (id, segment, turn, member)
left join lateral (select number from longhaul.run where run.id = t.id offset 0) r on true
left join lateral (select * from longhaul.standing where standing.run = r.number offset 0) s on true
order by t.member
