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

    /// Appends a turn by the smallest of the scripts that can.
    fn append(&mut self, worker: &str, id: &str, number: &str) -> String {
        self.write(&script::APPEND, worker, &[Turn::new(id, number)])
    }

    /// Writes turns by one of the scripts that write turns.
    fn write(&mut self, script: &Script, worker: &str, turns: &[Turn<'_>]) -> String {
        let mut all = vec![worker.to_owned(), turns.len().to_string()];
        if script.name != script::APPEND.name {
            all.push(String::new());
        }
        for turn in turns {
            if script.name == script::COMMIT.name {
                all.push("0".to_owned());
            }
            if script.name != script::APPEND.name {
                all.push(turn.update.first().unwrap_or(&"append").to_string());
            }
            all.extend([turn.id, "1", turn.epoch, turn.number].map(str::to_owned));
            all.push(turn.stored());
            all.extend(turn.update.iter().skip(1).map(|part| part.to_string()));
        }
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        self.answer(script, &all)
    }

    fn length(&mut self, id: &str) -> usize {
        let key = format!("{}turns:1:{id}", self.tag);
        self.connection.llen(key).unwrap()
    }

    fn field(&mut self, id: &str, field: &str) -> String {
        let key = format!("{}run:{id}", self.tag);
        self.connection.hget(key, field).unwrap()
    }
}

/// Is a turn with what becomes of its run, which is nothing when the turn is only appended.
#[derive(Clone, Copy)]
struct Turn<'a> {
    id: &'a str,
    epoch: &'a str,
    number: &'a str,
    write: &'a str,
    update: &'a [&'a str],
}

impl<'a> Turn<'a> {
    const fn new(id: &'a str, number: &'a str) -> Self {
        Self {
            id,
            epoch: "1",
            number,
            write: "one write",
            update: &[],
        }
    }

    const fn and(self, update: &'a [&'a str]) -> Self {
        Self { update, ..self }
    }

    fn stored(&self) -> String {
        let write = format!("{:>12}{:>4}", self.write, self.number);
        if self.number.is_empty() {
            return write;
        }
        format!("{write}00000000turn {}", self.number)
    }
}

/// Is what an update marks as read, and all that it leaves empty.
const DRAIN: &[&str] = &["drain", "1", "", "", "", "", ""];
const END: &[&str] = &["end", "0", "", "Completed", "", "", ""];
const PARK: &[&str] = &["park", "0", "", "Waiting", "", "", ""];

/// Lists the scripts that write turns.
static WRITERS: [&Script; 3] = [&script::APPEND, &script::SETTLE, &script::COMMIT];

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

fn verdicts(all: &[&str]) -> String {
    let all: Vec<String> = all
        .iter()
        .map(|one| format!("bulk-string('\"{one}\"')"))
        .collect();
    ok(&format!(", array([{}])", all.join(", ")))
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
    for script in WRITERS {
        let turn = Turn::new("run", "1");
        assert_eq!(slot.write(script, "bob", &[turn]), refused("dead"));
    }
    let acquire = ["bob", "build", "9", "1", "run"];
    assert_eq!(slot.answer(&script::ACQUIRE, &acquire), refused("dead"));
    assert_eq!(slot.answer(&script::CLAIM, &["bob", "0"]), refused("dead"));
    assert_eq!(slot.dump(), before);
    assert_eq!(slot.append("ann", "run", "1"), ok(""));
}

#[test]
fn turn_is_written_where_it_is_the_next_of_the_owner_and_is_known_again() {
    for script in WRITERS {
        let mut slot = Slot::new();
        slot.join("ann");
        slot.join("bob");
        slot.start("ann", "run");
        let next = Turn::new("run", "1");
        assert_eq!(slot.write(script, "ann", &[next]), ok(""));
        assert_eq!(slot.length("run"), 2);
        let before = slot.dump();
        assert_eq!(slot.write(script, "ann", &[next]), ok(""), "known again");
        let lost = verdicts(&["lost"]);
        let after = Turn::new("run", "2");
        let other_epoch = Turn {
            epoch: "2",
            ..after
        };
        let other_write = Turn {
            write: "another",
            ..next
        };
        assert_eq!(slot.write(script, "bob", &[after]), lost, "of another");
        assert_eq!(slot.write(script, "ann", &[other_epoch]), lost, "epoch");
        assert_eq!(slot.write(script, "ann", &[other_write]), lost, "taken");
        let gap = Turn::new("run", "3");
        assert_eq!(slot.write(script, "ann", &[gap]), lost, "gap");
        let unknown = Turn::new("no run", "1");
        assert_eq!(slot.write(script, "ann", &[unknown]), lost, "unknown");
        assert_eq!(slot.dump(), before, "{}", script.name);
        assert_eq!(
            slot.write(script, "ann", &[next, after, after, gap]),
            ok("")
        );
        assert_eq!(slot.length("run"), 4);
    }
}

#[test]
fn one_turn_of_several_is_refused_alone() {
    for script in WRITERS {
        let mut slot = Slot::new();
        slot.join("ann");
        for id in ["one", "two", "three"] {
            slot.start("ann", id);
        }
        let gap = Turn::new("two", "7");
        let turns = [Turn::new("one", "1"), gap, Turn::new("three", "1")];
        let answer = slot.write(script, "ann", &turns);
        assert_eq!(answer, verdicts(&["committed", "lost", "committed"]));
        let lengths = ["one", "two", "three"].map(|id| slot.length(id));
        assert_eq!(lengths, [2, 1, 2], "{}", script.name);
    }
}

