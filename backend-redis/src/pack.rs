//! Several texts as one, so that scripts carry them without reading them.
//!
//! Source: netstrings, D. J. Bernstein, 1997, without the comma.

use crate::error::{Failure, Result, unreadable};

/// Puts texts one after the other, each behind its length.
#[derive(Debug, Default)]
pub(crate) struct Packed(Vec<u8>);

impl Packed {
    pub(crate) fn put(mut self, text: impl AsRef<[u8]>) -> Self {
        let text = text.as_ref();
        self.0.extend_from_slice(text.len().to_string().as_bytes());
        self.0.push(b':');
        self.0.extend_from_slice(text);
        self
    }

    pub(crate) fn put_all<T: AsRef<[u8]>>(self, texts: impl IntoIterator<Item = T>) -> Self {
        texts.into_iter().fold(self, Self::put)
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

/// Reads what was packed.
#[derive(Debug)]
pub(crate) struct Unpacked<'a>(pub(crate) &'a [u8]);

impl<'a> Unpacked<'a> {
    /// Returns the next text.
    pub(crate) fn next(&mut self) -> Result<&'a [u8]> {
        let broken = || unreadable("packed record", "its end is missing");
        let colon = self.0.iter().position(|byte| *byte == b':');
        let (length, rest) = colon
            .and_then(|colon| self.0.split_at_checked(colon))
            .ok_or_else(broken)?;
        let length = std::str::from_utf8(length)
            .ok()
            .and_then(|length| length.parse::<usize>().ok())
            .ok_or_else(broken)?;
        let (text, rest) = rest
            .split_first()
            .and_then(|(_, rest)| rest.split_at_checked(length))
            .ok_or_else(broken)?;
        self.0 = rest;
        Ok(text)
    }

    /// Returns the next text, which is UTF-8.
    pub(crate) fn next_text(&mut self) -> Result<&'a str> {
        text(self.next()?)
    }

    /// Returns all that is left.
    pub(crate) fn rest(mut self) -> Result<Vec<&'a [u8]>> {
        let mut texts = Vec::new();
        while !self.0.is_empty() {
            texts.push(self.next()?);
        }
        Ok(texts)
    }
}

/// Reads UTF-8.
pub(crate) fn text(bytes: &[u8]) -> Result<&str> {
    std::str::from_utf8(bytes).map_err(|_| unreadable("text", "is not UTF-8"))
}

/// Reads a number in digits.
pub(crate) fn number<T: std::str::FromStr>(bytes: &[u8], what: &'static str) -> Result<T> {
    let digits = text(bytes)?;
    digits
        .parse()
        .map_err(|_| unreadable(what, digits) as Failure)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_packed_is_read_again() {
        let texts: [&[u8]; 4] = [b"", b"12:ab", &[0, 255], b":"];
        let packed = Packed::default().put_all(texts).into_bytes();
        assert_eq!(Unpacked(&packed).rest().unwrap(), texts);
    }

    #[test]
    fn cut_record_is_refused_wherever_it_is_cut() {
        let packed = Packed::default().put("one").put("two").into_bytes();
        for end in 1..packed.len() {
            let (cut, _) = packed.split_at(end);
            assert_eq!(Unpacked(cut).rest().is_ok(), end == 5, "{end}");
        }
    }
}
