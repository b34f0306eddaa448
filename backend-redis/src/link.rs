//! The connection to a server or a cluster, and scripts sent over it.
//!
//! Invariants: one connection carries all requests of a handle, interleaved; it is dropped when it breaks, and made anew
//! by the next request. Scripts that are sent together to a server go out in one piece, and each has an answer of its own.
//! A request that may have been applied is never told as not applied.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ErrorKind, Pipeline, RedisError, ServerErrorKind, Value,
};

use crate::call::Call;
use crate::config::{Durability, RedisConfig};
use crate::error::{Failure, Result, of_connection, of_request};
use crate::script::{Effect, Script};

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
        pipeline.add_command(wait(replicas, limit));
        let mut values = self.send_all(&pipeline).await?.into_iter();
        let value = values.next().unwrap_or(Ok(Value::Nil))?;
        let count = count_of(&values.next().unwrap_or(Ok(Value::Nil))?);
        Ok((value, count))
    }

    /// Sends commands in one piece, and returns what each came to.
    async fn send_all(
        &mut self,
        pipeline: &Pipeline,
    ) -> Result<Vec<Result<Value, RedisError>>, RedisError> {
        let count = pipeline.len();
        let values = match self {
            Self::Server(connection) => connection.req_packed_commands(pipeline, 0, count).await?,
            Self::Cluster(connection) => connection.req_packed_commands(pipeline, 0, count).await?,
        };
        Ok(values.into_iter().map(Value::extract_error).collect())
    }
}

/// Returns the command that waits until so many replicas have what was written before it.
fn wait(replicas: u16, limit: Duration) -> Cmd {
    let mut command = redis::cmd("WAIT");
    command
        .arg(replicas)
        .arg(u64::try_from(limit.as_millis()).unwrap_or(u64::MAX));
    command
}

