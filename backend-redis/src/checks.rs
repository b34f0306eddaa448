//! What a server must be and how it must be set for a store to be opened on it.
//!
//! Pure: decided on what the server said. The facts are read in `opening`.

use std::collections::BTreeMap;

use crate::config::{Checks, Durability, RedisConfig};
use crate::error::Failure;

/// Is how many slots a cluster has.
const SLOTS: u32 = 16_384;

/// Is the oldest server that works here.
const VERSION_MIN: (u32, u32) = (7, 0);

/// Is what a node says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) version: String,
    pub(crate) is_replica: bool,
    pub(crate) is_loading: bool,
    pub(crate) is_cluster: bool,
    /// How many slots somebody serves, in a cluster.
    pub(crate) slots_served: u32,
    pub(crate) replicas: u16,
    /// Unknown where `CONFIG GET` is not permitted and `INFO` does not say.
    pub(crate) appendonly: Option<bool>,
    pub(crate) appendfsync: Option<String>,
    pub(crate) maxmemory_policy: Option<String>,
}

impl Facts {
    /// Reads the texts of `INFO` and `CLUSTER INFO`, and what `CONFIG GET` returned.
    pub(crate) fn read(info: &str, config: &BTreeMap<String, String>, cluster: &str) -> Self {
        let info = lines(info);
        let cluster = lines(cluster);
        let said = |name: &str| info.get(name).copied();
        let set = |name: &str| config.get(name).cloned();
        let number = |text: Option<&&str>| text.and_then(|text| text.parse().ok());
        let is_ok = cluster.get("cluster_state") == Some(&"ok");
        let served = number(cluster.get("cluster_slots_ok")).unwrap_or(0);
        Self {
            version: said("redis_version").unwrap_or_default().to_owned(),
            is_replica: said("role") == Some("slave"),
            is_loading: said("loading") == Some("1"),
            is_cluster: said("cluster_enabled") == Some("1"),
            slots_served: if is_ok { SLOTS } else { served.min(SLOTS - 1) },
            replicas: said("connected_slaves")
                .and_then(|count| count.parse().ok())
                .unwrap_or(0),
            appendonly: set("appendonly")
                .map(|value| value == "yes")
                .or_else(|| said("aof_enabled").map(|value| value == "1")),
            appendfsync: set("appendfsync"),
            maxmemory_policy: set("maxmemory-policy")
                .or_else(|| said("maxmemory_policy").map(str::to_owned)),
        }
    }
}

fn lines(text: &str) -> BTreeMap<&str, &str> {
    text.lines()
        .filter_map(|line| line.trim().split_once(':'))
        .collect()
}

/// Says why no store is opened on such a node, if so.
pub(crate) fn refusal(facts: &Facts, config: &RedisConfig) -> Option<Failure> {
    of_server(facts, config).or_else(|| {
        let is_checked = config.checks == Checks::On;
        let of_settings = || of_policy(facts, config).or_else(|| of_durability(facts, config));
        is_checked.then(of_settings).flatten()
    })
}

/// Says why the server cannot serve, whatever its settings are.
pub(crate) fn of_server(facts: &Facts, config: &RedisConfig) -> Option<Failure> {
    let mut numbers = facts
        .version
        .split('.')
        .map(|number| number.parse().unwrap_or(0));
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if version < VERSION_MIN {
        let found = facts.version.clone();
        return Some(Failure::OldServer { found });
    }
    if facts.is_loading {
        return Some(Failure::NotReady("it is loading its records".to_owned()));
    }
    if facts.is_replica {
        let place = config.place();
        return Some(Failure::Replica { place });
    }
    if facts.is_cluster && facts.slots_served < SLOTS {
        let missing = SLOTS - facts.slots_served;
        return Some(Failure::Coverage { missing });
    }
    let database = config.database();
    (facts.is_cluster && database != 0).then_some(Failure::Database { database })
}

fn of_policy(facts: &Facts, config: &RedisConfig) -> Option<Failure> {
    match facts.maxmemory_policy.as_deref() {
        Some("noeviction") => None,
        Some(found) => Some(Failure::Evicts {
            found: found.to_owned(),
        }),
        None => Some(unknown("maxmemory-policy", config)),
    }
}

