//! What can go wrong inside, and the one conversion into the contract's error.
//!
//! Invariants: nothing that failed was applied, except where the kind is `Unclear`. No text shows a password: what the
//! server or the driver says does not have it, and URLs are not quoted.

use longhaul_core::backend::{Error, Kind, PAGE_MAX};
use longhaul_core::history::OperationKey;
use longhaul_core::id::{WorkerId, WorkflowId};
use sqlx::error::DatabaseError;

/// Tells what went wrong.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("postgres: {}", told(.0))]
    Postgres(#[from] sqlx::Error),
    #[error("the connection to postgres broke while a request was under way: {}", told(.0))]
    Broken(sqlx::Error),
    #[error("postgres did not answer within {seconds} s")]
    Deadline { seconds: u64 },
    #[error(
        "no connection to postgres within {seconds} s: the server cannot be reached, or all connections of the pool are \
         busy"
    )]
    PoolTimeout { seconds: u64 },
    #[error("worker {0} is not registered, or was declared dead")]
    WorkerDead(WorkerId),
    #[error("there is no run `{0}`")]
    UnknownRun(WorkflowId),
    #[error("a `PgConnection` of sqlx 0.9 is needed; this is a connection of another type")]
    OtherConnection,
    #[error(
        "the connection is to a database without this store; connect to the database of the store"
    )]
    OtherDatabase,
    #[error("the segment of run `{0}` that asked for this is over")]
    SegmentOver(WorkflowId),
    #[error(
        "run `{0}` exists, and the isolation of this transaction hides it; roll back and ask again"
    )]
    HiddenRun(WorkflowId),
    #[error(
        "`{0}` ended its transaction, or went on after a statement that failed: leave `commit` and `rollback` to the \
         worker, and return the error of a statement"
    )]
    TransactionEnded(OperationKey),
    #[error("a page of {0} is not possible; it has 1 to {PAGE_MAX} entries")]
    Page(usize),
    #[error("`{value}` in the store is no {what}")]
    Unreadable { what: &'static str, value: String },
    #[error("the store cannot hold this: {0}")]
    Refused(String),
    #[error("the lane's number was raised by another handle of the worker; nothing was written")]
    LaneMoved,
    #[error(
        "a pooler between us and postgres lends sessions by the transaction, which was not seen when the store was \
         opened; open it with `?pooler=transaction`: {}",
        told(.0)
    )]
    Pooler(sqlx::Error),
    #[error("a run is held by a transaction that does not end; nothing was written")]
    Held,
    #[error("the request was given up, as the runtime is shutting down")]
    Stopped,
    #[error("cannot connect to postgres at {place}: {}", told(cause))]
    Connect { place: String, cause: sqlx::Error },
    #[error(
        "postgres at {place} refuses user `{user}`: {cause}; check the name and the password in the URL"
    )]
    Credentials {
        place: String,
        user: String,
        cause: String,
    },
    #[error(
        "postgres at {place} has no database `{database}`; make it with `create database \"{database}\"`"
    )]
    UnknownDatabase { place: String, database: String },
    #[error(
        "user `{user}` may not {what} in database `{database}`: {cause}; let its owner run \
         `create schema \"{schema}\" authorization \"{user}\"`"
    )]
    Rights {
        user: String,
        database: String,
        schema: String,
        what: &'static str,
        cause: String,
    },
    #[error("the server is PostgreSQL {found}, and {needed} is the oldest that works here")]
    OldServer { found: String, needed: u32 },
    #[error(
        "the server has `{setting} = {found}`, so {harm}; {cure}, or open the store with `?checks=off`"
    )]
    Setting {
        setting: &'static str,
        found: String,
        harm: &'static str,
        cure: &'static str,
    },
    #[error("the server is a standby and takes no writes; name the primary in the URL")]
    Standby,
    #[error("schema `{0}` holds tables of something else; name another with `?schema=`")]
    NotOurs(String),
    #[error(
        "schema `{schema}` was written by a newer version (it needs format {needs}, this version reads up to {reads})"
    )]
    NewerVersion {
        schema: String,
        needs: i64,
        reads: i64,
    },
}

/// Is a `Result` of this crate's inside.
pub(crate) type Result<T, E = Failure> = std::result::Result<T, E>;

