//! Numbers of up to 256 bits, in hexadecimal or decimal notation.

use std::fmt;

/// A number of up to 256 bits, as four 64-bit limbs, lowest first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Quantity([u64; 4]);

impl Quantity {
    /// Reads `0x` and hexadecimal digits, or decimal digits. An empty text is 0, as it is for the client.
    pub(super) fn read(text: &str) -> Option<Self> {
        let (digits, base) = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
            Some("") => return None,
            Some(digits) => (digits, 16),
            None => (text, 10),
        };
        digits.chars().try_fold(Self::default(), |number, digit| number.append(digit.to_digit(base)?, base))
    }

    /// Appends a digit; `None` on overflow.
    fn append(self, digit: u32, base: u32) -> Option<Self> {
        let mut carry = u128::from(digit);
        let limbs = self.0.map(|limb| {
            let sum = u128::from(limb) * u128::from(base) + carry;
            carry = sum >> 64;
            (sum & u128::from(u64::MAX)) as u64
        });
        (carry == 0).then_some(Self(limbs))
    }

    /// The number, if it fits into 64 bits.
    pub(super) fn small(self) -> Option<u64> {
        let [low, rest @ ..] = self.0;
        (rest == [0; 3]).then_some(low)
    }
}

impl From<u64> for Quantity {
    fn from(number: u64) -> Self {
        Self([number, 0, 0, 0])
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d] = self.0;
        let digits = format!("{d:016x}{c:016x}{b:016x}{a:016x}");
        let digits = digits.trim_start_matches('0');
        write!(f, "0x{}", if digits.is_empty() { "0" } else { digits })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_read_in_either_notation_and_shown_in_one() {
        for (text, shown) in [
            ("", "0x0"),
            ("0", "0x0"),
            ("000", "0x0"),
            ("0x00", "0x0"),
            ("255", "0xff"),
            ("0XfF", "0xff"),
            ("18446744073709551616", "0x10000000000000000"),
            ("1000000000000000000000000000", "0x33b2e3c9fd0803ce8000000"),
        ] {
            assert_eq!(
                Quantity::read(text).map(|number| number.to_string()).as_deref(),
                Some(shown),
                "{text}"
            );
        }
        for wrong in ["0x", "-1", "+1", "1.5", "0x-1", "ff", "1_000", " 1", "0xg"] {
            assert_eq!(Quantity::read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn what_takes_more_than_256_bits_is_no_number() {
        let most = format!("0x{}", "f".repeat(64));
        assert_eq!(Quantity::read(&most).map(|number| number.to_string()), Some(most));
        assert!(Quantity::read(&format!("0x000{}", "f".repeat(64))).is_some(), "zeros in front do not count");
        let more = "115792089237316195423570985008687907853269984665640564039457584007913129639936";
        assert_eq!(Quantity::read(more), None);
        assert_eq!(Quantity::read(&format!("0x1{}", "0".repeat(64))), None);
        assert_eq!(Quantity::read("18446744073709551615").and_then(Quantity::small), Some(u64::MAX));
        assert_eq!(Quantity::read("18446744073709551616").and_then(Quantity::small), None);
    }
}
