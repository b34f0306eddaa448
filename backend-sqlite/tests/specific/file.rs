//! The file: how it is made, recognised, refused and kept.

use super::*;

async fn refusal(path: &Path, kind: Kind, why: &str) {
    let error = SqliteBackend::open(SqliteConfig::new(path))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), kind, "{error}");
    assert!(error.to_string().contains(why), "{error}");
    assert!(
        error.to_string().contains(path.to_str().unwrap()),
        "{error}"
    );
}

#[test]
fn linked_sqlite_has_the_repaired_write_ahead_log() {
    assert!(rusqlite::version_number() >= 3_051_003);
}

#[tokio::test]
async fn missing_folders_and_file_are_made_in_write_ahead_mode() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a/b/orders.db");
    let backend = open(&path).await;
    assert_eq!(backend.name(), "sqlite");
    assert_eq!(backend.store().partitions, 16);
    let beside = Connection::open(&path).unwrap();
    let mode: String = beside
        .query_row("pragma journal_mode", [], |row| row.get(0))
        .unwrap();
    assert_eq!(mode, "wal");
}

#[tokio::test]
async fn store_keeps_its_hash_key() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("orders.db");
    let first = open(&path).await.store();
    assert_eq!(open(&path).await.store(), first);
    let other = open(&folder.path().join("other.db")).await.store();
    assert_ne!(other.hash_key, first.hash_key);
}

#[tokio::test]
async fn file_that_is_no_database_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notes.txt");
    let text = "these are my notes, and nobody asked for a database here".repeat(30);
    std::fs::write(&path, &text).unwrap();
    refusal(&path, Kind::Corrupt, "is not a SQLite database").await;
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
}

#[tokio::test]
async fn database_of_something_else_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("music.db");
    let other = Connection::open(&path).unwrap();
    other
        .execute_batch("create table song (name text)")
        .unwrap();
    let before = std::fs::read(&path).unwrap();
    refusal(&path, Kind::Invalid, "something else").await;
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

#[tokio::test]
async fn file_of_a_newer_version_is_refused_unless_it_says_that_this_one_may_read_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("orders.db");
    drop(open(&path).await);
    let newer = Connection::open(&path).unwrap();
    newer.pragma_update(None, "user_version", 99).unwrap();
    drop(open(&path).await);
    newer.execute("update meta set reader = 99", []).unwrap();
    refusal(&path, Kind::NewerVersion, "needs format 99").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_handles_that_open_a_new_file_at_once_make_one_store() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("orders.db");
    let opening = (0..8).map(|_| {
        let path = path.clone();
        tokio::spawn(async move { open(&path).await.store() })
    });
    let mut stores = Vec::new();
    for store in opening.collect::<Vec<_>>() {
        stores.push(store.await.unwrap());
    }
    assert!(stores.windows(2).all(|pair| pair[0] == pair[1]));
}

#[tokio::test]
async fn namespaces_do_not_see_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("orders.db");
    let one = open(&path).await;
    let config = SqliteConfig::new(&path).namespace("eu").unwrap();
    let other = SqliteBackend::open(config).await.unwrap();
    one.start(None, vec![start_of("a")]).await.unwrap();
    let id = WorkflowId::new("a").unwrap();
    assert!(one.run(&id).await.unwrap().is_some());
    assert!(other.run(&id).await.unwrap().is_none());
    assert!(folder.path().join("orders.eu.db").exists());
}

#[tokio::test]
async fn fast_database_opens_and_keeps_what_it_was_given() {
    let folder = tempfile::tempdir().unwrap();
    let config = SqliteConfig::new(folder.path()).durability(Durability::Fast);
    let backend = SqliteBackend::open(config.clone()).await.unwrap();
    backend.start(None, vec![start_of("a")]).await.unwrap();
    drop(backend);
    let backend = SqliteBackend::open(config).await.unwrap();
    assert_eq!(backend.count(&Default::default()).await.unwrap(), 1);
}
