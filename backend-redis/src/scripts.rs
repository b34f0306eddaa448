//! The scripts one by one, on a server.

use redis::{Commands as _, Connection, RedisResult, Value};

use crate::fixture::{cluster, new_namespace, server};
use crate::script::{self, Effect, Script};

/// Is a partition of a namespace that nobody else has.
struct Slot {
    connection: Connection,
    tag: String,
}

fn connect(url: &str) -> Connection {
    redis::Client::open(url).unwrap().get_connection().unwrap()
}

impl Slot {
    fn new() -> Self {
        Self {
            connection: connect(&server()),
            tag: format!("{{lh:{}:0}}:", new_namespace()),
        }
    }

    fn call(&mut self, script: &Script, arguments: &[&str]) -> RedisResult<Value> {
        call(&mut self.connection, &self.tag, script, arguments)
    }

    /// Calls a script and returns what follows the time in its answer, as it is printed.
    fn answer(&mut self, script: &Script, arguments: &[&str]) -> String {
        let answer = self.call(script, arguments).unwrap();
        match answer {
            Value::Array(items) => format!("{:?}", items.get(1..).unwrap()),
            other => format!("{other:?}"),
        }
    }

    /// Returns all keys with what they hold.
    fn dump(&mut self) -> Vec<(String, Vec<u8>)> {
        let pattern = format!("{}*", self.tag);
        let keys: Vec<String> = self
            .connection
            .scan_match(pattern)
            .unwrap()
            .map(Result::unwrap)
            .collect();
        let mut held: Vec<_> = keys
            .into_iter()
            .map(|key| {
                (
                    key.clone(),
                    redis::cmd("DUMP")
                        .arg(key)
                        .query(&mut self.connection)
                        .unwrap(),
                )
            })
            .collect();
        held.sort();
        held
    }

    fn join(&mut self, worker: &str) {
        assert_eq!(self.answer(&script::JOIN, &[worker]), ok(""));
    }

    fn start(&mut self, worker: &str, id: &str) {
        let turn = "0123456789abcdef00000000turn 0";
        let start = [worker, "1", id, "fixed", "order", "same", "", id, turn];
        self.answer(&script::START, &start);
    }

    fn commit(&mut self, worker: &str, id: &str, number: &str) -> String {
        let write = format!("write {number:>10}");
        let stored = format!("{write}00000000turn {number}");
        let head = [worker, "1", "19", id, "1", "1", &write, number, &stored];
        let update = ["append", "0", "", "", "", "", ""];
        let effects = ["0"; 6];
        let all: Vec<&str> = head.into_iter().chain(update).chain(effects).collect();
        self.answer(&script::COMMIT, &all)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        for (key, _) in self.dump() {
            let () = self.connection.del(key).unwrap();
        }
    }
}

fn call(
    connection: &mut Connection,
    tag: &str,
    script: &Script,
    arguments: &[&str],
) -> RedisResult<Value> {
    redis::cmd("EVAL")
        .arg(script.text)
        .arg(2)
        .arg(format!("{tag}members"))
        .arg(format!("{tag}absent"))
        .arg(tag)
        .arg("")
        .arg(arguments)
        .query(connection)
}

fn ok(rest: &str) -> String {
    format!("[bulk-string('\"ok\"'){rest}]")
}

fn refused(why: &str) -> String {
    format!("[bulk-string('\"{why}\"')]")
}

#[test]
fn every_script_says_what_it_takes_and_answers_and_why_it_is_atomic() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lua");
    for script in script::ALL {
        let text = std::fs::read_to_string(folder.join(format!("{}.lua", script.name))).unwrap();
        let head: String = text
            .lines()
            .take_while(|line| line.starts_with("--"))
            .collect();
        for part in ["Arguments: ", "Answers: ", "Why atomic: "] {
            assert!(head.contains(part), "{}.lua lacks `{part}`", script.name);
        }
    }
}

#[test]
fn server_knows_every_script_by_the_hash_that_is_sent() {
    let mut connection = connect(&server());
    for script in script::ALL {
        let hash: String = redis::cmd("SCRIPT")
            .arg("LOAD")
            .arg(script.text)
            .query(&mut connection)
            .unwrap();
        assert_eq!(hash, script.hash(), "{}", script.name);
    }
}

#[test]
fn script_that_reads_is_sworn_to_write_nothing() {
    for script in script::ALL {
        let head = script.text.lines().next().unwrap();
        assert_eq!(
            head.contains("no-writes"),
            script.effect == Effect::Reads,
            "{}",
            script.name
        );
    }
}

