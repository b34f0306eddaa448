//! The world outside: each effect leaves one line in a log.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use longhaul::prelude::{Result as TaskResult, TaskContext};

/// Does effects at a given pace and logs them.
pub(crate) struct Effects {
    log: File,
    pace: Duration,
}

impl Effects {
    pub(crate) fn open(folder: &Path, pace_ms: u64) -> Result<Self> {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("folder {} cannot be made", folder.display()))?;
        let path = folder.join("effects.log");
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .with_context(|| format!("{} cannot be opened", path.display()))?;
        Ok(Self {
            log,
            pace: Duration::from_millis(pace_ms),
        })
    }

    /// Does the effect of a task: takes its time, and then appends `WORKFLOW_ID TASK DETAIL ATTEMPT` in one write.
    pub(crate) async fn happen(&self, ctx: &TaskContext, detail: &str) -> TaskResult<()> {
        if !self.pace.is_zero() {
            tokio::time::sleep(self.pace).await;
        }
        let run = &ctx.identity().workflow_id;
        let line = format!("{run} {} {detail} {}\n", ctx.task(), ctx.attempt());
        (&self.log).write_all(line.as_bytes())?;
        Ok(())
    }
}
