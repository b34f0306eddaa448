//! W9: how late ten thousand timers are that are due in the same second.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use longhaul::Result;

use super::{Bench, repeat};
use crate::row::{Row, millis, percentile};
use crate::subject::Subject;
use crate::workflows::{machine_micros, sleeper};

const TIMERS: usize = 10_000;

/// Is how long before the first is due they are started.
const AHEAD: Duration = Duration::from_secs(25);

/// Starts sleepers that are due evenly over one second, and reads when each woke.
pub(super) async fn measure(subject: &Subject) -> Result<Vec<Row>> {
    let bench = Bench::open(subject).await?;
    let first = machine_micros() + i64::try_from(AHEAD.as_micros())?;
    let late = Arc::new(Mutex::new(Vec::new()));
    let (client, noted) = (bench.client.clone(), Arc::clone(&late));
    repeat(TIMERS, TIMERS, move |at| {
        let (client, noted) = (client.clone(), Arc::clone(&noted));
        async move {
            let due = first + i64::try_from(at * 100)?;
            let woke = client.start(sleeper(due)).await?.result().await?;
            let late = u64::try_from(woke - due).unwrap_or(0);
            let mut noted = noted.lock().unwrap_or_else(PoisonError::into_inner);
            noted.push(Duration::from_micros(late));
            Ok(())
        }
    })
    .await?;
    bench.close().await?;
    let mut late = std::mem::take(&mut *late.lock().unwrap_or_else(PoisonError::into_inner));
    late.sort_unstable();
    let most = millis(percentile(&late, 99));
    Ok(vec![
        Row::new("W9", most, "ms late, p99")
            .in_flight(TIMERS)
            .latencies(&mut late),
    ])
}
