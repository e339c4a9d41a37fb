//! Parses a node key as geth does, derives its identity, and compares it with an expected one.

use std::{fmt, str::FromStr};

use k256::{SecretKey, elliptic_curve::sec1::ToEncodedPoint as _};
use sha3::{Digest as _, Keccak256};

/// Identity of a node: its public key and address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeIdentity {
    /// Public key as in enode URLs: 128 lower-case hexadecimal digits, uncompressed, without `04`.
    pub public_key: String,
    /// Address as in lists of validators: 0x and 40 lower-case hexadecimal digits.
    pub address: String,
}

/// Why a text is not a node key. The message quotes nothing of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoKey {
    /// It does not have the form that geth reads.
    Form,
    /// The number is not a private key on the curve.
    Scalar,
}

impl fmt::Display for NoKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Form => {
                "must be exactly 64 hexadecimal digits without 0x, then at most two newline characters: geth takes \
                 nothing else, put the key there in this form"
            }
            Self::Scalar => {
                "is not a private key on secp256k1 (zero, or too large): put the node's key there"
            }
        })
    }
}

impl std::error::Error for NoKey {}

/// Parses a node key as geth does and returns its identity.
///
/// # Errors
/// Why the text is not a node key.
pub fn read(text: &[u8]) -> Result<NodeIdentity, NoKey> {
    let secret = SecretKey::from_slice(&scalar(text).ok_or(NoKey::Form)?).map_err(|_| NoKey::Scalar)?;
    let point = secret.public_key().to_encoded_point(false);
    Ok(identity(&point.as_bytes()[1..]))
}

fn identity(public_key: &[u8]) -> NodeIdentity {
    let digest = Keccak256::digest(public_key);
    NodeIdentity { public_key: hex(public_key), address: format!("0x{}", hex(&digest[12..])) }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Parses what geth's `crypto.LoadECDSA` reads: 64 digits, then at most two newline characters.
fn scalar(text: &[u8]) -> Option<[u8; 32]> {
    let (digits, rest) = text.split_at_checked(64)?;
    if rest.len() > 2 || rest.iter().any(|byte| !matches!(byte, b'\n' | b'\r')) {
        return None;
    }
    let mut scalar = [0; 32];
    for (byte, pair) in scalar.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(scalar)
}

fn digit(character: u8) -> Option<u8> {
    char::from(character).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

/// Expected identity of a key: its public key or its address, in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expected {
    /// 128 hexadecimal digits.
    PublicKey(String),
    /// 0x and 40 hexadecimal digits.
    Address(String),
}

impl Expected {
    /// Whether an identity is the expected one.
    #[must_use]
    pub fn is(&self, identity: &NodeIdentity) -> bool {
        match self {
            Self::PublicKey(key) => *key == identity.public_key,
            Self::Address(address) => *address == identity.address,
        }
    }
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::PublicKey(text) | Self::Address(text)) = self;
        f.write_str(text)
    }
}

impl FromStr for Expected {
    type Err = &'static str;

    /// The error quotes nothing: the text may be the private key, put here by mistake.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.strip_prefix("0x").unwrap_or(text);
        let is_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        match (is_hex, digits.len(), text.len()) {
            (true, 128, _) => Ok(Self::PublicKey(digits.to_ascii_lowercase())),
            (true, 40, 42) => Ok(Self::Address(text.to_ascii_lowercase())),
            _ => Err(
                "must be a public key, 128 hexadecimal digits with or without 0x, or an address, 0x and 40 hexadecimal digits; never the private key",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "b0057716d5917badaf911b193b12b910811c1497b5bada8d7711f758981c3773";

    #[test]
    fn a_key_is_expected_by_its_public_key_or_by_its_address_in_either_case() {
        let identity = read(KEY.as_bytes()).unwrap();
        let (key, address) = (&identity.public_key, &identity.address);
        let upper = key.to_uppercase();
        for text in [key.clone(), format!("0x{key}"), upper, address.clone()] {
            let expected: Expected = text.parse().unwrap();
            assert!(expected.is(&identity), "{text}");
            assert!(!expected.is(&read("1".repeat(64).as_bytes()).unwrap()), "{text}");
        }
        let mixed = format!("0x{}", address[2..].to_uppercase());
        assert_eq!(mixed.parse(), Ok(Expected::Address(address.clone())));
    }

    #[test]
    fn what_is_no_identity_is_refused_and_not_quoted() {
        for text in ["", KEY, &format!("0x{KEY}"), &"a".repeat(40), &format!("0x{}", "g".repeat(40)), "0x"] {
            let error = text.parse::<Expected>().unwrap_err();
            assert!(error.contains("0x and 40") && (text.is_empty() || !error.contains(KEY)), "{text}");
        }
        assert_eq!(read(b"5ecre7"), Err(NoKey::Form));
        assert_eq!(read("0".repeat(64).as_bytes()), Err(NoKey::Scalar));
        assert!(!NoKey::Form.to_string().contains("5ecre7"));
    }
}
