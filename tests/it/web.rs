//! The web example as a process, driven over HTTP: orders, readiness, draining, a store that goes away.

mod app;
mod proxy;

use self::app::App;
use self::proxy::Proxy;
use crate::world::is_asked_for;
use crate::world::schema::Schema;

const ORDER: &str = r#"{"id":"order-1","item":"lamp","cents":1990}"#;

fn sqlite(folder: &tempfile::TempDir) -> String {
    format!("sqlite:{}", folder.path().join("web.db").display())
}

#[test]
fn order_is_started_approved_and_shown_over_http() {
    let folder = tempfile::tempdir().unwrap();
    let app = App::start(&sqlite(&folder));
    assert_eq!(app.get("/readyz"), (200, "ready\n".to_owned()));
    assert_eq!(app.get("/healthz").0, 200);
    assert_eq!(app.get("/orders/order-1").0, 404);
    assert_eq!(app.post("/orders/order-1/approve", "").0, 404);

    assert_eq!(app.post("/orders", ORDER), (202, "order-1\n".to_owned()));
    // The answer may have been lost: asking again starts nothing.
    assert_eq!(app.post("/orders", ORDER), (202, "order-1\n".to_owned()));
    assert_eq!(app.post("/orders", &ORDER.replace("1990", "5")).0, 409);
    assert_eq!(app.post("/orders", &ORDER.replace("order-1", "")).0, 400);
    assert_eq!(app.post("/orders", r#"{"id":"order-2"}"#).0, 422);
    app.until("/orders/order-1", 200, r#""stage":"waiting for approval""#);

    assert_eq!(app.post("/orders/order-1/approve", "").0, 202);
    app.until("/orders/order-1", 200, r#""outcome":"shipped""#);
    let (status, why) = app.post("/orders/order-1/approve", "");
    assert_eq!(status, 409);
    assert!(why.contains("run `order-1` is Completed"), "{why}");
}

#[test]
fn sigterm_ends_readiness_first_then_the_process_and_leaves_runs_to_others() {
    let folder = tempfile::tempdir().unwrap();
    let first = App::start(&sqlite(&folder));
    let second = App::start(&sqlite(&folder));
    assert_eq!(first.post("/orders", ORDER).0, 202);
    first.until("/orders/order-1", 200, r#""stage":"waiting for approval""#);

    first.process.signal("TERM");
    first.until("/readyz", 503, "not ready: the process drains");
    // Requests that still come are served.
    assert_eq!(first.get("/healthz").0, 200);
    assert_eq!(
        first
            .post("/orders", &ORDER.replace("order-1", "order-2"))
            .0,
        202
    );
    let printed = first.printed_until_its_end();
    assert_eq!(printed, ["draining", "drained"]);

    for order in ["order-1", "order-2"] {
        assert_eq!(second.post(&format!("/orders/{order}/approve"), "").0, 202);
        second.until(&format!("/orders/{order}"), 200, r#""outcome":"shipped""#);
    }
}

#[test]
fn service_is_not_ready_while_its_store_is_away_and_ready_again_when_it_is_back() {
    if !is_asked_for("postgres") {
        return;
    }
    let schema = Schema::new();
    let proxy = Proxy::before(&schema.url());
    let app = App::start(&proxy.url(&schema.url()));
    assert_eq!(app.get("/readyz"), (200, "ready\n".to_owned()));
    assert_eq!(app.post("/orders", ORDER).0, 202);

    proxy.cut();
    app.until(
        "/readyz",
        503,
        "not ready: the store has not answered since",
    );
    let (_, why) = app.get("/readyz");
    let password = schema.url().split([':', '@']).nth(2).unwrap().to_owned();
    assert!(!password.is_empty() && !why.contains(&password), "{why}");
    assert_eq!(app.get("/healthz").0, 200);

    proxy.mend();
    app.until("/readyz", 200, "ready");
    assert_eq!(app.post("/orders/order-1/approve", "").0, 202);
    app.until("/orders/order-1", 200, r#""outcome":"shipped""#);
}
