//! The workflow of one order: it waits for its approval for as long as that takes, and then goes through its tasks.

use longhaul::prelude::*;
use serde::{Deserialize, Serialize};

/// Says whether the order may be carried out.
pub(crate) const APPROVED: Signal<bool> = Signal::new("approved");

/// Says how far the order is.
pub(crate) const STAGE: Data<String> = Data::new("stage");

/// What was ordered.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) item: String,
    pub(crate) cents: u64,
}

/// How an order ended.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Outcome {
    Shipped,
    Expired,
}

#[task(retries = 5)]
async fn charge(ctx: TaskContext, cents: u64) -> Result<String> {
    Ok(format!("{} paid {cents} cents", ctx.identity().workflow_id))
}

#[task(retries = 5)]
async fn ship(item: String) -> Result<String> {
    Ok(format!("{item} is on its way"))
}

#[workflow]
pub(crate) async fn order(ctx: Context, order: Order) -> Result<Outcome> {
    ctx.set(STAGE, "waiting for approval");
    let answer = ctx.receive(APPROVED).within(days(7)).await?;
    if answer != Some(true) {
        ctx.set(STAGE, "expired");
        return Ok(Outcome::Expired);
    }
    ctx.set(STAGE, "charging");
    ctx.run(charge(order.cents)).await?;
    ctx.set(STAGE, "shipping");
    ctx.run(ship(order.item)).await?;
    ctx.set(STAGE, "done");
    Ok(Outcome::Shipped)
}
