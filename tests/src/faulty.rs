//! A wrapper around any backend that lets calls go wrong as a store on another machine does.
//!
//! Invariants: a [`Plan`] draws one [`Lot`] for each call, when it is first polled. A fault never makes a wrong answer:
//! what is handed out is the inner backend's answer, or an error that is true. A call that is dropped before
//! [`Lot::before`] has passed applies nothing. The clock, the store's facts and hints pass through untouched.

mod backend;
mod transactions;

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use longhaul_core::backend::{Backend, Error, Kind, Result};

/// Makes the enum of the methods, its list and its names from one list.
macro_rules! operations {
    ($($name:ident $text:literal,)+) => {
        /// Names one method of the contract.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum Operation {
            $(#[doc = concat!("Is `", $text, "`.")] $name,)+
        }

        impl Operation {
            /// Lists all methods.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// Returns the method's name.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)+
                }
            }
        }
    };
}

operations! {
    Join "join",
    Beat "beat",
    Leave "leave",
    TakeOver "take_over",
    Start "start",
    Acquire "acquire",
    Reload "reload",
    Owned "owned",
    Commit "commit",
    Edit "edit",
    Arrive "arrive",
    Inbox "inbox",
    Deliver "deliver",
    Due "due",
    Claim "claim",
    Claimed "claimed",
    Report "report",
    Run "run",
    States "states",
    List "list",
    Count "count",
    History "history",
    Data "data",
    AllData "all_data",
    Workers "workers",
    Queues "queues",
    StartIn "start_in",
    Begin "begin",
    Recorded "recorded",
    Finish "finish",
}

impl Operation {
    /// Tells whether it belongs to the part that shares transactions, which not every backend has.
    #[must_use]
    pub const fn is_of_transactions(self) -> bool {
        matches!(
            self,
            Self::StartIn | Self::Begin | Self::Recorded | Self::Finish
        )
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Says what goes wrong with one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Fault {
    /// Applies nothing and answers [`Kind::Unavailable`].
    Refuse,
    /// Applies it and answers [`Kind::Unclear`].
    LoseAnswer,
    /// Applies it twice and hands out the second answer.
    Duplicate,
}

impl Fault {
    /// Lists all faults.
    pub const ALL: [Self; 3] = [Self::Refuse, Self::LoseAnswer, Self::Duplicate];
}

/// Is the lot of one call: by default nothing happens to it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Lot {
    /// How long it waits before anything is applied.
    pub before: Duration,
    /// What goes wrong.
    pub fault: Option<Fault>,
    /// How long its answer is held back.
    pub after: Duration,
}

/// Decides what happens to each call.
pub trait Plan: fmt::Debug + Send + Sync {
    /// Draws the lot of the next call of a method.
    fn draw(&self, operation: Operation) -> Lot;
}

/// Wraps a backend and does to its calls what a plan says.
#[derive(Debug)]
pub struct Faulty {
    inner: Arc<dyn Backend>,
    plan: Arc<dyn Plan>,
}

impl Faulty {
    /// Wraps a backend.
    #[must_use]
    pub fn new(inner: Arc<dyn Backend>, plan: Arc<dyn Plan>) -> Self {
        Self { inner, plan }
    }

