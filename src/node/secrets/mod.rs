//! What is in a Secret, what follows from it, and how new keys and certificates are made.

pub mod keys;
pub mod mint;
pub mod tls;

#[cfg(test)]
mod samples;

use std::{collections::BTreeMap, fmt};

use k8s_openapi::ByteString;
use sha2::{Digest as _, Sha256};

/// The contents of a Secret, as the API has them.
pub type Data = BTreeMap<String, ByteString>;

/// Why contents cannot be used: which key, what is wrong, what to do. Never what is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unusable(String);

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unusable {}

impl Unusable {
    fn new(key: &str, why: &str) -> Self {
        Self(format!("{key} {why}"))
    }
}

/// The bytes under a key.
fn content<'a>(data: &'a Data, key: &str) -> Result<&'a [u8], Unusable> {
    let ByteString(bytes) = data.get(key).ok_or_else(|| {
        let present: Vec<_> = data.keys().map(String::as_str).collect();
        let present = if present.is_empty() { "no key at all".into() } else { present.join(", ") };
        Unusable::new(key, &format!("is missing: add it to the Secret, which has {present}"))
    })?;
    if bytes.is_empty() {
        return Err(Unusable::new(key, "is empty: fill it"));
    }
    Ok(bytes)
}

/// Lower-case hexadecimal.
pub(in crate::node) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Digest of a Secret's data; kept in memory alone, as it may be of a password.
#[must_use]
pub fn digest(data: &Data) -> [u8; 32] {
    let mut digest = Sha256::new();
    for (key, ByteString(content)) in data {
        digest.update((key.len() as u64).to_be_bytes());
        digest.update(key);
        digest.update((content.len() as u64).to_be_bytes());
        digest.update(content);
    }
    digest.finalize().into()
}
