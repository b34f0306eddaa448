//! From URL schemes to the backends that are compiled in.

#[cfg(any(feature = "memory", feature = "sqlite"))]
use std::sync::Arc;

#[cfg(any(feature = "memory", feature = "sqlite"))]
use longhaul_core::__private::inventory;
#[cfg(any(feature = "memory", feature = "sqlite"))]
use longhaul_core::{backend::Backend, client::Connector};

#[cfg(feature = "memory")]
inventory::submit! {
    Connector {
        scheme: "memory",
        open: |url| Box::pin(async move {
            let config = longhaul_backend_memory::MemoryConfig::from_url(&url)?;
            let backend = longhaul_backend_memory::MemoryBackend::open(config);
            Ok(Arc::new(backend) as Arc<dyn Backend>)
        }),
    }
}

#[cfg(feature = "sqlite")]
inventory::submit! {
    Connector {
        scheme: "sqlite",
        open: |url| Box::pin(async move {
            let config = longhaul_backend_sqlite::SqliteConfig::from_url(&url)?;
            let backend = longhaul_backend_sqlite::SqliteBackend::open(config).await?;
            Ok(Arc::new(backend) as Arc<dyn Backend>)
        }),
    }
}
