//! The limits of this machine: what the same disk and server do without us.
//!
//! Invariants: a row that is written to find a limit has as many bytes as one of our turns, about 200.

use std::process::Command;
use std::time::{Duration, Instant};

use longhaul::{Error, Result};

use crate::subject::{Engine, Subject, output, program};

/// Is how long a limit is looked for.
const DURATION: Duration = Duration::from_secs(3);

const BYTES: usize = 200;

/// Is how often per second something can be done, and what.
#[derive(Debug, Clone)]
pub(crate) struct Limit {
    pub(crate) rate: f64,
    pub(crate) of: String,
}

impl Limit {
    fn new(rate: f64, of: &str) -> Self {
        Self {
            rate,
            of: of.to_owned(),
        }
    }

    /// Returns how long one takes in milliseconds when they are done one after another.
    pub(crate) fn millis(&self) -> f64 {
        1_000.0 / self.rate
    }
}

/// Is the limit for one client and the limit for many.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    pub(crate) one: Limit,
    pub(crate) many: Limit,
}

/// Measures what the subject's disk and server can do.
pub(crate) async fn measure(subject: &Subject) -> Result<Limits> {
    match subject.engine {
        Engine::Memory => {
            let limit = Limit::new(spawns().await?, "tasks spawned and joined/s, one at a time");
            Ok(Limits {
                one: limit.clone(),
                many: limit,
            })
        }
        Engine::Sqlite => {
            let limit = Limit::new(sqlite_commits()?, "single-row commits/s, one writer");
            Ok(Limits {
                one: limit.clone(),
                many: limit,
            })
        }
        Engine::Postgres => {
            subject.psql("create table if not exists public.bench_limit (id bigserial primary key, content text)")?;
            let limits = Limits {
                one: Limit::new(pgbench(subject, 1)?, "single-row commits/s, 1 client"),
                many: Limit::new(pgbench(subject, 16)?, "single-row commits/s, 16 clients"),
            };
            subject.psql("drop table public.bench_limit")?;
            Ok(limits)
        }
        Engine::Redis => Ok(Limits {
            one: Limit::new(redis_benchmark(subject, 1)?, "EVALSHA/s, 1 client"),
            many: Limit::new(redis_benchmark(subject, 16)?, "EVALSHA/s, 16 clients"),
        }),
    }
}

async fn spawns() -> Result<f64> {
    let begun = Instant::now();
    let mut count = 0_u32;
    while begun.elapsed() < DURATION / 3 {
        tokio::spawn(async {}).await?;
        count += 1;
    }
    Ok(f64::from(count) / begun.elapsed().as_secs_f64())
}

fn sqlite_commits() -> Result<f64> {
    let folder = tempfile::Builder::new()
        .prefix("longhaul-bench-")
        .tempdir()?;
    let connection = rusqlite::Connection::open(folder.path().join("limit.db"))?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    connection.pragma_update(None, "synchronous", "full")?;
    connection.execute_batch("create table t (id integer primary key, content blob)")?;
    let mut insert = connection.prepare("insert into t (content) values (?1)")?;
    let begun = Instant::now();
    let mut count = 0_u32;
    while begun.elapsed() < DURATION {
        insert.execute([[7_u8; BYTES].as_slice()])?;
        count += 1;
    }
    Ok(f64::from(count) / begun.elapsed().as_secs_f64())
}

fn pgbench(subject: &Subject, clients: u32) -> Result<f64> {
    let folder = tempfile::tempdir()?;
    let script = folder.path().join("commit.sql");
    let content = "7".repeat(BYTES);
    std::fs::write(
        &script,
        format!("insert into public.bench_limit (content) values ('{content}');\n"),
    )?;
    let printed = output(
        Command::new(program("LONGHAUL_BENCH_POSTGRES_BIN", "pgbench")?)
            .args(["--no-vacuum", "--protocol=prepared"])
            .arg(format!("--client={clients}"))
            .arg(format!("--jobs={}", clients.min(2)))
            .arg(format!("--time={}", DURATION.as_secs()))
            .arg("--file")
            .arg(&script)
            .arg(&subject.server),
    )?;
    let rate = printed
        .lines()
        .find_map(|line| line.strip_prefix("tps = "))
        .and_then(|rest| rest.split(' ').next());
    let rate = rate.ok_or_else(|| Error::failed("pgbench printed no `tps = `"))?;
    Ok(rate.parse()?)
}

fn redis_benchmark(subject: &Subject, clients: u32) -> Result<f64> {
    let script = "redis.call('RPUSH', KEYS[1], ARGV[1]) return 1";
    let mut server = subject.redis()?;
    let hash: String = redis::cmd("SCRIPT")
        .arg("LOAD")
        .arg(script)
        .query(&mut server)?;
    let (password, place) = subject
        .server
        .strip_prefix("redis://:")
        .and_then(|rest| rest.split_once('@'))
        .ok_or_else(|| Error::failed("the URL of the server has no password"))?;
    let (host, port) = place
        .split_once(':')
        .ok_or_else(|| Error::failed("the URL has no port"))?;
    let printed = output(
        Command::new(program("LONGHAUL_BENCH_REDIS_BIN", "redis-benchmark")?)
            .args(["-h", host, "-p", port, "-a", password, "--csv"])
            .args(["-n", &(10_000 * clients.min(5)).to_string()])
            .args(["-c", &clients.to_string()])
            .args(["EVALSHA", &hash, "1", "bench_limit", &"7".repeat(BYTES)]),
    )?;
    let () = redis::cmd("DEL").arg("bench_limit").query(&mut server)?;
    let last = printed.lines().last().unwrap_or_default();
    let rate = last.split("\",\"").nth(1);
    Ok(rate
        .ok_or_else(|| Error::failed("redis-benchmark printed no rate"))?
        .parse()?)
}
