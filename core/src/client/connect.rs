//! From a URL to a backend.

use std::fmt;
use std::sync::Arc;

use crate::backend::Backend;
use crate::clock::BoxFuture;
use crate::error::{Error, ErrorKind, Result};

/// Is a store that is being opened.
pub type Opening = BoxFuture<'static, Result<Arc<dyn Backend>>>;

/// Opens the stores of one URL scheme; the facade submits one for each compiled-in backend.
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

/// Lists the schemes that features of the facade of the same names bring.
const FEATURES: [&str; 2] = ["memory", "sqlite"];

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
    match connector {
        Some(connector) => (connector.open)(url.to_owned()).await,
        None if FEATURES.contains(&scheme) => Err(wrong(format!(
            "backend `{scheme}` is not compiled in; enable the feature `{scheme}` of longhaul"
        ))),
        None => Err(wrong(format!(
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