#[test]
fn stranger_commits_and_acquires_nothing() {
    let mut slot = Slot::new();
    slot.join("ann");
    slot.start("ann", "run");
    let before = slot.dump();
    assert_eq!(slot.commit("bob", "run", "1"), refused("dead"));
    let acquire = ["bob", "build", "9", "1", "run"];
    assert_eq!(slot.answer(&script::ACQUIRE, &acquire), refused("dead"));
    assert_eq!(slot.answer(&script::CLAIM, &["bob", "0"]), refused("dead"));
    assert_eq!(slot.dump(), before);
    assert!(slot.commit("ann", "run", "1").contains("committed"));
}

#[test]
fn run_that_is_owned_or_not_due_or_blocked_by_the_build_is_not_acquired() {
    let mut slot = Slot::new();
    slot.join("ann");
    let mut acquire = |change: &[(&str, &str)]| {
        slot.start("", "run");
        let run = format!("{}run:run", slot.tag);
        let () = slot.connection.hset_multiple(&run, change).unwrap();
        let before = slot.dump();
        let answer = slot.answer(&script::ACQUIRE, &["ann", "mine", "9", "1", "run"]);
        let is_changed = slot.dump() != before;
        for (key, _) in slot.dump() {
            if !key.ends_with(":members") && !key.ends_with(":generation") {
                let () = slot.connection.del(key).unwrap();
            }
        }
        (answer, is_changed)
    };
    let nothing = (ok(", array([])"), false);
    assert_eq!(acquire(&[("owner", "bob"), ("wake", "")]), nothing);
    assert_eq!(acquire(&[("wake", "99999999999999999")]), nothing);
    assert_eq!(acquire(&[("wake", "")]), nothing);
    assert_eq!(acquire(&[("build", "mine"), ("reason", "why")]), nothing);
    assert_eq!(acquire(&[("finished", "1"), ("wake", "")]), nothing);
    let (answer, is_changed) = acquire(&[("build", "other"), ("reason", "why")]);
    assert!(is_changed && answer.contains("order"), "{answer}");
}

#[test]
fn member_of_another_generation_commits_nothing() {
    let mut slot = Slot::new();
    slot.join("ann");
    slot.start("ann", "run");
    let members = format!("{}members", slot.tag);
    let () = slot
        .connection
        .hset(members, "ann", "of another time")
        .unwrap();
    let before = slot.dump();
    assert_eq!(slot.commit("ann", "run", "1"), refused("generation"));
    assert_eq!(slot.dump(), before);
}

#[test]
fn generation_changes_with_a_restart_and_a_failover_and_stays_when_a_slot_moves() {
    let mut slot = Slot::new();
    slot.join("ann");
    slot.start("ann", "run");
    let (generation, members) = (
        format!("{}generation", slot.tag),
        format!("{}members", slot.tag),
    );
    let () = slot.connection.hset(members, "ann", "before").unwrap();
    let seen_by = |node| [("seen", "0123"), ("node", node), ("id", "before")];
    // Another replication id, seen by another node: the slot came from there.
    let () = slot
        .connection
        .hset_multiple(&generation, &seen_by("elsewhere"))
        .unwrap();
    assert!(slot.commit("ann", "run", "1").contains("committed"));
    // Another replication id, seen by this node, which has no name: it was restarted.
    let () = slot
        .connection
        .hset_multiple(&generation, &seen_by(""))
        .unwrap();
    assert_eq!(slot.commit("ann", "run", "2"), refused("generation"));
}

#[test]
fn worker_that_was_freed_joins_no_more() {
    let mut slot = Slot::new();
    slot.join("ann");
    slot.start("ann", "run");
    let freed = slot.answer(&script::FREE, &["ann", "500", "0"]);
    assert_eq!(freed, ok(", int(1), int(0), int(0)"));
    assert_eq!(slot.answer(&script::JOIN, &["ann"]), refused("dead"));
    assert_eq!(slot.commit("ann", "run", "1"), refused("dead"));
    assert_eq!(
        slot.answer(&script::FREE, &["ann", "500", "0"]),
        ok(", int(0), int(0), int(0)")
    );
}

#[test]
fn worker_that_was_declared_dead_registers_and_extends_no_more() {
    let mut slot = Slot::new();
    let register = ["ann", "1000000", "1", "info"];
    assert_eq!(slot.answer(&script::REGISTER, &register), ok(""));
    assert!(
        slot.answer(&script::LEASE, &["ann", "5000000"])
            .contains("ok")
    );
    let declared = slot.answer(&script::DECLARE, &["", "0", "1", "ann", "0"]);
    assert!(declared.contains("ann"), "{declared}");
    assert_eq!(slot.answer(&script::REGISTER, &register), refused("dead"));
    assert_eq!(
        slot.answer(&script::LEASE, &["ann", "5000000"]),
        refused("dead")
    );
}

