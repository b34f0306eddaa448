//! The connection to a server or a cluster, and scripts sent over it.
//!
//! Invariants: one connection carries all requests of a handle, interleaved; it is dropped when it breaks, and made anew
//! by the next request. A request that may have been applied is never told as not applied.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ErrorKind, Pipeline, RedisError, ServerErrorKind, Value,
};

use crate::config::{Durability, RedisConfig};
use crate::error::{Failure, Result, of_connection, of_request};
use crate::script::{Effect, Script};

/// Is a script with its keys and arguments, ready to be sent.
#[derive(Debug)]
pub(crate) struct Call {
    script: &'static Script,
    command: Cmd,
}

impl Call {
    pub(crate) fn new(script: &'static Script, tag: &str, given_time: Option<i64>) -> Self {
        let mut command = Cmd::new();
        command.arg("EVALSHA").arg(script.hash()).arg(2);
        command
            .arg(format!("{tag}members"))
            .arg(format!("{tag}absent"));
        command.arg(tag);
        match given_time {
            Some(time) => command.arg(time),
            None => command.arg(""),
        };
        Self { script, command }
    }

    /// Adds an argument.
    pub(crate) fn arg(mut self, argument: impl AsRef<[u8]>) -> Self {
        self.command.arg(argument.as_ref());
        self
    }

    /// Adds a number.
    pub(crate) fn number(self, number: impl std::fmt::Display) -> Self {
        self.arg(number.to_string())
    }

    /// Adds how many there are, and then each.
    pub(crate) fn counted<T: AsRef<[u8]>>(self, arguments: &[T]) -> Self {
        let call = self.number(arguments.len());
        arguments.iter().fold(call, Self::arg)
    }

    pub(crate) const fn script(&self) -> &'static Script {
        self.script
    }

    /// Returns the command that brings the script's text along.
    fn with_text(&self) -> Cmd {
        let mut command = Cmd::new();
        command.arg("EVAL").arg(self.script.text);
        for argument in self.command.args_iter().skip(2) {
            if let redis::Arg::Simple(argument) = argument {
                command.arg(argument);
            }
        }
        command
    }
}

/// Is an open connection.
#[derive(Clone)]
enum Connection {
    Server(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl Connection {
    async fn send(&mut self, command: &Cmd) -> Result<Value, RedisError> {
        let value = match self {
            Self::Server(connection) => connection.req_packed_command(command).await?,
            Self::Cluster(connection) => connection.req_packed_command(command).await?,
        };
        value.extract_error()
    }

    /// Sends a command and waits until so many replicas have what it wrote; returns how many have.
    async fn send_and_wait(
        &mut self,
        command: &Cmd,
        replicas: u16,
        limit: Duration,
    ) -> Result<(Value, u16), RedisError> {
        let mut pipeline = Pipeline::new();
        pipeline.add_command(command.clone());
        pipeline
            .cmd("WAIT")
            .arg(replicas)
            .arg(u64::try_from(limit.as_millis()).unwrap_or(u64::MAX));
        let values = match self {
            Self::Server(connection) => connection.req_packed_commands(&pipeline, 0, 2).await?,
            Self::Cluster(connection) => connection.req_packed_commands(&pipeline, 0, 2).await?,
        };
        let mut values = values.into_iter().map(Value::extract_error);
        let value = values.next().unwrap_or(Ok(Value::Nil))?;
        let count = match values.next().unwrap_or(Ok(Value::Nil))? {
            Value::Int(count) => u16::try_from(count).unwrap_or(0),
            _ => 0,
        };
        Ok((value, count))
    }
}

/// Makes connections.
#[derive(Debug)]
enum Maker {
    Server(Box<Client>),
    Cluster(Box<ClusterClient>),
}

/// Holds the connection of a handle.
pub(crate) struct Link {
    maker: Maker,
    timeout: Duration,
    connect_timeout: Duration,
    place: String,
    replicas: u16,
    held: Mutex<Option<(u64, Connection)>>,
    making: tokio::sync::Mutex<u64>,
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link")
            .field("place", &self.place)
            .finish_non_exhaustive()
    }
}

impl Link {
    /// Prepares connections to one server, or to the cluster that it is part of.
    pub(crate) fn new(config: &RedisConfig, is_cluster: bool) -> Result<Self> {
        let nodes = config.nodes();
        let wrong = |cause: RedisError| of_connection(&cause, config);
        let maker = if is_cluster {
            let builder = ClusterClient::builder(nodes)
                .connection_timeout(config.connect_timeout)
                .response_timeout(config.timeout)
                .overall_response_timeout(Some(config.timeout))
                .max_retry_wait(200);
            Maker::Cluster(Box::new(builder.build().map_err(wrong)?))
        } else {
            let node = nodes.into_iter().next();
            let node = node.ok_or_else(|| Failure::Refused("the URL names no host".to_owned()))?;
            Maker::Server(Box::new(Client::open(node).map_err(wrong)?))
        };
        Ok(Self {
            maker,
            timeout: config.timeout,
            connect_timeout: config.connect_timeout,
            place: config.place(),
            replicas: match config.durability {
                Durability::Replicated(replicas) => replicas,
                Durability::Local | Durability::Fast | Durability::None => 0,
            },
            held: Mutex::default(),
            making: tokio::sync::Mutex::default(),
        })
    }

