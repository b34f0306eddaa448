//! What the toy backend alone does.

use longhaul::client::Client;
use longhaul::{ErrorKind, Result};
use longhaul_core::clock::BackendClock;
use std::sync::Arc;
use toy_backend::ToyBackend;

#[tokio::test]
async fn each_url_opens_a_store_of_its_own() -> Result<()> {
    let (one, other) = (
        Client::connect("toy:").await?,
        Client::connect("toy:").await?,
    );
    one.start_by_name("greet", "[]").await?;
    assert_eq!(one.list().count().await?, 1);
    assert_eq!(other.list().count().await?, 0);
    Ok(())
}

#[tokio::test]
async fn handles_share_their_store() -> Result<()> {
    let backend = ToyBackend::new(BackendClock::machine());
    let (one, other) = (backend.clone(), backend);
    Client::of(Arc::new(one))
        .start_by_name("greet", "[]")
        .await?;
    assert_eq!(Client::of(Arc::new(other)).list().count().await?, 1);
    Ok(())
}

#[tokio::test]
async fn url_that_says_more_is_refused() {
    for url in ["toy:name", "toy://name", "toy:?durability=full"] {
        let refused = Client::connect(url).await.err();
        assert_eq!(
            refused.map(|error| error.kind()),
            Some(ErrorKind::InvalidInput)
        );
    }
}