fn of_durability(facts: &Facts, config: &RedisConfig) -> Option<Failure> {
    match config.durability {
        Durability::None => None,
        Durability::Local => of_file(facts, config, &["always"]),
        Durability::Fast => of_file(facts, config, &["everysec", "always"]),
        Durability::Replicated(wanted) => {
            of_file(facts, config, &["everysec", "always", "no"]).or({
                let found = facts.replicas;
                if found < wanted {
                    Some(Failure::FewReplicas { wanted, found })
                } else {
                    None
                }
            })
        }
    }
}

/// Says why the append-only file does not hold what the durability promises; the first of `allowed` is the cure.
fn of_file(facts: &Facts, config: &RedisConfig, allowed: &[&str]) -> Option<Failure> {
    let Some(appendonly) = facts.appendonly else {
        return Some(unknown("appendonly", config));
    };
    let is_allowed = |value: &str| allowed.contains(&value);
    let needs_fsync = match facts.appendfsync.as_deref() {
        Some(value) => !is_allowed(value),
        None if allowed.contains(&"no") => false,
        None if appendonly => return Some(unknown("appendfsync", config)),
        None => true,
    };
    if appendonly && !needs_fsync {
        return None;
    }
    let mut cures = Vec::new();
    if !appendonly {
        cures.push("`CONFIG SET appendonly yes`".to_owned());
    }
    if needs_fsync {
        let value = allowed.first().copied().unwrap_or_default();
        cures.push(format!("`CONFIG SET appendfsync {value}`"));
    }
    Some(Failure::NotDurable {
        harm: harm(facts, appendonly),
        cure: cures.join(" and "),
        hint: hint(facts, config, appendonly),
    })
}

fn harm(facts: &Facts, appendonly: bool) -> String {
    if !appendonly {
        return "the server keeps no append-only file, and loses what it acknowledged when it ends"
            .to_owned();
    }
    let value = facts.appendfsync.as_deref().unwrap_or_default();
    format!("`appendfsync` is `{value}`, so that a power cut loses what was acknowledged")
}

fn hint(facts: &Facts, config: &RedisConfig, appendonly: bool) -> String {
    let is_everysec = appendonly && facts.appendfsync.as_deref() == Some("everysec");
    if is_everysec && config.durability == Durability::Local {
        return ", or open with `?durability=fast` if the last second may be lost".to_owned();
    }
    ", or open with `?durability=none` if all may be lost".to_owned()
}

