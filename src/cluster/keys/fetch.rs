//! Reads what issuers publish. What goes wrong is told in words of our own: nothing of an answer is repeated.

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

use super::read;
use crate::{policy, resolve::Resolver};

/// For all that is read of one issuer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Bytes that a document may have.
const LONGEST: usize = 256 << 10;

/// Where the cluster says who issues the tokens of its ServiceAccounts.
const CONFIGURATION: &str = "/.well-known/openid-configuration";

/// Where it says with which keys, whatever the address it gives to others.
const KEYS: &str = "/openid/v1/jwks";

const ITS_CONFIGURATION: &str = "its configuration";
const ITS_KEYS: &str = "its keys";

/// The way to read what an OpenID Connect issuer publishes, by its URL and the authorities of its certificate.
pub type Fetch = Arc<
    dyn Fn(String, Option<String>) -> Pin<Box<dyn Future<Output = Result<policy::Issuer, String>> + Send>>
        + Send
        + Sync,
>;

/// Who issues the tokens of the cluster's ServiceAccounts.
///
/// # Errors
/// Why it cannot be told.
pub async fn cluster(client: &Client) -> Result<policy::Issuer, String> {
    let read = async {
        let issuer = read::discovery(&asked(client, CONFIGURATION, ITS_CONFIGURATION).await?)?.issuer;
        Ok(policy::Issuer { issuer, keys: read::keys(&asked(client, KEYS, ITS_KEYS).await?)? })
    };
    timeout(PATIENCE, read).await.unwrap_or_else(|_| Err("it did not answer in time".into()))
}

async fn asked(client: &Client, path: &str, what: &str) -> Result<Vec<u8>, String> {
    let request = Request::get(path).body(kube::client::Body::empty()).map_err(|_| "no request")?;
    let answer = client.send(request).await.map_err(|_| "it cannot be reached")?;
    content(answer, what).await
}

/// An OpenID Connect issuer, as it is at its URL.
///
/// # Errors
/// Why it cannot be told.
pub async fn issuer(url: String, authorities: Option<String>) -> Result<policy::Issuer, String> {
    let read = async {
        let tls = trusting(authorities.as_deref())?;
        let at = format!("{}{CONFIGURATION}", url.trim_end_matches('/'));
        let said = read::discovery(&get(&at, Arc::clone(&tls), ITS_CONFIGURATION).await?)?;
        if said.issuer != url {
            return Err("it calls itself by another URL: name that one, byte by byte".to_owned());
        }
        let keys = read::keys(&get(&said.keys, tls, ITS_KEYS).await?)?;
        Ok(policy::Issuer { issuer: url.clone(), keys })
    };
    timeout(PATIENCE, read).await.unwrap_or_else(|_| Err("it did not answer in time".into()))
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
        .map_err(|_| "no TLS")?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// One answer. Whoever sends us elsewhere has not answered.
async fn get(url: &str, tls: Arc<ClientConfig>, what: &str) -> Result<Vec<u8>, String> {
    let not_https = || "its keys are at no https URL".to_owned();
    let at: Uri = url.parse().map_err(|_| not_https())?;
    let (Some("https"), Some(authority)) = (at.scheme_str(), at.authority()) else { return Err(not_https()) };
    if authority.as_str().contains('@') {
        return Err("its keys are at a URL with a name or a password in it".into());
    }
    let host = authority.host().trim_matches(['[', ']']);
    let name = ServerName::try_from(host.to_owned()).map_err(|_| not_https())?;
    let stream = dial(host, authority.port_u16().unwrap_or(443)).await?;
    let stream = TlsConnector::from(tls).connect(name, stream).await;
    let stream = stream.map_err(|_| "its certificate is not trusted, or it speaks no TLS")?;
    let broken = "it broke off";
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
        return Err(format!("asked for {what} it answers with {}", answer.status().as_u16()));
    }
    let body = Limited::new(answer.into_body(), LONGEST).collect().await;
    let body =
        body.map_err(|_| format!("asked for {what} it answers more than {LONGEST} bytes, or breaks off"))?;
    Ok(body.to_bytes().to_vec())
}

async fn dial(host: &str, port: u16) -> Result<TcpStream, String> {
    let addresses = Resolver::default().resolve(host).await;
    for address in addresses.map_err(|_| "its name cannot be resolved")? {
        if let Ok(stream) = TcpStream::connect((address, port)).await {
            return Ok(stream);
        }
    }
    Err("it cannot be reached".into())
}

#[cfg(test)]
mod tests;
