//! Chance from a seed: the same seed deals the same.

/// SplitMix64, which needs no state beyond a number.
pub(crate) struct Dice(u64);

impl Dice {
    /// Dice of their own for each `use_`, so that one's throws do not shift another's.
    pub(crate) fn new(seed: u64, use_: &str, number: u64) -> Self {
        let name = use_.bytes().fold(seed, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
        let mut dice = Self(name ^ number.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        dice.throw();
        dice
    }

    fn throw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.throw() % end
    }

    pub(crate) fn percent(&mut self, chance: u64) -> bool {
        self.below(100) < chance
    }

    pub(crate) fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[usize::try_from(self.below(all.len() as u64)).expect("an index")]
    }
}
