//! Proves that the statements which run all the time look at what they need and nothing else.
//!
//! Invariants: the plans are the same on an empty store and on a large one whose statistics were gathered.

use longhaul_core::clock::Timestamp;
use rusqlite::Connection;
use rusqlite::types::Null;

use crate::config::Durability;
#[cfg(feature = "sqlx")]
use crate::transactions;
use crate::{commit, schema, state, takeover, tasks, timers};

const HOT: [(&str, &str); 14] = [
    (
        timers::DUE_NOW,
        "run_due (route=? AND wake_at>? AND wake_at<?)",
    ),
    (timers::DUE_NEXT, "run_due (route=? AND wake_at>?)"),
    (
        timers::BLOCKING,
        "run_blocked (route=? AND blocked_build>?)",
    ),
    (
        timers::BLOCKED,
        "run_blocked (route=? AND blocked_build=? AND wake_at>? AND wake_at<?)",
    ),
    (state::UNREAD, "run_unread (owner=?)"),
    (takeover::FREE, "run_owned (owner=?)"),
    (
        tasks::NOTICE,
        "attempt_delayed (queue=? AND task=? AND ready_at<?)",
    ),
    (tasks::READY, "attempt_ready (queue=? AND task=?)"),
    (
        tasks::DELAYED,
        "attempt_delayed (queue=? AND task=? AND ready_at<?)",
    ),
    (
        tasks::NEXT,
        "attempt_delayed (queue=? AND task=? AND ready_at>?)",
    ),
    (commit::STANDING, "(id=?)"),
    (
        commit::APPEND,
        "PRIMARY KEY (run=? AND segment=? AND turn=?)",
    ),
    (
        commit::REPEATED,
        "PRIMARY KEY (run=? AND segment=? AND turn=?)",
    ),
    (commit::TURNS, "PRIMARY KEY (run=? AND segment=?)"),
];

#[cfg(feature = "sqlx")]
const OF_TRANSACTIONS: [(&str, &str); 2] = [
    (
        transactions::STANDING,
        "PRIMARY KEY (run=? AND segment=? AND operation=?)",
    ),
    (
        transactions::RECORDED,
        "PRIMARY KEY (run=? AND segment=? AND operation=?)",
    ),
];
#[cfg(not(feature = "sqlx"))]
const OF_TRANSACTIONS: [(&str, &str); 0] = [];

fn plan(connection: &Connection, statement: &str) -> String {
    let mut explained = connection
        .prepare(&format!("explain query plan {statement}"))
        .unwrap();
    let places = vec![Null; explained.parameter_count()];
    let lines = explained
        .query_map(rusqlite::params_from_iter(places), |row| {
            row.get::<_, String>(3)
        })
        .unwrap();
    lines.map(Result::unwrap).collect::<Vec<_>>().join("; ")
}

fn check_plans(connection: &Connection) {
    for (statement, wanted) in HOT.into_iter().chain(OF_TRANSACTIONS) {
        let plan = plan(connection, statement);
        assert!(plan.contains(wanted), "{statement}\n{plan}");
        let sorts_due = plan.contains("ORDER BY") && !statement.contains("order by id");
        assert!(!sorts_due, "{statement}\n{plan}");
        for table in ["run", "turn", "attempt", "inbox"] {
            assert!(
                !plan.contains(&format!("SCAN {table}")),
                "{statement}\n{plan}"
            );
        }
    }
}

#[test]
fn hot_statements_use_their_indexes_on_an_empty_and_on_a_large_store() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("plans.db");
    let (connection, _) =
        schema::open_writer(&path, Durability::Fast, Timestamp::default()).unwrap();
    check_plans(&connection);
    connection.execute_batch(FILL).unwrap();
    check_plans(&connection);
    connection.execute_batch("analyze").unwrap();
    let (reopened, _) = schema::open_writer(&path, Durability::Fast, Timestamp::default()).unwrap();
    check_plans(&reopened);
}

/// Makes 30,000 runs, most of them parked, with three turns each, and 10,000 attempts.
const FILL: &str = "
    with recursive n (i) as (select 1 union all select i + 1 from n where i < 30000)
    insert into run (id, kind, type, route, partition, segment, status, owner, epoch, turns, wake_at, blocked_build,
        fingerprint, root, created_at, updated_at)
    select 'run-' || i, 'workflow', 't', 'r' || (i % 3), 0, 1, 'Waiting', iif(i % 100 = 0, randomblob(16), null), 1, 3,
        iif(i % 2 = 0, i, null), iif(i % 50 = 1, 'b', null), randomblob(16), 'run-' || i, 0, 0 from n;
    insert into turn (run, segment, turn, first_event, record)
    select number, 1, column1, 0, randomblob(100) from run, (values (0), (1), (2));
    insert into attempt (run, segment, operation, attempt, queue, task, priority, ready_at, ready, content)
    select number, 1, 'task:x#1', 1, 'q', 't' || (number % 5), number % 3, number, number % 2, x'' from run limit 10000;
";
