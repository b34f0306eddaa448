//! Writing values as MessagePack with numbers for the variants of Longhaul's own enums.
//!
//! `rmp_serde` reads what this writes, and what it wrote itself: structs are arrays, so that fields can be added at the
//! end; variants are known by their number as by their name. Invariants: only enums whose variants are never moved are
//! numbered ([`NUMBERED`]); those that may get others in between, such as kinds of errors, keep their names.

use std::fmt::Display;

use rmp::encode;
use serde::ser::{self, Serialize};

/// Names the enums whose variants are written as numbers: their variants are only ever added at the end.
const NUMBERED: [&str; 7] = [
    "ClosePolicy",
    "EventKind",
    "OperationKind",
    "PausedTimers",
    "Placement",
    "Result",
    "RunKind",
];

/// Appends the stored form of a value.
///
/// # Errors
/// When the value has no such form: a sequence or map of unknown length, or a number of more than 64 bits.
pub(super) fn write<T: Serialize + ?Sized>(into: &mut Vec<u8>, value: &T) -> Result<(), Failure> {
    value.serialize(&mut Compact { into })
}

/// Says why a value cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Failure(String);

impl ser::Error for Failure {
    fn custom<T: Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

impl<E: encode::RmpWriteErr> From<encode::ValueWriteError<E>> for Failure {
    fn from(cause: encode::ValueWriteError<E>) -> Self {
        Self(cause.to_string())
    }
}

impl From<std::io::Error> for Failure {
    fn from(cause: std::io::Error) -> Self {
        Self(cause.to_string())
    }
}

struct Compact<'a> {
    into: &'a mut Vec<u8>,
}

type Written = Result<(), Failure>;

impl Compact<'_> {
    fn array(&mut self, length: usize) -> Written {
        let length = u32::try_from(length).map_err(<Failure as ser::Error>::custom)?;
        encode::write_array_len(self.into, length)?;
        Ok(())
    }

    fn map(&mut self, length: usize) -> Written {
        let length = u32::try_from(length).map_err(<Failure as ser::Error>::custom)?;
        encode::write_map_len(self.into, length)?;
        Ok(())
    }

    fn variant(&mut self, of: &str, number: u32, name: &str) -> Written {
        if NUMBERED.contains(&of) {
            encode::write_uint(self.into, u64::from(number))?;
        } else {
            encode::write_str(self.into, name)?;
        }
        Ok(())
    }

    fn signed(&mut self, number: i64) -> Written {
        encode::write_sint(self.into, number)?;
        Ok(())
    }

    fn unsigned(&mut self, number: u64) -> Written {
        encode::write_uint(self.into, number)?;
        Ok(())
    }
}

impl<'w> ser::Serializer for &mut Compact<'w> {
    type Ok = ();
    type Error = Failure;
    type SerializeSeq = Self;
    type SerializeTuple = Self;
    type SerializeTupleStruct = Self;
    type SerializeTupleVariant = Self;
    type SerializeMap = Self;
    type SerializeStruct = Self;
    type SerializeStructVariant = Self;

    fn is_human_readable(&self) -> bool {
        false
    }

    fn serialize_bool(self, value: bool) -> Written {
        encode::write_bool(self.into, value)?;
        Ok(())
    }

    fn serialize_i8(self, value: i8) -> Written {
        self.signed(i64::from(value))
    }

    fn serialize_i16(self, value: i16) -> Written {
        self.signed(i64::from(value))
    }

    fn serialize_i32(self, value: i32) -> Written {
        self.signed(i64::from(value))
    }

    fn serialize_i64(self, value: i64) -> Written {
        self.signed(value)
    }

    fn serialize_u8(self, value: u8) -> Written {
        self.unsigned(u64::from(value))
    }

    fn serialize_u16(self, value: u16) -> Written {
        self.unsigned(u64::from(value))
    }

    fn serialize_u32(self, value: u32) -> Written {
        self.unsigned(u64::from(value))
    }

