//! The scripts: one per operation, each a file in `lua/` whose head says what it is for.
//!
//! Invariants: a script touches one slot, checks all before it writes anything, and is safe to ask again. The texts are
//! constant; all data goes in by arguments.

use std::sync::OnceLock;

use redis::{Arg, Cmd};

/// Says what a script does, and how the server treats it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    /// It only reads.
    Reads,
    /// It writes; refused when the server has no memory left.
    Writes,
}

/// Is a script with the name of its file.
#[derive(Debug)]
pub(crate) struct Script {
    pub(crate) name: &'static str,
    pub(crate) text: &'static str,
    pub(crate) effect: Effect,
    hash: OnceLock<String>,
}

impl Script {
    /// Returns the SHA-1 that the server knows the script by.
    pub(crate) fn hash(&self) -> &str {
        self.hash
            .get_or_init(|| redis::Script::new(self.text).get_hash().to_owned())
    }

    /// Returns a command that names the script by its hash as one that brings its text along.
    pub(crate) fn brought_by(&self, command: &Cmd) -> Cmd {
        let mut whole = Cmd::new();
        whole.arg("EVAL").arg(self.text);
        for argument in command.args_iter().skip(2) {
            if let Arg::Simple(argument) = argument {
                whole.arg(argument);
            }
        }
        whole
    }
}

macro_rules! script {
    ($name:ident, $file:literal, $effect:ident, $flags:literal, [$($part:literal),*]) => {
        pub(crate) static $name: Script = Script {
            name: $file,
            text: concat!(
                "#!lua ",
                $flags,
                "\n",
                include_str!("lua/prelude.lua"),
                $(include_str!(concat!("lua/", $part, ".lua")),)*
                include_str!(concat!("lua/", $file, ".lua")),
            ),
            effect: Effect::$effect,
            hash: OnceLock::new(),
        };
    };
}

macro_rules! scripts {
    ($($name:ident $file:literal $effect:ident $flags:literal [$($part:literal)*];)*) => {
        $(script!($name, $file, $effect, $flags, [$($part),*]);)*

        /// Lists all scripts.
        #[cfg(test)]
        pub(crate) static ALL: &[&Script] = &[$(&$name),*];
    };
}

scripts! {
    ACKNOWLEDGE "acknowledge" Writes "flags=allow-oom" [];
    ACQUIRE "acquire" Writes "" ["rows" "member" "loaded"];
    APPEND "append" Writes "" ["member" "turns"];
    ARRIVE "arrive" Writes "" ["rows" "inbox"];
    BEAT "beat" Reads "flags=no-writes" ["rows" "queue"];
    BURY "bury" Writes "flags=allow-oom" [];
    CLAIM "claim" Writes "" ["rows" "member" "queue"];
    CLAIMED "claimed" Reads "flags=no-writes" [];
    COMMIT "commit" Writes "" ["rows" "member" "turns" "queue" "updates" "outbox" "runs"];
    DECLARE "declare" Writes "flags=allow-oom" [];
    DUE "due" Reads "flags=no-writes" ["rows"];
    FREE "free" Writes "flags=allow-oom" ["rows" "member" "queue" "outbox" "inbox"];
    INBOX_OF "inbox_of" Reads "flags=no-writes" ["rows"];
    JOIN "join" Writes "" ["member"];
    LEASE "lease" Writes "flags=allow-oom" [];
    LIST "list" Reads "flags=no-writes" [];
    OPEN "open" Writes "flags=allow-oom" [];
    OWNED "owned" Reads "flags=no-writes" [];
    READY "ready" Writes "" ["rows" "queue"];
    RECEIVE "receive" Writes "" ["rows" "member" "outbox" "runs" "inbox"];
    REGISTER "register" Writes "" [];
    RELOAD "reload" Reads "flags=no-writes" ["rows" "loaded"];
    REPORT "report" Writes "" ["rows" "queue" "inbox"];
    SENT "sent" Reads "flags=no-writes" [];
    SETTLE "settle" Writes "" ["rows" "member" "turns" "queue" "updates"];
    START "start" Writes "" ["rows" "member" "runs"];
    STATES "states" Reads "flags=no-writes" ["rows"];
}
