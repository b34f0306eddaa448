//! Finds the word that somebody meant.
//!
//! Pure.

/// Returns the known word nearest to `written`, if one is near enough to be meant.
pub(crate) fn nearest<'a>(written: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    known
        .map(|word| (distance(written, word), word))
        .filter(|(distance, word)| *distance <= word.len().div_ceil(3))
        .min()
        .map(|(_, word)| word)
}

/// Counts the letters to insert, remove or replace.
fn distance(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.chars().count()).collect();
    for (at, letter) in one.chars().enumerate() {
        let mut diagonal = at;
        let mut left = at + 1;
        let mut next = vec![left];
        for (above, wanted) in row.iter().skip(1).zip(other.chars()) {
            left = (left + 1)
                .min(above + 1)
                .min(diagonal + usize::from(letter != wanted));
            diagonal = *above;
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_counts_changes() {
        for (one, other, changes) in [
            ("", "abc", 3),
            ("abc", "", 3),
            ("retry", "retries", 3),
            ("timout", "timeout", 1),
            ("queue", "queue", 0),
        ] {
            assert_eq!(distance(one, other), changes, "{one} {other}");
        }
    }

    #[test]
    fn far_words_are_not_meant() {
        let known = ["retries", "timeout"];
        assert_eq!(nearest("timout", known.into_iter()), Some("timeout"));
        assert_eq!(nearest("retry", known.into_iter()), Some("retries"));
        assert_eq!(nearest("colour", known.into_iter()), None);
    }
}
