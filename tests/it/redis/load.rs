//! Workflows and signals without end, and the check that all that was acknowledged is there.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use longhaul::prelude::*;
use tokio::task::JoinHandle;

use crate::world::{quick, result};

const SENDERS: usize = 4;
const TASKS: u32 = 3;
const SIGNALS: usize = 3;
const WORD: Signal<String> = Signal::new("word");

/// Is how long it may take until something is done again.
const PATIENCE: Duration = Duration::from_secs(60);

#[task]
async fn one_more(number: u32) -> u32 {
    number + 1
}

#[workflow]
pub(crate) async fn sum(ctx: Context, number: u32) -> Result<(u32, Vec<String>)> {
    let mut sum = number;
    for _ in 0..TASKS {
        sum = ctx.run(one_more(sum)).await?;
    }
    let mut words = Vec::new();
    // A signal whose answer was lost is sent again, and may come twice.
    while words.len() < SIGNALS {
        let word = ctx.receive(WORD).await?;
        if !words.contains(&word) {
            words.push(word);
            sum = ctx.run(one_more(sum)).await?;
        }
    }
    Ok((sum, words))
}

/// Is what one sender had acknowledged: each run, with the signals in their order.
type Acknowledged = Vec<(String, Vec<String>)>;

pub(crate) struct Load {
    client: Client,
    workers: Vec<Worker>,
    senders: Vec<JoinHandle<Acknowledged>>,
    is_over: Arc<AtomicBool>,
    acknowledged: Arc<AtomicUsize>,
}

impl Load {
    /// Begins to start runs and to send them signals, with two workers that execute them.
    pub(crate) async fn begin(url: &str) -> Self {
        let client = Client::connect(url).await.unwrap();
        let mut workers = Vec::new();
        for _ in 0..2 {
            let client = Client::connect(url).await.unwrap();
            workers.push(
                quick(&client)
                    .lease(Duration::from_secs(2))
                    .start()
                    .await
                    .unwrap(),
            );
        }
        let is_over = Arc::new(AtomicBool::new(false));
        let acknowledged = Arc::new(AtomicUsize::new(0));
        let senders = (0..SENDERS).map(|sender| {
            let (client, is_over) = (client.clone(), Arc::clone(&is_over));
            let acknowledged = Arc::clone(&acknowledged);
            tokio::spawn(async move { send(sender, &client, &is_over, &acknowledged).await })
        });
        Self {
            senders: senders.collect(),
            client,
            workers,
            is_over,
            acknowledged,
        }
    }

    pub(crate) fn progress(&self) -> String {
        format!("{} acknowledged", self.acknowledged.load(Ordering::SeqCst))
    }

    /// Waits until some more requests were acknowledged.
    pub(crate) async fn goes_on(&self) {
        let before = self.acknowledged.load(Ordering::SeqCst);
        let more = async {
            while self.acknowledged.load(Ordering::SeqCst) < before + 40 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let went_on = tokio::time::timeout(PATIENCE, more).await;
        assert!(went_on.is_ok(), "nothing is acknowledged any more");
    }

    /// Ends the load and checks that every run has its result with every signal; returns how many of both there were.
    pub(crate) async fn end(self) -> (usize, usize) {
        self.is_over.store(true, Ordering::SeqCst);
        let (mut runs, mut signals) = (0, 0);
        for sender in self.senders {
            for (id, sent) in sender.await.unwrap() {
                let run = self.client.handle::<(u32, Vec<String>)>(&id).unwrap();
                let (_, words) = result(&run).await.unwrap();
                assert_eq!(words, sent, "{id}");
                runs += 1;
                signals += sent.len();
            }
        }
        for worker in self.workers {
            worker.shutdown().await.unwrap();
        }
        (runs, signals)
    }
}

/// Asks until it is acknowledged.
async fn insist<T, F: Future<Output = Result<T>>>(
    acknowledged: &AtomicUsize,
    ask: impl Fn() -> F,
) -> T {
    loop {
        match ask().await {
            Ok(answer) => {
                acknowledged.fetch_add(1, Ordering::SeqCst);
                return answer;
            }
            Err(error) => assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn send(
    sender: usize,
    client: &Client,
    is_over: &AtomicBool,
    acknowledged: &AtomicUsize,
) -> Acknowledged {
    let mut sent = Vec::new();
    while !is_over.load(Ordering::SeqCst) {
        let id = format!("run-{sender}-{}", sent.len());
        let run = insist(acknowledged, || client.start(sum(0).id(&id)).into_future()).await;
        let mut words = Vec::new();
        for number in 0..SIGNALS {
            let word = format!("{id} {number}");
            insist(acknowledged, || {
                run.signal(WORD, word.clone()).into_future()
            })
            .await;
            words.push(word);
        }
        sent.push((id, words));
    }
    sent
}
