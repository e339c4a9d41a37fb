//! One GET over mutual TLS.

use std::sync::Arc;

use http_body_util::Empty;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{Request, header};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;

use crate::guard::fault::{Fault, Kind};
use crate::guard::flags::{HostPort, HttpsUrl};
use crate::guard::names::Names;

/// Succeeds if a GET of the address is answered with 200. Dials `at`; the address's host is what the
/// certificate must name. The body is not read. The caller bounds the time.
pub async fn answers(
    names: &Names,
    url: &HttpsUrl,
    at: &HostPort,
    tls: Arc<ClientConfig>,
) -> Result<(), Fault> {
    let stream = names.dial(at).await?;
    let name = ServerName::try_from(url.at.host.clone()).map_err(|error| Fault::new(Kind::Tls, error))?;
    let stream = TlsConnector::from(tls).connect(name, stream).await.map_err(|error| tls_fault(&error))?;

    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| Fault::of(&error))?;
    let mut driver = JoinSet::new();
    driver.spawn(connection);

    let request = Request::get(&url.path)
        .header(header::HOST, url.at.to_string())
        .header(header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|error| Fault::new(Kind::Closed, error))?;
    match sender.send_request(request).await {
        Ok(answer) if answer.status().as_u16() == 200 => Ok(()),
        Ok(answer) => Err(Fault::new(Kind::Status(answer.status().as_u16()), "")),
        Err(error) => Err(Fault::of(&error)),
    }
}

/// Whatever ends a handshake is a refusal, also when the peer just hangs up.
fn tls_fault(error: &std::io::Error) -> Fault {
    let fault = Fault::of(error);
    if fault.kind == Kind::Closed { Fault { kind: Kind::Tls, ..fault } } else { fault }
}
