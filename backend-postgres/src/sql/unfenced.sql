-- Stands for the lane in statements that assert no ownership; $2, $3 and $4 are not used.
with fence as materialized (
    select $2::uuid as worker where $3::integer is null and $4::bigint is null
)
