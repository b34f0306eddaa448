//! Opens the store: recognition of the server and the schema, checks of settings, versioned migrations.
//!
//! Invariants: a schema that is not ours is left as it was. Migrations are applied in one transaction, by one process at
//! a time. Nothing here needs a prepared statement, so that any pooler will do.

use std::time::Duration;

use longhaul_core::backend::{PARTITIONS_DEFAULT, StoreInfo};
use longhaul_core::clock::{Timestamp, random_bytes_of_the_system};
use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor, PgConnection, Row};

use crate::config::{Checks, Pooler, PostgresConfig};
use crate::error::{Failure, Result, of_statement, told};
use crate::session::{Sessions, in_schema};

/// Is the oldest server that works here: 14, as `server_version_num` counts.
const SERVER_NEEDED: u32 = 14;

/// Lists the migrations; the format version is how many were applied.
const MIGRATIONS: [&str; 2] = [
    include_str!("../migrations/0001_initial.sql"),
    include_str!("../migrations/0002_pause.sql"),
];

/// Is the oldest format version whose readers can use what this version writes.
const READER_NEEDED: i64 = 1;

const FORMAT: i64 = MIGRATIONS.len() as i64;

/// Is how often two connections are asked who serves them, to find a pooler.
const PROBES: usize = 6;

/// Is what opening finds out.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) info: StoreInfo,
    pub(crate) sessions: Sessions,
    pub(crate) now: Timestamp,
}

/// Connects, checks, and makes or migrates the store when it has to.
pub(crate) async fn open(config: &PostgresConfig, schema: &str) -> Result<Opened> {
    let mut connection = connect(config).await?;
    let opened = prepare(&mut connection, config, schema).await;
    let _ = connection.close().await;
    let (info, now) = opened?;
    Ok(Opened {
        info,
        sessions: sessions(config).await?,
        now,
    })
}

async fn prepare(
    connection: &mut PgConnection,
    config: &PostgresConfig,
    schema: &str,
) -> Result<(StoreInfo, Timestamp)> {
    let now = check_server(connection, config.checks).await?;
    let rights = |failure| without_rights(failure, config, schema);
    migrate(connection, schema).await.map_err(rights)?;
    let info = read_store(connection, schema).await.map_err(rights)?;
    check_rights(connection, config, schema).await?;
    Ok((info, now))
}

/// Connects once, so that what is wrong with the address or the password is said at once.
async fn connect(config: &PostgresConfig) -> Result<PgConnection> {
    let connecting = config.connect.clone().extra_float_digits(None);
    let cause = match tokio::time::timeout(config.connect_timeout, connecting.connect()).await {
        Ok(Ok(connection)) => return Ok(connection),
        Ok(Err(cause)) => cause,
        Err(_) => sqlx::Error::Io(std::io::ErrorKind::TimedOut.into()),
    };
    let code = cause
        .as_database_error()
        .and_then(|refusal| refusal.code().map(String::from));
    let user = config.connect.get_username().to_owned();
    Err(match code.as_deref() {
        Some("28P01" | "28000" | "08P01") => Failure::Credentials {
            place: config.place(),
            user,
            cause: told(&cause),
        },
        Some("3D000") => Failure::UnknownDatabase {
            place: config.place(),
            database: database(config),
        },
        _ => Failure::Connect {
            place: config.place(),
            cause,
        },
    })
}

fn database(config: &PostgresConfig) -> String {
    let named = config.connect.get_database();
    named.unwrap_or(config.connect.get_username()).to_owned()
}

async fn rows(connection: &mut PgConnection, text: String) -> Result<Vec<PgRow>> {
    sqlx::raw_sql(AssertSqlSafe(text))
        .fetch_all(&mut *connection)
        .await
        .map_err(of_statement)
}

async fn row(connection: &mut PgConnection, text: String) -> Result<PgRow> {
    rows(connection, text)
        .await?
        .into_iter()
        .next()
        .ok_or(Failure::Postgres(sqlx::Error::RowNotFound))
}

