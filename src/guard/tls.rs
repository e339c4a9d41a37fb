//! TLS configurations from certificate files. No error quotes a file: the PEM reader's own errors print the offending
//! line, which may be part of a key.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};

/// The only cryptography provider of the program.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// Parses the certificates of a PEM text. Fails if there is none.
pub fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => bail!("holds no certificate; it must be PEM with BEGIN CERTIFICATE"),
        Err(_) => bail!("is not PEM; it must hold BEGIN CERTIFICATE sections"),
    }
}

/// Parses the CA certificates of a PEM text.
pub fn authorities(pem: &[u8]) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(pem)? {
        roots.add(certificate).context("holds a certificate that cannot serve as a CA")?;
    }
    Ok(roots)
}

fn private_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>> {
    PrivateKeyDer::from_pem_slice(pem)
        .map_err(|_| anyhow!("holds no unencrypted private key in PEM (PKCS#8, PKCS#1 or SEC1)"))
}

/// Reads a file. An error names the file.
pub fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| path.display().to_string())
}

/// Client configuration that verifies the server's chain and name. Shows a certificate if there is a pair.
pub fn client(ca: &Path, pair: Option<(&Path, &Path)>) -> Result<ClientConfig> {
    let roots = authorities(&read(ca)?).with_context(|| ca.display().to_string())?;
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots);
    let Some((cert, key)) = pair else { return Ok(builder.with_no_client_auth()) };
    let chain = certificates(&read(cert)?).with_context(|| cert.display().to_string())?;
    let private = private_key(&read(key)?).with_context(|| key.display().to_string())?;
    let config = builder.with_client_auth_cert(chain, private);
    config.with_context(|| format!("{} and {} do not fit together", cert.display(), key.display()))
}

/// Accepts clients that show a certificate of one of these CAs (PEM) and, with `lets_in_anonymous`, clients without a
/// certificate.
pub fn verifier(authority: &[u8], lets_in_anonymous: bool) -> Result<Arc<dyn ClientCertVerifier>> {
    let roots = Arc::new(authorities(authority).context("the client CA")?);
    let builder = WebPkiClientVerifier::builder_with_provider(roots, provider());
    let builder = if lets_in_anonymous { builder.allow_unauthenticated() } else { builder };
    Ok(builder.build()?)
}

/// Server configuration for HTTP/1.1 with this pair. Without a verifier it accepts every client.
pub fn server(
    cert: &[u8],
    key: &[u8],
    verifier: Option<Arc<dyn ClientCertVerifier>>,
) -> Result<ServerConfig> {
    let builder = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
    let builder = match verifier {
        None => builder.with_no_client_auth(),
        Some(verifier) => builder.with_client_cert_verifier(verifier),
    };
    let chain = certificates(cert).context("tls.crt")?;
    let private = private_key(key).context("tls.key")?;
    let mut config =
        builder.with_single_cert(chain, private).context("tls.crt and tls.key do not fit together")?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    // each ticket costs time in the handshake and memory afterwards; a client that reconnects needs one
    config.send_tls13_tickets = 1;
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guard::testing::Authority;

    #[test]
    fn an_error_about_a_key_never_quotes_it() {
        let pair = Authority::new("acme").server("localhost");
        let one_line = pair.key.replace('\n', "");
        for broken in [one_line.as_str(), "-----BEGIN PRIVATE KEY-----SECRETSECRET\n", "SECRETSECRET", ""] {
            let error = server(pair.cert.as_bytes(), broken.as_bytes(), None).unwrap_err();
            let told = format!("{error:#} {error:?}");
            assert!(told.contains("tls.key"), "{told}");
            // as text, or as the list of bytes that Debug prints
            assert!(!told.contains("SECRET") && !told.contains(&one_line[40..60]), "{told}");
            assert!(!told.contains("83, 69, 67, 82"), "{told}");
        }
    }

    #[test]
    fn a_key_of_another_certificate_is_refused() {
        let authority = Authority::new("acme");
        let (one, other) = (authority.server("localhost"), authority.server("localhost"));
        let error = server(one.cert.as_bytes(), other.key.as_bytes(), None).unwrap_err();
        assert!(format!("{error:#}").contains("do not fit together"), "{error:#}");
    }
}
