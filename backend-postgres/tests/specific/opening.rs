//! Making the store: once, whoever and however many come first.

use longhaul_backend_postgres::{PostgresBackend, PostgresConfig};
use longhaul_core::backend::{Backend as _, Inspect as _};
use longhaul_tests::Fixture as _;
use sqlx::Row as _;

use crate::fixture::{PostgresFixture, new_schema, pooler, run, server, session};

async fn schemas(name: &str) -> i64 {
    let text = format!("select count(*) from pg_namespace where nspname = '{name}'");
    let text = sqlx::raw_sql(sqlx::AssertSqlSafe(text));
    let mut connection = session().await;
    let row = text.fetch_one(&mut connection).await.unwrap();
    row.get(0)
}

/// Each opener has a thread and a runtime of its own, as processes have.
#[test]
fn ten_that_open_a_new_schema_at_once_make_one_store() {
    let schema = new_schema();
    let openers: Vec<_> = (0..10)
        .map(|_| {
            let url = format!("{}?schema={schema}&checks=off", server());
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Runtime::new().unwrap();
                runtime.block_on(async {
                    let config = PostgresConfig::from_url(&url).unwrap();
                    PostgresBackend::open(config).await.unwrap().store()
                })
            })
        })
        .collect();
    let stores: Vec<_> = openers
        .into_iter()
        .map(|opener| opener.join().unwrap())
        .collect();
    assert!(stores.iter().all(|store| *store == stores[0]));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        assert_eq!(schemas(&schema).await, 1);
        run(
            &mut session().await,
            format!("drop schema {schema} cascade"),
        )
        .await;
    });
}

#[tokio::test]
async fn namespaces_are_schemas_beside_and_share_nothing() {
    let schema = new_schema();
    let mut keys = Vec::new();
    for namespace in ["default", "eu"] {
        let url = format!(
            "{}?schema={schema}&namespace={namespace}&checks=off",
            server()
        );
        let config = PostgresConfig::from_url(&url).unwrap();
        let backend = PostgresBackend::open(config).await.unwrap();
        keys.push(backend.store().hash_key);
    }
    assert_ne!(keys[0], keys[1]);
    for name in [schema.clone(), format!("{schema}_eu")] {
        assert_eq!(schemas(&name).await, 1);
        run(&mut session().await, format!("drop schema {name} cascade")).await;
    }
}

#[tokio::test]
async fn pooler_is_found_and_a_direct_connection_is_none() {
    let fixture = PostgresFixture::open().await;
    for (url, prepares) in [(server(), true), (pooler(), false)] {
        let url = format!("{url}?schema={}&checks=off", fixture.schema);
        let backend = PostgresBackend::open(PostgresConfig::from_url(&url).unwrap())
            .await
            .unwrap();
        assert_eq!(backend.prepares_statements(), prepares, "{prepares}");
        backend.workers().await.unwrap();
    }
}

#[tokio::test]
async fn pool_of_the_users_is_shared_and_never_exceeded() {
    let fixture = PostgresFixture::open().await;
    let options = sqlx::postgres::PgPoolOptions::new().max_connections(3);
    let pool = options.connect(&server()).await.unwrap();
    let backend = PostgresBackend::from_pool(pool.clone(), fixture.config())
        .await
        .unwrap();
    let asked = (0..20).map(|_| backend.workers());
    for answer in futures_util::future::join_all(asked).await {
        answer.unwrap();
    }
    assert!(pool.size() <= 3, "{}", pool.size());
    let held: Vec<_> = futures_util::future::join_all((0..2).map(|_| pool.acquire())).await;
    backend.workers().await.unwrap();
    drop(held);
}
