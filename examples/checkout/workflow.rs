//! The workflow of one order and its tasks.

use std::sync::OnceLock;
use std::time::Duration;

use longhaul::prelude::*;
use serde::{Deserialize, Serialize};

use crate::effects::Effects;
use crate::orders::{Item, Order};

/// Is the total from which an order needs an approval.
const APPROVAL_ABOVE_CENTS: u64 = 100_000;

/// Says whether an order over the limit may be shipped.
pub(crate) const APPROVED: Signal<bool> = Signal::new("approved");

/// Says how far an order is.
pub(crate) const STAGE: Data<String> = Data::new("stage");

/// How an order ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Outcome {
    Shipped,
    Refunded,
}

static PATIENCE: OnceLock<Duration> = OnceLock::new();

/// Sets how long orders that this process brings so far wait for their approval. A run records it, so that it keeps its
/// limit when it goes on in a process with another one.
pub(crate) fn set_patience(patience: Duration) {
    PATIENCE.get_or_init(|| patience);
}

#[task(retries = 3)]
async fn reserve(ctx: TaskContext, item: Item, effects: Dep<Effects>) -> Result<()> {
    effects.happen(&ctx, &item.sku).await
}

#[task(retries = 3)]
async fn release(ctx: TaskContext, item: Item, effects: Dep<Effects>) -> Result<()> {
    effects.happen(&ctx, &item.sku).await
}

#[task(retries = 3)]
async fn charge(ctx: TaskContext, cents: u64, effects: Dep<Effects>) -> Result<()> {
    let _ = cents;
    effects.happen(&ctx, "-").await
}

#[task(retries = 3)]
async fn refund(ctx: TaskContext, cents: u64, effects: Dep<Effects>) -> Result<()> {
    let _ = cents;
    effects.happen(&ctx, "-").await
}

#[task(retries = 3)]
async fn ship(ctx: TaskContext, effects: Dep<Effects>) -> Result<()> {
    effects.happen(&ctx, "-").await
}

#[task(retries = 3)]
async fn mail(ctx: TaskContext, customer: String, effects: Dep<Effects>) -> Result<()> {
    let _ = customer;
    effects.happen(&ctx, "-").await
}

#[workflow]
pub(crate) async fn checkout(ctx: Context, order: Order) -> Result<Outcome> {
    ctx.set(STAGE, "reserving");
    ctx.join_all(order.items.iter().cloned().map(reserve))
        .await?;
    ctx.set(STAGE, "charging");
    let total = order.total_cents();
    ctx.run(charge(total)).await?;

    if total > APPROVAL_ABOVE_CENTS && !is_approved(&ctx).await? {
        ctx.set(STAGE, "refunding");
        ctx.run(refund(total)).await?;
        ctx.join_all(order.items.into_iter().map(release)).await?;
        ctx.set(STAGE, "done");
        return Ok(Outcome::Refunded);
    }

    ctx.set(STAGE, "shipping");
    ctx.run(ship()).await?;
    ctx.set(STAGE, "resting");
    ctx.sleep(millis(50)).await?;
    ctx.set(STAGE, "mailing");
    ctx.run(mail(order.customer)).await?;
    ctx.set(STAGE, "done");
    Ok(Outcome::Shipped)
}

async fn is_approved(ctx: &Context) -> Result<bool> {
    ctx.set(STAGE, "approving");
    let limit = ctx.record("patience", || PATIENCE.get().copied().unwrap_or_default())?;
    let answer = ctx.receive(APPROVED).within(limit).await?;
    Ok(answer.unwrap_or(false))
}
