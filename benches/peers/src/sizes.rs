//! How much is measured: what the figures are for, or little of it to try the workloads out.

use std::time::Duration;

/// Is how much of each workload is measured.
#[derive(Debug, Clone, Copy)]
pub struct Sizes {
    /// Workflows of W1.
    pub workflows: usize,
    /// Workflows of W1 at a time.
    pub in_flight: usize,
    /// Workflows before those of W1 that are measured.
    pub warm_up: usize,
    /// Workflows of W2 and W5, one at a time.
    pub one_by_one: usize,
    /// Tasks of W3.
    pub steps: u32,
    /// Tasks of W4.
    pub side_by_side: u32,
    /// Workflows of W6.
    pub parked: usize,
    /// How long the idle worker of W6 has to come to rest.
    pub settle: Duration,
    /// How long the idle worker of W6 is watched.
    pub watched: Duration,
    /// Workflows of W7.
    pub killed: usize,
    /// How often each workload is measured; the median counts.
    pub passes: usize,
}

impl Sizes {
    /// Is what figures are published of.
    pub const FULL: Self = Self {
        workflows: 2_000,
        in_flight: 64,
        warm_up: 500,
        one_by_one: 500,
        steps: 1_000,
        side_by_side: 500,
        parked: 10_000,
        settle: Duration::from_secs(5),
        // Some engines look once a minute.
        watched: Duration::from_mins(1),
        killed: 500,
        passes: 3,
    };

    /// Is what shows that the workloads run.
    pub const QUICK: Self = Self {
        workflows: 200,
        in_flight: 64,
        warm_up: 50,
        one_by_one: 30,
        steps: 100,
        side_by_side: 50,
        parked: 200,
        settle: Duration::from_secs(3),
        watched: Duration::from_secs(5),
        killed: 50,
        passes: 1,
    };
}
