//! What goes wrong here, and what the engine is told of it.
//!
//! Invariants: a refusal that comes before a script begins applied nothing; whatever breaks a request that was sent leaves
//! unclear whether it was applied. No message shows a password.

use std::time::Duration;

use longhaul_core::backend::{Error, Kind, PAGE_MAX};
use longhaul_core::id::WorkflowId;
use redis::{ErrorKind, RedisError, ServerErrorKind};

use crate::config::{Durability, RedisConfig};

/// Tells what went wrong.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("the connection to redis broke while a request was under way: {0}")]
    Broken(String),
    #[error("redis did not answer in time; the request may have been applied")]
    Deadline,
    #[error(
        "one of several partitions failed, so that the request may have been applied in part: {0}"
    )]
    PartlyDone(Box<Self>),
    #[error("redis is not ready: {0}")]
    NotReady(String),
    #[error("redis has no memory left (`maxmemory` is reached); nothing was written: {0}")]
    Memory(String),
    #[error("redis refused a request: {0}")]
    Answered(String),
    #[error(
        "{count} of the {wanted} replicas that `?durability=replicated:{wanted}` asks for had the write in time"
    )]
    NotReplicated { wanted: u16, count: u16 },
    #[error("the worker is not registered, or was declared dead")]
    WorkerDead,
    #[error("the worker joined before the store was restarted, or before a replica took its place")]
    OtherGeneration,
    #[error("there is no run `{run}`")]
    UnknownRun { run: WorkflowId },
    #[error("a page of {limit} is not possible; it has 1 to {PAGE_MAX} entries")]
    WrongPage { limit: usize },
    #[error("`{value}` in the store is no {what}")]
    Unreadable { what: &'static str, value: String },
    #[error("redis does not permit what is needed; see the rights in the guide to backends: {0}")]
    NotPermitted(String),
    #[error("the store cannot hold this: {0}")]
    Refused(String),
    #[error("the request was given up, as the runtime is shutting down")]
    Stopped,
    #[error("cannot connect to redis at {place}: {cause}")]
    Connect { place: String, cause: String },
    #[error("cannot connect to redis at {place} within {} s", limit.as_secs_f32())]
    ConnectTimeout { place: String, limit: Duration },
    #[error(
        "redis at {place} refuses user `{user}`: {cause}; check the name and the password in the URL"
    )]
    Credentials {
        place: String,
        user: String,
        cause: String,
    },
    #[error("redis at {place} does not permit user `{user}` what is needed: {cause}")]
    Rights {
        place: String,
        user: String,
        cause: String,
    },
    #[error("redis {found} is too old; 7.0 or newer is needed")]
    OldServer { found: String },
    #[error("the server at {place} is a read-only replica; name its master in the URL")]
    Replica { place: String },
    #[error(
        "nobody serves {missing} of the 16384 hash slots of the cluster; repair it (`redis-cli --cluster check`)"
    )]
    Coverage { missing: u32 },
    #[error("a cluster has database 0 alone, and the URL names {database}")]
    Database { database: i64 },
    #[error(
        "`maxmemory-policy` is `{found}`, which may evict records; run `CONFIG SET maxmemory-policy noeviction`"
    )]
    Evicts { found: String },
    #[error("{harm}; run {cure} (and write it into redis.conf, or `CONFIG REWRITE`){hint}")]
    NotDurable {
        harm: String,
        cure: String,
        hint: String,
    },
    #[error(
        "the server does not tell its `{setting}`, so that `?durability={durability}` cannot be checked; permit `CONFIG GET`, \
         or open with `?checks=off` if you know it holds"
    )]
    Unknown {
        setting: &'static str,
        durability: Durability,
    },
    #[error("`?durability=replicated:{wanted}` needs {wanted} replicas; {found} are connected")]
    FewReplicas { wanted: u16, found: u16 },
    #[error(
        "the store has {found} partitions, which never change, and {wanted} are asked for; leave `partitions` out"
    )]
    Partitions { found: u16, wanted: u16 },
    #[error(
        "namespace `{namespace}` holds a store of a newer version (format {found}, this version reads {reads})"
    )]
    NewerVersion {
        namespace: String,
        found: u32,
        reads: u32,
    },
}

/// Is a `Result` of this crate's inside.
pub(crate) type Result<T, E = Failure> = std::result::Result<T, E>;

