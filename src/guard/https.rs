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

use crate::guard::{
    dial::Dns,
    fault::{Fault, Kind},
    flags::{HostPort, HttpsUrl},
};

/// Succeeds if the URL answers a GET with status 200. Dials `at`; the certificate must name the URL's host. Does not
/// read the body. The caller sets the deadline.
pub async fn answers(dns: &Dns, url: &HttpsUrl, at: &HostPort, tls: Arc<ClientConfig>) -> Result<(), Fault> {
    let stream = dns.dial(at).await?;
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

/// Counts every end of a handshake as a TLS failure, even if the peer only closes the connection.
fn tls_fault(error: &std::io::Error) -> Fault {
    let fault = Fault::of(error);
    if fault.kind == Kind::Closed { Fault { kind: Kind::Tls, ..fault } } else { fault }
}
