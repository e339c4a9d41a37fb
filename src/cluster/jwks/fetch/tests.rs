use std::{collections::HashMap, sync::Mutex};

use hickory_resolver::proto::{
    op::{Message, ResponseCode},
    rr::{RData, Record, RecordType},
};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::{ServerConfig, pki_types::PrivateKeyDer};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, UdpSocket},
};
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::testing::server::{ISSUER, Server};

const KEY: &str = r#"{"keys": [{"kty": "EC", "kid": "one", "crv": "P-256",
    "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4", "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}]}"#;

type Pages = Arc<Mutex<HashMap<String, String>>>;

/// Test issuer on the loopback address.
struct Published {
    url: String,
    authority: String,
    pages: Pages,
}

impl Published {
    /// Serves complete responses by path, and 404 for other paths.
    async fn new(name: &str) -> Self {
        let ca = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = params.self_signed(&ca).expect("an authority");
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        let by = Issuer::from_ca_cert_der(authority.der(), &ca).expect("an authority");
        let certificate = params.signed_by(&key, &by).expect("a certificate");
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::try_from(key.serialize_der()).expect("a key"),
            )
            .expect("a pair");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("https://{}/realm", listener.local_addr().expect("an address"));
        let published = Self { url, authority: authority.pem(), pages: Pages::default() };
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let pages = Arc::clone(&published.pages);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let Ok(mut stream) = acceptor.accept(stream).await else { continue };
                let mut request = vec![0; 4096];
                let length = stream.read(&mut request).await.unwrap_or(0);
                let request = String::from_utf8_lossy(&request[..length]).into_owned();
                let path = request.split(' ').nth(1).unwrap_or_default();
                let page = pages.lock().expect("no panic under it").get(path).cloned();
                let page = page.unwrap_or_else(|| "HTTP/1.1 404 No\r\ncontent-length: 0\r\n\r\n".into());
                let _ = stream.write_all(page.as_bytes()).await;
                let _ = stream.shutdown().await;
            }
        });
        published.says(json!({"issuer": published.url, "jwks_uri": published.at("/keys")}));
        published.page("/keys", &whole(KEY));
        published
    }

    fn at(&self, path: &str) -> String {
        format!("{}{path}", self.url.trim_end_matches("/realm"))
    }

    fn page(&self, path: &str, answer: &str) {
        self.pages.lock().expect("no panic under it").insert(path.into(), answer.into());
    }

    fn says(&self, configuration: Value) {
        self.page("/realm/.well-known/openid-configuration", &whole(&configuration.to_string()));
    }

    async fn read(&self) -> Result<policy::Issuer, String> {
        issuer(self.url.clone(), Some(self.authority.clone())).await
    }
}