#[test]
fn item_is_taken_in_once_and_numbers_that_went_back_are_new_in_another_generation() {
    let mut slot = Slot::new();
    slot.join("ann");
    slot.start("ann", "run");
    let mut receive = |generation: &str, number: &str, write: &str| {
        let item = [generation, number, "message", "run", write, "body"];
        let all: Vec<&str> = ["messages", "3", "1"].into_iter().chain(item).collect();
        slot.answer(&script::RECEIVE, &all)
    };
    assert_eq!(receive("g1", "1", "a"), ok(", int(1)"));
    assert_eq!(receive("g1", "1", "a"), ok(", int(0)"));
    assert_eq!(receive("g1", "2", "b"), ok(", int(1)"));
    assert_eq!(receive("g2", "1", "c"), ok(", int(1)"));
    assert_eq!(receive("g1", "2", "b"), ok(", int(0)"));
    let inbox: usize = slot
        .connection
        .llen(format!("{}inbox:run", slot.tag))
        .unwrap();
    assert_eq!(inbox, 3);
}

#[test]
fn item_that_came_meanwhile_stays() {
    let mut slot = Slot::new();
    let list = format!("{}messages:3", slot.tag);
    let () = slot.connection.rpush(&list, &["one", "two"]).unwrap();
    assert_eq!(
        slot.answer(&script::ACKNOWLEDGE, &["messages:3", "1", "one"]),
        ok("")
    );
    assert_eq!(
        slot.answer(&script::ACKNOWLEDGE, &["messages:3", "1", "one"]),
        ok("")
    );
    let left: Vec<String> = slot.connection.lrange(&list, 0, -1).unwrap();
    assert_eq!(left, ["two"]);
}

/// Is a user of the server that is gone with this.
struct User {
    connection: Connection,
    name: String,
}

impl User {
    fn new(namespace: &str) -> Self {
        let user = Self {
            connection: connect(&server()),
            name: new_namespace(),
        };
        let commands =
            "+@all -@dangerous +info +config|get +cluster|slots +cluster|info +cluster|myid";
        let keys = [format!("~{{lh:{namespace}:*"), format!("&lh:{namespace}:*")];
        let () = redis::cmd("ACL")
            .arg("SETUSER")
            .arg(&user.name)
            .arg(&["on", ">pw"])
            .arg(&keys)
            .arg(commands.split(' ').collect::<Vec<_>>())
            .query(&mut connect(&server()))
            .unwrap();
        user
    }
}

impl Drop for User {
    fn drop(&mut self) {
        let () = redis::cmd("ACL")
            .arg("DELUSER")
            .arg(&self.name)
            .query(&mut self.connection)
            .unwrap();
    }
}

