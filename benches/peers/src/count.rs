//! What a process and its database did: processor time, memory, statements.

use anyhow::{Context as _, Result};

use crate::server::psql;

/// Is the unit of `/proc/self/stat`: 100 ticks a second, on every Linux of today.
pub(crate) const TICK_MS: f64 = 10.0;

/// Is how many bytes a page of `/proc/self/statm` has.
const PAGE_BYTES: f64 = 4_096.0;

/// Returns the processor time of this process so far.
pub(crate) fn cpu_millis() -> Result<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let (_, rest) = stat.rsplit_once(')').context("/proc/self/stat")?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let ticks = |at: usize| -> Result<f64> { Ok(fields.get(at).context("ticks")?.parse()?) };
    Ok((ticks(11)? + ticks(12)?) * TICK_MS)
}

/// Returns the memory of this process that is in use.
pub(crate) fn resident_bytes() -> Result<f64> {
    let pages = std::fs::read_to_string("/proc/self/statm")?;
    let resident = pages.split(' ').nth(1).context("/proc/self/statm")?;
    Ok(resident.parse::<f64>()? * PAGE_BYTES)
}

/// Returns how many statements a Postgres database executed so far; of SQLite there is no count.
pub(crate) fn statements(url: &str) -> Result<Option<f64>> {
    if !url.starts_with("postgres:") {
        return Ok(None);
    }
    let (_, database) = url.rsplit_once('/').context("the URL has no database")?;
    let text = format!(
        "select coalesce(sum(calls), 0) from pg_stat_statements s join pg_database d on d.oid = s.dbid
         where d.datname = '{database}'"
    );
    Ok(Some(psql(&text)?.parse()?))
}
