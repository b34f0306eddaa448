//! Encoded values, and the seam for compression and encryption.
//!
//! Invariants: a plain payload is JSON text; one that a codec made starts with [`CODED`], which JSON text never does.
//! Payloads are never printed: `Debug` shows their length.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};
use crate::id::WorkflowId;

/// Is the first byte of a payload that a [`Codec`] made.
pub const CODED: u8 = 0x01;

/// Holds an encoded value.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Payload(Bytes);

impl Payload {
    /// Encodes `value` as JSON.
    ///
    /// # Errors
    /// `InvalidInput` when the value has no JSON form, such as a map whose keys are not strings.
    pub fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Self> {
        match serde_json::to_vec(value) {
            Ok(bytes) => Ok(Self(Bytes::from(bytes))),
            Err(cause) => Err(Error::new(
                ErrorKind::InvalidInput,
                format!("`{}` cannot be stored as JSON", std::any::type_name::<T>()),
            )
            .caused_by(cause)),
        }
    }

    /// Decodes the value.
    ///
    /// # Errors
    /// `InvalidInput` when the bytes are not the JSON form of a `T`.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_slice(&self.0).map_err(|cause| {
            Error::new(
                ErrorKind::InvalidInput,
                format!("a stored value is not a `{}`", std::any::type_name::<T>()),
            )
            .caused_by(cause)
        })
    }

    /// Decodes the value, and names it when it is of another type.
    ///
    /// # Errors
    /// As [`Payload::decode`]; the message says that it is the `kind` of `key`.
    pub fn decode_as<T: DeserializeOwned>(&self, kind: &str, key: &str) -> Result<T> {
        serde_json::from_slice(&self.0).map_err(|cause| {
            let name = std::any::type_name::<T>();
            let message = format!("the {kind} of `{key}` is not a `{name}`");
            Error::new(ErrorKind::InvalidInput, message).caused_by(cause)
        })
    }

    /// Takes bytes as they were stored.
    #[must_use]
    pub fn from_bytes(bytes: impl Into<Bytes>) -> Self {
        Self(bytes.into())
    }

    /// Returns the stored bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Returns the length in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Tells whether it has no bytes at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Payload({} bytes)", self.0.len())
    }
}

impl Serialize for Payload {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if !serializer.is_human_readable() {
            return serializer.serialize_bytes(&self.0);
        }
        match serde_json::from_slice::<serde_json::Value>(&self.0) {
            Ok(value) => value.serialize(serializer),
            Err(_) => serializer.collect_str(&format_args!("<{} bytes>", self.0.len())),
        }
    }
}

impl<'de> Deserialize<'de> for Payload {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            let value = serde_json::Value::deserialize(deserializer)?;
            return Self::encode(&value).map_err(serde::de::Error::custom);
        }
        Bytes::deserialize(deserializer).map(Self)
    }
}

/// Tells a codec what a payload belongs to, so that one cannot be put in another's place.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Binding<'a> {
    /// The run that the payload was made for.
    pub run: &'a WorkflowId,
    /// What it is: `arguments`, `result`, `signal` or `data`.
    pub kind: &'a str,
    /// Which of that kind: an operation, a signal's name, a data key.
    pub key: &'a str,
}

/// Changes payloads on their way to the store and back: compression, encryption.
pub trait Codec: Send + Sync + fmt::Debug {
    /// Returns what is stored; its first byte is [`CODED`].
    ///
    /// # Errors
    /// When the payload cannot be encoded.
    fn encode(&self, payload: Payload, binding: &Binding<'_>) -> Result<Payload>;

    /// Returns what [`Codec::encode`] was given.
    ///
    /// # Errors
    /// When the payload was not made by this codec, or not for this binding.
    fn decode(&self, payload: Payload, binding: &Binding<'_>) -> Result<Payload>;
}

/// Applies codecs in order when storing and in reverse when reading; empty by default.
#[derive(Debug, Clone, Default)]
pub struct CodecChain(Vec<Arc<dyn Codec>>);

impl CodecChain {
    /// Adds a codec that sees payloads after those before it.
    pub fn push(&mut self, codec: Arc<dyn Codec>) {
        self.0.push(codec);
    }

    /// Tells whether payloads pass unchanged.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Encodes for storing.
    ///
    /// # Errors
    /// When a codec fails.
    pub fn encode(&self, payload: Payload, binding: &Binding<'_>) -> Result<Payload> {
        self.0
            .iter()
            .try_fold(payload, |payload, codec| codec.encode(payload, binding))
    }

    /// Decodes what was stored; a plain payload passes as it is.
    ///
    /// # Errors
    /// `Corrupt` when the payload is coded and no codec is configured, or a codec fails.
    pub fn decode(&self, payload: Payload, binding: &Binding<'_>) -> Result<Payload> {
        let mut payload = payload;
        for codec in self.0.iter().rev() {
            if payload.as_bytes().first() == Some(&CODED) {
                payload = codec.decode(payload, binding)?;
            }
        }
        if payload.as_bytes().first() == Some(&CODED) {
            return Err(Error::new(
                ErrorKind::Corrupt,
                format!(
                    "{} `{}` of run `{}` is encoded and no configured codec reads it",
                    binding.kind, binding.key, binding.run
                ),
            ));
        }
        Ok(payload)
    }
}

/// Writes JSON with sorted keys, so that equal values give equal bytes.
///
/// # Errors
/// `Corrupt` when the payload is not JSON.
pub fn canonical_json(payload: &Payload) -> Result<Vec<u8>> {
    let value: serde_json::Value = serde_json::from_slice(payload.as_bytes()).map_err(|cause| {
        Error::new(ErrorKind::Corrupt, "a payload is not JSON").caused_by(cause)
    })?;
    let mut out = Vec::with_capacity(payload.len());
    write_canonical(&value, &mut out);
    Ok(out)
}

fn write_canonical(value: &serde_json::Value, out: &mut Vec<u8>) {
    use serde_json::Value;
    match value {
        Value::Array(items) => {
            out.push(b'[');
            for item in items {
                write_canonical(item, out);
                out.push(b',');
            }
            out.push(b']');
        }
        Value::Object(fields) => {
            let mut sorted: Vec<_> = fields.iter().collect();
            sorted.sort_by_key(|(key, _)| *key);
            out.push(b'{');
            for (key, value) in sorted {
                write_canonical(&Value::String(key.clone()), out);
                out.push(b':');
                write_canonical(value, out);
                out.push(b',');
            }
            out.push(b'}');
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            out.extend_from_slice(value.to_string().as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_have_equal_canonical_json() {
        let one = Payload::from_bytes(r#"{"b": [1, {"y":2,"x":1}], "a": null}"#.as_bytes());
        let other = Payload::from_bytes(r#"{"a":null,"b":[1,{"x":1,"y":2}]}"#.as_bytes());
        assert_eq!(
            canonical_json(&one).unwrap(),
            canonical_json(&other).unwrap()
        );
    }

    #[test]
    fn debug_never_shows_the_content() {
        let secret = Payload::encode("canary").unwrap();
        assert!(!format!("{secret:?}").contains("canary"));
    }

    #[test]
    fn coded_payload_without_its_codec_is_an_error() {
        let run = WorkflowId::from_stored("r");
        let binding = Binding {
            run: &run,
            kind: "result",
            key: "task:charge#1",
        };
        let error = CodecChain::default()
            .decode(Payload::from_bytes(vec![CODED, 7]), &binding)
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
    }
}
