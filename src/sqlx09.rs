//! sqlx 0.9: runs that start inside its transactions, and the connections that transactional tasks take.
//!
//! The module is named after the version of sqlx, as its types are part of it: another version of sqlx gets a module of
//! its own. See [transactions](https://github.com/longhaul-rs/longhaul/blob/main/docs/transactions.md).

use std::any::Any;

use longhaul_core::Result;
use longhaul_core::backend::AnyConnection;
use longhaul_core::call::Call;
use longhaul_core::client::Client;

pub use longhaul_core::client::StartedIn;
pub use sqlx;
#[cfg(feature = "sqlite")]
pub use sqlx::SqliteConnection;

/// Is what SQL of the user's runs on: a transaction of sqlx, or the connection that it is on.
pub trait OnConnection: Send {
    /// Returns the connection.
    fn on_connection(&mut self) -> &mut AnyConnection;
}

impl<DB: sqlx::Database> OnConnection for sqlx::Transaction<'_, DB>
where
    DB::Connection: Any + Send,
{
    fn on_connection(&mut self) -> &mut AnyConnection {
        &mut **self
    }
}

#[cfg(feature = "sqlite")]
impl OnConnection for SqliteConnection {
    fn on_connection(&mut self) -> &mut AnyConnection {
        self
    }
}

/// Starts runs inside the user's own transactions.
pub trait StartIn {
    /// Starts a run inside `transaction`, or joins the one that has the call's id, type and arguments already. The run
    /// comes with the commit, and there is nothing of it after a rollback. On a bare connection it comes at once.
    ///
    /// Call [`StartedIn::wake`] after the commit; without it the workers find the run within about a second.
    ///
    /// # Errors
    /// `AlreadyExists` when the id belongs to a run of another type or with other arguments; `InvalidInput` when the
    /// connection is none to the client's store, or for a bad id or arguments; `LimitExceeded` for arguments that are too
    /// large; `Unavailable` when the database refuses a statement. Roll back then, as after any error of a statement.
    ///
    /// # Cancel safety
    /// A dropped call has left the run in the transaction whole, or nothing of it.
    fn start_in<R>(
        &self,
        transaction: &mut impl OnConnection,
        call: Call<R>,
    ) -> impl Future<Output = Result<StartedIn<R>>> + Send;
}

impl StartIn for Client {
    fn start_in<R>(
        &self,
        transaction: &mut impl OnConnection,
        call: Call<R>,
    ) -> impl Future<Output = Result<StartedIn<R>>> + Send {
        self.start_on(transaction.on_connection(), call)
    }
}
