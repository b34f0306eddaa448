//! Chance that is the same at each replay.
//!
//! Invariants: values come from ChaCha words keyed by the segment's seed, the sort of use and its number, so that they
//! write nothing and survive any edit of the code around them. Ranges and uuids are our own code: golden vectors in the
//! tests guard them against drift. Source: ChaCha with 8 rounds, D. J. Bernstein, 2008.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};

use crate::id::Uuid;

/// Sorts the uses of chance, so that one sort never shifts another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    Random,
    Uuid,
    Shuffle,
    Rng,
    ChildSeed,
}

impl Use {
    const fn stream(self, nth: u32) -> u64 {
        let sort: u64 = match self {
            Self::Random => 1,
            Self::Uuid => 2,
            Self::Shuffle => 3,
            Self::Rng => 4,
            Self::ChildSeed => 5,
        };
        (sort << 32) | nth as u64
    }
}

/// Draws values that are the same at each replay of the run.
///
/// Made by `ctx.rng()`. The values of a version of Longhaul are those of every later one.
#[derive(Debug, Clone)]
pub struct Rng(ChaCha8Rng);

impl Rng {
    pub(crate) fn new(seed: [u8; 32], sort: Use, nth: u32) -> Self {
        let mut words = ChaCha8Rng::from_seed(seed);
        words.set_stream(sort.stream(nth));
        Self(words)
    }

    /// Draws 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// Draws a value of `T`: any integer, a float from 0 up to 1, or a bool.
    pub fn draw<T: Random>(&mut self) -> T {
        T::from_bits(self.bits())
    }

    /// Draws a number below `bound`, each equally likely; 0 when `bound` is 0.
    ///
    /// Source: D. Lemire, "Fast random integer generation in an interval", 2019.
    pub fn below(&mut self, bound: u64) -> u64 {
        if bound == 0 {
            return 0;
        }
        let threshold = bound.wrapping_neg() % bound;
        loop {
            let wide = u128::from(self.bits()) * u128::from(bound);
            let [high, low] = halves(wide);
            if low >= threshold {
                return high;
            }
        }
    }

    /// Draws true with probability `chance`, from 0 to 1.
    pub fn chance(&mut self, chance: f64) -> bool {
        self.draw::<f64>() < chance
    }

    /// Puts `items` into a random order.
    ///
    /// Source: Fisher and Yates, in Durstenfeld's form.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let other = usize::try_from(self.below(last as u64 + 1)).unwrap_or(last);
            items.swap(last, other);
        }
    }

    pub(crate) fn uuid(&mut self) -> Uuid {
        let wide = (u128::from(self.bits()) << 64) | u128::from(self.bits());
        Uuid::from_random_bytes(wide.to_be_bytes())
    }

    pub(crate) fn seed(&mut self) -> [u8; 32] {
        let mut seed = [0; 32];
        self.0.fill_bytes(&mut seed);
        seed
    }
}

fn halves(wide: u128) -> [u64; 2] {
    let low = u64::try_from(wide & u128::from(u64::MAX)).unwrap_or_default();
    let high = u64::try_from(wide >> 64).unwrap_or_default();
    [high, low]
}

mod sealed {
    pub trait Sealed {}
}

/// Is a type that `ctx.random` can draw.
pub trait Random: sealed::Sealed {
    /// Makes a value of random bits.
    fn from_bits(bits: u64) -> Self;
}

macro_rules! random_integer {
    ($($integer:ty),*) => {$(
        impl sealed::Sealed for $integer {}
        impl Random for $integer {
            #[expect(
                clippy::cast_possible_truncation,
                reason = "the low bits are as random as the high ones"
            )]
            fn from_bits(bits: u64) -> Self {
                bits as Self
            }
        }
    )*};
}

impl sealed::Sealed for u64 {}
impl Random for u64 {
    fn from_bits(bits: u64) -> Self {
        bits
    }
}
impl sealed::Sealed for i64 {}
impl Random for i64 {
    fn from_bits(bits: u64) -> Self {
        bits.cast_signed()
    }
}
random_integer!(u8, u16, u32, i8, i16, i32);

impl sealed::Sealed for f64 {}
impl Random for f64 {
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
    fn from_bits(bits: u64) -> Self {
        (bits >> 11) as Self / (1_u64 << 53) as Self
    }
}
impl sealed::Sealed for bool {}
impl Random for bool {
    fn from_bits(bits: u64) -> Self {
        bits >> 63 == 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEED: [u8; 32] = [7; 32];

    #[test]
    fn golden_vectors_do_not_drift() {
        let mut rng = Rng::new(SEED, Use::Random, 1);
        assert_eq!(rng.bits(), 14_797_523_236_556_584_193);
        assert_eq!((rng.below(1_000), rng.below(6)), (879, 1));
        let uuid = Rng::new(SEED, Use::Uuid, 1).uuid().to_string();
        assert_eq!(uuid, "f48105c6-2d36-47c4-801c-8669a22e5f33");
        let mut cards = [0, 1, 2, 3, 4, 5, 6, 7];
        Rng::new(SEED, Use::Shuffle, 1).shuffle(&mut cards);
        assert_eq!(cards, [3, 5, 1, 4, 7, 2, 6, 0]);
        let float: f64 = Rng::new(SEED, Use::Rng, 1).draw();
        assert_eq!(float.to_bits(), 4_602_523_473_502_981_160);
    }

    #[test]
    fn each_use_has_its_own_values() {
        let first = Rng::new(SEED, Use::Random, 1).bits();
        assert_ne!(first, Rng::new(SEED, Use::Random, 2).bits());
        assert_ne!(first, Rng::new(SEED, Use::Rng, 1).bits());
        assert_eq!(first, Rng::new(SEED, Use::Random, 1).bits());
    }

    #[test]
    fn below_stays_below_and_reaches_every_value() {
        let mut rng = Rng::new(SEED, Use::Rng, 1);
        let mut seen = [0_u32; 5];
        for _ in 0..1_000 {
            seen[usize::try_from(rng.below(5)).unwrap()] += 1;
        }
        assert!(
            seen.iter().all(|count| (120..280).contains(count)),
            "{seen:?}"
        );
        assert_eq!(rng.below(0), 0);
    }
}