/// Each script sees keys of its own namespace alone: a user who may touch no other can send them all.
#[test]
fn user_of_one_namespace_can_do_everything_there_and_nothing_beside() {
    let slot = Slot::new();
    let (namespace, _) = slot.tag.trim_start_matches("{lh:").split_once(':').unwrap();
    let user = User::new(namespace);
    let (_, place) = server()
        .rsplit_once('@')
        .map(|(a, b)| (a.to_owned(), b.to_owned()))
        .unwrap();
    let mut narrow = connect(&format!("redis://{}:pw@{place}", user.name));
    let tag = slot.tag.clone();
    let turn = "0123456789abcdef00000000turn 0";
    let refused: RedisResult<Value> = call(&mut narrow, "{lh:other:0}:", &script::OWNED, &["ann"]);
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("permission"), "{refused}");
    let mut run = |script: &Script, arguments: &[&str]| {
        let answer = call(&mut narrow, &tag, script, arguments);
        let answer = format!(
            "{:?}",
            answer.unwrap_or_else(|error| panic!("{}: {error}", script.name))
        );
        assert!(answer.contains("ok"), "{}: {answer}", script.name);
    };
    run(&script::OPEN, &["1", "16", "key"]);
    run(&script::REGISTER, &["ann", "1000000", "1", "info"]);
    run(&script::JOIN, &["ann"]);
    run(
        &script::START,
        &["ann", "1", "run", "fixed", "order", "same", "", "run", turn],
    );
    run(
        &script::START,
        &["", "1", "due", "fixed", "order", "same", "", "due", turn],
    );
    run(&script::ARRIVE, &["1", "run", "write", "body", "9"]);
    let head = [
        "ann",
        "1",
        "39",
        "run",
        "1",
        "1",
        "0123456789abcdef",
        "1",
        turn,
    ];
    let update = ["drain", "1", "", "", "", "", ""];
    let counts = ["1", "1", "1", "1", "1", "0"];
    let effects = [
        "k",
        "1",
        "v",
        "1:task:x#9",
        "1:task:a#1",
        "1",
        "mail",
        "charge",
        "0",
        "",
        "content",
    ];
    let own = [
        "0", "refusal", "kid", "fixed", "order", "same", "run", "run", turn,
    ];
    let all: Vec<&str> = head
        .into_iter()
        .chain(update)
        .chain(counts)
        .chain(effects)
        .chain(own)
        .chain(["3", "packed"])
        .collect();
    run(&script::COMMIT, &all);
    run(&script::DUE, &["build", "9", "1", "order"]);
    run(&script::ACQUIRE, &["ann", "build", "9", "1", "due"]);
    run(&script::RELOAD, &["ann", "1", "9", "run"]);
    run(&script::OWNED, &["ann"]);
    run(&script::INBOX_OF, &["ann", "1", "run", "0"]);
    run(&script::READY, &["1", "mail", "9", "charge"]);
    run(
        &script::BEAT,
        &["ann", "build", "9", "1", "order", "1", "mail", "charge"],
    );
    run(&script::CLAIM, &["ann", "0"]);
    run(&script::CLAIMED, &["ann"]);
    run(
        &script::REPORT,
        &["1", "ann", "run", "1:task:a#1", "1", "w", "body"],
    );
    run(&script::SENT, &["9"]);
    run(
        &script::RECEIVE,
        &[
            "messages", "3", "1", "g", "1", "message", "run", "w2", "body",
        ],
    );
    run(&script::ACKNOWLEDGE, &["starts:3", "0"]);
    run(&script::LIST, &["ids", "", "", "9"]);
    run(&script::STATES, &["1", "run"]);
    run(&script::LEASE, &["ann", ""]);
    run(&script::FREE, &["ann", "500", "0"]);
    run(&script::DECLARE, &["1", "0", "0", "0"]);
    run(&script::BURY, &["1", "ann"]);
}

/// A node that is handing a slot on refuses, and writes nothing.
#[test]
fn script_is_refused_while_its_slot_moves_to_another_node() {
    let tag = format!("{{lh:{}:0}}:", new_namespace());
    let url = cluster();
    let (head, hosts) = url
        .rsplit_once('@')
        .map_or(("redis://", url.as_str()), |(head, hosts)| (head, hosts));
    let at = if head.ends_with("//") { "" } else { "@" };
    let mut nodes: Vec<Connection> = hosts
        .split(',')
        .map(|host| connect(&format!("{head}{at}{host}")))
        .collect();
    let mut id = |at: usize| -> String {
        redis::cmd("CLUSTER")
            .arg("MYID")
            .query(&mut nodes[at])
            .unwrap()
    };
    let ids = [id(0), id(1), id(2)];
    let join = |node: &mut Connection, worker: &str| call(node, &tag, &script::JOIN, &[worker]);
    let serving = (0..3)
        .find(|at| join(&mut nodes[*at], "ann").is_ok())
        .unwrap();
    let other = (serving + 1) % 3;
    let slot: u16 = redis::cmd("CLUSTER")
        .arg("KEYSLOT")
        .arg(&tag)
        .query(&mut nodes[0])
        .unwrap();
    let set = |node: &mut Connection, words: &[&str]| {
        let () = redis::cmd("CLUSTER")
            .arg("SETSLOT")
            .arg(slot)
            .arg(words)
            .query(node)
            .unwrap();
    };
    set(&mut nodes[other], &["IMPORTING", &ids[serving]]);
    set(&mut nodes[serving], &["MIGRATING", &ids[other]]);
    let refused = join(&mut nodes[serving], "bob");
    set(&mut nodes[serving], &["STABLE"]);
    set(&mut nodes[other], &["STABLE"]);
    assert_eq!(refused.unwrap_err().code(), Some("TRYAGAIN"));
    let members: Vec<String> = nodes[serving].hkeys(format!("{tag}members")).unwrap();
    assert_eq!(members, ["ann"]);
    assert!(join(&mut nodes[serving], "bob").is_ok());
    let () = nodes[serving]
        .del(&[format!("{tag}members"), format!("{tag}generation")])
        .unwrap();
}