/// Refuses a server that is too old, takes no writes, or may lose what it acknowledged; returns its time.
async fn check_server(connection: &mut PgConnection, checks: Checks) -> Result<Timestamp> {
    let text = "select current_setting('server_version_num')::bigint / 10000 as version, \
                current_setting('server_version') as version_text, current_setting('fsync') as fsync, \
                current_setting('synchronous_commit') as synchronous_commit, \
                current_setting('full_page_writes') as full_page_writes, \
                current_setting('default_transaction_read_only') as read_only, \
                pg_is_in_recovery() as standby, \
                (extract(epoch from statement_timestamp()) * 1000000)::bigint as now";
    let found = row(connection, text.to_owned()).await?;
    let version: i64 = found.try_get("version")?;
    if version < i64::from(SERVER_NEEDED) {
        return Err(Failure::OldServer {
            found: found.try_get("version_text")?,
            needed: SERVER_NEEDED,
        });
    }
    if found.try_get("standby")? {
        return Err(Failure::Standby);
    }
    if checks == Checks::On {
        check_settings(&found)?;
    }
    Ok(Timestamp::from_micros(found.try_get("now")?))
}

fn check_settings(found: &PgRow) -> Result<()> {
    let harm = "a crash of the server can lose what was acknowledged";
    for (setting, bad, harm, cure) in [
        ("fsync", "off", harm, "set `fsync = on` in postgresql.conf"),
        (
            "full_page_writes",
            "off",
            harm,
            "set `full_page_writes = on` in postgresql.conf",
        ),
        (
            "synchronous_commit",
            "off",
            harm,
            "run `alter role ... set synchronous_commit = on`",
        ),
        (
            "read_only",
            "on",
            "nothing can be written",
            "run `alter role ... set default_transaction_read_only = off`",
        ),
    ] {
        let value: String = found.try_get(setting)?;
        if value == bad {
            return Err(Failure::Setting {
                setting,
                found: value,
                harm,
                cure,
            });
        }
    }
    Ok(())
}

/// Is what a schema holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    /// Nothing that is ours, and nothing else.
    Nothing,
    /// A store of this format.
    Store(i64),
}

async fn migrate(connection: &mut PgConnection, schema: &str) -> Result<()> {
    if recognise(connection, schema).await? == Found::Store(FORMAT) {
        return Ok(());
    }
    connection
        .execute(sqlx::raw_sql("begin isolation level read committed"))
        .await
        .map_err(of_statement)?;
    let migrated = migrate_inside(connection, schema).await;
    let end = if migrated.is_ok() {
        "commit"
    } else {
        "rollback"
    };
    let ended = connection.execute(sqlx::raw_sql(end)).await;
    migrated.and(ended.map(|_| ()).map_err(of_statement))
}

async fn migrate_inside(connection: &mut PgConnection, schema: &str) -> Result<()> {
    let lock = format!("select pg_advisory_xact_lock(hashtextextended('longhaul {schema}', 0))");
    rows(connection, lock).await?;
    let applied = match recognise(connection, schema).await? {
        Found::Nothing => 0,
        Found::Store(format) => format,
    };
    if applied >= FORMAT {
        return Ok(());
    }
    if applied == 0 {
        make_schema(connection, schema).await?;
    }
    let skipped = usize::try_from(applied).unwrap_or(0);
    for migration in MIGRATIONS.iter().skip(skipped) {
        rows(connection, in_schema(migration, schema)).await?;
    }
    let hash_key: String = random_bytes_of_the_system()
        .iter()
        .take(16)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let noted = format!(
        "insert into \"{schema}\".meta (id, format, reader, hash_key, partitions, created_at) \
         values (1, {FORMAT}, {READER_NEEDED}, '\\x{hash_key}', {PARTITIONS_DEFAULT}, \"{schema}\".at(null)) \
         on conflict (id) do update set format = excluded.format, reader = greatest(meta.reader, excluded.reader)"
    );
    rows(connection, noted).await?;
    Ok(())
}

async fn make_schema(connection: &mut PgConnection, schema: &str) -> Result<()> {
    let text = format!("select true from pg_namespace where nspname = '{schema}'");
    if rows(connection, text).await?.is_empty() {
        rows(connection, format!("create schema \"{schema}\"")).await?;
    }
    Ok(())
}

/// Tells what a schema holds, and refuses one of something else or of a newer version.
async fn recognise(connection: &mut PgConnection, schema: &str) -> Result<Found> {
    let text = format!(
        "select c.relname as name from pg_class c join pg_namespace n on n.oid = c.relnamespace \
         where n.nspname = '{schema}' and c.relkind in ('r', 'p', 'v', 'm', 'f')"
    );
    let tables = rows(connection, text).await?;
    let mut names = Vec::new();
    for table in &tables {
        names.push(table.try_get::<String, _>("name")?);
    }
    if names.is_empty() {
        return Ok(Found::Nothing);
    }
    if !(names.iter().any(|name| name == "meta") && names.iter().any(|name| name == "fence")) {
        return Err(Failure::NotOurs(schema.to_owned()));
    }
    let text = format!("select format, reader from \"{schema}\".meta");
    let meta = row(connection, text).await?;
    let needs: i64 = meta.try_get("reader")?;
    if needs > FORMAT {
        return Err(Failure::NewerVersion {
            schema: schema.to_owned(),
            needs,
            reads: FORMAT,
        });
    }
    // A store that a newer version made and this one may use is taken as it is.
    Ok(Found::Store(FORMAT.min(meta.try_get("format")?)))
}

