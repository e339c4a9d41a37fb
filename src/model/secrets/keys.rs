//! Parsing of the keys and passwords in Secrets. Content that geth, Tessera or PostgreSQL would reject is an error.

use aws_lc_rs::agreement::{PrivateKey, X25519};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;

use super::{Data, InvalidContent, content, tls};
use crate::protocol::node_key;
pub use crate::protocol::node_key::NodeIdentity;

/// Reads a node key as geth does.
///
/// # Errors
/// Why the key is invalid and what to do.
pub fn read_node_key(data: &Data, key: &str) -> Result<NodeIdentity, InvalidContent> {
    node_key::read(content(data, key)?).map_err(|why| InvalidContent::new(key, &why.to_string()))
}

/// A transaction manager's key pair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransactionManagerKey {
    /// Its public key, base64 of 32 bytes.
    pub public_key: String,
    /// Whether its private key is encrypted and needs a password.
    pub locked: bool,
}

/// Reads a key pair in Tessera's file formats, one Secret key per file.
///
/// # Errors
/// Why a file is invalid and what to do.
pub fn read_transaction_manager_key(
    data: &Data,
    private: &str,
    public: &str,
) -> Result<TransactionManagerKey, InvalidContent> {
    let (public_key, public_bytes) = manager_public_key(data, public)?;
    let wrong = |what: &str| {
        InvalidContent::new(
            private,
            &format!("{what}: put the file that Tessera's keygen wrote into this key"),
        )
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
            return Err(InvalidContent::new(
                private,
                &format!(
                    "is not the private key of {public}: put both files of one key pair into the Secret"
                ),
            ));
        }
    }
    Ok(TransactionManagerKey { public_key, locked })
}

/// The public key as base64 and as bytes. Tessera decodes the whole file and accepts no newline in it.
fn manager_public_key(data: &Data, key: &str) -> Result<(String, Vec<u8>), InvalidContent> {
    let text = content(data, key)?;
    let decoded = STANDARD.decode(text).ok().filter(|bytes| bytes.len() == 32);
    let bytes = decoded.ok_or_else(|| {
        InvalidContent::new(
            key,
            "must be base64 of 32 bytes and nothing else, not even a newline: put the .pub file that Tessera's \
             keygen wrote into this key",
        )
    })?;
    Ok((STANDARD.encode(&bytes), bytes))
}

fn public_of(private: &[u8]) -> Option<Vec<u8>> {
    let private = PrivateKey::from_private_key(&X25519, private).ok()?;
    Some(private.compute_public_key().ok()?.as_ref().to_vec())
}

/// Checks a password, which must be one line.
///
/// # Errors
/// Why the password is invalid and what to do.
pub fn read_password(data: &Data, key: &str) -> Result<(), InvalidContent> {
    let text = std::str::from_utf8(content(data, key)?)
        .map_err(|_| InvalidContent::new(key, "is not UTF-8 text: write the password as UTF-8"))?;
    let line = text.strip_suffix('\n').unwrap_or(text);
    let line = line.strip_suffix('\r').unwrap_or(line);
    if line.is_empty() {
        return Err(InvalidContent::new(key, "is an empty line: write the password on one line"));
    }
    if line.contains(['\n', '\r']) {
        return Err(InvalidContent::new(key, "has several lines: write the password on one line"));
    }
    Ok(())
}

/// Checks the client certificate of PostgreSQL's Java driver: a certificate and its key, as PEM and as DER.
///
/// # Errors
/// Why the certificate or key is invalid and what to do.
pub fn read_database_certificate(data: &Data) -> Result<(), InvalidContent> {
    content(data, tls::PRIVATE_KEY_DER)?;
    tls::read_pair(data)
}

#[cfg(test)]
mod tests;