/// Returns how many replicas a `WAIT` found.
fn count_of(answer: &Value) -> u16 {
    match answer {
        Value::Int(count) => u16::try_from(*count).unwrap_or(0),
        _ => 0,
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
        let answered = match self.send(&mut connection, call.script, &call.command).await {
            Err(Sent::Failed(cause)) if is_unknown_script(&cause) => {
                let whole = call.script.brought_by(&call.command);
                self.send(&mut connection, call.script, &whole).await
            }
            other => other,
        };
        answered.map_err(|sent| self.failure(number, &sent))
    }

    /// Tells whether scripts that are sent together are executed one after the other, in their order.
    pub(crate) const fn keeps_order(&self) -> bool {
        matches!(self.maker, Maker::Server(_))
    }

    /// Sends scripts together, and returns the answer to each, in their order; or why none has an answer.
    pub(crate) async fn call_each(&self, calls: Vec<Call>) -> Result<Vec<Result<Value>>> {
        if calls.len() > 1 && self.keeps_order() {
            return self.call_in_one_piece(calls).await;
        }
        let each = calls.iter().map(|call| self.call(call));
        Ok(futures_util::future::join_all(each).await)
    }

    async fn call_in_one_piece(&self, calls: Vec<Call>) -> Result<Vec<Result<Value>>> {
        let (number, mut connection) = self.connection().await?;
        let mut scripts = Vec::with_capacity(calls.len());
        let mut pipeline = Pipeline::with_capacity(calls.len() + 1);
        for call in calls {
            scripts.push(call.script);
            pipeline.add_command(call.command);
        }
        let sent = self.send_all(&mut connection, &scripts, &mut pipeline);
        let mut answers = sent
            .await
            .map_err(|cause| self.failure(number, &Sent::Failed(cause)))?;
        // A server that was just started knows none; it is told one after the other, so that the order stays.
        let sent = scripts.iter().zip(pipeline.cmd_iter());
        for (answer, (script, command)) in answers.iter_mut().zip(sent) {
            if matches!(answer, Err(Sent::Failed(cause)) if is_unknown_script(cause)) {
                let whole = script.brought_by(command);
                *answer = self.send(&mut connection, script, &whole).await;
            }
        }
        let answers = answers.into_iter();
        Ok(answers
            .map(|answer| answer.map_err(|sent| self.failure(number, &sent)))
            .collect())
    }

    /// Sends scripts in one piece; waits once until enough replicas have what they all wrote.
    async fn send_all(
        &self,
        connection: &mut Connection,
        scripts: &[&'static Script],
        pipeline: &mut Pipeline,
    ) -> Result<Vec<Result<Value, Sent>>, RedisError> {
        let waits = scripts.iter().any(|script| self.waits_for(script));
        if waits {
            pipeline.add_command(wait(self.replicas, self.timeout / 2));
        }
        let mut values = connection.send_all(pipeline).await?;
        let count = match values.pop_if(|_| waits) {
            Some(count) => count.map_or(0, |count| count_of(&count)),
            None => self.replicas,
        };
        let answers = values.into_iter().zip(scripts).map(|(value, script)| {
            let value = value.map_err(Sent::Failed)?;
            if count < self.replicas && self.waits_for(script) {
                return Err(Sent::NotReplicated(count));
            }
            Ok(value)
        });
        Ok(answers.collect())
    }

    /// Tells whether replicas must have what a script writes before it is answered.
    fn waits_for(&self, script: &Script) -> bool {
        self.replicas > 0 && script.effect == Effect::Writes
    }

    fn failure(&self, number: u64, sent: &Sent) -> Failure {
        match sent {
            Sent::Failed(cause) => {
                self.forget_if_broken(number, cause);
                of_request(cause)
            }
            Sent::NotReplicated(count) => Failure::NotReplicated {
                wanted: self.replicas,
                count: *count,
            },
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
        script: &Script,
        command: &Cmd,
    ) -> Result<Value, Sent> {
        if !self.waits_for(script) {
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
        // What connects is large; boxed, it is no part of every request.
        let connection = Box::pin(self.connect()).await?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RedisBackend;
    use crate::fixture::{RedisFixture, cluster, new_namespace, server};
    use crate::layout::{Layout, Slot};
    use crate::script::{JOIN, OWNED, SENT};

    /// A server forgets all scripts when it is restarted or told to.
    #[tokio::test]
    async fn scripts_that_a_server_forgot_are_brought_again() {
        for url in [server(), cluster()] {
            let fixture = RedisFixture::at(url.clone(), 16).await;
            let backend = RedisBackend::open(fixture.config()).await.unwrap();
            let store = &backend.store;
            let client = Client::open(server()).unwrap();
            let () = redis::cmd("SCRIPT")
                .arg("FLUSH")
                .query(&mut client.get_connection().unwrap())
                .unwrap();
            let ask = |partition| store.on(&SENT, partition).number(1);
            let answers = store.ask_all(ask).await.unwrap();
            let partitions: Vec<u16> = answers.iter().map(|(partition, _)| *partition).collect();
            assert_eq!(partitions, (0..16).collect::<Vec<_>>(), "{url}");
        }
    }

    fn link(options: &str) -> (Link, Layout) {
        let config = RedisConfig::from_url(&format!("{}?{options}", server())).unwrap();
        let layout = Layout::new(new_namespace(), 4);
        (Link::new(&config, false).unwrap(), layout)
    }

    #[tokio::test]
    async fn script_that_fails_fails_alone() {
        let (link, layout) = link("timeout=5s");
        let call = |partition| Call::new(&OWNED, &layout.tag(Slot::Partition(partition)), None);
        // Without a worker to ask for, the script fails.
        let calls = vec![call(0).arg("ann"), call(1), call(2).arg("ann")];
        let answers = link.call_each(calls).await.unwrap();
        assert!(
            matches!(answers[..], [Ok(_), Err(Failure::Answered(_)), Ok(_)]),
            "{answers:?}"
        );
    }

    #[tokio::test]
    async fn write_that_no_replica_has_is_not_acknowledged() {
        let (link, layout) = link("durability=replicated:1&timeout=1s");
        let tag = |partition| layout.tag(Slot::Partition(partition));
        let join = |partition| Call::new(&JOIN, &tag(partition), None).arg("ann");
        let look = |partition| Call::new(&SENT, &tag(partition), None).number(1);
        let is_refused = |answer: &Result<Value>| {
            matches!(
                answer,
                Err(Failure::NotReplicated {
                    wanted: 1,
                    count: 0
                })
            )
        };
        assert!(is_refused(&link.call(&join(0)).await));
        assert!(link.call(&look(0)).await.is_ok());
        let calls = vec![join(1), look(2), join(3)];
        let answers = link.call_each(calls).await.unwrap();
        assert!(answers[1].is_ok(), "{answers:?}");
        assert!(
            is_refused(&answers[0]) && is_refused(&answers[2]),
            "{answers:?}"
        );
    }
}
