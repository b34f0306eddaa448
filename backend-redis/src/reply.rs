//! What scripts answer, as the contract calls it.
//!
//! Invariants: nothing is guessed: an answer of another shape and a stored text that is not known are errors.

use redis::Value;

use crate::error::{Result, unreadable};
use crate::pack;

/// Reads a list, item by item.
#[derive(Debug)]
pub(crate) struct Items(std::vec::IntoIter<Value>);

impl Items {
    pub(crate) fn of(value: Value) -> Result<Self> {
        match value {
            Value::Array(items) => Ok(Self(items.into_iter())),
            Value::Nil => Ok(Self(Vec::new().into_iter())),
            other => Err(unreadable("answer", format!("{other:?}"))),
        }
    }

    /// Returns the next item.
    pub(crate) fn value(&mut self) -> Result<Value> {
        self.0
            .next()
            .ok_or_else(|| unreadable("answer", "it ends too early"))
    }

    /// Returns the next item, if there is one.
    pub(crate) fn optional(&mut self) -> Option<Value> {
        self.0.next()
    }

    pub(crate) fn list(&mut self) -> Result<Self> {
        Self::of(self.value()?)
    }

    pub(crate) fn bytes(&mut self) -> Result<Vec<u8>> {
        bytes(self.value()?)
    }

    pub(crate) fn text(&mut self) -> Result<String> {
        text(self.value()?)
    }

    pub(crate) fn number<T: std::str::FromStr>(&mut self, what: &'static str) -> Result<T> {
        pack::number(&self.bytes()?, what)
    }

    /// Returns how many items are left.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Reads all that is left.
    pub(crate) fn each<T>(self, read: impl FnMut(Value) -> Result<T>) -> Result<Vec<T>> {
        self.0.map(read).collect()
    }
}

/// Reads a text of bytes; a number is read as its digits.
pub(crate) fn bytes(value: Value) -> Result<Vec<u8>> {
    match value {
        Value::BulkString(bytes) => Ok(bytes),
        Value::SimpleString(text) => Ok(text.into_bytes()),
        Value::Int(number) => Ok(number.to_string().into_bytes()),
        other => Err(unreadable("answer", format!("{other:?}"))),
    }
}

/// Reads a text.
pub(crate) fn text(value: Value) -> Result<String> {
    String::from_utf8(bytes(value)?).map_err(|_| unreadable("text", "is not UTF-8"))
}

/// Holds the fields of a hash.
#[derive(Debug, Default)]
pub(crate) struct Fields(Vec<(Vec<u8>, Vec<u8>)>);

impl Fields {
    pub(crate) fn of(value: Value) -> Result<Self> {
        let mut items = Items::of(value)?;
        let mut fields = Vec::with_capacity(items.len() / 2);
        while items.len() > 0 {
            fields.push((items.bytes()?, items.bytes()?));
        }
        Ok(Self(fields))
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn into_pairs(self) -> Vec<(Vec<u8>, Vec<u8>)> {
        self.0
    }

    /// Returns a field, which is there.
    pub(crate) fn bytes(&self, name: &'static str) -> Result<&[u8]> {
        let found = self.0.iter().find(|(field, _)| field == name.as_bytes());
        let (_, value) = found.ok_or_else(|| unreadable("record without the field", name))?;
        Ok(value)
    }

    pub(crate) fn text(&self, name: &'static str) -> Result<&str> {
        pack::text(self.bytes(name)?)
    }

    /// Returns a field, or nothing when it is empty.
    pub(crate) fn optional(&self, name: &'static str) -> Result<Option<&str>> {
        Ok(Some(self.text(name)?).filter(|text| !text.is_empty()))
    }

    pub(crate) fn number<T: std::str::FromStr>(&self, name: &'static str) -> Result<T> {
        pack::number(self.bytes(name)?, name)
    }
}
