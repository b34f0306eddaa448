//! Opens connections: settings, recognition of the file, versioned migrations.
//!
//! Invariants: a file that is not ours is left as it was. Migrations are applied in one transaction, by one process. A
//! setting that the file did not take is an error, as durability rests on it.

use std::path::Path;
use std::time::{Duration, Instant};

use longhaul_core::backend::{PARTITIONS_DEFAULT, StoreInfo};
use longhaul_core::clock::{Timestamp, random_bytes_of_the_system};
use rusqlite::{Connection, ErrorCode, OpenFlags, params};

use crate::config::Durability;
use crate::error::{Failure, Result};

/// Marks a database file as ours: `LHL1`.
const APPLICATION_ID: i64 = 0x4c48_4c31;

/// Is the oldest SQLite whose write-ahead log is safe with several connections.
const SQLITE_VERSION_NEEDED: i32 = 3_051_003;

/// Is how long a statement waits for another process's transaction.
pub(crate) const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

const STATEMENTS_CACHED: usize = 128;

/// Lists the migrations; the format version is how many were applied.
const MIGRATIONS: [&str; 2] = [
    include_str!("../migrations/0001_initial.sql"),
    include_str!("../migrations/0002_outcome.sql"),
];

/// Is the oldest format version whose readers can use what this version writes.
const READER_NEEDED: i64 = 1;

const FORMAT: i64 = MIGRATIONS.len() as i64;

/// Opens the connection that writes, and makes or migrates the store when it has to.
pub(crate) fn open_writer(
    path: &Path,
    durability: Durability,
    now: Timestamp,
) -> Result<(Connection, StoreInfo)> {
    let found = rusqlite::version_number();
    if found < SQLITE_VERSION_NEEDED {
        let needed = SQLITE_VERSION_NEEDED;
        return Err(Failure::OldSqlite { found, needed });
    }
    if let Some(folder) = path.parent().filter(|f| !f.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).map_err(|cause| Failure::Folder {
            path: folder.to_owned(),
            cause,
        })?;
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
    let connection = open(path, flags)?;
    recognise(&connection, path)?;
    use_write_ahead_log(&connection, path)?;
    apply_settings(&connection, path, durability)?;
    migrate(&connection, path, now)?;
    let store = read_store(&connection, path)?;
    Ok((connection, store))
}

/// Opens a connection that only reads.
pub(crate) fn open_reader(path: &Path) -> Result<Connection> {
    let connection = open(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    connection.pragma_update(None, "query_only", true)?;
    Ok(connection)
}

fn open(path: &Path, flags: OpenFlags) -> Result<Connection> {
    let open = || {
        let connection =
            Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS_CACHED);
        connection.pragma_update(None, "mmap_size", 0)?;
        Ok(connection)
    };
    open().map_err(|cause| told(path, cause))
}

/// Names the file where SQLite's own message does not.
fn told(path: &Path, cause: rusqlite::Error) -> Failure {
    let path = path.to_owned();
    match cause.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => Failure::NotDatabase { path },
        _ => Failure::Open { path, cause },
    }
}

/// Refuses a file that holds something else.
fn recognise(connection: &Connection, path: &Path) -> Result<()> {
    let read = || {
        let tables: i64 =
            connection.query_row("select count(*) from sqlite_schema", [], |row| row.get(0))?;
        let application: i64 =
            connection.query_row("pragma application_id", [], |row| row.get(0))?;
        Ok(application == APPLICATION_ID || (tables == 0 && application == 0))
    };
    match read() {
        Ok(true) => Ok(()),
        Ok(false) => Err(Failure::NotOurs {
            path: path.to_owned(),
        }),
        Err(cause) => Err(told(path, cause)),
    }
}

/// Sets the journal mode, which is kept in the file; SQLite does not wait for others here, so this does.
fn use_write_ahead_log(connection: &Connection, path: &Path) -> Result<()> {
    let started = Instant::now();
    loop {
        let mode: rusqlite::Result<String> =
            connection.query_row("pragma journal_mode = wal", [], |row| row.get(0));
        match mode {
            Ok(mode) => return check(path, "journal_mode", "wal", &mode),
            Err(cause) if is_busy(&cause) && started.elapsed() < BUSY_TIMEOUT => {
                std::thread::sleep(Duration::from_millis(5));
            }
            Err(cause) => return Err(told(path, cause)),
        }
    }
}

