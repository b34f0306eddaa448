-- Appends the turn of one run and touches nothing else: $5 run, $6 segment, $7 epoch, $8 write, $9 turn,
-- $10 first event, $11 record. A turn that is there already fails the statement.
insert into longhaul.turn (run, segment, turn, first_event, write_id, record)
select r.number, $6::bigint, $9::bigint, $10::bigint, $8::uuid, $11::bytea
from fence cross join lateral (select number from longhaul.run where run.id = $5 offset 0) r
where (select true from longhaul.standing
       where standing.run = r.number and standing.owner = $2 and standing.epoch = $7 and standing.segment = $6)
  and case when $9 > 0 then (
          select true from longhaul.turn where turn.run = r.number and turn.segment = $6 and turn.turn = $9 - 1)
      else true end
returning 1::bigint as member
