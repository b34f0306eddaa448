//! What is answered to requests. No handler waits for a run: it starts, tells or asks, and answers.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use longhaul::prelude::{Client, Error, ErrorKind};
use serde::{Deserialize, Serialize};

use crate::order::{APPROVED, Order, Outcome, STAGE, order};
use crate::readiness::Readiness;

/// Is what a client asks for; asking again with the same id changes nothing.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NewOrder {
    id: String,
    item: String,
    cents: u64,
}

/// Is what a client is told of an order.
#[derive(Debug, Serialize)]
struct Shown {
    id: String,
    status: String,
    stage: Option<String>,
    outcome: Option<Outcome>,
    reason: Option<String>,
}

/// Is an error as a client sees it.
struct Failure(Error);

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self(error)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let status = match self.0.kind() {
            ErrorKind::InvalidInput => StatusCode::BAD_REQUEST,
            ErrorKind::NotFound => StatusCode::NOT_FOUND,
            ErrorKind::AlreadyExists | ErrorKind::Finished => StatusCode::CONFLICT,
            ErrorKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        (status, format!("{}\n", self.0)).into_response()
    }
}

pub(crate) fn routes(client: Client, readiness: Readiness) -> Router {
    let orders = Router::new()
        .route("/orders", post(start))
        .route("/orders/{id}", get(show))
        .route("/orders/{id}/approve", post(approve))
        .with_state(client);
    let health = Router::new()
        .route("/readyz", get(ready))
        .route("/healthz", get(alive))
        .with_state(readiness);
    orders.merge(health)
}

async fn start(
    State(client): State<Client>,
    Json(new): Json<NewOrder>,
) -> Result<Response, Failure> {
    let NewOrder { id, item, cents } = new;
    let run = client.start(order(Order { item, cents }).id(id)).await?;
    Ok((StatusCode::ACCEPTED, format!("{}\n", run.id())).into_response())
}

async fn show(
    State(client): State<Client>,
    Path(id): Path<String>,
) -> Result<Json<Shown>, Failure> {
    let run = client.handle::<Outcome>(&id)?;
    let info = run.info().await?;
    let outcome = if info.status.is_terminal() {
        Some(run.result().await?)
    } else {
        None
    };
    Ok(Json(Shown {
        id,
        status: info.status.to_string(),
        stage: run.get(STAGE).await?,
        outcome,
        reason: info.reason,
    }))
}

async fn approve(
    State(client): State<Client>,
    Path(id): Path<String>,
) -> Result<StatusCode, Failure> {
    let run = client.handle::<Outcome>(&id)?;
    run.signal(APPROVED, true).await?;
    Ok(StatusCode::ACCEPTED)
}

async fn ready(State(readiness): State<Readiness>) -> Response {
    match readiness.obstacle() {
        None => "ready\n".into_response(),
        Some(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")).into_response(),
    }
}

async fn alive(State(readiness): State<Readiness>) -> StatusCode {
    if readiness.is_alive() {
        StatusCode::OK
    } else {
        StatusCode::INTERNAL_SERVER_ERROR
    }
}