    fn serialize_u64(self, value: u64) -> Written {
        self.unsigned(value)
    }

    fn serialize_f32(self, value: f32) -> Written {
        encode::write_f32(self.into, value)?;
        Ok(())
    }

    fn serialize_f64(self, value: f64) -> Written {
        encode::write_f64(self.into, value)?;
        Ok(())
    }

    fn serialize_char(self, value: char) -> Written {
        self.serialize_str(value.encode_utf8(&mut [0; 4]))
    }

    fn serialize_str(self, value: &str) -> Written {
        encode::write_str(self.into, value)?;
        Ok(())
    }

    fn serialize_bytes(self, value: &[u8]) -> Written {
        encode::write_bin(self.into, value)?;
        Ok(())
    }

    fn serialize_none(self) -> Written {
        self.serialize_unit()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Written {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Written {
        encode::write_nil(self.into)?;
        Ok(())
    }

    fn serialize_unit_struct(self, _: &'static str) -> Written {
        self.array(0)
    }

    fn serialize_unit_variant(self, of: &'static str, number: u32, name: &'static str) -> Written {
        self.variant(of, number, name)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Written {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        of: &'static str,
        number: u32,
        name: &'static str,
        value: &T,
    ) -> Written {
        self.map(1)?;
        self.variant(of, number, name)?;
        value.serialize(self)
    }

    fn serialize_seq(self, length: Option<usize>) -> Result<Self, Failure> {
        let length = length.ok_or_else(|| unknown_length("sequence"))?;
        self.array(length)?;
        Ok(self)
    }

    fn serialize_tuple(self, length: usize) -> Result<Self, Failure> {
        self.array(length)?;
        Ok(self)
    }

    fn serialize_tuple_struct(self, _: &'static str, length: usize) -> Result<Self, Failure> {
        self.array(length)?;
        Ok(self)
    }

    fn serialize_tuple_variant(
        self,
        of: &'static str,
        number: u32,
        name: &'static str,
        length: usize,
    ) -> Result<Self, Failure> {
        self.map(1)?;
        self.variant(of, number, name)?;
        self.array(length)?;
        Ok(self)
    }

    fn serialize_map(self, length: Option<usize>) -> Result<Self, Failure> {
        let length = length.ok_or_else(|| unknown_length("map"))?;
        self.map(length)?;
        Ok(self)
    }

    fn serialize_struct(self, _: &'static str, length: usize) -> Result<Self, Failure> {
        self.array(length)?;
        Ok(self)
    }

    fn serialize_struct_variant(
        self,
        of: &'static str,
        number: u32,
        name: &'static str,
        length: usize,
    ) -> Result<Self, Failure> {
        self.serialize_tuple_variant(of, number, name, length)
    }
}

fn unknown_length(what: &str) -> Failure {
    Failure(format!("a {what} of unknown length"))
}

macro_rules! items {
    ($($kind:ident $item:ident($($key:ident)?);)+) => {$(
        impl ser::$kind for &mut Compact<'_> {
            type Ok = ();
            type Error = Failure;

            fn $item<T: Serialize + ?Sized>(
                &mut self,
                $($key: &'static str,)?
                item: &T,
            ) -> Written {
                $(let _ = $key;)?
                item.serialize(&mut **self)
            }

            fn end(self) -> Written {
                Ok(())
            }
        }
    )+};
}

items! {
    SerializeSeq serialize_element();
    SerializeTuple serialize_element();
    SerializeTupleStruct serialize_field();
    SerializeTupleVariant serialize_field();
    SerializeStruct serialize_field(_name);
    SerializeStructVariant serialize_field(_name);
}

impl ser::SerializeMap for &mut Compact<'_> {
    type Ok = ();
    type Error = Failure;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Written {
        key.serialize(&mut **self)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Written {
        value.serialize(&mut **self)
    }

    fn end(self) -> Written {
        Ok(())
    }
}
