use k8s_openapi::{
    ByteString,
    jiff::{SignedDuration, Timestamp},
};
use rustls::{
    RootCertStore, ServerConfig,
    pki_types::{PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
    version::{TLS12, TLS13},
};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::model::secrets::{
    Data, generate,
    tls::{self, KeyAlgorithm, LeafRequest, Usage, Validity},
};

fn authority() -> Data {
    generate::authority("acme", Timestamp::now()).expect("an authority")
}

fn certificate(authority: &Data, algorithm: KeyAlgorithm) -> Data {
    let hours = SignedDuration::from_hours;
    let request = LeafRequest {
        common_name: "unrelated".into(),
        dns_names: vec!["alice-tm.ledger.svc".into()],
        usage: Usage::Server,
        algorithm,
        validity: Validity { duration: hours(24), renew_before: hours(8) },
        pkcs8_der: false,
    };
    generate::leaf(authority, &request, Timestamp::now()).expect("a certificate")
}

fn pem<'a>(data: &'a Data, key: &str) -> &'a [u8] {
    let ByteString(bytes) = &data[key];
    bytes
}

fn chain(data: &Data, key: &str) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(pem(data, key)).collect::<Result<_, _>>().expect("PEM")
}

/// Server for one connection. With `clients`, it requires a client certificate of that CA.
async fn serve(
    pair: &Data,
    clients: Option<&Data>,
    version: &'static rustls::SupportedProtocolVersion,
    greets: bool,
) -> (Port, JoinHandle<bool>) {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
    let builder = builder.with_protocol_versions(&[version]).expect("a version");
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            roots.add(chain(authority, "tls.crt").remove(0)).expect("an authority");
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(verifier.build().expect("a verifier"))
        }
    };
    let key = PrivateKeyDer::from_pem_slice(pem(pair, "tls.key")).expect("a key");
    let config = builder.with_single_cert(chain(pair, "tls.crt"), key).expect("a pair");
    let (listener, port) = listen(if greets { Purpose::Database } else { Purpose::Manager }).await;
    let served = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        if greets {
            let mut request = [0; 8];
            stream.read_exact(&mut request).await.expect("a request for TLS");
            assert_eq!(request, SSL_REQUEST);
            stream.write_all(b"S").await.expect("an answer");
        }
        TlsAcceptor::from(Arc::new(config)).accept(stream).await.is_ok()
    });
    (port, served)
}

async fn listen(purpose: Purpose) -> (TcpListener, Port) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let text = |text: &str| text.to_owned();
    let port = Port { namespace: text("ledger"), node: text("alice"), purpose, pod: text("uid-7"), address };
    (listener, port)
}

#[tokio::test]
async fn what_is_presented_is_seen_whoever_signed_it_and_also_where_a_certificate_is_wanted_of_us() {
    let authority = authority();
    for algorithm in [KeyAlgorithm::EcdsaP256, KeyAlgorithm::Rsa2048] {
        let pair = certificate(&authority, algorithm);
        let held = tls::read_leaf(&pair).expect("readable").fingerprint;
        for version in [&TLS12, &TLS13] {
            for clients in [None, Some(&authority)] {
                for greets in [false, true] {
                    let (port, served) = serve(&pair, clients, version, greets).await;
                    assert_eq!(presented(port).await.as_ref(), Some(&held), "{version:?} {greets}");
                    assert_eq!(
                        served.await.expect("no panic"),
                        clients.is_none(),
                        "a handshake that ends well"
                    );
                }
            }
        }
    }
}

#[tokio::test]
async fn nothing_is_seen_of_what_does_not_answer_in_tls() {
    for (purpose, says) in [(Purpose::Metrics, &b"HTTP/1.1 400\r\n\r\n"[..]), (Purpose::Database, b"N")] {
        let (listener, port) = listen(purpose).await;
        let served = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            stream.write_all(says).await.expect("an answer");
            stream
        });
        assert_eq!(presented(port).await, None, "{purpose:?}");
        drop(served);
    }
    let (listener, port) = listen(Purpose::Metrics).await;
    drop(listener);
    assert_eq!(presented(port).await, None, "nobody listens");
}

#[tokio::test(start_paused = true)]
async fn whoever_does_not_answer_is_not_waited_for() {
    let (listener, port) = listen(Purpose::Metrics).await;
    let begun = tokio::time::Instant::now();
    assert_eq!(presented(port).await, None);
    assert_eq!(begun.elapsed().as_secs(), TIMEOUT.as_secs());
    drop(listener);
}

/// A certificate is public: anyone can send one.
#[tokio::test]
async fn a_certificate_whose_key_is_not_shown_is_not_seen() {
    let (message, authority) = (b"a handshake so far", authority());
    let pair = certificate(&authority, KeyAlgorithm::EcdsaP256);
    let (wire, witness) = (vec![4, 3, 0, 2, 0, 0], Witness::new());
    let mut read = rustls::internal::msgs::codec::Reader::init(&wire);
    let signed = <DigitallySignedStruct as rustls::internal::msgs::codec::Codec>::read(&mut read);
    let signed = signed.expect("a signature that is none");
    let shown = &chain(&pair, "tls.crt")[0];
    let name = ServerName::try_from("alice").expect("a name");
    assert!(witness.verify_server_cert(shown, &[], &name, &[], UnixTime::now()).is_ok());
    assert!(witness.verify_tls13_signature(message, shown, &signed).is_err());
    assert!(witness.verify_tls12_signature(message, shown, &signed).is_err());
    assert_eq!(*witness.seen.lock().expect("not poisoned"), None);
}
