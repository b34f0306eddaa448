//! Every payload passes the codecs, bound to what it belongs to.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use longhaul::backend::Backend;
use longhaul::payload::{Binding, CODED, Codec, Payload};
use longhaul::prelude::*;
use longhaul_backend_memory::{MemoryBackend, MemoryConfig};

use crate::world::{quick, result};

/// Hides a payload and refuses it in any other place than its own.
#[derive(Debug, Default)]
struct Seal {
    sealed: AtomicUsize,
}

fn place(binding: &Binding<'_>) -> Vec<u8> {
    format!("{}|{}|{}\n", binding.run, binding.kind, binding.key).into_bytes()
}

impl Codec for Seal {
    fn encode(&self, payload: Payload, binding: &Binding<'_>) -> Result<Payload> {
        self.sealed.fetch_add(1, Ordering::SeqCst);
        let mut bytes = vec![CODED];
        bytes.extend(place(binding));
        bytes.extend(payload.as_bytes().iter().map(|byte| !byte));
        Ok(Payload::from_bytes(bytes))
    }

    fn decode(&self, payload: Payload, binding: &Binding<'_>) -> Result<Payload> {
        let place = place(binding);
        match payload.as_bytes()[1..].strip_prefix(place.as_slice()) {
            Some(hidden) => {
                let bytes: Vec<u8> = hidden.iter().map(|byte| !byte).collect();
                Ok(Payload::from_bytes(bytes))
            }
            None => Err(failure!("a payload is in another's place: {binding:?}")),
        }
    }
}

const WORD: Signal<String> = Signal::new("word");
const KEPT: Data<String> = Data::new("kept");

#[task]
async fn here(ctx: TaskContext, text: String) -> Result<String> {
    let kept = ctx.get(KEPT).await?.unwrap_or_default();
    Ok(format!("{text} {kept}"))
}

#[task(queue = "sealed")]
async fn there(ctx: TaskContext, text: String) -> Result<String> {
    let kept = ctx.get(KEPT).await?.unwrap_or_default();
    Ok(format!("{text} {kept}"))
}

#[workflow]
async fn lower(ctx: Context, text: String) -> Result<String> {
    ctx.run(here(text)).await
}

#[workflow]
async fn all_ways(ctx: Context, text: String) -> Result<Vec<String>> {
    ctx.set(KEPT, "canary");
    let word = ctx.receive(WORD).await?;
    let recorded: String = ctx.record("noted", || "canary".to_owned())?;
    let step = ctx
        .step("stepped", async { Ok("canary".to_owned()) })
        .await?;
    Ok(vec![
        ctx.run(here(text.clone())).await?,
        ctx.run(there(text.clone())).await?,
        ctx.run(lower(text.clone())).await?,
        ctx.run(here(text).force_new_workflow()).await?,
        word,
        recorded,
        step,
    ])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_stored_that_did_not_pass_the_codec() {
    let backend = Arc::new(MemoryBackend::open(MemoryConfig::new()));
    let seal = Arc::new(Seal::default());
    let client = Client::builder()
        .codec(Arc::clone(&seal) as Arc<dyn Codec>)
        .build(Arc::clone(&backend) as Arc<dyn Backend>);
    let worker = quick(&client).start().await.unwrap();
    let run = client
        .start(all_ways("canary".to_owned()).id("sealed"))
        .await
        .unwrap();
    run.signal(WORD, "canary").await.unwrap();
    let both = "canary canary";
    let alone = "canary ";
    let expected = [both, both, alone, alone, "canary", "canary", "canary"];
    assert_eq!(result(&run).await.unwrap(), expected);
    assert_eq!(run.get(KEPT).await.unwrap().unwrap(), "canary");
    worker.shutdown().await.unwrap();

    let plain = Client::of(backend);
    for info in plain.list().all().await.unwrap() {
        let id = info.identity.workflow_id;
        let history = plain.handle::<()>(&id).unwrap().history().await.unwrap();
        let shown = serde_json::to_string(&history).unwrap();
        assert!(
            shown.contains("bytes>") && !shown.contains("canary"),
            "{shown}"
        );
    }
    let unread = plain.handle::<Vec<String>>("sealed").unwrap();
    assert_eq!(
        unread.result().await.unwrap_err().kind(),
        ErrorKind::Corrupt
    );
    assert!(seal.sealed.load(Ordering::SeqCst) > 10);
}
