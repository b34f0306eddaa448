//! Stored records that cannot be read: the run is blocked and says why, and others go on.

use longhaul::backend::StartRun;
use longhaul::history::{Event, EventKind, RECORD_FORMAT, RunStarted, encode_record};
use longhaul::id::{Route, WorkflowType};
use longhaul::identity::RunKind;
use longhaul::payload::Payload;
use longhaul::prelude::*;

use crate::world::{World, quick, reaches, result};

on_every_backend!(
    record_of_a_newer_format_blocks_its_run_alone_until_it_can_be_read,
    record_that_is_no_record_blocks_its_run_alone,
);

#[workflow]
async fn readable(ctx: Context, number: u32) -> Result<u32> {
    let _ = ctx;
    Ok(number + 1)
}

/// Puts a run into the store whose first record is `spoil`t.
async fn start_spoilt(client: &Client, id: &str, spoil: impl Fn(&mut Vec<u8>)) -> Handle<u32> {
    let name = WorkflowType::new("readable").unwrap();
    let id = WorkflowId::new(id).unwrap();
    let identity = WorkflowIdentity::root(id.clone(), name);
    let arguments = Payload::encode(&[1_u32]).unwrap();
    let started = RunStarted::new(identity.clone(), RunKind::Workflow, arguments, [1; 32]);
    let backend = client.backend();
    let first = Event {
        at: backend.clock(),
        kind: EventKind::RunStarted(Box::new(started)),
    };
    let mut record = encode_record(&[first]).unwrap();
    spoil(&mut record);
    let run = StartRun {
        identity,
        kind: RunKind::Workflow,
        route: Route::new("readable").unwrap(),
        partition: 0,
        fingerprint: [0; 16],
        tags: Vec::new(),
        record,
        parent_operation: None,
    };
    backend.start(None, vec![run]).await.unwrap();
    client.handle(&id).unwrap()
}

async fn blocked_reason(run: &Handle<u32>) -> String {
    reaches(run, Status::Blocked).await;
    run.info().await.unwrap().reason.unwrap()
}

async fn record_of_a_newer_format_blocks_its_run_alone_until_it_can_be_read(world: World) {
    let client = world.client().await;
    let newer = start_spoilt(&client, "newer", |record| record[0] = 9).await;
    let sound = start_spoilt(&client, "sound", |_| {}).await;
    let _worker = quick(&client).only(["readable"]).start().await.unwrap();
    assert_eq!(result(&sound).await.unwrap(), 2);
    let reason = blocked_reason(&newer).await;
    assert!(
        reason.contains("format 9") && reason.contains(&format!("reads up to {RECORD_FORMAT}")),
        "{reason}"
    );
    let error = newer.history().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NewerVersion, "{error:#}");
}

async fn record_that_is_no_record_blocks_its_run_alone(world: World) {
    let client = world.client().await;
    let cut = start_spoilt(&client, "cut", |record| record.truncate(9)).await;
    let empty = start_spoilt(&client, "empty", Vec::clear).await;
    let sound = start_spoilt(&client, "sound", |_| {}).await;
    let _worker = quick(&client).only(["readable"]).start().await.unwrap();
    assert_eq!(result(&sound).await.unwrap(), 2);
    for run in [cut, empty] {
        let reason = blocked_reason(&run).await;
        assert!(reason.contains("stored turn"), "{reason}");
        let error = run.history().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error:#}");
    }
}