async fn read_store(connection: &mut PgConnection, schema: &str) -> Result<StoreInfo> {
    let text = format!("select hash_key, partitions from \"{schema}\".meta");
    let meta = row(connection, text).await?;
    let key: Vec<u8> = meta.try_get("hash_key")?;
    let partitions: i32 = meta.try_get("partitions")?;
    Ok(StoreInfo {
        hash_key: key.try_into().map_err(|_| Failure::Unreadable {
            what: "key",
            value: "hash_key".to_owned(),
        })?,
        partitions: u16::try_from(partitions).map_err(|_| Failure::Unreadable {
            what: "number of partitions",
            value: partitions.to_string(),
        })?,
    })
}

/// Says which right is missing, and whom to ask.
fn without_rights(failure: Failure, config: &PostgresConfig, schema: &str) -> Failure {
    if failure.code().as_deref() != Some("42501") {
        return failure;
    }
    Failure::Rights {
        user: config.connect.get_username().to_owned(),
        database: database(config),
        schema: schema.to_owned(),
        what: "make or use the schema",
        cause: failure.to_string(),
    }
}

async fn check_rights(
    connection: &mut PgConnection,
    config: &PostgresConfig,
    schema: &str,
) -> Result<()> {
    let text = format!(
        "select c.relname as name from pg_class c join pg_namespace n on n.oid = c.relnamespace \
         where n.nspname = '{schema}' and c.relkind = 'r' and not (has_table_privilege(c.oid, 'select') \
         and has_table_privilege(c.oid, 'insert') and has_table_privilege(c.oid, 'update') \
         and has_table_privilege(c.oid, 'delete')) order by c.relname limit 1"
    );
    let Some(table) = rows(connection, text).await?.into_iter().next() else {
        return Ok(());
    };
    let table: String = table.try_get("name")?;
    Err(Failure::Rights {
        user: config.connect.get_username().to_owned(),
        database: database(config),
        schema: schema.to_owned(),
        what: "read and write the tables",
        cause: format!("a privilege on table {table} is missing"),
    })
}

/// Finds out whether a pooler lends sessions for a transaction each.
///
/// Two open connections have two sessions, each its own, for as long as they live, and younger than the connections.
/// Behind such a pooler one session serves both, or several serve one, or they were there before.
async fn sessions(config: &PostgresConfig) -> Result<Sessions> {
    match config.pooler {
        Pooler::None => return Ok(Sessions::Own),
        Pooler::Transaction => return Ok(Sessions::Shared),
        Pooler::Detect => {}
    }
    let mut one = connect(config).await?;
    let (mut of_one, started) = session_of(&mut one).await?;
    let mut other = connect(config).await?;
    let mut of_other = None;
    let mut sessions = Sessions::Own;
    for _ in 0..PROBES {
        let (now, since) = session_of(&mut other).await?;
        let is_older = since < started;
        let moved = of_other.is_some_and(|before| before != now);
        of_other = Some(now);
        let (now, _) = session_of(&mut one).await?;
        if is_older || moved || now != of_one || of_other == Some(now) {
            sessions = Sessions::Shared;
        }
        of_one = now;
    }
    let _ = tokio::time::timeout(Duration::from_secs(1), async {
        let _ = one.close().await;
        other.close().await
    })
    .await;
    if sessions == Sessions::Shared {
        tracing::info!(
            "a pooler lends sessions by the transaction: hints are off, work is found by polling"
        );
    }
    Ok(sessions)
}

/// Returns the process that serves a connection, and when it began.
async fn session_of(connection: &mut PgConnection) -> Result<(i64, i64)> {
    let text = "select pg_backend_pid()::bigint as pid, (extract(epoch from backend_start) * 1000000)::bigint as since \
                from pg_stat_get_activity(pg_backend_pid())";
    let found = row(connection, text.to_owned()).await?;
    Ok((found.try_get("pid")?, found.try_get("since")?))
}
