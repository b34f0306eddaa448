//! Finds the word that somebody meant.
//!
//! Pure.

/// Returns the known word nearest to `written`, if one is near enough to be meant.
pub(crate) fn nearest<'a>(written: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    known
        .map(|word| (strsim::levenshtein(written, word), word))
        .filter(|(distance, word)| *distance <= word.len().div_ceil(3))
        .min()
        .map(|(_, word)| word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn far_words_are_not_meant() {
        let known = ["retries", "timeout"];
        assert_eq!(nearest("timout", known.into_iter()), Some("timeout"));
        assert_eq!(nearest("retry", known.into_iter()), Some("retries"));
        assert_eq!(nearest("colour", known.into_iter()), None);
    }
}
