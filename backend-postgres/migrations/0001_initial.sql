-- Makes the store. `longhaul` stands for the schema, whatever its name. Rows of other tables name a run by its number,
-- which is short and grows; its id is for people. Times are microseconds since 1970 by the server's clock.
--
-- What never changes of a run is in `run`, what does in `standing`: narrow rows, with room to be updated in place, and
-- no foreign keys, as each would lock a row more. What is indexed of a standing changes only when the run changes
-- hands: `due_at` is of runs that nobody owns, `woken_at` of those that somebody does.

create table longhaul.meta (
    id smallint primary key check (id = 1),
    format bigint not null,                 -- how many migrations were applied
    reader bigint not null,                 -- the oldest format whose readers may use the store
    hash_key bytea not null,
    partitions integer not null,
    created_at bigint not null
);

-- Has one row, which is locked by whoever delivers messages, so that they keep their order.
create table longhaul.turnstile (id smallint primary key);
insert into longhaul.turnstile values (1);

create table longhaul.worker (
    id uuid primary key,
    label text not null,
    lease_until bigint not null,
    routes text[] not null,
    tasks text[] not null,
    queues text[] not null,
    build text not null,
    joined_at bigint not null,
    died_at bigint,                         -- declared dead, or left
    freed boolean not null default false    -- what it had was taken from it
) with (fillfactor = 50);

-- Has a row for each lane of a worker, and one for its claims. Whoever asserts ownership locks the row of its lane; whoever
-- takes over removes it first.
create table longhaul.fence (
    worker uuid not null,
    lane integer not null,                  -- -1 for claims
    n bigint not null default 0,            -- raised when an answer was lost, so that a late statement finds nothing
    primary key (worker, lane)
) with (fillfactor = 50);

create table longhaul.run (
    number bigint generated always as identity primary key,
    id text collate "C" not null unique,
    kind text not null,
    type text collate "C" not null,
    partition integer not null,
    fingerprint bytea not null,
    parent text collate "C",
    root text collate "C" not null,
    parent_operation text collate "C",
    created_at bigint not null
);

create index run_child on longhaul.run (parent, id) where parent is not null;
create index run_tree on longhaul.run (root, id) where parent is not null;

create table longhaul.standing (
    run bigint primary key,
    segment bigint not null,
    route text collate "C" not null,
    status text not null,
    owner uuid,
    epoch bigint not null,
    arrivals bigint not null default 0,
    read_to bigint not null default 0,
    sealed boolean not null default false,
    due_at bigint,                          -- null while somebody owns the run
    woken_at bigint,                        -- null while nobody owns the run
    lost bigint not null default 0,
    lost_turns bigint not null default 0,   -- turns when it was last lost or given up
    blocked_reason text,
    blocked_build text collate "C",
    last_write uuid,                        -- the last write that appended no turn
    updated_at bigint not null
) with (fillfactor = 70);

create index standing_due on longhaul.standing (route, due_at, run)
    where due_at is not null and blocked_build is null;
create index standing_blocked on longhaul.standing (route, blocked_build, due_at, run)
    where due_at is not null and blocked_build is not null;
create index standing_owned on longhaul.standing (owner, run) where owner is not null;

create table longhaul.turn (
    run bigint not null,
    segment bigint not null,
    turn bigint not null,
    first_event bigint not null,
    write_id uuid,
    record bytea not null,
    primary key (run, segment, turn)
);

create table longhaul.inbox (
    run bigint not null,
    number bigint not null,
    write_id uuid not null,
    kind text not null,
    name text not null,
    content bytea not null,
    accepted_at bigint not null,
    primary key (run, number)
);

create unique index inbox_write on longhaul.inbox (run, write_id);

create table longhaul.outbox (
    number bigint generated always as identity primary key,
    recipient text collate "C" not null,
    write_id uuid not null,
    kind text not null,
    name text not null,
    content bytea not null,
    -- Says, where it is not null, that the message goes only if this run is not the recipient's own child.
    child text collate "C",
    child_parent text collate "C",
    child_operation text collate "C",
    child_type text collate "C",
    child_fingerprint bytea
);

create table longhaul.data (
    run bigint not null,
    key text collate "C" not null,
    value bytea not null,
    primary key (run, key)
);

-- What transactional tasks committed together with the user's own rows, until the run ends.
create table longhaul.outcome (
    run bigint not null,
    segment bigint not null,
    operation text collate "C" not null,
    content bytea not null,
    primary key (run, segment, operation)
);

create table longhaul.tag (
    run bigint not null,
    position integer not null,
    name text collate "C" not null,
    value text collate "C" not null,
    primary key (run, position)
);

create index tag_value on longhaul.tag (md5(name), md5(value), run);

create table longhaul.attempt (
    number bigint generated always as identity primary key,
    run bigint not null,
    segment bigint not null,
    operation text collate "C" not null,
    attempt bigint not null,
    queue text collate "C" not null,
    task text collate "C" not null,
    priority smallint not null,
    due bigint,
    ready_at bigint not null,               -- due, or when it was put in
    ready boolean not null,                 -- whether ready_at was reached and noticed
    claimed_by uuid,
    content bytea not null,
    unique (run, segment, operation, attempt)
) with (fillfactor = 80);

create index attempt_ready on longhaul.attempt (queue, task, priority desc, ready_at, number)
    where claimed_by is null and ready;
create index attempt_delayed on longhaul.attempt (queue, task, ready_at) where claimed_by is null and not ready;
create index attempt_claimed on longhaul.attempt (claimed_by, run) where claimed_by is not null;

-- Tells the time of a statement: the server's, or the one that a test gives. A statement that waits keeps the time at
-- which it was sent, so that nothing is due too early and no lease is longer than its owner thinks.
create function longhaul.at(given bigint) returns bigint language sql stable as
$$ select coalesce(given, (extract(epoch from statement_timestamp()) * 1000000)::bigint) $$;
