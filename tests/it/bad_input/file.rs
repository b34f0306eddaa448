//! Database files that are not what they should be. None of them is changed by the attempt to open it.

use std::path::Path;

use longhaul::prelude::*;

async fn refusal(path: &Path) -> Error {
    match Client::connect(&format!("sqlite://{}", path.display())).await {
        Ok(_) => panic!("`{}` was opened", path.display()),
        Err(error) => error,
    }
}

#[workflow]
async fn kept(ctx: Context, number: u32) -> Result<u32> {
    let _ = ctx;
    Ok(number)
}

/// Makes a store with one run in it, and closes it.
async fn store_with_a_run(path: &Path) {
    let url = format!("sqlite://{}", path.display());
    let client = Client::connect(&url).await.unwrap();
    client.start(kept(7).id("kept")).await.unwrap();
}

fn connection(path: &Path) -> rusqlite::Connection {
    rusqlite::Connection::open(path).unwrap()
}

#[tokio::test]
async fn file_whose_tail_was_cut_off_is_corrupt_and_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("orders.db");
    store_with_a_run(&path).await;
    connection(&path)
        .query_row("pragma wal_checkpoint(truncate)", [], |_| Ok(()))
        .unwrap();
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    let error = refusal(&path).await;
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error:#}");
    assert!(error.message().contains("orders.db"), "{error}");
}

#[tokio::test]
async fn file_in_a_place_that_is_a_file_cannot_be_made() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("data"), "a file").unwrap();
    let error = refusal(&folder.path().join("data").join("orders.db")).await;
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error:#}");
    assert!(
        error.message().contains("cannot make the folder"),
        "{error}"
    );
}

#[tokio::test]
async fn store_of_a_newer_version_is_refused_and_opens_again_once_it_may() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("orders.db");
    store_with_a_run(&path).await;
    connection(&path)
        .execute("update meta set reader = 99", [])
        .unwrap();
    let error = refusal(&path).await;
    assert_eq!(error.kind(), ErrorKind::NewerVersion, "{error:#}");
    assert!(
        error.message().contains("99") && error.message().contains("orders.db"),
        "{error}"
    );
    connection(&path)
        .execute("update meta set reader = 1", [])
        .unwrap();
    let client = Client::connect(&format!("sqlite://{}", path.display()))
        .await
        .unwrap();
    let _worker = Worker::builder(&client)
        .only(["kept"])
        .start()
        .await
        .unwrap();
    let run: Handle<u32> = client.handle("kept").unwrap();
    assert_eq!(run.result().await.unwrap(), 7);
}