impl Failure {
    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::Postgres(cause) => kind_of(cause),
            Self::Broken(_) | Self::Deadline { .. } => Kind::Unclear,
            Self::PoolTimeout { .. }
            | Self::Stopped
            | Self::Held
            | Self::Pooler(_)
            | Self::HiddenRun(_)
            | Self::LaneMoved
            | Self::Connect { .. }
            | Self::Standby => Kind::Unavailable,
            Self::WorkerDead(_) => Kind::WorkerDead,
            Self::UnknownRun(_) => Kind::NotFound,
            Self::Unreadable { .. } => Kind::Corrupt,
            Self::NewerVersion { .. } => Kind::NewerVersion,
            Self::SegmentOver(_) => Kind::Finished,
            Self::Page(_)
            | Self::OtherConnection
            | Self::OtherDatabase
            | Self::TransactionEnded(_)
            | Self::Refused(_)
            | Self::Credentials { .. }
            | Self::UnknownDatabase { .. }
            | Self::Rights { .. }
            | Self::OldServer { .. }
            | Self::Setting { .. }
            | Self::NotOurs(_) => Kind::Invalid,
        }
    }

    /// Tells whether the store cannot hold what it was given, so that asking again cannot help.
    pub(crate) fn is_refusal(&self) -> bool {
        match self {
            Self::Refused(_) => true,
            Self::Postgres(sqlx::Error::Database(cause)) => is_refusal(cause.as_ref()),
            _ => false,
        }
    }

    /// Tells whether another transaction was in the way, so that asking again at once helps.
    pub(crate) fn is_conflict(&self) -> bool {
        matches!(self, Self::LaneMoved)
            || matches!(self.code().as_deref(), Some("23505" | "40001" | "40P01"))
    }

    /// Tells whether a row was there already.
    pub(crate) fn is_duplicate(&self) -> bool {
        self.code().as_deref() == Some("23505")
    }

    /// Tells whether the connection that it came over is of no more use.
    pub(crate) fn breaks_connection(&self) -> bool {
        match self {
            Self::Broken(_) | Self::Deadline { .. } => true,
            other => other
                .code()
                .is_some_and(|code| code.starts_with("57P") || code == "25006"),
        }
    }

    /// Returns the code of the server's refusal.
    pub(crate) fn code(&self) -> Option<String> {
        match self {
            Self::Postgres(sqlx::Error::Database(cause)) => cause.code().map(Into::into),
            _ => None,
        }
    }
}

/// Sorts what came back from a statement that was sent: the server's refusals applied nothing, what broke is unclear.
pub(crate) fn of_statement(cause: sqlx::Error) -> Failure {
    match cause {
        sqlx::Error::Io(_) | sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed => {
            Failure::Broken(cause)
        }
        sqlx::Error::Database(ref refusal) if is_end_of_session(refusal.as_ref()) => {
            Failure::Broken(cause)
        }
        sqlx::Error::Database(ref refusal) if is_of_another_session(refusal.as_ref()) => {
            Failure::Pooler(cause)
        }
        other => Failure::Postgres(other),
    }
}

/// Says what the driver or the server says, without what the driver puts around the server's words.
pub(crate) fn told(cause: &sqlx::Error) -> String {
    match cause {
        sqlx::Error::Database(refusal) => refusal.message().to_owned(),
        sqlx::Error::Io(cause) => cause.to_string(),
        other => other.to_string(),
    }
}

/// Tells whether the server ended the session: a statement that had committed could still be answered so.
fn is_end_of_session(refusal: &dyn DatabaseError) -> bool {
    refusal
        .code()
        .is_some_and(|code| code.starts_with("08") || code.starts_with("57P"))
}

/// Tells whether a statement was prepared in another session: nothing was applied.
fn is_of_another_session(refusal: &dyn DatabaseError) -> bool {
    matches!(refusal.code().as_deref(), Some("26000" | "42P05"))
}

/// Class 22 is data that no column takes, 54 a limit of the server, 23 a rule of a table.
fn is_refusal(cause: &dyn DatabaseError) -> bool {
    let code = cause.code().unwrap_or_default();
    code.starts_with("22") || code.starts_with("54") || (code.starts_with("23") && code != "23505")
}

fn kind_of(cause: &sqlx::Error) -> Kind {
    match cause {
        sqlx::Error::Database(cause) if is_refusal(cause.as_ref()) => Kind::Invalid,
        sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => Kind::Corrupt,
        sqlx::Error::Encode(_) => Kind::Invalid,
        _ => Kind::Unavailable,
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        Self::new(failure.kind(), failure)
    }
}
