//! Opening a store: the checks of the server, and what is fixed when the store is made.

use std::collections::BTreeMap;

use longhaul_core::backend::{PARTITIONS_DEFAULT, StoreInfo};
use longhaul_core::clock::random_bytes_of_the_system;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Cmd, ConnectionInfo, RedisError, Value};

use crate::Store;
use crate::call::Call;
use crate::checks::{self, Facts};
use crate::clock::Clock;
use crate::config::{Durability, RedisConfig};
use crate::error::{Failure, Result, of_connection, of_request, unreadable};
use crate::hints::Hints;
use crate::layout::{Layout, Slot};
use crate::link::Link;
use crate::reply::{self, Fields, Items};
use crate::script::OPEN;
use crate::tls;

/// Is the format of what is written here.
const FORMAT: u32 = 1;

/// Opens the store of a namespace.
pub(crate) async fn open(config: RedisConfig) -> Result<Store> {
    if config.is_encrypted() {
        tls::choose_cryptography();
    }
    let is_cluster = check_server(&config).await?;
    if config.durability == Durability::None {
        tracing::warn!(
            place = config.place(),
            "the store is in memory alone (`?durability=none`): all runs are gone when the server ends"
        );
    }
    let link = Link::new(&config, is_cluster)?;
    let info = store_info(&link, &config).await?;
    let layout = Layout::new(config.namespace.clone(), info.partitions);
    let store = Store {
        hints: Hints::new(config.nodes(), layout.channel()),
        clock: Clock::new(config.clock),
        link,
        layout,
        info,
    };
    store
        .ask_all(|partition| store.on(&crate::script::SENT, partition).number(1))
        .await?;
    Ok(store)
}

/// Checks the first node that can be reached; tells whether it is part of a cluster, whose masters are checked then.
async fn check_server(config: &RedisConfig) -> Result<bool> {
    let mut failed = None;
    for node in config.nodes() {
        match check_from(node, config).await {
            Ok(is_cluster) => return Ok(is_cluster),
            Err(failure @ (Failure::Connect { .. } | Failure::ConnectTimeout { .. })) => {
                failed = Some(failure);
            }
            Err(failure) => return Err(failure),
        }
    }
    Err(failed.unwrap_or_else(|| Failure::Refused("the URL names no host".to_owned())))
}

async fn check_from(node: ConnectionInfo, config: &RedisConfig) -> Result<bool> {
    let mut connection = connect(node.clone(), config).await?;
    let facts = facts(&mut connection, config).await?;
    if !facts.is_cluster {
        return checks::refusal(&facts, config).map_or(Ok(false), Err);
    }
    // The node that was named may be a replica, which knows as well what is served.
    let as_master = Facts {
        is_replica: false,
        ..facts
    };
    if let Some(refused) = checks::of_server(&as_master, config) {
        return Err(refused);
    }
    for master in masters(&mut connection, config).await? {
        let mut connection = connect(node.clone().set_addr(at(&node, master)), config).await?;
        let of_master = self::facts(&mut connection, config).await?;
        if let Some(refused) = checks::refusal(&of_master, config) {
            return Err(refused);
        }
    }
    Ok(true)
}

/// Returns the address of another node of the cluster of `node`.
fn at(node: &ConnectionInfo, (name, port): (String, u16)) -> redis::ConnectionAddr {
    match node.addr() {
        redis::ConnectionAddr::TcpTls {
            insecure,
            tls_params,
            ..
        } => redis::ConnectionAddr::TcpTls {
            host: name,
            port,
            insecure: *insecure,
            tls_params: tls_params.clone(),
        },
        _ => redis::ConnectionAddr::Tcp(name, port),
    }
}

async fn connect(node: ConnectionInfo, config: &RedisConfig) -> Result<MultiplexedConnection> {
    let failed = |cause: RedisError| of_connection(&cause, config);
    let settings = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(config.connect_timeout))
        .set_response_timeout(Some(config.timeout));
    let client = Client::open(node).map_err(failed)?;
    let connecting = client.get_multiplexed_async_connection_with_config(&settings);
    match tokio::time::timeout(config.connect_timeout, connecting).await {
        Ok(connected) => connected.map_err(failed),
        Err(_) => Err(Failure::ConnectTimeout {
            place: config.place(),
            limit: config.connect_timeout,
        }),
    }
}

