//! The stored form of a turn.
//!
//! A record is a format byte and MessagePack. Format 2 is the time of the first event, and for each event how long after
//! the one before it came, and its kind, with numbers for variants. Format 1, which is only read, is a list of events
//! with names. Invariants: fields are only ever added, at the end and with a default; a reader refuses a format that it
//! does not know.

use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::compact;
use super::{Event, EventKind};
use crate::clock::Timestamp;
use crate::error::{Error, ErrorKind, Result};
use crate::options::TaskOptions;

/// Is the first byte of every stored record that this version writes.
pub const RECORD_FORMAT: u8 = 2;

/// Is the first byte of the records of earlier versions.
const RECORD_FORMAT_1: u8 = 1;

/// Is about how many bytes an event takes.
const EVENT_BYTES: usize = 64;

/// Encodes the events of a turn.
///
/// # Errors
/// `Bug` when an event cannot be encoded.
pub fn encode_record(events: &[Event]) -> Result<Vec<u8>> {
    let mut record = Vec::with_capacity(EVENT_BYTES * (events.len() + 1));
    record.push(RECORD_FORMAT);
    compact::write(&mut record, &Turn(events)).map_err(|cause| {
        Error::new(ErrorKind::Bug, "an event has no stored form").caused_by(cause)
    })?;
    Ok(record)
}

/// Writes the time of the first event, and of each event how long after the one before it came, and its kind.
struct Turn<'a>(&'a [Event]);

impl Serialize for Turn<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let first = self.0.first().map(|event| event.at).unwrap_or_default();
        (first, Entries(self.0, first)).serialize(serializer)
    }
}

struct Entries<'a>(&'a [Event], Timestamp);

impl Serialize for Entries<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let mut before = self.1.as_micros();
        serializer.collect_seq(self.0.iter().map(|event| {
            let at = event.at.as_micros();
            let after = at.wrapping_sub(std::mem::replace(&mut before, at));
            (after, &event.kind)
        }))
    }
}

/// Decodes the events of a stored turn.
///
/// # Errors
/// `NewerVersion` when a newer version wrote the record, `Corrupt` when it cannot be read.
pub fn decode_record(record: &[u8]) -> Result<Vec<Event>> {
    match record.split_first() {
        Some((&RECORD_FORMAT, events)) => read(events).map(at_their_times),
        Some((&RECORD_FORMAT_1, events)) => read(events),
        Some((&newer, _)) if newer > RECORD_FORMAT => Err(Error::new(
            ErrorKind::NewerVersion,
            format!("a stored turn has format {newer}; this version reads up to {RECORD_FORMAT}"),
        )),
        _ => Err(Error::new(
            ErrorKind::Corrupt,
            "a stored turn has no format byte",
        )),
    }
}

fn read<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T> {
    rmp_serde::from_slice(bytes).map_err(|cause| {
        Error::new(ErrorKind::Corrupt, "a stored turn cannot be read").caused_by(cause)
    })
}

fn at_their_times((first, entries): (Timestamp, Vec<(i64, EventKind)>)) -> Vec<Event> {
    let mut at = first.as_micros();
    let event = |(after, kind)| {
        at = at.wrapping_add(after);
        Event {
            at: Timestamp::from_micros(at),
            kind,
        }
    };
    entries.into_iter().map(event).collect()
}

/// Stores options as nothing where they are the defaults.
pub(super) mod options {
    use super::*;

    pub(in super::super) fn serialize<S: Serializer>(
        options: &TaskOptions,
        serializer: S,
    ) -> std::result::Result<S::Ok, S::Error> {
        if serializer.is_human_readable() || *options != TaskOptions::default() {
            return options.serialize(serializer);
        }
        serializer.serialize_none()
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> std::result::Result<Arc<TaskOptions>, D::Error> {
        let options = Option::<Arc<TaskOptions>>::deserialize(deserializer)?;
        Ok(options.unwrap_or_default())
    }
}

/// Stores a seed as bytes; reads it as a list of numbers too.
pub(super) mod seed {
    use super::*;
    use serde::de::{Error as _, SeqAccess, Visitor};

    type Seed = [u8; 32];

    pub(in super::super) fn serialize<S: Serializer>(
        seed: &Seed,
        serializer: S,
    ) -> std::result::Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            return seed.serialize(serializer);
        }
        serializer.serialize_bytes(seed)
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> std::result::Result<Seed, D::Error> {
        if deserializer.is_human_readable() {
            return Seed::deserialize(deserializer);
        }
        deserializer.deserialize_any(Bytes)
    }

    struct Bytes;

    impl<'de> Visitor<'de> for Bytes {
        type Value = Seed;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("32 bytes")
        }

        fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> std::result::Result<Seed, E> {
            bytes
                .try_into()
                .map_err(|_| E::invalid_length(bytes.len(), &self))
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> std::result::Result<Seed, A::Error> {
            let mut seed = Seed::default();
            for (at, byte) in seed.iter_mut().enumerate() {
                let item = items.next_element()?;
                *byte = item.ok_or_else(|| A::Error::invalid_length(at, &self))?;
            }
            Ok(seed)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{OperationKey, OperationKind};

    fn fired() -> Event {
        Event {
            at: Timestamp::from_micros(5),
            kind: EventKind::TimerFired {
                operation: OperationKey::new(OperationKind::Timer, "sleep", 2),
            },
        }
    }

    #[test]
    fn record_reads_what_it_wrote() {
        let record = encode_record(&[fired()]).unwrap();
        assert_eq!(decode_record(&record).unwrap(), [fired()]);
    }

    #[test]
    fn record_of_a_newer_format_is_named_as_such() {
        let mut record = encode_record(&[fired()]).unwrap();
        record[0] = RECORD_FORMAT + 1;
        assert_eq!(
            decode_record(&record).unwrap_err().kind(),
            ErrorKind::NewerVersion
        );
    }

    #[test]
    fn damaged_record_is_corrupt() {
        let record = encode_record(&[fired()]).unwrap();
        for damaged in [&record[..record.len() - 1], &[], &[0]] {
            assert_eq!(
                decode_record(damaged).unwrap_err().kind(),
                ErrorKind::Corrupt
            );
        }
    }
}