impl Failure {
    pub(crate) const fn kind(&self) -> Kind {
        match self {
            Self::Broken(_)
            | Self::Deadline
            | Self::PartlyDone(_)
            | Self::NotReplicated { .. }
            | Self::Answered(_) => Kind::Unclear,
            Self::NotReady(_)
            | Self::Memory(_)
            | Self::Stopped
            | Self::Connect { .. }
            | Self::ConnectTimeout { .. }
            | Self::Replica { .. }
            | Self::Coverage { .. } => Kind::Unavailable,
            Self::WorkerDead | Self::OtherGeneration => Kind::WorkerDead,
            Self::UnknownRun { .. } => Kind::NotFound,
            Self::Unreadable { .. } => Kind::Corrupt,
            Self::NewerVersion { .. } => Kind::NewerVersion,
            Self::WrongPage { .. }
            | Self::Refused(_)
            | Self::NotPermitted(_)
            | Self::Credentials { .. }
            | Self::Rights { .. }
            | Self::OldServer { .. }
            | Self::Database { .. }
            | Self::Evicts { .. }
            | Self::NotDurable { .. }
            | Self::Unknown { .. }
            | Self::FewReplicas { .. }
            | Self::Partitions { .. } => Kind::Invalid,
        }
    }

    /// Tells whether it may be over soon.
    pub(crate) const fn is_passing(&self) -> bool {
        matches!(self.kind(), Kind::Unavailable | Kind::Unclear)
    }

    /// Tells which of several failures counts: the larger.
    pub(crate) const fn weight(&self) -> u8 {
        match self.kind() {
            Kind::WorkerDead => 3,
            Kind::Unclear => 1,
            Kind::Unavailable => 0,
            _ => 2,
        }
    }

    /// Returns the failure of a request of which other parts were done.
    pub(crate) fn partly_done(self) -> Self {
        match self.kind() {
            Kind::Unavailable => Self::PartlyDone(Box::new(self)),
            _ => self,
        }
    }
}

/// Sorts what came back from a request that was sent.
pub(crate) fn of_request(cause: &RedisError) -> Failure {
    let told = cause.to_string();
    match cause.kind() {
        ErrorKind::Server(
            ServerErrorKind::BusyLoading
            | ServerErrorKind::TryAgain
            | ServerErrorKind::ClusterDown
            | ServerErrorKind::MasterDown
            | ServerErrorKind::ReadOnly
            | ServerErrorKind::Moved
            | ServerErrorKind::Ask,
        )
        | ErrorKind::ClusterConnectionNotFound => Failure::NotReady(told),
        _ if cause.code() == Some("OOM") => Failure::Memory(told),
        _ if matches!(
            cause.code(),
            Some("NOREPLICAS" | "MISCONF" | "BUSY" | "UNKILLABLE")
        ) =>
        {
            Failure::NotReady(told)
        }
        ErrorKind::Server(ServerErrorKind::NoPerm) => Failure::NotPermitted(told),
        _ if told.contains("ACL failure in script") => Failure::NotPermitted(told),
        _ if matches!(cause.code(), Some("NOAUTH" | "WRONGPASS")) => Failure::NotPermitted(told),
        _ if cause.is_connection_refusal() => Failure::NotReady(told),
        _ if cause.is_timeout() => Failure::Deadline,
        ErrorKind::Server(_) | ErrorKind::Extension => Failure::Answered(told),
        _ => Failure::Broken(told),
    }
}

/// Sorts what came back from an attempt to connect.
pub(crate) fn of_connection(cause: &RedisError, config: &RedisConfig) -> Failure {
    let (place, user) = (config.place(), config.user().to_owned());
    let told = cause
        .detail()
        .map_or_else(|| cause.to_string(), str::to_owned);
    let is_refusal = cause.kind() == ErrorKind::AuthenticationFailed
        || matches!(cause.code(), Some("NOAUTH" | "WRONGPASS"));
    match cause.kind() {
        _ if is_refusal => Failure::Credentials {
            place,
            user,
            cause: told,
        },
        ErrorKind::Server(ServerErrorKind::NoPerm) => Failure::Rights {
            place,
            user,
            cause: told,
        },
        ErrorKind::InvalidClientConfig => Failure::Refused(told),
        _ => Failure::Connect {
            place,
            cause: cause.to_string(),
        },
    }
}

/// Makes the error of a stored value that this version does not know.
pub(crate) fn unreadable(what: &'static str, value: impl std::fmt::Display) -> Failure {
    Failure::Unreadable {
        what,
        value: value.to_string(),
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        Self::new(failure.kind(), failure)
    }
}
