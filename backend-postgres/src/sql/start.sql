-- Starts runs: $1 now, $5 to $14 what they are, $15 to $18 their tags, $19 the owner, who is the lane's worker or null.
-- An id that is taken fails the statement, as each row that may be there costs a look and a record of its own.
, asked as materialized (
    select s.* from fence cross join unnest(
        $5::text[], $6::text[], $7::text[], $8::text[], $9::integer[], $10::bytea[], $11::text[], $12::text[],
        $13::text[], $14::bytea[])
        with ordinality as s (id, kind, type, route, partition, fingerprint, parent, root, operation, record, position)
),
born as (
    insert into longhaul.run (id, kind, type, partition, fingerprint, parent, root, parent_operation, created_at)
    select id, kind, type, partition, fingerprint, parent, root, operation, longhaul.at($1) from asked order by id
