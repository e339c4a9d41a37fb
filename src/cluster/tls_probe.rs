//! Probes which certificate a port serves: a TLS handshake without data and without trust checks.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rustls::{
    ClientConfig, DigitallySignedStruct, Error, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::tls_probe::served_certificates::Port;
use crate::model::{names::Purpose, secrets::tls::Fingerprint};

/// Deadline of a probe.
const TIMEOUT: Duration = Duration::from_secs(5);

/// `SSLRequest` message, which starts TLS in the PostgreSQL protocol. The server answers with one byte.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];

/// Certificate that a port serves and whose key it proves to have; `None` if it cannot be determined.
pub async fn presented(port: Port) -> Option<Fingerprint> {
    let witness = Arc::new(Witness::new());
    let _ = timeout(TIMEOUT, greet(&port, Arc::clone(&witness))).await;
    witness.seen()
}

/// Runs the handshake. Its result does not matter: a port that requires a client certificate rejects the probe only
/// after it has served its own.
async fn greet(port: &Port, witness: Arc<Witness>) -> anyhow::Result<()> {
    let mut stream = TcpStream::connect(port.address).await?;
    if port.purpose == Purpose::Database {
        stream.write_all(&SSL_REQUEST).await?;
        anyhow::ensure!(stream.read_u8().await? == b'S', "it does not speak TLS");
    }
    shake_hands(stream, port.address, witness).await?.shutdown().await?;
    Ok(())
}

async fn shake_hands(
    stream: TcpStream,
    address: SocketAddr,
    witness: Arc<Witness>,
) -> anyhow::Result<TlsStream<TcpStream>> {
    let config = ClientConfig::builder_with_provider(Arc::clone(&witness.provider))
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(witness)
        .with_no_client_auth();
    let name = ServerName::IpAddress(address.ip().into());
    Ok(TlsConnector::from(Arc::new(config)).connect(name, stream).await?)
}

/// Verifier that accepts any server that proves to have its key, and records its certificate.
#[derive(Debug)]
struct Witness {
    provider: Arc<CryptoProvider>,
    seen: Mutex<Option<Fingerprint>>,
}

impl Witness {
    fn new() -> Self {
        Self { provider: Arc::new(aws_lc_rs::default_provider()), seen: Mutex::default() }
    }

    fn seen(&self) -> Option<Fingerprint> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn saw(&self, certificate: &CertificateDer<'_>) {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(Fingerprint::of(certificate));
    }
}

impl ServerCertVerifier for Witness {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms).inspect(|_| self.saw(certificate))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms).inspect(|_| self.saw(certificate))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

pub mod chain_metrics;
pub mod served_certificates;
#[cfg(test)]
mod tests;