fn whole(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

#[tokio::test]
async fn an_issuer_is_read_at_its_url() {
    let published = Published::new("127.0.0.1").await;
    let keys = parse::keys(KEY.as_bytes()).expect("keys");
    assert_eq!(published.read().await, Ok(policy::Issuer { issuer: published.url.clone(), keys }));
}

#[tokio::test]
async fn an_issuer_is_believed_by_the_authority_that_is_named_alone() {
    let (published, other) = (Published::new("127.0.0.1").await, Published::new("127.0.0.1").await);
    let untrusted = Err("its certificate is not trusted, or it does not speak TLS".to_owned());
    assert_eq!(issuer(published.url.clone(), Some(other.authority)).await, untrusted);
    assert_eq!(issuer(published.url.clone(), None).await, untrusted, "by no public one");
    assert_eq!(issuer(published.url.clone(), Some(String::new())).await, untrusted);
    assert_eq!(Published::new("127.0.0.2").await.read().await, untrusted, "another's name");
}

#[tokio::test]
async fn what_an_issuer_answers_is_taken_at_its_word_or_not_at_all() {
    let published = Published::new("127.0.0.1").await;
    let why = async || published.read().await.expect_err("it cannot be used");
    let sound = json!({"issuer": published.url, "jwks_uri": published.at("/keys")});
    let with = |name: &str, value: Value| {
        let mut changed = sound.clone();
        changed[name] = value;
        published.says(changed);
    };
    with("issuer", json!(format!("{}/", published.url)));
    assert_eq!(why().await, "its configuration names another issuer URL: use that URL, byte for byte");
    with("jwks_uri", json!(published.at("/keys").replace("https", "http")));
    assert_eq!(why().await, "the URL of its keys is not an https URL");
    with("jwks_uri", json!("file:///etc/passwd"));
    assert_eq!(why().await, "the URL of its keys is not an https URL");
    with("jwks_uri", json!(published.at("/keys").replace("https://", "https://me:word@")));
    assert_eq!(why().await, "the URL of its keys contains credentials");
    with("jwks_uri", json!(published.at("/elsewhere")));
    assert_eq!(why().await, "it answered the request for its keys with status 404");
    published
        .page("/elsewhere", &format!("HTTP/1.1 302 Found\r\nlocation: {}\r\n\r\n", published.at("/keys")));
    assert_eq!(
        why().await,
        "it answered the request for its keys with status 302",
        "no redirect is followed"
    );
    published.page("/elsewhere", &whole("{\"keys\": []}"));
    assert_eq!(why().await, "none of its keys can be used");
    let longest = " ".repeat(LONGEST - KEY.len());
    published.page("/elsewhere", &whole(&format!("{KEY}{longest}")));
    assert!(published.read().await.is_ok());
    published.page("/elsewhere", &whole(&format!("{KEY}{longest} ")));
    assert_eq!(why().await, "its response for its keys is incomplete or longer than 262144 bytes");
    published.page("/elsewhere", "HTTP/1.1 200 OK\r\ncontent-length: 999\r\n\r\n{}");
    assert_eq!(why().await, "its response for its keys is incomplete or longer than 262144 bytes");
    published.page("/elsewhere", "SSH-2.0-x\r\n");
    assert_eq!(why().await, "it does not speak HTTP, or it closed the connection");
}

#[tokio::test]
async fn an_issuer_that_is_not_there_is_told_so_in_time() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let url = format!("https://{address}");
    tokio::time::pause();
    let silent = issuer(url.clone(), None).await;
    tokio::time::resume();
    assert_eq!(silent, Err("it did not answer in time".into()));
    drop(listener);
    assert_eq!(issuer(url, None).await, Err("it cannot be reached".into()));
}

#[tokio::test]
async fn the_cluster_is_asked_through_its_own_server() {
    let server = Server::with_hosts();
    let read = cluster(&server.client()).await.expect("an issuer");
    assert_eq!((read.issuer.as_str(), read.keys.len()), (ISSUER, 1));
    server.issue(None);
    let why = cluster(&server.client()).await.expect_err("nothing is told");
    assert_eq!(why, "it answered the request for its configuration with status 404");
}

/// DNS server that knows one name.
async fn dns(known: &'static str) -> u16 {
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
    let port = socket.local_addr().expect("an address").port();
    tokio::spawn(async move {
        let mut buffer = [0; 1024];
        while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
            let query = Message::from_vec(&buffer[..length]).expect("a question");
            let question = query.queries[0].clone();
            let mut answer = query.into_response();
            if question.name().to_string() != known {
                answer.metadata.response_code = ResponseCode::NXDomain;
            } else if question.query_type() == RecordType::A {
                let data = RData::A("10.1.2.3".parse().expect("an address"));
                answer.add_answer(Record::from_rdata(question.name().clone(), 30, data));
            }
            let _ = socket.send_to(&answer.to_vec().expect("an answer"), from).await;
        }
    });
    port
}

#[tokio::test]
async fn an_issuers_name_is_asked_for_as_the_pods_configuration_says() {
    let directory = tempfile::tempdir().expect("a directory");
    let conf = directory.path().join("resolv.conf");
    std::fs::write(&conf, "nameserver 127.0.0.1\nsearch svc.cluster.local\noptions ndots:5\n")
        .expect("a file");
    let names = |port| Resolver::at(conf.clone(), port);
    let found = Ok(vec!["10.1.2.3".parse().expect("an address")]);
    assert_eq!(names(dns("id.example.").await).resolve("id.example").await, found);
    assert_eq!(names(dns("id.apps.svc.cluster.local.").await).resolve("id.apps").await, found);
    assert!(names(dns("other.").await).resolve("id.example").await.is_err());
}
