//! What a server or a schema is refused for, and how it is told: the thing, the cause, what to do, and no password.

use std::time::Duration;

use longhaul_backend_postgres::{Checks, PostgresBackend, PostgresConfig};
use longhaul_core::backend::{Error, Kind};
use longhaul_tests::Fixture as _;

use crate::fixture::{PostgresFixture, new_schema, run, server, session};

const SECRET: &str = "s3cret-of-the-test";

/// Opens what must be refused.
async fn refusal(url: &str) -> Error {
    let config = PostgresConfig::from_url(url).unwrap();
    let config = config.checks(Checks::Off);
    refusal_of(config).await
}

async fn refusal_of(config: PostgresConfig) -> Error {
    let shown = format!("{config:?}");
    let error = PostgresBackend::open(config).await.unwrap_err();
    for text in [shown, error.to_string(), format!("{error:?}")] {
        let password = password_of(&server());
        assert!(
            !text.contains(SECRET) && !text.contains(&format!(":{password}@")),
            "{text}"
        );
    }
    error
}

fn password_of(url: &str) -> String {
    let (_, rest) = url.split_once("://").unwrap();
    let (who, _) = rest.rsplit_once('@').unwrap();
    who.split_once(':').unwrap().1.to_owned()
}

/// Returns the server's URL with another user and password.
fn as_user(user: &str, password: &str) -> String {
    let (scheme, rest) = server()
        .split_once("://")
        .map(|(a, b)| (a.to_owned(), b.to_owned()))
        .unwrap();
    let (_, place) = rest.rsplit_once('@').unwrap();
    format!("{scheme}://{user}:{password}@{place}")
}

fn check(error: &Error, kind: Kind, parts: &[&str]) {
    assert_eq!(error.kind(), kind, "{error}");
    for part in parts {
        assert!(
            error.to_string().contains(part),
            "`{part}` is not in: {error}"
        );
    }
}

/// Makes a role that may connect and nothing else.
async fn role() -> String {
    let role = new_schema();
    let text = format!("create role {role} login password '{SECRET}'");
    run(&mut session().await, text).await;
    role
}

#[tokio::test]
async fn wrong_password_and_unknown_user_name_the_user_and_where_to_look() {
    for user in ["longhaul", "nobody_of_that_name"] {
        let error = refusal(&as_user(user, SECRET)).await;
        check(
            &error,
            Kind::Invalid,
            &["refuses user", user, "password in the URL"],
        );
    }
}

#[tokio::test]
async fn unreachable_servers_are_unavailable_and_named() {
    let refused = format!("postgres://ann:{SECRET}@127.0.0.1:1/shop");
    check(
        &refusal(&refused).await,
        Kind::Unavailable,
        &["127.0.0.1:1"],
    );
    let unknown = format!("postgres://ann:{SECRET}@no-such-host.invalid:5432/shop");
    check(
        &refusal(&unknown).await,
        Kind::Unavailable,
        &["no-such-host.invalid:5432"],
    );
}

#[tokio::test]
async fn server_that_accepts_and_says_nothing_is_given_up() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = silent.local_addr().unwrap().port();
    let url = format!("postgres://ann:{SECRET}@127.0.0.1:{port}/shop?connect_timeout=200ms");
    check(
        &refusal(&url).await,
        Kind::Unavailable,
        &[&format!("127.0.0.1:{port}")],
    );
}

#[tokio::test]
async fn unknown_database_is_told_with_the_statement_that_makes_it() {
    let server = server();
    let (address, _) = server.rsplit_once('/').unwrap();
    let error = refusal(&format!("{address}/no_such_shop")).await;
    check(
        &error,
        Kind::Invalid,
        &[
            "no database `no_such_shop`",
            "create database \"no_such_shop\"",
        ],
    );
}

