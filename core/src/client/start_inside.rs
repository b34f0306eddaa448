//! Starting runs inside a transaction that the user has open.
//!
//! Invariants: nobody is told of the run before its commit; without the hint after it, the next beat finds the run.

use std::fmt;

use crate::backend::{AnyConnection, StartRun, StartedInside};
use crate::call::Call;
use crate::client::{Client, Handle, NewRun, refuse_another};
use crate::error::{Error, ErrorKind, Result};
use crate::id::{Route, WorkflowId};

/// Is a run that comes with the commit of the user's transaction, and does not exist before.
pub struct StartedIn<R> {
    client: Client,
    handle: Handle<R>,
    route: Route,
}

impl<R> StartedIn<R> {
    /// Returns the id of the run.
    #[must_use]
    pub fn id(&self) -> &WorkflowId {
        self.handle.id()
    }

    /// Tells the workers that the run is due; call it after the commit. Without it they find the run within about a
    /// second.
    ///
    /// # Cancel safety
    /// A dropped call may have told nobody.
    pub async fn wake(self) -> Handle<R> {
        self.client.hub().nudge();
        if let Some(transactions) = self.client.backend().transactions() {
            transactions.hint(&self.route).await;
        }
        self.handle
    }
}

impl<R> fmt::Debug for StartedIn<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StartedIn({})", self.id())
    }
}

impl Client {
    /// Starts a run inside the transaction that is open on `connection`, or joins the one that has the call's id, type
    /// and arguments already. With sqlx, write `client.start_in(&mut transaction, call)` of `longhaul::sqlx09::StartIn`.
    ///
    /// # Errors
    /// As [`Client::start`]; `InvalidInput` when the connection is none to this store, or the store shares no
    /// transactions. Whatever the error, the transaction can be rolled back; an error of this method's own does not abort
    /// it.
    ///
    /// # Cancel safety
    /// A dropped call has left the run in the transaction whole, or nothing of it.
    pub async fn start_on<R>(
        &self,
        connection: &mut AnyConnection,
        call: Call<R>,
    ) -> Result<StartedIn<R>> {
        let new = NewRun::of(call)?;
        let id = self.id_of(&new);
        let (run, _) = self.prepare(&id, &new)?;
        let handle = Handle::new(self.clone(), id, Some(new.workflow_type));
        let route = run.route.clone();
        self.start_there(connection, run).await?;
        Ok(StartedIn {
            client: self.clone(),
            handle,
            route,
        })
    }

    async fn start_there(&self, connection: &mut AnyConnection, run: StartRun) -> Result<()> {
        let backend = self.backend();
        let transactions = backend
            .transactions()
            .ok_or_else(|| shares_none(backend.name()))?;
        match transactions.start_in(connection, run.clone()).await? {
            StartedInside::New => Ok(()),
            StartedInside::Exists(existing) => refuse_another(&run, &existing),
        }
    }
}

fn shares_none(store: &str) -> Error {
    Error::new(
        ErrorKind::InvalidInput,
        format!(
            "the store `{store}` shares no transactions; `sqlite:` does with the feature `sqlx` of longhaul, and without a \
             transaction there is `client.start`"
        ),
    )
}