fn is_busy(cause: &rusqlite::Error) -> bool {
    matches!(
        cause.sqlite_error_code(),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked)
    )
}

fn apply_settings(connection: &Connection, path: &Path, durability: Durability) -> Result<()> {
    let synchronous = match durability {
        Durability::Full => 2,
        Durability::Fast => 1,
    };
    connection.pragma_update(None, "synchronous", synchronous)?;
    connection.pragma_update(None, "foreign_keys", 1)?;
    connection.pragma_update(None, "temp_store", "memory")?;
    connection.pragma_update(None, "cache_size", -16_000)?;
    connection.pragma_update(None, "journal_size_limit", 64 * 1024 * 1024)?;
    for (setting, wanted) in [("synchronous", synchronous), ("foreign_keys", 1)] {
        let found: i64 = connection.pragma_query_value(None, setting, |row| row.get(0))?;
        check(path, setting, &wanted.to_string(), &found.to_string())?;
    }
    Ok(())
}

fn check(path: &Path, setting: &'static str, wanted: &str, found: &str) -> Result<()> {
    if found == wanted {
        return Ok(());
    }
    Err(Failure::Setting {
        path: path.to_owned(),
        setting,
        wanted: wanted.to_owned(),
        found: found.to_owned(),
    })
}

fn migrate(connection: &Connection, path: &Path, now: Timestamp) -> Result<()> {
    connection.execute_batch("begin immediate")?;
    let migrated = migrate_inside(connection, path, now);
    let ended = connection.execute_batch(if migrated.is_ok() {
        "commit"
    } else {
        "rollback"
    });
    migrated.and(ended.map_err(Failure::from))
}

fn migrate_inside(connection: &Connection, path: &Path, now: Timestamp) -> Result<()> {
    let format: i64 = connection.query_row("pragma user_version", [], |row| row.get(0))?;
    if format > 0 {
        refuse_newer(connection, path)?;
    }
    let applied = usize::try_from(format).unwrap_or(0);
    for migration in MIGRATIONS.iter().skip(applied) {
        connection.execute_batch(migration)?;
    }
    if applied == 0 {
        connection.pragma_update(None, "application_id", APPLICATION_ID)?;
        let [hash_key, _] = halves(random_bytes_of_the_system());
        connection.execute(
            "insert into meta (id, reader, hash_key, partitions, created_at) values (1, ?1, ?2, ?3, ?4)",
            params![READER_NEEDED, hash_key, PARTITIONS_DEFAULT, now.as_micros()],
        )?;
    }
    if format < FORMAT {
        connection.execute("update meta set reader = max(reader, ?1)", [READER_NEEDED])?;
        connection.pragma_update(None, "user_version", FORMAT)?;
    }
    Ok(())
}

/// Cuts random bytes in two.
pub(crate) fn halves(bytes: [u8; 32]) -> [[u8; 16]; 2] {
    let mut halves = [[0; 16]; 2];
    for (half, chunk) in halves.iter_mut().zip(bytes.chunks_exact(16)) {
        half.copy_from_slice(chunk);
    }
    halves
}

fn refuse_newer(connection: &Connection, path: &Path) -> Result<()> {
    let needs: i64 = connection.query_row("select reader from meta", [], |row| row.get(0))?;
    if needs > FORMAT {
        return Err(Failure::NewerVersion {
            path: path.to_owned(),
            needs,
            reads: FORMAT,
        });
    }
    Ok(())
}

fn read_store(connection: &Connection, path: &Path) -> Result<StoreInfo> {
    connection
        .query_row("select hash_key, partitions from meta", [], |row| {
            Ok(StoreInfo {
                hash_key: row.get(0)?,
                partitions: row.get(1)?,
            })
        })
        .map_err(|cause| told(path, cause))
}
