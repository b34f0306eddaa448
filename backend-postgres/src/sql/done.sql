-- Tells which turns were committed.
select member from done
