//! Tests that statements are driven by their arrays over indexes, whatever the tables hold.
//!
//! Each text is prepared while the tables are empty, as a server does that was just set up, and explained; then the
//! tables are filled and analysed, and the same prepared statement is explained again.

use sqlx::{AssertSqlSafe, Executor, PgConnection, Row};

use crate::fixture::{PostgresFixture, run, session};
use crate::session::in_schema;
use crate::{commit, events, inspect, state, takeover, tasks};
use longhaul_tests::Fixture as _;

/// Lists the statements of running stores; lists and counts of people are not among them.
const STATEMENTS: [(&str, &str); 29] = [
    ("append one", commit::APPEND_ONE),
    ("append many", commit::APPEND_MANY),
    ("settle one", commit::SETTLE_ONE),
    ("settle", commit::SETTLE),
    ("write", commit::WRITE),
    ("write again", commit::WRITE_AGAIN),
    ("edit", commit::EDIT),
    ("judge", commit::JUDGE),
    ("start one", state::START_ONE),
    ("start", state::START),
    ("start again", state::START_AGAIN),
    ("start unowned", state::START_UNOWNED),
    ("start unowned again", state::START_UNOWNED_AGAIN),
    ("acquire", state::ACQUIRE),
    ("beat", state::BEAT),
    ("owned", state::OWNED),
    ("load", state::LOAD),
    ("load one", state::LOAD_ONE),
    ("turns", state::TURNS),
    ("unread", state::UNREAD),
    ("arrive", events::ARRIVE),
    ("deliver", events::DELIVER),
    ("inbox", events::INBOX),
    ("notice", tasks::NOTICE),
    ("claim", tasks::CLAIM),
    ("report", tasks::REPORT),
    ("free runs", takeover::FREE_RUNS),
    ("free attempts", takeover::FREE_ATTEMPTS),
    ("states", inspect::STATES),
];

/// Lists the tables that grow.
const GROWING: [&str; 8] = [
    "run", "standing", "turn", "inbox", "data", "tag", "attempt", "outbox",
];

async fn rows(connection: &mut PgConnection, text: String) -> Vec<String> {
    let found = connection
        .fetch_all(sqlx::raw_sql(AssertSqlSafe(text)))
        .await;
    let found = found.unwrap();
    found.iter().map(|row| row.get::<String, _>(0)).collect()
}

async fn prepare(connection: &mut PgConnection, schema: &str, name: &str, text: &str) {
    let text = in_schema(text, schema);
    run(
        connection,
        format!("prepare \"{name}\"{} as {text}", types_of(name)),
    )
    .await;
}

/// Names the types that nothing in a text tells the server.
fn types_of(name: &str) -> &'static str {
    match name {
        "append one" | "append many" | "claim" => "(bigint)",
        _ => "",
    }
}

async fn explain(connection: &mut PgConnection, name: &str) -> String {
    let types = format!(
        "select coalesce(string_agg('null::' || t, ', ' order by n), '') from pg_prepared_statements p,
         unnest(p.parameter_types::text[]) with ordinality as x (t, n) where p.name = '{name}'"
    );
    let nulls = rows(connection, types).await.remove(0);
    let nulls = if nulls.is_empty() {
        nulls
    } else {
        format!("({nulls})")
    };
    let text = format!("explain (costs off) execute \"{name}\"{nulls}");
    rows(connection, text).await.join("\n")
}

async fn fill(connection: &mut PgConnection, schema: &str) {
    let text = "
        insert into longhaul.run (id, kind, type, partition, fingerprint, root, created_at)
            select 'run ' || n, 'workflow', 'order', 0, '\\x00', 'run ' || n, n from generate_series(1, 20000) n;
        insert into longhaul.standing (run, segment, route, status, owner, epoch, due_at, updated_at)
            select n, 1, 'route ' || n % 5, 'Waiting', case when n % 3 = 0 then gen_random_uuid() end, 1,
                case when n % 3 > 0 then n end, n
            from generate_series(1, 20000) n;
        insert into longhaul.turn (run, segment, turn, first_event, record)
            select n, 1, t, t, '' from generate_series(1, 20000) n, generate_series(0, 3) t;
        insert into longhaul.inbox (run, number, write_id, kind, name, content, accepted_at)
            select n, 1, gen_random_uuid(), 'signal', '', '', 0 from generate_series(1, 20000) n;
        insert into longhaul.data (run, key, value) select n, 'k', '' from generate_series(1, 20000) n;
        insert into longhaul.tag (run, position, name, value)
            select n, 0, 'n', 'v' || n from generate_series(1, 20000) n;
        insert into longhaul.outbox (recipient, write_id, kind, name, content)
            select 'run ' || n, gen_random_uuid(), 'signal', '', '' from generate_series(1, 20000) n;
        insert into longhaul.attempt (run, segment, operation, attempt, queue, task, priority, ready_at, ready,
                claimed_by, content)
            select n, 1, 'task:a#0', 1, 'q', 't', 0, n, n % 2 = 0, case when n % 5 = 0 then gen_random_uuid() end, ''
            from generate_series(1, 20000) n;";
    run(connection, in_schema(text, schema)).await;
    for table in GROWING {
        run(connection, format!("analyze \"{schema}\".{table}")).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_statement_reads_a_whole_table_however_small_it_was_when_it_was_prepared() {
    let fixture = PostgresFixture::open().await;
    let mut connection = session().await;
    run(&mut connection, crate::session::plain_plans("")).await;
    for table in GROWING {
        let text = format!("vacuum (analyze) \"{}\".{table}", fixture.schema);
        run(&mut connection, text).await;
    }
    for (name, text) in STATEMENTS {
        prepare(&mut connection, &fixture.schema, name, text).await;
        check(name, &explain(&mut connection, name).await);
    }
    fill(&mut connection, &fixture.schema).await;
    for (name, _) in STATEMENTS {
        check(name, &explain(&mut connection, name).await);
    }
}

fn check(name: &str, plan: &str) {
    for table in GROWING {
        let scan = format!("Seq Scan on {table}");
        assert!(
            !plan.contains(&scan),
            "{name} reads all of {table}:\n{plan}"
        );
    }
    assert!(
        !plan.contains("Hash Join"),
        "{name} joins by a hash:\n{plan}"
    );
    for hashed in plan.split("hashed SubPlan ").skip(1) {
        let number: String = hashed.chars().take_while(char::is_ascii_digit).collect();
        let after = plan.split(&format!("  SubPlan {number}\n")).nth(1);
        let first = after.and_then(|after| after.lines().next());
        assert!(
            first.is_some_and(|first| first.contains("CTE Scan")),
            "{name} hashes more than what it was given:\n{plan}"
        );
    }
}
