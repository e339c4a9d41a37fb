//! Keys and passwords as they are found in Secrets: whose they are, and whether their reader would take them.

use aws_lc_rs::agreement::{PrivateKey, X25519};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;

use super::{Data, Unusable, content, tls};
use crate::nodekey;
pub use crate::nodekey::NodeIdentity;

/// Reads a node key as geth does.
///
/// # Errors
/// Why it cannot be used.
pub fn read_node_key(data: &Data, key: &str) -> Result<NodeIdentity, Unusable> {
    nodekey::read(content(data, key)?).map_err(|why| Unusable::new(key, &why.to_string()))
}

/// A transaction manager's key pair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransactionManagerKey {
    /// Its public key, base64 of 32 bytes.
    pub public_key: String,
    /// Whether its private key is encrypted and needs a password.
    pub locked: bool,
}

/// Reads a key pair in Tessera's file formats, from one Secret key each.
///
/// # Errors
/// Why it cannot be used.
pub fn read_transaction_manager_key(
    data: &Data,
    private: &str,
    public: &str,
) -> Result<TransactionManagerKey, Unusable> {
    let (public_key, public_bytes) = manager_public_key(data, public)?;
    let wrong = |what: &str| {
        Unusable::new(private, &format!("{what}: put the file that Tessera's keygen wrote there"))
    };
    let file: Value = serde_json::from_slice(content(data, private)?).map_err(|_| wrong("is not JSON"))?;
    let locked = match file.get("type").and_then(Value::as_str) {
        Some("unlocked") => false,
        Some("argon2sbox") => true,
        _ => return Err(wrong("has a `type` that is neither \"unlocked\" nor \"argon2sbox\"")),
    };
    let fields =
        file.get("data").filter(|fields| fields.is_object()).ok_or_else(|| wrong("has no `data` object"))?;
    let bytes =
        |field: &str| fields.get(field).and_then(Value::as_str).and_then(|text| STANDARD.decode(text).ok());
    if locked {
        let complete =
            ["snonce", "asalt", "sbox"].iter().all(|field| bytes(field).is_some_and(|it| !it.is_empty()));
        if !complete || !fields.get("aopts").is_some_and(Value::is_object) {
            return Err(wrong("must have `aopts`, and `snonce`, `asalt` and `sbox` as base64, in `data`"));
        }
    } else {
        let bytes = bytes("bytes").filter(|bytes| bytes.len() == 32);
        let bytes = bytes.ok_or_else(|| wrong("must have 32 bytes as base64 in `data.bytes`"))?;
        if public_of(&bytes).as_deref() != Some(&public_bytes) {
            return Err(Unusable::new(
                private,
                &format!("is not the private key of {public}: put the two that belong together there"),
            ));
        }
    }
    Ok(TransactionManagerKey { public_key, locked })
}

/// Tessera reads the whole file, and its base64 takes no newline.
fn manager_public_key(data: &Data, key: &str) -> Result<(String, Vec<u8>), Unusable> {
    let text = content(data, key)?;
    let decoded = STANDARD.decode(text).ok().filter(|bytes| bytes.len() == 32);
    let bytes = decoded.ok_or_else(|| {
        Unusable::new(
            key,
            "must be base64 of 32 bytes and nothing else, not even a newline: put the .pub file that Tessera's \
             keygen wrote there",
        )
    })?;
    Ok((STANDARD.encode(&bytes), bytes))
}

fn public_of(private: &[u8]) -> Option<Vec<u8>> {
    let private = PrivateKey::from_private_key(&X25519, private).ok()?;
    Some(private.compute_public_key().ok()?.as_ref().to_vec())
}

/// Reads a password: one line.
///
/// # Errors
/// Why it cannot be used.
pub fn read_password(data: &Data, key: &str) -> Result<(), Unusable> {
    let text = std::str::from_utf8(content(data, key)?)
        .map_err(|_| Unusable::new(key, "is not text: put a password in UTF-8 there"))?;
    let line = text.strip_suffix('\n').unwrap_or(text);
    let line = line.strip_suffix('\r').unwrap_or(line);
    if line.is_empty() {
        return Err(Unusable::new(key, "is an empty line: put a password there"));
    }
    if line.contains(['\n', '\r']) {
        return Err(Unusable::new(key, "has several lines: put the password there on one"));
    }
    Ok(())
}

/// Reads what PostgreSQL's Java driver presents to a database: a certificate and its key, as PEM and as DER.
///
/// # Errors
/// Why it cannot be used.
pub fn read_database_certificate(data: &Data) -> Result<(), Unusable> {
    content(data, tls::PRIVATE_KEY_DER)?;
    tls::read_pair(data)
}

#[cfg(test)]
mod tests;
