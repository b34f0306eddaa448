//! What workflows of every engine call, so that the workloads know where they are.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

static WAITING: AtomicUsize = AtomicUsize::new(0);
static AT_THE_THIRD: AtomicUsize = AtomicUsize::new(0);
static HANGS: AtomicBool = AtomicBool::new(false);

/// Is how often this looks again.
const LOOK: Duration = Duration::from_millis(2);

/// Counts a workflow whose next step is to wait for its message.
pub fn is_about_to_wait() {
    WAITING.fetch_add(1, Ordering::SeqCst);
}

/// Waits until so many workflows of this process were about to wait.
pub async fn until_waiting(count: usize) {
    while WAITING.load(Ordering::SeqCst) < count {
        tokio::time::sleep(LOOK).await;
    }
}

/// Returns how many workflows of this process were about to wait.
pub(crate) fn waiting() -> usize {
    WAITING.load(Ordering::SeqCst)
}

/// Does nothing, or hangs in a process that is about to be killed.
pub async fn third_task() -> u32 {
    AT_THE_THIRD.fetch_add(1, Ordering::SeqCst);
    if HANGS.load(Ordering::SeqCst) {
        std::future::pending::<()>().await;
    }
    3
}

/// Tells whether the third tasks of this process hang.
pub fn hangs() -> bool {
    HANGS.load(Ordering::SeqCst)
}

/// Makes the third tasks of this process hang.
pub(crate) fn hang_at_the_third() {
    HANGS.store(true, Ordering::SeqCst);
}

/// Waits until so many workflows of this process are at their third task.
pub(crate) async fn until_at_the_third(count: usize) {
    while AT_THE_THIRD.load(Ordering::SeqCst) < count {
        tokio::time::sleep(LOOK).await;
    }
}