#[tokio::test]
async fn role_without_the_right_to_make_a_schema_is_told_what_its_owner_runs() {
    let role = role().await;
    let error = refusal(&format!("{}?schema=of_{role}", as_user(&role, SECRET))).await;
    let cure = format!("create schema \"of_{role}\" authorization \"{role}\"");
    check(&error, Kind::Invalid, &["permission denied", &cure]);
    let mut owner = session().await;
    run(&mut owner, cure).await;
    let url = format!("{}?schema=of_{role}&checks=off", as_user(&role, SECRET));
    let config = PostgresConfig::from_url(&url).unwrap();
    drop(PostgresBackend::open(config).await.unwrap());
    run(
        &mut owner,
        format!("drop owned by {role} cascade; drop role {role}"),
    )
    .await;
}

#[tokio::test]
async fn role_that_may_not_write_the_tables_is_refused_when_the_store_is_opened() {
    let fixture = PostgresFixture::open().await;
    let (role, schema) = (role().await, &fixture.schema);
    let mut owner = session().await;
    let grant = format!(
        "grant usage on schema \"{schema}\" to {role}; grant select on all tables in schema \"{schema}\" to {role}"
    );
    run(&mut owner, grant).await;
    let error = refusal(&format!("{}?schema={schema}", as_user(&role, SECRET))).await;
    check(
        &error,
        Kind::Invalid,
        &["may not read and write the tables", &role],
    );
    run(
        &mut owner,
        format!("drop owned by {role} cascade; drop role {role}"),
    )
    .await;
}

#[tokio::test]
async fn schema_of_something_else_is_refused_and_left_as_it_was() {
    let schema = new_schema();
    let mut owner = session().await;
    let text = format!("create schema {schema}; create table {schema}.invoice (id bigint)");
    run(&mut owner, text).await;
    let error = refusal(&format!("{}?schema={schema}", server())).await;
    check(
        &error,
        Kind::Invalid,
        &[&schema, "something else", "?schema="],
    );
    let text = format!("drop table {schema}.invoice; drop schema {schema}");
    run(&mut owner, text).await;
}

#[tokio::test]
async fn store_of_a_newer_version_is_refused_and_one_that_it_still_may_use_is_opened() {
    let fixture = PostgresFixture::open().await;
    let schema = &fixture.schema;
    let mut owner = session().await;
    run(
        &mut owner,
        format!("update \"{schema}\".meta set format = 99"),
    )
    .await;
    drop(PostgresBackend::open(fixture.config()).await.unwrap());
    run(
        &mut owner,
        format!("update \"{schema}\".meta set reader = 99"),
    )
    .await;
    let error = refusal_of(fixture.config()).await;
    check(&error, Kind::NewerVersion, &[schema, "newer version", "99"]);
    run(
        &mut owner,
        format!("update \"{schema}\".meta set format = 1, reader = 1"),
    )
    .await;
}

#[tokio::test]
async fn server_that_may_lose_what_it_acknowledged_is_refused_unless_checks_are_off() {
    let fixture = PostgresFixture::open().await;
    let error = refusal_of(fixture.config().checks(Checks::On)).await;
    let parts = [
        "fsync = off",
        "lose what was acknowledged",
        "fsync = on",
        "?checks=off",
    ];
    check(&error, Kind::Invalid, &parts);
}

#[tokio::test]
async fn statements_end_at_the_timeout_and_say_so() {
    let fixture = PostgresFixture::open().await;
    let config = fixture.config().timeout(Duration::from_millis(300));
    let backend = PostgresBackend::open(config).await.unwrap();
    let mut holder = session().await;
    let hold = format!(
        "begin; lock table \"{}\".standing in access exclusive mode",
        fixture.schema
    );
    run(&mut holder, hold).await;
    let run_of = longhaul_tests::world::run_of("a");
    use longhaul_core::backend::State as _;
    let error = backend.start(None, vec![run_of.clone()]).await.unwrap_err();
    check(&error, Kind::Unavailable, &["statement timeout"]);
    run(&mut holder, "rollback").await;
    backend.start(None, vec![run_of]).await.unwrap();
}
