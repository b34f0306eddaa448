//! What the layout of the rows promises: what a warm run does leaves indexes alone.

use longhaul_tests::Fixture as _;
use longhaul_tests::world::World;
use sqlx::Row as _;

use crate::fixture::{PostgresFixture, ended, run, session};

/// Returns how many rows of the table were updated, and how many of them without touching an index.
async fn updates(schema: &str, table: &str) -> (i64, i64) {
    let text = format!(
        "select n_tup_upd, n_tup_hot_upd from pg_stat_user_tables where schemaname = '{schema}' and relname = '{table}'"
    );
    let mut connection = session().await;
    let text = sqlx::raw_sql(sqlx::AssertSqlSafe(text));
    let row = text.fetch_one(&mut connection).await.unwrap();
    (row.get(0), row.get(1))
}

/// Ends the sessions of the store: each hands its statistics over when it ends.
async fn flush(schema: &str) {
    run(&mut session().await, ended(schema)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signals_to_owned_runs_drains_and_beats_touch_no_index() {
    let fixture = PostgresFixture::open().await;
    let schema = fixture.schema.clone();
    let world = World::over(Box::new(fixture)).await;
    let mut one = world.start_owned("a").await;
    flush(&schema).await;
    let (standing, workers) = (
        updates(&schema, "standing").await,
        updates(&schema, "worker").await,
    );
    for _ in 0..50 {
        let _ = world.try_commit(&one.turn()).await;
        one.turns = world.history("a").await.len() as u64;
        one.read = world.signal("a").await;
        let drain = one.turn().reading(one.read).drain();
        world.done(drain, &mut one).await;
        world.extend(world.me).await.unwrap();
    }
    flush(&schema).await;
    let after = updates(&schema, "standing").await;
    let (all, hot) = (after.0 - standing.0, after.1 - standing.1);
    assert_eq!(
        all, 100,
        "50 signals and 50 drains write the row, 50 turns do not"
    );
    assert!(
        hot * 10 >= all * 9,
        "{hot} of {all} updates of standings were hot"
    );
    let after = updates(&schema, "worker").await;
    let (all, hot) = (after.0 - workers.0, after.1 - workers.1);
    assert_eq!(all, 50);
    assert!(
        hot * 10 >= all * 9,
        "{hot} of {all} updates of workers were hot"
    );
}
