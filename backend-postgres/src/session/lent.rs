//! Connections with a transaction of the user's code.
//!
//! Invariants: some connections of the pool are never lent, so that leases are extended whatever tasks do. A connection
//! whose transaction did not end in order is closed, which rolls it back.

use std::sync::Arc;

use sqlx::postgres::{PgArguments, PgRow, PgTransactionManager};
use sqlx::{Executor as _, PgConnection, SqlStr};
use sqlx_core::transaction::TransactionManager as _;
use tokio::sync::OwnedSemaphorePermit;

use super::{Kept, Session, Sessions};
use crate::error::{Failure, Result, of_statement};

impl Session {
    /// Lends a connection for a transaction of the user's code. Some connections are never lent.
    pub(crate) async fn lend(self: &Arc<Self>) -> Result<Lent> {
        let turn = Arc::clone(&self.lendable).acquire_owned().await;
        let turn = turn.map_err(|_| Failure::Stopped)?;
        let other = tokio::time::timeout(
            self.connect_timeout,
            Arc::clone(&self.turns).acquire_owned(),
        );
        let other = other.await.ok().and_then(Result::ok);
        let other = other.ok_or_else(|| self.nothing_free())?;
        Ok(Lent {
            kept: Some(self.take().await?),
            session: Arc::clone(self),
            _turns: [turn, other],
        })
    }
}

/// Is a connection with a transaction of the user's code; it is closed unless the transaction ended in order.
pub(crate) struct Lent {
    kept: Option<Kept>,
    session: Arc<Session>,
    _turns: [OwnedSemaphorePermit; 2],
}

impl Lent {
    /// Begins a transaction, with the settings that the user's role has.
    pub(crate) async fn begin(&mut self) -> Result<()> {
        let text = self.session.begin_lent.clone();
        let begun = PgTransactionManager::begin(self.connection(), Some(text)).await;
        begun.map_err(of_statement)
    }

    /// Returns the connection.
    #[expect(
        clippy::expect_used,
        reason = "it is taken by what consumes the transaction"
    )]
    pub(crate) fn connection(&mut self) -> &mut PgConnection {
        let kept = self.kept.as_mut();
        &mut kept.expect("the transaction is open").connection
    }

    /// Sends a statement without values.
    pub(crate) async fn run(&mut self, text: &'static str) -> Result<()> {
        let asked = self.connection().execute(sqlx::raw_sql(text)).await;
        asked.map(drop).map_err(of_statement)
    }

    /// Sends a statement and returns its rows.
    pub(crate) async fn ask(&mut self, text: SqlStr, arguments: PgArguments) -> Result<Vec<PgRow>> {
        let is_own = self.session.sessions == Sessions::Own;
        let query = sqlx::query_with(text, arguments).persistent(is_own);
        let asked = query.fetch_all(self.connection()).await;
        asked.map_err(of_statement)
    }

    /// Commits, and gives the connection back.
    pub(crate) async fn commit(mut self) -> Result<()> {
        let ended = PgTransactionManager::commit(self.connection()).await;
        ended.map_err(of_statement)?;
        self.give_back();
        Ok(())
    }

    /// Undoes everything, and gives the connection back.
    pub(crate) async fn roll_back(mut self) -> Result<()> {
        let ended = PgTransactionManager::rollback(self.connection()).await;
        ended.map_err(of_statement)?;
        self.give_back();
        Ok(())
    }

    fn give_back(&mut self) {
        if let Some(kept) = self.kept.take() {
            self.session.give_back(kept, None);
        }
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let Some(mut kept) = self.kept.take() else {
            return;
        };
        if tokio::runtime::Handle::try_current().is_ok() {
            kept.connection.close_on_drop();
        } else {
            drop(kept.connection.detach());
        }
    }
}
