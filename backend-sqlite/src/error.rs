//! What can go wrong inside, and the one conversion into the contract's error.
//!
//! Invariants: nothing that failed was applied, except where the kind is `Unclear`.

use std::io;
use std::path::PathBuf;

use longhaul_core::backend::{Error, Kind, PAGE_MAX};
use longhaul_core::id::{WorkerId, WorkflowId};
use rusqlite::ErrorCode;

/// Are result codes of SQLite, as sqlx gives them.
#[cfg(feature = "sqlx")]
mod code {
    pub(crate) const SQLITE_IOERR: i32 = 10;
    pub(crate) const SQLITE_CORRUPT: i32 = 11;
    pub(crate) const SQLITE_TOOBIG: i32 = 18;
    pub(crate) const SQLITE_CONSTRAINT: i32 = 19;
    pub(crate) const SQLITE_MISMATCH: i32 = 20;
    pub(crate) const SQLITE_NOTADB: i32 = 26;
}
#[cfg(feature = "sqlx")]
pub(crate) use code::*;

/// Tells what went wrong.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("sqlite: {0}")]
    Sqlite(#[from] rusqlite::Error),
    #[error("the commit failed halfway: {0}")]
    CommitUnclear(rusqlite::Error),
    #[error("sqlite gave up the transaction because of another request: {0}")]
    TransactionGone(String),
    #[error("worker {0} is not registered, or was declared dead")]
    WorkerDead(WorkerId),
    #[error("there is no run `{0}`")]
    UnknownRun(WorkflowId),
    #[error("a page of {0} is not possible; it has 1 to {PAGE_MAX} entries")]
    Page(usize),
    #[error("the database's thread has ended")]
    Stopped,
    #[error("cannot start a thread: {0}")]
    Thread(io::Error),
    #[error(
        "cannot lock `{}`: {cause}; on a network file system, open the database with `?locks=off`",
        path.display()
    )]
    Lock { path: PathBuf, cause: io::Error },
    #[error("cannot make the folder `{}`: {cause}", path.display())]
    Folder { path: PathBuf, cause: io::Error },
    #[error("cannot open `{}`: {cause}", path.display())]
    Open {
        path: PathBuf,
        cause: rusqlite::Error,
    },
    #[error("`{}` is not a SQLite database; name another file", path.display())]
    NotDatabase { path: PathBuf },
    #[error(
        "`{}` is a SQLite database of something else; name a file of its own",
        path.display()
    )]
    NotOurs { path: PathBuf },
    #[error(
        "`{}` was written by a newer version (it needs format {needs}, this version reads up to {reads})",
        path.display()
    )]
    NewerVersion {
        path: PathBuf,
        needs: i64,
        reads: i64,
    },
    #[error("`{}` took {setting} = `{found}` instead of `{wanted}`", path.display())]
    Setting {
        path: PathBuf,
        setting: &'static str,
        wanted: String,
        found: String,
    },
    #[cfg(feature = "sqlx")]
    #[error("sqlite: {0}")]
    Sqlx(#[from] sqlx::Error),
    #[cfg(feature = "sqlx")]
    #[error("the commit failed halfway: {0}")]
    SqlxCommitUnclear(sqlx::Error),
    #[cfg(feature = "sqlx")]
    #[error("a `SqliteConnection` of sqlx 0.9 is needed; this is a connection of another type")]
    OtherConnection,
    #[cfg(feature = "sqlx")]
    #[error(
        "the connection is to `{found}`, and the store is `{}`; connect to the file of the store",
        path.display()
    )]
    OtherDatabase { path: PathBuf, found: String },
    #[cfg(feature = "sqlx")]
    #[error("run `{0}` has ended, or is in another segment; nothing of it is recorded any more")]
    SegmentOver(WorkflowId),
    #[cfg(feature = "sqlx")]
    #[error(
        "the code of `{0}` has ended the transaction that it was given; leave `commit` and `rollback` to the worker"
    )]
    TransactionEnded(longhaul_core::history::OperationKey),
    #[error("SQLite {found} is linked, and {needed} is the oldest that is safe here")]
    OldSqlite { found: i32, needed: i32 },
}

