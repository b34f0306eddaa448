//! From a URL to a backend.

use std::fmt;
use std::sync::Arc;

use crate::backend::Backend;
use crate::clock::BoxFuture;
use crate::error::{Error, ErrorKind, Result};

/// Is a store that is being opened.
pub type Opening = BoxFuture<'static, Result<Arc<dyn Backend>>>;

/// Opens the stores of one URL scheme; [`connector!`](crate::connector) registers one.
pub struct Connector {
    /// The scheme, such as `sqlite`.
    pub scheme: &'static str,
    /// Opens the store.
    pub open: fn(String) -> Opening,
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Connector({})", self.scheme)
    }
}

inventory::collect!(Connector);

/// Registers a URL scheme, so that [`Client::connect`](crate::client::Client::connect) opens its stores.
///
/// It takes the scheme and an `async fn(String) -> Result<Arc<dyn Backend>>`, which is given the whole URL. A program
/// that has the crate of the backend among its dependencies and never names it does not link it: it writes
/// `use that_crate as _;`.
///
/// ```
/// use std::sync::Arc;
///
/// use longhaul_core::backend::Backend;
/// use longhaul_core::{ErrorKind, Result, failure};
///
/// longhaul_core::connector!("nowhere", open);
///
/// async fn open(url: String) -> Result<Arc<dyn Backend>> {
///     Err(failure!("{url} cannot be opened"))
/// }
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let refused = longhaul_core::client::Client::connect("nowhere:").await.unwrap_err();
/// assert_eq!(refused.message(), "nowhere: cannot be opened");
/// assert_eq!(refused.kind(), ErrorKind::Failed);
/// # });
/// ```
#[macro_export]
macro_rules! connector {
    ($scheme:literal, $open:path) => {
        $crate::__private::inventory::submit! {
            $crate::client::Connector {
                scheme: $scheme,
                open: |url| ::std::boxed::Box::pin($open(url)),
            }
        }
    };
}

/// Lists schemes, each with the feature of the facade that brings it.
const FEATURES: [(&str, &str); 4] = [
    ("memory", "memory"),
    ("sqlite", "sqlite"),
    ("postgres", "postgres"),
    ("postgresql", "postgres"),
];

pub(crate) async fn open(url: &str) -> Result<Arc<dyn Backend>> {
    let Some((scheme, _)) = url.split_once(':') else {
        return Err(wrong(format!(
            "a store is named by a URL such as `sqlite://orders.db`; this one has no scheme ({})",
            available()
        )));
    };

    let connector = inventory::iter::<Connector>
        .into_iter()
        .find(|connector| connector.scheme == scheme);
    let feature = FEATURES.into_iter().find(|(known, _)| *known == scheme);
    match (connector, feature) {
        (Some(connector), _) => (connector.open)(url.to_owned()).await,
        (None, Some((_, feature))) => Err(wrong(format!(
            "backend `{scheme}` is not compiled in; enable the feature `{feature}` of longhaul"
        ))),
        (None, None) => Err(wrong(format!(
            "no backend is named `{scheme}` ({})",
            available()
        ))),
    }
}

fn available() -> String {
    let mut schemes: Vec<_> = inventory::iter::<Connector>
        .into_iter()
        .map(|connector| format!("{}:", connector.scheme))
        .collect();
    schemes.sort();
    format!("compiled in: {}", schemes.join(" "))
}

fn wrong(message: String) -> Error {
    Error::new(ErrorKind::InvalidInput, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn refusal(url: &str) -> String {
        match open(url).await {
            Ok(_) => panic!("`{url}` was opened"),
            Err(error) => error.message().to_owned(),
        }
    }

    #[tokio::test]
    async fn backend_that_is_not_compiled_in_names_its_feature() {
        assert_eq!(
            refusal("sqlite://orders.db").await,
            "backend `sqlite` is not compiled in; enable the feature `sqlite` of longhaul"
        );
        assert_eq!(
            refusal("mysql://orders").await,
            "no backend is named `mysql` (compiled in: )"
        );
    }
}