    async fn call<T, C>(
        &self,
        operation: Operation,
        call: impl Fn() -> C + Send + Sync,
    ) -> Result<T>
    where
        T: Send,
        C: Future<Output = Result<T>> + Send,
    {
        let lot = self.plan.draw(operation);
        wait(lot.before).await;
        let answer = match lot.fault {
            None => call().await,
            Some(Fault::Refuse) => {
                let message = format!("an injected fault refused `{operation}`");
                Err(Error::new(Kind::Unavailable, message))
            }
            Some(Fault::LoseAnswer) => {
                drop(call().await);
                let message = format!("an injected fault lost the answer of `{operation}`");
                Err(Error::new(Kind::Unclear, message))
            }
            Some(Fault::Duplicate) => {
                drop(call().await);
                call().await
            }
        };
        wait(lot.after).await;
        answer
    }
}

async fn wait(duration: Duration) {
    if !duration.is_zero() {
        tokio::time::sleep(duration).await;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::future::poll_fn;
    use std::pin::pin;
    use std::task::Poll;

    use longhaul_backend_memory::{MemoryBackend, MemoryConfig};
    use longhaul_core::backend::{
        Events, Inspect, RunFilter, Started, State, TakeOverRequest, Tasks, Timers,
    };
    use longhaul_core::id::{ArrivalNumber, DataKey, Epoch};

    use super::*;
    use crate::world::{
        acquire_of, beat_of, claim_of, history_of, join_of, lane, list_of, new_worker_id,
        number_of, one, run_of, serves, signal_to, workflow_id,
    };

    /// Gives every call of one method the same lot.
    #[derive(Debug)]
    struct Always(Operation, Lot);

    impl Plan for Always {
        fn draw(&self, operation: Operation) -> Lot {
            if operation == self.0 {
                self.1
            } else {
                Lot::default()
            }
        }
    }

    fn faulty(operation: Operation, lot: Lot) -> Faulty {
        let inner = Arc::new(MemoryBackend::open(MemoryConfig::new()));
        Faulty::new(inner, Arc::new(Always(operation, lot)))
    }

    fn with(fault: Fault) -> Lot {
        let fault = Some(fault);
        Lot {
            fault,
            ..Lot::default()
        }
    }

    async fn is_there(faulty: &Faulty, id: &str) -> bool {
        faulty.run(&workflow_id(id)).await.unwrap().is_some()
    }

    #[tokio::test]
    async fn refused_call_applies_nothing_and_says_so() {
        let faulty = faulty(Operation::Start, with(Fault::Refuse));
        let refused = faulty.start(None, vec![run_of("a")]).await.unwrap_err();
        assert_eq!(refused.kind(), Kind::Unavailable);
        assert!(!is_there(&faulty, "a").await);
    }

    #[tokio::test]
    async fn call_whose_answer_is_lost_is_applied_and_unclear() {
        let faulty = faulty(Operation::Start, with(Fault::LoseAnswer));
        let lost = faulty.start(None, vec![run_of("a")]).await.unwrap_err();
        assert_eq!(lost.kind(), Kind::Unclear);
        assert!(is_there(&faulty, "a").await);
    }

    #[tokio::test]
    async fn doubled_call_is_applied_twice_and_gives_the_second_answer() {
        let faulty = faulty(Operation::Start, with(Fault::Duplicate));
        let started = one(faulty.start(None, vec![run_of("a")]).await.unwrap());
        assert!(matches!(started, Started::Exists(_)));
    }

    #[tokio::test]
    async fn doubled_arrival_arrives_once() {
        let faulty = faulty(Operation::Arrive, with(Fault::Duplicate));
        faulty.start(None, vec![run_of("a")]).await.unwrap();
        let arrived = faulty.arrive(vec![signal_to("a")]).await.unwrap();
        assert_eq!(number_of(&one(arrived)), ArrivalNumber(1));
        let row = faulty.run(&workflow_id("a")).await.unwrap().unwrap();
        assert_eq!(row.arrivals, ArrivalNumber(1));
    }

    #[tokio::test]
    async fn calls_of_other_methods_pass() {
        let faulty = faulty(Operation::Arrive, with(Fault::Refuse));
        let started = one(faulty.start(None, vec![run_of("a")]).await.unwrap());
        assert_eq!(started, Started::New);
    }

    async fn poll_once(call: impl Future) {
        let mut call = pin!(call);
        poll_fn(|context| Poll::Ready(call.as_mut().poll(context).is_ready())).await;
    }

    #[tokio::test(start_paused = true)]
    async fn call_that_is_dropped_before_its_delay_is_over_applies_nothing() {
        let before = Duration::from_secs(1);
        let lot = Lot {
            before,
            ..Lot::default()
        };
        let faulty = faulty(Operation::Start, lot);
        poll_once(faulty.start(None, vec![run_of("a")])).await;
        tokio::time::advance(before * 2).await;
        assert!(!is_there(&faulty, "a").await);
        let start = tokio::time::Instant::now();
        faulty.start(None, vec![run_of("a")]).await.unwrap();
        assert!(start.elapsed() >= before);
    }

    #[tokio::test(start_paused = true)]
    async fn call_whose_answer_is_held_back_is_applied_at_once() {
        let after = Duration::from_secs(1);
        let lot = Lot {
            after,
            ..Lot::default()
        };
        let faulty = faulty(Operation::Start, lot);
        poll_once(faulty.start(None, vec![run_of("a")])).await;
        assert!(is_there(&faulty, "a").await);
    }

    #[test]
    fn every_method_has_a_name_of_its_own() {
        let names: HashSet<_> = Operation::ALL.iter().map(ToString::to_string).collect();
        assert_eq!(names.len(), Operation::ALL.len());
    }

    #[derive(Debug, Default)]
    struct Drawn(std::sync::Mutex<Vec<Operation>>);

    impl Plan for Drawn {
        fn draw(&self, operation: Operation) -> Lot {
            self.0.lock().unwrap().push(operation);
            Lot::default()
        }
    }

    #[tokio::test]
    async fn every_call_draws_the_lot_of_its_own_method() {
        let drawn = Arc::new(Drawn::default());
        let inner = Arc::new(MemoryBackend::open(MemoryConfig::new()));
        let plan: Arc<dyn Plan> = Arc::<Drawn>::clone(&drawn);
        let faulty = Faulty::new(inner, plan);
        call_every_writer(&faulty).await;
        call_every_reader(&faulty).await;
        let every = Operation::ALL
            .iter()
            .filter(|method| !method.is_of_transactions());
        assert!(drawn.0.lock().unwrap().iter().eq(every));
    }

    async fn call_every_writer(faulty: &Faulty) {
        let worker = new_worker_id();
        let lane = lane(worker);
        let joined = faulty.join(join_of(worker)).await;
        let beaten = faulty.beat(beat_of(worker)).await;
        let left = faulty.leave(worker).await;
        joined.and(left).and(beaten).unwrap();
        let force = Vec::new();
        let _ = faulty.take_over(TakeOverRequest { force }).await;
        let _ = faulty.start(None, Vec::new()).await;
        let _ = faulty.acquire(acquire_of(worker)).await;
        let _ = faulty.reload(worker, &workflow_id("a"), Epoch(1)).await;
        let _ = faulty.owned(worker).await;
        let _ = faulty.commit(lane, Vec::new()).await;
        let _ = faulty.edit(Vec::new()).await;
        let _ = faulty.arrive(Vec::new()).await;
        let _ = faulty.inbox(worker, Vec::new()).await;
        let _ = faulty.deliver(1).await;
        let _ = faulty.due(&serves()).await;
        let _ = faulty.claim(claim_of(worker, 1)).await;
        let _ = faulty.claimed(worker).await;
        let _ = faulty.report(Vec::new()).await;
    }

    async fn call_every_reader(faulty: &Faulty) {
        let id = workflow_id("a");
        let filter = RunFilter::default();
        let _ = faulty.run(&id).await;
        let _ = faulty.states(&[]).await;
        let _ = faulty.list(list_of(filter.clone())).await;
        let _ = faulty.count(&filter).await;
        let _ = faulty.history(history_of("a")).await;
        let _ = faulty.data(&id, &DataKey::new("k").unwrap()).await;
        let _ = faulty.all_data(&id).await;
        let _ = faulty.workers().await;
        let _ = faulty.queues().await;
    }
}
