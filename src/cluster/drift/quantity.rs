//! Canonical form of Kubernetes quantities.

/// Quantity in billionths, as text. Text that is not a quantity is returned unchanged.
pub fn canonical(quantity: &str) -> String {
    billionths(quantity).map_or_else(|| quantity.to_owned(), |number| format!("{number}n"))
}

/// `None` if the text is not a quantity, or if the value overflows.
fn billionths(quantity: &str) -> Option<i128> {
    let (negative, unsigned) = match quantity.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, quantity.strip_prefix('+').unwrap_or(quantity)),
    };
    let end = unsigned.find(|sign: char| !sign.is_ascii_digit() && sign != '.').unwrap_or(unsigned.len());
    let (number, unit) = unsigned.split_at(end);
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    let digits: i128 = [whole, part].concat().parse().ok()?;
    let power = |base: i128, exponent: u32| base.checked_pow(exponent);
    let scale = match unit {
        "n" => 1,
        "u" => 1_000,
        "m" => 1_000_000,
        "" => power(10, 9)?,
        "k" => power(10, 12)?,
        "M" => power(10, 15)?,
        "G" => power(10, 18)?,
        "T" => power(10, 21)?,
        "P" => power(10, 24)?,
        "E" => power(10, 27)?,
        "Ki" => power(1024, 1)?.checked_mul(1_000_000_000)?,
        "Mi" => power(1024, 2)?.checked_mul(1_000_000_000)?,
        "Gi" => power(1024, 3)?.checked_mul(1_000_000_000)?,
        "Ti" => power(1024, 4)?.checked_mul(1_000_000_000)?,
        "Pi" => power(1024, 5)?.checked_mul(1_000_000_000)?,
        "Ei" => power(1024, 6)?.checked_mul(1_000_000_000)?,
        exponent => {
            let exponent: i32 = exponent.strip_prefix(['e', 'E'])?.parse().ok()?;
            power(10, u32::try_from(exponent.checked_add(9)?).ok()?)?
        }
    };
    let divisor = power(10, u32::try_from(part.len()).ok()?)?;
    let billionths = digits.checked_mul(scale)? / divisor;
    Some(if negative { -billionths } else { billionths })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_amount_has_one_form_and_two_have_two() {
        for (one, other) in [
            ("1", "1000m"),
            ("0.5", "500m"),
            (".5", "500m"),
            ("1Gi", "1024Mi"),
            ("1k", "1e3"),
            ("1E3", "1000"),
            ("1.5Gi", "1536Mi"),
            ("100u", "0.1m"),
        ] {
            assert_eq!(canonical(one), canonical(other), "{one} {other}");
        }
        for (one, other) in [("1", "1k"), ("1Gi", "1G"), ("1", "-1"), ("10m", "10")] {
            assert_ne!(canonical(one), canonical(other), "{one} {other}");
        }
        assert_eq!(canonical("1 GB"), "1 GB", "what is none stays");
    }
}
