//! Hash maps for what a process keeps in memory.
//!
//! Invariants: seeded anew in each process, so that nobody who chooses ids can choose their places; the order of a map is
//! never shown. Faster than the standard library's hash for short keys.

use std::collections::{HashMap, HashSet};

use foldhash::fast::RandomState;

/// Is a hash map.
pub(crate) type Map<K, V> = HashMap<K, V, RandomState>;

/// Is a hash set.
pub(crate) type Set<K> = HashSet<K, RandomState>;
