//! Shared transactions, each call with the lot that it drew.
//!
//! Invariants: what has one owner is never done twice: a doubled begin opens one transaction after the other, and a
//! doubled end or start inside a transaction is a plain one.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use longhaul_core::backend::{
    AnyConnection, Begun, ConnectionType, Error, Finished, Kind, OutcomeKey, Result, StartRun,
    StartedInside, Transaction, Transactions,
};
use longhaul_core::id::Route;

use super::{Fault, Faulty, Lot, Operation, Plan, wait};

impl Faulty {
    fn shared(&self) -> Result<&dyn Transactions> {
        self.inner
            .transactions()
            .ok_or_else(|| Error::new(Kind::Invalid, "the wrapped backend shares no transactions"))
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl Transactions for Faulty {
    fn connection_type(&self) -> ConnectionType {
        let shared = self.inner.transactions();
        shared.map_or_else(ConnectionType::of::<()>, Transactions::connection_type)
    }

    fn body_limit(&self) -> Option<Duration> {
        self.inner.transactions()?.body_limit()
    }

    async fn start_in(
        &self,
        connection: &mut AnyConnection,
        run: StartRun,
    ) -> Result<StartedInside> {
        let lot = self.plan.draw(Operation::StartIn);
        let start = async { self.shared()?.start_in(connection, run).await };
        once(Operation::StartIn, lot, start).await
    }

    async fn hint(&self, route: &Route) {
        if let Some(shared) = self.inner.transactions() {
            shared.hint(route).await;
        }
    }

    async fn begin(&self, operation: OutcomeKey) -> Result<Begun> {
        let call = async || self.shared()?.begin(operation.clone()).await;
        let begun = self.call(Operation::Begin, || call()).await?;
        Ok(match begun {
            Begun::Open(inner) => Begun::Open(Box::new(FaultyTransaction {
                inner,
                plan: Arc::clone(&self.plan),
            })),
            recorded @ Begun::Recorded(_) => recorded,
        })
    }

    async fn recorded(&self, operation: &OutcomeKey) -> Result<Option<Vec<u8>>> {
        let call = async || self.shared()?.recorded(operation).await;
        self.call(Operation::Recorded, || call()).await
    }
}

struct FaultyTransaction {
    inner: Box<dyn Transaction>,
    plan: Arc<dyn Plan>,
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl Transaction for FaultyTransaction {
    fn connection(&mut self) -> &mut AnyConnection {
        self.inner.connection()
    }

    async fn finish(self: Box<Self>, outcome: Vec<u8>) -> Result<Finished> {
        let lot = self.plan.draw(Operation::Finish);
        once(Operation::Finish, lot, self.inner.finish(outcome)).await
    }
}

async fn once<T>(
    operation: Operation,
    lot: Lot,
    call: impl Future<Output = Result<T>>,
) -> Result<T> {
    wait(lot.before).await;
    let answer = match lot.fault {
        None | Some(Fault::Duplicate) => call.await,
        Some(Fault::Refuse) => Err(Error::new(
            Kind::Unavailable,
            format!("an injected fault refused `{operation}`"),
        )),
        Some(Fault::LoseAnswer) => {
            drop(call.await);
            let message = format!("an injected fault lost the answer of `{operation}`");
            Err(Error::new(Kind::Unclear, message))
        }
    };
    wait(lot.after).await;
    answer
}