async fn facts(connection: &mut MultiplexedConnection, config: &RedisConfig) -> Result<Facts> {
    let failed = |cause: RedisError| of_connection(&cause, config);
    let info = text(connection, &["INFO", "everything"])
        .await
        .map_err(failed)?;
    let wanted = [
        "CONFIG",
        "GET",
        "appendonly",
        "appendfsync",
        "maxmemory-policy",
    ];
    let set = match ask(connection, &wanted).await {
        Ok(set) => settings(set)?,
        Err(_) => BTreeMap::new(),
    };
    let cluster = text(connection, &["CLUSTER", "INFO"])
        .await
        .unwrap_or_default();
    Ok(Facts::read(&info, &set, &cluster))
}

async fn ask(connection: &mut MultiplexedConnection, words: &[&str]) -> Result<Value, RedisError> {
    let mut command = Cmd::new();
    for word in words {
        command.arg(word);
    }
    command.query_async(connection).await
}

async fn text(
    connection: &mut MultiplexedConnection,
    words: &[&str],
) -> Result<String, RedisError> {
    let value = ask(connection, words).await?;
    Ok(redis::from_redis_value(value)?)
}

fn settings(value: Value) -> Result<BTreeMap<String, String>> {
    let text = |bytes| String::from_utf8(bytes).map_err(|_| unreadable("setting", "is not UTF-8"));
    let pairs = Fields::of(value)?.into_pairs().into_iter();
    pairs
        .map(|(name, value)| Ok((text(name)?, text(value)?)))
        .collect()
}

/// Lists the addresses of the masters of a cluster.
async fn masters(
    connection: &mut MultiplexedConnection,
    config: &RedisConfig,
) -> Result<Vec<(String, u16)>> {
    let slots = ask(connection, &["CLUSTER", "SLOTS"]).await;
    let slots = Items::of(slots.map_err(|cause| of_request(&cause))?)?;
    let mut masters = slots.each(|range| {
        let mut range = Items::of(range)?;
        let _: (Value, Value) = (range.value()?, range.value()?);
        let mut master = range.list()?;
        let name = Some(master.text()?).filter(|name| !name.is_empty());
        let port = master.number("port")?;
        Ok((name.unwrap_or_else(|| first_host(config)), port))
    })?;
    masters.sort_unstable();
    masters.dedup();
    Ok(masters)
}

fn first_host(config: &RedisConfig) -> String {
    let place = config.place();
    place
        .rsplit_once(':')
        .map_or(place.clone(), |(host, _)| host.to_owned())
}

/// Makes the store, or reads what was fixed when it was made.
async fn store_info(link: &Link, config: &RedisConfig) -> Result<StoreInfo> {
    let layout = Layout::new(config.namespace.clone(), 1);
    let random = random_bytes_of_the_system();
    let hash_key = random.get(..16).unwrap_or_default();
    let call = Call::new(&OPEN, &layout.tag(Slot::Leases), None)
        .number(FORMAT)
        .number(config.partitions.unwrap_or(PARTITIONS_DEFAULT))
        .arg(hash_key);
    let mut items = Items::of(link.call(&call).await?)?;
    let _: (Value, Value) = (items.value()?, items.value()?);
    let found = items.number("format")?;
    if found > FORMAT {
        return Err(Failure::NewerVersion {
            namespace: config.namespace.clone(),
            found,
            reads: FORMAT,
        });
    }
    let partitions = items.number("count of partitions")?;
    if let Some(wanted) = config.partitions
        && wanted != partitions
    {
        return Err(Failure::Partitions {
            found: partitions,
            wanted,
        });
    }
    let hash_key = reply::bytes(items.value()?)?;
    Ok(StoreInfo {
        hash_key: hash_key
            .try_into()
            .map_err(|_| unreadable("hash key", "it has not 16 bytes"))?,
        partitions,
    })
}
