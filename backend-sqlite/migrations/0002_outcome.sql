-- Keeps the outcome of a transactional task from its commit, which is the user's own, until its run has ended.

create table outcome (
    run integer not null references run (number) on delete cascade,
    segment integer not null,
    operation text not null,
    content blob not null,
    primary key (run, segment, operation)
) strict, without rowid;
