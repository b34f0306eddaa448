//! Hints between handles, each as a process of its own would be.

use std::time::Duration;

use longhaul_backend_postgres::PostgresBackend;
use longhaul_core::backend::{Events as _, HintStream};
use longhaul_tests::Fixture as _;
use longhaul_tests::world::run_of;
use sqlx::Row as _;

use crate::fixture::{PostgresFixture, run, session};

const PATIENCE: Duration = Duration::from_secs(20);

async fn next(stream: &mut Box<dyn HintStream>) {
    tokio::time::timeout(PATIENCE, stream.next())
        .await
        .expect("no hint comes");
}

/// Returns how many sessions listen for this store.
async fn listeners(schema: &str) -> i64 {
    let text = format!(
        "select count(*) from pg_stat_activity where query like 'LISTEN \"longhaul {schema}\"%'"
    );
    let text = sqlx::raw_sql(sqlx::AssertSqlSafe(text));
    let mut connection = session().await;
    text.fetch_one(&mut connection).await.unwrap().get(0)
}

async fn wait_for_a_listener(schema: &str) {
    while listeners(schema).await == 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn change_through_one_handle_wakes_who_waits_at_another() {
    let fixture = PostgresFixture::open().await;
    let other = PostgresBackend::open(fixture.config()).await.unwrap();
    assert_eq!(
        listeners(&fixture.schema).await,
        0,
        "somebody listens and nobody waits"
    );
    let mut stream = other.hints();
    wait_for_a_listener(&fixture.schema).await;
    // That listening began is a hint itself, as changes before it were not heard.
    next(&mut stream).await;
    fixture
        .backend()
        .start(None, vec![run_of("a")])
        .await
        .unwrap();
    next(&mut stream).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hints_come_again_after_the_listening_session_was_ended() {
    let fixture = PostgresFixture::open().await;
    let other = PostgresBackend::open(fixture.config()).await.unwrap();
    let mut stream = other.hints();
    wait_for_a_listener(&fixture.schema).await;
    next(&mut stream).await;
    let end = format!(
        "select pg_terminate_backend(pid) from pg_stat_activity where query like 'LISTEN \"longhaul {}\"%'",
        fixture.schema
    );
    run(&mut session().await, end).await;
    next(&mut stream).await;
    wait_for_a_listener(&fixture.schema).await;
    fixture
        .backend()
        .start(None, vec![run_of("a")])
        .await
        .unwrap();
    next(&mut stream).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn burst_of_changes_is_one_notification_now_and_then() {
    let fixture = PostgresFixture::open().await;
    let mut listener = sqlx::postgres::PgListener::connect(&crate::fixture::server())
        .await
        .unwrap();
    listener
        .listen(&format!("longhaul {}", fixture.schema))
        .await
        .unwrap();
    let begun = tokio::time::Instant::now();
    for number in 0..200 {
        let runs = vec![run_of(&number.to_string())];
        fixture.backend().start(None, runs).await.unwrap();
    }
    let most = begun.elapsed().as_millis() / 10 + 2;
    let mut heard = 0;
    while let Ok(told) = tokio::time::timeout(Duration::from_millis(300), listener.recv()).await {
        told.unwrap();
        heard += 1;
    }
    assert!(
        (1..=most).contains(&heard),
        "{heard} notifications, at most {most} were expected"
    );
}