    /// Sends a script and returns its answer.
    pub(crate) async fn call(&self, call: &Call) -> Result<Value> {
        let (number, mut connection) = self.connection().await?;
        let answered = self.send(&mut connection, call, &call.command).await;
        let answered = match answered {
            Err(Sent::Failed(cause)) if is_unknown_script(&cause) => {
                self.send(&mut connection, call, &call.with_text()).await
            }
            other => other,
        };
        match answered {
            Ok(value) => Ok(value),
            Err(Sent::Failed(cause)) => {
                self.forget_if_broken(number, &cause);
                Err(of_request(&cause))
            }
            Err(Sent::NotReplicated(count)) => Err(Failure::NotReplicated {
                wanted: self.replicas,
                count,
            }),
        }
    }

    /// Sends a command that only reads.
    pub(crate) async fn read(&self, command: &Cmd) -> Result<Value> {
        let (number, mut connection) = self.connection().await?;
        connection.send(command).await.map_err(|cause| {
            self.forget_if_broken(number, &cause);
            of_request(&cause)
        })
    }

    async fn send(
        &self,
        connection: &mut Connection,
        call: &Call,
        command: &Cmd,
    ) -> Result<Value, Sent> {
        if self.replicas == 0 || call.script.effect == Effect::Reads {
            return connection.send(command).await.map_err(Sent::Failed);
        }
        let limit = self.timeout / 2;
        let sent = connection
            .send_and_wait(command, self.replicas, limit)
            .await;
        let (value, count) = sent.map_err(Sent::Failed)?;
        if count < self.replicas {
            return Err(Sent::NotReplicated(count));
        }
        Ok(value)
    }

    async fn connection(&self) -> Result<(u64, Connection)> {
        if let Some(held) = self.held() {
            return Ok(held);
        }
        let mut made = self.making.lock().await;
        if let Some(held) = self.held() {
            return Ok(held);
        }
        *made += 1;
        let connection = self.connect().await?;
        let held = (*made, connection);
        *self.held.lock().unwrap_or_else(PoisonError::into_inner) = Some(held.clone());
        Ok(held)
    }

    fn held(&self) -> Option<(u64, Connection)> {
        self.held
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    async fn connect(&self) -> Result<Connection> {
        let connecting = async {
            match &self.maker {
                Maker::Server(client) => {
                    let config = AsyncConnectionConfig::new()
                        .set_connection_timeout(Some(self.connect_timeout))
                        .set_response_timeout(Some(self.timeout));
                    let made = client.get_multiplexed_async_connection_with_config(&config);
                    made.await.map(Connection::Server)
                }
                Maker::Cluster(client) => {
                    client.get_async_connection().await.map(Connection::Cluster)
                }
            }
        };
        match tokio::time::timeout(self.connect_timeout, connecting).await {
            Ok(made) => made.map_err(|cause| Failure::Connect {
                place: self.place.clone(),
                cause: cause.to_string(),
            }),
            Err(_) => Err(Failure::ConnectTimeout {
                place: self.place.clone(),
                limit: self.connect_timeout,
            }),
        }
    }

    fn forget_if_broken(&self, number: u64, cause: &RedisError) {
        let is_whole = !(cause.is_unrecoverable_error()
            || cause.is_io_error()
            || cause.is_timeout()
            || cause.kind() == ErrorKind::Server(ServerErrorKind::ReadOnly)
            || cause.kind() == ErrorKind::ClusterConnectionNotFound);
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if !is_whole && held.as_ref().is_some_and(|(current, _)| *current == number) {
            *held = None;
        }
    }
}

/// Says why a script has no answer.
enum Sent {
    Failed(RedisError),
    NotReplicated(u16),
}

fn is_unknown_script(cause: &RedisError) -> bool {
    cause.kind() == ErrorKind::Server(ServerErrorKind::NoScript)
}
