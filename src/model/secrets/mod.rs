//! Contents of Secrets: parsing, validation, and generation of keys and certificates.

pub mod generate;
pub mod keys;
pub mod renewal;
pub mod tls;

#[cfg(test)]
mod samples;

use std::{collections::BTreeMap, fmt};

use k8s_openapi::ByteString;
use sha2::{Digest as _, Sha256};

/// The `data` of a Secret.
pub type Data = BTreeMap<String, ByteString>;

/// Why the content of a Secret is invalid: the key, what is wrong, and what to do. Never includes the content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidContent(String);

impl fmt::Display for InvalidContent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for InvalidContent {}

impl InvalidContent {
    fn new(key: &str, why: &str) -> Self {
        Self(format!("{key} {why}"))
    }
}

/// The bytes of a key.
fn content<'a>(data: &'a Data, key: &str) -> Result<&'a [u8], InvalidContent> {
    let ByteString(bytes) = data.get(key).ok_or_else(|| {
        let present: Vec<_> = data.keys().map(String::as_str).collect();
        let present =
            if present.is_empty() { "no keys".into() } else { format!("only {}", present.join(", ")) };
        InvalidContent::new(key, &format!("is missing: add this key to the Secret, which has {present}"))
    })?;
    if bytes.is_empty() {
        return Err(InvalidContent::new(key, "is empty: write the content of this key"));
    }
    Ok(bytes)
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Digest of a Secret's data. It stays in memory only, because the data may be a password.
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
