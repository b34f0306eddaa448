//! URLs of stores.

use longhaul::prelude::*;

async fn refusal(url: &str) -> Error {
    match Client::connect(url).await {
        Ok(_) => panic!("`{url}` was opened"),
        Err(error) => error,
    }
}

#[tokio::test]
async fn url_without_a_scheme_is_told_what_a_url_is() {
    let error = refusal("orders.db").await;
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert_eq!(
        error.message(),
        "a store is named by a URL such as `sqlite://orders.db`; this one has no scheme (compiled in: memory: postgres: postgresql: redis: rediss: sqlite:)"
    );
}

#[tokio::test]
async fn unknown_scheme_is_named_with_those_there_are() {
    let error = refusal("mysql://localhost/orders").await;
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert_eq!(
        error.message(),
        "no backend is named `mysql` (compiled in: memory: postgres: postgresql: redis: rediss: sqlite:)"
    );
}

#[tokio::test]
async fn misspelt_option_gets_the_nearest_known_one() {
    for url in [
        "memory:?namespce=eu",
        "sqlite://nowhere/orders.db?namespce=eu",
    ] {
        let error = refusal(url).await;
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{url}");
        let message = error.message();
        assert!(
            message.contains("option `namespce` is not known"),
            "{message}"
        );
        assert!(message.contains("did you mean `namespace`?"), "{message}");
    }
}

#[tokio::test]
async fn bad_value_of_an_option_is_told_which_values_there_are() {
    let error = refusal("sqlite://nowhere/orders.db?durability=some").await;
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(
        error.message().contains("`durability` is `some`"),
        "{error}"
    );
    assert!(error.message().contains("full"), "{error}");
    for url in [
        "memory:?namespace=a/b",
        "sqlite://nowhere/a.db?namespace=a/b",
    ] {
        let error = refusal(url).await;
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{url}");
        assert!(
            error.message().contains("option `namespace` is `a/b`"),
            "{error}"
        );
    }
}
