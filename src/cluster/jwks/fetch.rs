//! Fetches the configuration and keys that token issuers publish. Error messages contain nothing from a response.

use std::{pin::Pin, sync::Arc, time::Duration};

use http::{Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::{
    body::{Body, Bytes},
    client::conn::http1,
};
use hyper_util::rt::TokioIo;
use kube::Client;
use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use tokio::{net::TcpStream, task::JoinSet, time::timeout};
use tokio_rustls::TlsConnector;

use super::parse;
use crate::{dns::Resolver, protocol::policy};

/// Deadline for all reads from one issuer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Maximum size of a document in bytes.
const LONGEST: usize = 256 << 10;

/// Path of the discovery document, of the cluster and of other issuers.
const CONFIGURATION: &str = "/.well-known/openid-configuration";

/// Path of the cluster's keys at its API server. The `jwks_uri` in its configuration may be an external address.
const KEYS: &str = "/openid/v1/jwks";

const ITS_CONFIGURATION: &str = "its configuration";
const ITS_KEYS: &str = "its keys";

/// Reads what an OpenID Connect issuer publishes, by its URL and the CAs of its certificate as PEM.
pub type Fetch = Arc<
    dyn Fn(String, Option<String>) -> Pin<Box<dyn Future<Output = Result<policy::Issuer, String>> + Send>>
        + Send
        + Sync,
>;

/// Reads the issuer of the cluster's ServiceAccount tokens, and its keys.
///
/// # Errors
/// A message with the cause.
pub async fn cluster(client: &Client) -> Result<policy::Issuer, String> {
    let read = async {
        let issuer = parse::discovery(&asked(client, CONFIGURATION, ITS_CONFIGURATION).await?)?.issuer;
        Ok(policy::Issuer { issuer, keys: parse::keys(&asked(client, KEYS, ITS_KEYS).await?)? })
    };
    timeout(TIMEOUT, read).await.unwrap_or_else(|_| Err("it did not answer in time".into()))
}

async fn asked(client: &Client, path: &str, what: &str) -> Result<Vec<u8>, String> {
    let request =
        Request::get(path).body(kube::client::Body::empty()).map_err(|_| "the request is invalid")?;
    let answer = client.send(request).await.map_err(|_| "it cannot be reached")?;
    content(answer, what).await
}

/// Reads an OpenID Connect issuer from its URL.
///
/// # Errors
/// A message with the cause.
pub async fn issuer(url: String, authorities: Option<String>) -> Result<policy::Issuer, String> {
    let read = async {
        let tls = trusting(authorities.as_deref())?;
        let at = format!("{}{CONFIGURATION}", url.trim_end_matches('/'));
        let said = parse::discovery(&get(&at, Arc::clone(&tls), ITS_CONFIGURATION).await?)?;
        if said.issuer != url {
            return Err("its configuration names another issuer URL: use that URL, byte for byte".to_owned());
        }
        let keys = parse::keys(&get(&said.keys, tls, ITS_KEYS).await?)?;
        Ok(policy::Issuer { issuer: url.clone(), keys })
    };
    timeout(TIMEOUT, read).await.unwrap_or_else(|_| Err("it did not answer in time".into()))
}

fn trusting(authorities: Option<&str>) -> Result<Arc<ClientConfig>, String> {
    let mut roots = RootCertStore::empty();
    match authorities {
        None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        Some(pem) => {
            let certificates: Vec<_> = CertificateDer::pem_slice_iter(pem.as_bytes()).flatten().collect();
            roots.add_parsable_certificates(certificates);
        }
    }
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|_| "TLS cannot be configured")?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// Sends one GET request. A redirect is an error.
async fn get(url: &str, tls: Arc<ClientConfig>, what: &str) -> Result<Vec<u8>, String> {
    let not_https = || "the URL of its keys is not an https URL".to_owned();
    let at: Uri = url.parse().map_err(|_| not_https())?;
    let (Some("https"), Some(authority)) = (at.scheme_str(), at.authority()) else { return Err(not_https()) };
    if authority.as_str().contains('@') {
        return Err("the URL of its keys contains credentials".into());
    }
    let host = authority.host().trim_matches(['[', ']']);
    let name = ServerName::try_from(host.to_owned()).map_err(|_| not_https())?;
    let stream = dial(host, authority.port_u16().unwrap_or(443)).await?;
    let stream = TlsConnector::from(tls).connect(name, stream).await;
    let stream = stream.map_err(|_| "its certificate is not trusted, or it does not speak TLS")?;
    let broken = "it does not speak HTTP, or it closed the connection";
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|_| broken)?;
    let mut driver = JoinSet::new();
    driver.spawn(connection);
    let path = at.path_and_query().map_or("/", |path| path.as_str());
    let request = Request::get(path)
        .header(header::HOST, authority.as_str())
        .header(header::ACCEPT, "application/json")
        .body(Empty::<Bytes>::new());
    let answer = sender.send_request(request.map_err(|_| not_https())?).await.map_err(|_| broken)?;
    content(answer, what).await
}

async fn content<B: Body<Data = Bytes>>(answer: http::Response<B>, what: &str) -> Result<Vec<u8>, String>
where
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    if answer.status() != StatusCode::OK {
        return Err(format!("it answered the request for {what} with status {}", answer.status().as_u16()));
    }
    let body = Limited::new(answer.into_body(), LONGEST).collect().await;
    let body =
        body.map_err(|_| format!("its response for {what} is incomplete or longer than {LONGEST} bytes"))?;
    Ok(body.to_bytes().to_vec())
}

async fn dial(host: &str, port: u16) -> Result<TcpStream, String> {
    let addresses = Resolver::default().resolve(host).await;
    for address in addresses.map_err(|_| "its host name cannot be resolved")? {
        if let Ok(stream) = TcpStream::connect((address, port)).await {
            return Ok(stream);
        }
    }
    Err("it cannot be reached".into())
}

#[cfg(test)]
mod tests;
