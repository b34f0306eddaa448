//! Bad input on every entry: a typed error that names the thing and the cure, or a visible `Blocked`; and nothing lost.

mod code;
mod file;
mod names;
mod payloads;
mod records;
mod runs;
mod url;
