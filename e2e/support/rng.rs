//! Reproducible random numbers from a seed.

/// SplitMix64, whose state is one number.
pub(crate) struct Rng(u64);

impl Rng {
    /// An independent sequence for each `use_` and `number`, so that draws from one do not affect another.
    pub(crate) fn new(seed: u64, use_: &str, number: u64) -> Self {
        let name = use_.bytes().fold(seed, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
        let mut rng = Self(name ^ number.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        rng.throw();
        rng
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