#[test]
fn run_with_something_unread_neither_parks_nor_ends() {
    for script in [&script::SETTLE, &script::COMMIT] {
        let mut slot = Slot::new();
        slot.join("ann");
        slot.start("ann", "run");
        slot.answer(&script::ARRIVE, &["1", "run", "write", "body", "9"]);
        let before = slot.dump();
        let turn = Turn::new("run", "1");
        for update in [PARK, END] {
            let answer = slot.write(script, "ann", &[turn.and(update)]);
            assert_eq!(answer, verdicts(&["unread"]), "{}", script.name);
        }
        assert_eq!(slot.dump(), before);
        assert_eq!(slot.write(script, "ann", &[turn.and(DRAIN)]), ok(""));
        let unread = format!("{}unread:ann", slot.tag);
        let is_unread: bool = slot.connection.exists(unread).unwrap();
        assert!(!is_unread);
        let end = Turn::new("run", "2").and(&["end", "1", "", "Completed", "", "", ""]);
        assert_eq!(slot.write(script, "ann", &[end]), ok(""));
        let after = ["owner", "status", "finished", "read"].map(|field| slot.field("run", field));
        assert_eq!(after, ["", "Completed", "1", "1"]);
        let keys: Vec<String> = slot.dump().into_iter().map(|(key, _)| key).collect();
        let is_left = |what: &str| keys.iter().any(|key| key.contains(what));
        let left = ["inbox:", "writes:", "owned:", "due:"].map(is_left);
        assert_eq!(left, [false; 4], "{keys:?}");
        let again = slot.dump();
        assert_eq!(slot.write(script, "ann", &[end]), ok(""), "known again");
        assert_eq!(slot.dump(), again);
    }
}

#[test]
fn update_without_a_turn_is_known_again_by_its_write() {
    for script in [&script::SETTLE, &script::COMMIT] {
        let mut slot = Slot::new();
        slot.join("ann");
        slot.start("ann", "run");
        let park = Turn::new("run", "").and(PARK);
        assert_eq!(slot.write(script, "ann", &[park]), ok(""));
        assert_eq!(slot.field("run", "owner"), "");
        assert_eq!(slot.length("run"), 1);
        let before = slot.dump();
        assert_eq!(slot.write(script, "ann", &[park]), ok(""), "known again");
        let other = Turn {
            write: "another",
            ..park
        };
        assert_eq!(slot.write(script, "ann", &[other]), verdicts(&["lost"]));
        assert_eq!(slot.dump(), before, "{}", script.name);
    }
}

#[test]
fn run_whose_id_is_taken_is_answered_with_what_is_there() {
    let mut slot = Slot::new();
    slot.join("ann");
    let turn = "0123456789abcdef00000000turn 0";
    let of = |id| [id, "fixed", "order", "same", "", id, turn];
    let start = |ids: &[&'static str]| -> Vec<&'static str> {
        let count = if ids.len() == 1 { "1" } else { "2" };
        let runs = ids.iter().flat_map(|id| of(id));
        ["ann", count].into_iter().chain(runs).collect()
    };
    assert_eq!(slot.answer(&script::START, &start(&["one"])), ok(""));
    let before = slot.field("one", "number");
    let answer = slot.answer(&script::START, &start(&["two", "one"]));
    assert!(answer.contains("array([array([]), array(["), "{answer}");
    assert_eq!(slot.field("one", "number"), before);
    assert!(slot.field("two", "number") > before);
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
    for script in WRITERS {
        let turn = Turn::new("run", "1");
        assert_eq!(slot.write(script, "ann", &[turn]), refused("generation"));
    }
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
    assert_eq!(slot.append("ann", "run", "1"), ok(""));
    // Another replication id, seen by this node, which has no name: it was restarted.
    let () = slot
        .connection
        .hset_multiple(&generation, &seen_by(""))
        .unwrap();
    assert_eq!(slot.append("ann", "run", "2"), refused("generation"));
}

#[test]
fn worker_that_was_freed_joins_no_more() {
    let mut slot = Slot::new();
    slot.join("ann");
    slot.start("ann", "run");
    let freed = slot.answer(&script::FREE, &["ann", "500", "0"]);
    assert_eq!(freed, ok(", int(1), int(0), int(0)"));
    assert_eq!(slot.answer(&script::JOIN, &["ann"]), refused("dead"));
    assert_eq!(slot.append("ann", "run", "1"), refused("dead"));
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
        "ann", "1", "changed", "28", "drain", "run", "1", "1", "1", turn,
    ];
    let update = ["1", "", "", "", "", ""];
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
    run(&script::APPEND, &["ann", "1", "run", "1", "1", "2", turn]);
    let drain = ["drain", "run", "1", "1", "3", turn];
    let all: Vec<&str> = ["ann", "1", "ended"]
        .into_iter()
        .chain(drain)
        .chain(update)
        .collect();
    run(&script::SETTLE, &all);
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
