//! What a measurement costs: processor time, statements, bytes of the log, flushes of the disk.
//!
//! Invariants: what is counted is what the system and the server count, before and after; nobody else uses them
//! meanwhile. A count that there is not is left out.

use std::collections::BTreeMap;

use longhaul::{Error, Result};

use crate::subject::{Engine, Store};

/// Is the unit of `/proc/self/stat`: 100 ticks a second, on every Linux of today.
const TICK_MS: f64 = 10.0;

/// Is how many bytes a page of `/proc/self/statm` has.
const PAGE_BYTES: f64 = 4_096.0;

/// Is what was counted until now.
#[derive(Debug, Clone, Default)]
pub(crate) struct Counts(BTreeMap<&'static str, f64>);

impl Counts {
    /// Counts what this process and the store's server did so far.
    pub(crate) fn of(store: &Store) -> Result<Self> {
        let mut counts = BTreeMap::from([("CPU ms", cpu_millis("self")?)]);
        if let Some(flushes) = disk_flushes() {
            counts.insert("flushes", flushes);
        }
        match store.subject.engine {
            Engine::Memory | Engine::Sqlite => {}
            Engine::Postgres => count_statements(store, &mut counts)?,
            Engine::Redis => count_scripts(store, &mut counts)?,
        }
        Ok(Self(counts))
    }

    /// Returns what came since `before`, each divided by `by`, under the name with `per` behind it.
    pub(crate) fn since(&self, before: &Self, by: f64) -> Vec<(&'static str, f64)> {
        let difference = |(name, now): (&&'static str, &f64)| {
            let then = before.0.get(name)?;
            Some((*name, (now - then) / by))
        };
        self.0.iter().filter_map(difference).collect()
    }
}

fn count_statements(store: &Store, counts: &mut BTreeMap<&'static str, f64>) -> Result<()> {
    let text = format!(
        "select coalesce(sum(calls), 0), coalesce(sum(calls) filter (where wal_records > 0), 0),
             coalesce(sum(wal_bytes), 0)
         from pg_stat_statements where query like '%\"{}\"%'",
        store.name
    );
    let answer = store.subject.psql(&text)?;
    let names = ["statements", "commits", "WAL bytes"];
    for (name, value) in names.into_iter().zip(answer.split('|')) {
        counts.insert(name, value.parse()?);
    }
    Ok(())
}

fn count_scripts(store: &Store, counts: &mut BTreeMap<&'static str, f64>) -> Result<()> {
    let mut server = store.subject.redis()?;
    let info: String = redis::cmd("INFO").arg("commandstats").query(&mut server)?;
    let calls = |line: &str| -> Option<f64> {
        let rest = line.strip_prefix("cmdstat_eval")?;
        let (_, calls) = rest.split_once(":calls=")?;
        calls.split(',').next()?.parse().ok()
    };
    counts.insert("scripts", info.lines().filter_map(calls).sum());
    Ok(())
}

/// Returns the processor time of a process so far.
pub(crate) fn cpu_millis(process: &str) -> Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    let (_, rest) = stat
        .rsplit_once(')')
        .ok_or_else(|| Error::failed("/proc/self/stat"))?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let ticks = |at: usize| -> f64 {
        fields
            .get(at)
            .and_then(|one| one.parse().ok())
            .unwrap_or(0.0)
    };
    Ok((ticks(11) + ticks(12)) * TICK_MS)
}

/// Returns the memory of a process that is in use.
pub(crate) fn resident_bytes(process: &str) -> Result<f64> {
    let pages = std::fs::read_to_string(format!("/proc/{process}/statm"))?;
    let resident = pages
        .split(' ')
        .nth(1)
        .ok_or_else(|| Error::failed("/proc/self/statm"))?;
    Ok(resident.parse::<f64>()? * PAGE_BYTES)
}

/// Returns the most memory that this process has had in use.
pub(crate) fn peak_bytes() -> Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|rest| rest.split_whitespace().next());
    let kilobytes = kilobytes.ok_or_else(|| Error::failed("/proc/self/status"))?;
    Ok(kilobytes.parse::<f64>()? * 1_024.0)
}

/// Counts how often disks were told to keep what they have, which `fdatasync` does.
fn disk_flushes() -> Option<f64> {
    let disks = std::fs::read_to_string("/proc/diskstats").ok()?;
    let flushes = disks.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let is_disk = std::path::Path::new("/sys/block")
            .join(fields.get(2)?)
            .exists();
        let flushes: f64 = fields.get(18)?.parse().ok()?;
        is_disk.then_some(flushes)
    });
    Some(flushes.sum())
}
