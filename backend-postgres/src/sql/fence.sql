-- Locks the row of a lane: $2 worker, $3 lane, $4 its number. Begins every statement that asserts ownership.
with fence as materialized (
    select worker from longhaul.fence where worker = $2 and lane = $3 and n = $4 for update
)