/// Is a `Result` of this crate's inside.
pub(crate) type Result<T, E = Failure> = std::result::Result<T, E>;

impl Failure {
    fn kind(&self) -> Kind {
        match self {
            Self::Sqlite(cause) | Self::Open { cause, .. } => kind_of(cause),
            Self::CommitUnclear(_) => Kind::Unclear,
            Self::TransactionGone(_) | Self::Stopped | Self::Thread(_) | Self::Lock { .. } => {
                Kind::Unavailable
            }
            Self::WorkerDead(_) => Kind::WorkerDead,
            Self::UnknownRun(_) => Kind::NotFound,
            Self::Page(_)
            | Self::Folder { .. }
            | Self::NotOurs { .. }
            | Self::Setting { .. }
            | Self::OldSqlite { .. } => Kind::Invalid,
            Self::NotDatabase { .. } => Kind::Corrupt,
            #[cfg(feature = "sqlx")]
            Self::Sqlx(cause) => kind_of_sqlx(cause),
            #[cfg(feature = "sqlx")]
            Self::SqlxCommitUnclear(_) => Kind::Unclear,
            #[cfg(feature = "sqlx")]
            Self::OtherConnection | Self::OtherDatabase { .. } | Self::TransactionEnded(_) => {
                Kind::Invalid
            }
            #[cfg(feature = "sqlx")]
            Self::SegmentOver(_) => Kind::Finished,
            Self::NewerVersion { .. } => Kind::NewerVersion,
        }
    }

    /// Tells whether the store cannot hold what it was given, so that asking again cannot help.
    pub(crate) fn is_refusal(&self) -> bool {
        matches!(self, Self::Sqlite(cause) if kind_of(cause) == Kind::Invalid)
    }
}

fn kind_of(cause: &rusqlite::Error) -> Kind {
    match cause {
        rusqlite::Error::FromSqlConversionFailure(..)
        | rusqlite::Error::IntegralValueOutOfRange(..)
        | rusqlite::Error::InvalidColumnType(..)
        | rusqlite::Error::Utf8Error(..) => Kind::Corrupt,
        rusqlite::Error::ToSqlConversionFailure(_) => Kind::Invalid,
        rusqlite::Error::SqliteFailure(failure, _) => match failure.code {
            ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => Kind::Corrupt,
            ErrorCode::TooBig | ErrorCode::ConstraintViolation | ErrorCode::TypeMismatch => {
                Kind::Invalid
            }
            _ => Kind::Unavailable,
        },
        _ => Kind::Unavailable,
    }
}

#[cfg(feature = "sqlx")]
fn kind_of_sqlx(cause: &sqlx::Error) -> Kind {
    match result_code(cause) {
        Some(SQLITE_CORRUPT | SQLITE_NOTADB) => Kind::Corrupt,
        Some(SQLITE_TOOBIG | SQLITE_CONSTRAINT | SQLITE_MISMATCH) => Kind::Invalid,
        _ if matches!(cause, sqlx::Error::ColumnDecode { .. }) => Kind::Corrupt,
        _ => Kind::Unavailable,
    }
}

/// Returns SQLite's primary result code.
#[cfg(feature = "sqlx")]
pub(crate) fn result_code(cause: &sqlx::Error) -> Option<i32> {
    let code = cause.as_database_error()?.code()?;
    code.parse::<i32>().ok().map(|extended| extended & 0xff)
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        Self::new(failure.kind(), failure)
    }
}

/// Makes the error of a stored text that this version does not know.
pub(crate) fn unreadable(column: usize, text: &str) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(
        column,
        rusqlite::types::Type::Text,
        format!("`{text}` is not known").into(),
    )
}
