//! From URL schemes to the backends that are compiled in.

#[cfg(feature = "memory")]
longhaul_core::connector!("memory", memory::open);

#[cfg(feature = "memory")]
mod memory {
    use std::sync::Arc;

    use longhaul_backend_memory::{MemoryBackend, MemoryConfig};
    use longhaul_core::{Result, backend::Backend};

    pub(super) async fn open(url: String) -> Result<Arc<dyn Backend>> {
        let config = MemoryConfig::from_url(&url)?;
        Ok(Arc::new(MemoryBackend::open(config)))
    }
}

#[cfg(feature = "sqlite")]
longhaul_core::connector!("sqlite", sqlite::open);

#[cfg(feature = "sqlite")]
mod sqlite {
    use std::sync::Arc;

    use longhaul_backend_sqlite::{SqliteBackend, SqliteConfig};
    use longhaul_core::{Result, backend::Backend};

    pub(super) async fn open(url: String) -> Result<Arc<dyn Backend>> {
        let config = SqliteConfig::from_url(&url)?;
        Ok(Arc::new(SqliteBackend::open(config).await?))
    }
}

#[cfg(feature = "postgres")]
longhaul_core::connector!("postgres", postgres::open);

#[cfg(feature = "postgres")]
longhaul_core::connector!("postgresql", postgres::open);

#[cfg(feature = "postgres")]
mod postgres {
    use std::sync::Arc;

    use longhaul_backend_postgres::{PostgresBackend, PostgresConfig};
    use longhaul_core::{Result, backend::Backend};

    pub(super) async fn open(url: String) -> Result<Arc<dyn Backend>> {
        let config = PostgresConfig::from_url(&url)?;
        Ok(Arc::new(PostgresBackend::open(config).await?))
    }
}

#[cfg(feature = "redis")]
longhaul_core::connector!("redis", redis::open);

#[cfg(feature = "redis")]
longhaul_core::connector!("rediss", redis::open);

#[cfg(feature = "redis")]
mod redis {
    use std::sync::Arc;

    use longhaul_backend_redis::{RedisBackend, RedisConfig};
    use longhaul_core::{Result, backend::Backend};

    pub(super) async fn open(url: String) -> Result<Arc<dyn Backend>> {
        let config = RedisConfig::from_url(&url)?;
        Ok(Arc::new(RedisBackend::open(config).await?))
    }
}
