use std::net::SocketAddr;

use k8s_openapi::{
    ByteString,
    jiff::{SignedDuration, Timestamp},
};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::{
    model::secrets::{
        Data, generate,
        tls::{self, KeyAlgorithm, LeafRequest, Usage, Validity},
    },
    protocol::chain_metrics::Figures,
};

fn certificate() -> Data {
    let authority = generate::authority("acme", Timestamp::now()).expect("an authority");
    let hours = SignedDuration::from_hours;
    let request = LeafRequest {
        common_name: "alice".into(),
        dns_names: vec!["alice-client.ledger.svc".into()],
        usage: Usage::Server,
        algorithm: KeyAlgorithm::EcdsaP256,
        validity: Validity { duration: hours(24), renew_before: hours(8) },
        pkcs8_der: false,
    };
    generate::leaf(&authority, &request, Timestamp::now()).expect("a certificate")
}

/// Server for one connection that sends `answer`, and with `goes_on` repeats it until the client closes.
async fn serve(pair: &Data, answer: Vec<u8>, goes_on: bool) -> SocketAddr {
    let pem = |key: &str| {
        let ByteString(bytes) = &pair[key];
        bytes.clone()
    };
    let chain = CertificateDer::pem_slice_iter(&pem("tls.crt")).collect::<Result<_, _>>().expect("PEM");
    let key = PrivateKeyDer::from_pem_slice(&pem("tls.key")).expect("a key");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config =
        builder.expect("versions").with_no_client_auth().with_single_cert(chain, key).expect("a pair");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.expect("a connection");
        let mut stream = TlsAcceptor::from(Arc::new(config)).accept(stream).await.expect("a handshake");
        let mut request = vec![0; REQUEST.len()];
        stream.read_exact(&mut request).await.expect("a request");
        assert_eq!(request, REQUEST);
        stream.write_all(&answer).await.expect("an answer");
        while goes_on && stream.write_all(&answer).await.is_ok() {}
        let _ = stream.shutdown().await;
    });
    address
}

fn whole(status: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\r\n{body}")
        .into_bytes()
}

#[tokio::test]
async fn figures_come_with_the_certificate_of_whoever_says_so() {
    let (pair, told) = (certificate(), Figures { head: 46, peers: 3, age: 2 });
    let at = serve(&pair, whole("200 OK", &told.to_string()), false).await;
    assert_eq!(ask(at).await, Some((tls::read_leaf(&pair).expect("readable").fingerprint, told.into())));
}

#[tokio::test]
async fn what_is_no_whole_answer_of_a_sidecar_is_none() {
    let (pair, body) = (certificate(), Figures { head: 46, peers: 3, age: 2 }.to_string());
    let good = whole("200 OK", &body);
    for answer in [
        whole("503 Service Unavailable", &body),
        whole("404 Not Found", "not found\n"),
        whole("200 OK", "head x\n"),
        good[..good.len() - 1].to_vec(),
        [good.as_slice(), b"x"].concat(),
        [good.as_slice(), &[b'\n'; BYTES]].concat(),
        b"HTTP/1.1 200 OK\r\n\r\nhead 46\npeers 3\nsampled_seconds_ago 2\n".to_vec(),
        vec![0xff; 40],
        vec![],
    ] {
        let at = serve(&pair, answer.clone(), false).await;
        assert_eq!(ask(at).await, None, "{}", String::from_utf8_lossy(&answer));
    }
}

#[tokio::test]
async fn an_answer_without_end_is_cut() {
    let at = serve(&certificate(), vec![b'x'; 4096], true).await;
    assert_eq!(ask(at).await, None);
}

#[tokio::test(start_paused = true)]
async fn whoever_does_not_answer_is_not_waited_for() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let begun = tokio::time::Instant::now();
    assert_eq!(ask(listener.local_addr().expect("an address")).await, None);
    assert_eq!(begun.elapsed(), TIMEOUT);
}