fn unknown(setting: &'static str, config: &RedisConfig) -> Failure {
    Failure::Unknown {
        setting,
        durability: config.durability,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sound() -> Facts {
        Facts {
            version: "7.0.15".to_owned(),
            replicas: 1,
            appendonly: Some(true),
            appendfsync: Some("always".to_owned()),
            maxmemory_policy: Some("noeviction".to_owned()),
            ..Facts::default()
        }
    }

    fn refused(facts: &Facts, options: &str) -> Option<String> {
        let config = RedisConfig::from_url(&format!("redis://host/{options}")).unwrap();
        refusal(facts, &config).map(|failure| failure.to_string())
    }

    #[test]
    fn stock_server_is_refused_with_the_two_lines_that_cure_it_and_the_way_round() {
        let stock = Facts {
            appendonly: Some(false),
            appendfsync: Some("everysec".to_owned()),
            ..sound()
        };
        let told = refused(&stock, "").unwrap();
        for part in [
            "CONFIG SET appendonly yes",
            "CONFIG SET appendfsync always",
            "?durability=none",
        ] {
            assert!(told.contains(part), "{told}");
        }
        assert_eq!(refused(&stock, "?durability=none"), None);
        assert_eq!(refused(&stock, "?checks=off"), None);
    }

    #[test]
    fn durability_is_given_by_no_weaker_settings() {
        let rank = |fsync: &str| {
            ["no", "everysec", "always"]
                .iter()
                .position(|one| *one == fsync)
        };
        for appendonly in [false, true] {
            for fsync in ["no", "everysec", "always"] {
                let facts = Facts {
                    appendonly: Some(appendonly),
                    appendfsync: Some(fsync.to_owned()),
                    ..sound()
                };
                for (durability, least) in [("local", 2), ("fast", 1), ("replicated:1", 0)] {
                    let is_given = appendonly && rank(fsync).unwrap() >= least;
                    let told = refused(&facts, &format!("?durability={durability}"));
                    assert_eq!(told.is_none(), is_given, "{durability} {facts:?}: {told:?}");
                }
            }
        }
    }

    #[test]
    fn every_second_is_told_of_the_mode_that_it_gives() {
        let facts = Facts {
            appendfsync: Some("everysec".to_owned()),
            ..sound()
        };
        let told = refused(&facts, "").unwrap();
        assert!(
            told.contains("?durability=fast") && !told.contains("appendonly yes"),
            "{told}"
        );
    }

    #[test]
    fn server_that_cannot_serve_is_refused_whatever_is_checked() {
        let with = |change: fn(&mut Facts)| {
            let mut facts = sound();
            change(&mut facts);
            facts
        };
        for (facts, why) in [
            (
                with(|facts| facts.version = "6.2.14".to_owned()),
                "6.2.14 is too old",
            ),
            (with(|facts| facts.version = String::new()), "too old"),
            (with(|facts| facts.is_replica = true), "read-only replica"),
            (with(|facts| facts.is_loading = true), "loading"),
            (
                with(|facts| (facts.is_cluster, facts.slots_served) = (true, 16_000)),
                "384 of the 16384",
            ),
        ] {
            for options in ["", "?checks=off", "?durability=none"] {
                let told = refused(&facts, options).unwrap();
                assert!(told.contains(why), "{told}");
            }
        }
        let cluster = with(|facts| (facts.is_cluster, facts.slots_served) = (true, 16_384));
        assert!(refused(&cluster, "2").unwrap().contains("database 0"));
        assert_eq!(refused(&cluster, ""), None);
        assert_eq!(
            refused(&with(|facts| facts.version = "8.2.1".to_owned()), ""),
            None
        );
    }

    #[test]
    fn server_that_evicts_is_refused_also_when_nothing_is_durable() {
        for policy in ["allkeys-lru", "volatile-ttl"] {
            let facts = Facts {
                maxmemory_policy: Some(policy.to_owned()),
                ..sound()
            };
            let told = refused(&facts, "?durability=none").unwrap();
            assert!(
                told.contains("CONFIG SET maxmemory-policy noeviction"),
                "{told}"
            );
        }
    }

    #[test]
    fn replicas_are_counted() {
        let told = refused(&sound(), "?durability=replicated:2").unwrap();
        assert!(told.contains("needs 2 replicas; 1 are connected"), "{told}");
        assert_eq!(refused(&sound(), "?durability=replicated:1"), None);
    }

    #[test]
    fn facts_are_read_from_what_the_server_says() {
        let info = "# Server\r\nredis_version:7.0.15\r\nloading:0\r\nrole:slave\r\nconnected_slaves:2\r\n\
                    aof_enabled:1\r\nmaxmemory_policy:noeviction\r\ncluster_enabled:1\r\n";
        let cluster = "cluster_state:fail\r\ncluster_slots_ok:16000\r\n";
        let facts = Facts::read(info, &BTreeMap::new(), cluster);
        assert_eq!(facts.version, "7.0.15");
        assert!(facts.is_replica && facts.is_cluster && !facts.is_loading);
        assert_eq!((facts.replicas, facts.slots_served), (2, 16_000));
        assert_eq!((facts.appendonly, facts.appendfsync), (Some(true), None));
        assert_eq!(facts.maxmemory_policy.as_deref(), Some("noeviction"));
        let set = [("appendonly", "no"), ("appendfsync", "always")];
        let set = set.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let facts = Facts::read(info, &BTreeMap::from(set), "cluster_state:ok");
        assert_eq!(
            (facts.appendonly, facts.slots_served),
            (Some(false), 16_384)
        );
        assert_eq!(facts.appendfsync.as_deref(), Some("always"));
    }

    #[test]
    fn what_cannot_be_known_is_refused_with_the_way_round() {
        let facts = Facts {
            appendfsync: None,
            ..sound()
        };
        let told = refused(&facts, "").unwrap();
        assert!(
            told.contains("`appendfsync`") && told.contains("?checks=off"),
            "{told}"
        );
    }
}
