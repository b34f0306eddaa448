-- Makes the store. Rows of other tables name a run by its number, which is short and grows; its id is for people.
-- Times are microseconds since 1970 by the backend's clock. Ids of workers and writes are sixteen bytes.

create table meta (
    id integer primary key check (id = 1),
    reader integer not null,                -- the oldest format version that may use the store
    hash_key blob not null,
    partitions integer not null,
    created_at integer not null
) strict;

create table worker (
    id blob primary key,
    label text not null,
    lease integer not null,                 -- microseconds
    lease_until integer not null,
    lanes integer not null,
    routes text not null,                   -- names, one a line
    tasks text not null,
    queues text not null,
    build text not null,
    joined_at integer not null
) strict, without rowid;

create table dead_worker (
    id blob primary key,
    died_at integer not null
) strict, without rowid;

create table run (
    number integer primary key,
    id text not null unique,
    kind text not null,
    type text not null,
    route text not null,
    partition integer not null,
    segment integer not null,
    status text not null,
    paused integer not null default 0,
    owner blob,
    epoch integer not null,
    arrivals integer not null default 0,
    read_to integer not null default 0,
    sealed integer not null default 0,
    turns integer not null,                 -- valid while nobody owns the run
    wake_at integer,
    lost integer not null default 0,
    lost_turns integer not null default 0,  -- turns when it was last lost
    blocked_reason text,
    blocked_build text,
    fingerprint blob not null,
    parent text,
    root text not null,
    parent_operation text,
    last_write blob,                        -- the last write that appended no turn
    created_at integer not null,
    updated_at integer not null
) strict;

create index run_due on run (route, wake_at)
    where owner is null and wake_at is not null and paused = 0 and blocked_build is null;
create index run_blocked on run (route, blocked_build, wake_at)
    where owner is null and wake_at is not null and paused = 0 and blocked_build is not null;
create index run_owned on run (owner) where owner is not null;
create index run_unread on run (owner) where owner is not null and arrivals > read_to;
create index run_child on run (parent, id) where parent is not null;
create index run_tree on run (root, id) where parent is not null;

create table turn (
    run integer not null references run (number) on delete cascade,
    segment integer not null,
    turn integer not null,
    first_event integer not null,
    write_id blob,
    record blob not null,
    primary key (run, segment, turn)
) strict, without rowid;

create table inbox (
    run integer not null references run (number) on delete cascade,
    number integer not null,
    write_id blob not null,
    kind text not null,
    name text not null,
    content blob not null,
    accepted_at integer not null,
    primary key (run, number)
) strict, without rowid;

create unique index inbox_write on inbox (run, write_id);

create table outbox (
    number integer primary key,
    recipient text not null,
    write_id blob not null,
    kind text not null,
    name text not null,
    content blob not null
) strict;

create table data (
    run integer not null references run (number) on delete cascade,
    key text not null,
    value blob not null,
    primary key (run, key)
) strict, without rowid;

create table tag (
    run integer not null references run (number) on delete cascade,
    position integer not null,
    name text not null,
    value text not null,
    primary key (run, position)
) strict, without rowid;

create index tag_value on tag (name, value, run);

create table attempt (
    number integer primary key,
    run integer not null references run (number) on delete cascade,
    segment integer not null,
    operation text not null,
    attempt integer not null,
    queue text not null,
    task text not null,
    priority integer not null,
    due integer,
    ready_at integer not null,              -- due, or when it was put in
    ready integer not null,                 -- 1 once ready_at was reached and noticed
    claimed_by blob,
    content blob not null,
    unique (run, segment, operation, attempt)
) strict;

create index attempt_ready on attempt (queue, task, priority desc, ready_at, number)
    where claimed_by is null and ready = 1;
create index attempt_delayed on attempt (queue, task, ready_at) where claimed_by is null and ready = 0;
create index attempt_claimed on attempt (claimed_by) where claimed_by is not null;
