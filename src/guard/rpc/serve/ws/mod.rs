//! WebSockets of callers. The guard authorizes each complete message and sends its calls like those of an HTTP request.
//! Subscriptions use a separate WebSocket to the client, which ends with the caller's.

mod end;
pub mod frame;
mod message;
mod session;
pub mod subscriptions;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::connection::Connection;
use super::listen::Stream;
use crate::guard::rpc::{
    audit::{
        audit_scope::Ledger,
        record::{Transport, Way},
    },
    decide::{identity::Known, rejection::Rejection, rules::Rules},
};

/// A WebSocket that a caller requests.
pub struct Socket {
    /// The connection to upgrade.
    pub connection: Arc<Connection>,
    /// The rules that authenticated the caller.
    pub rules: Arc<Rules>,
    /// The caller's identity.
    pub known: Known,
    /// Records the calls.
    pub ledger: Ledger,
}

impl Socket {
    /// Accepts a request that satisfies RFC 6455 section 4.2.1. Accepts no extension and no subprotocol.
    ///
    /// # Errors
    /// If the request does not.
    pub fn accept(mut self, request: Request<Incoming>) -> Result<Response<()>, Rejection> {
        let key = asked(request.headers()).ok_or_else(Rejection::verb)?;
        self.ledger.way = Way { transport: Transport::WebSocket, ..self.ledger.way };
        let connection = self.connection.clone();
        let session = tokio::spawn(async move {
            let Ok(upgraded) = hyper::upgrade::on(request).await else { return };
            self.connection.deadlines.release();
            let Ok(parts) = upgraded.downcast::<TokioIo<Stream>>() else { return };
            let (stream, read) = (parts.io.into_inner(), parts.read_buf);
            let sockets = &self.connection.server_state.counts.clone().websockets;
            sockets.fetch_add(1, Ordering::Relaxed);
            self.ledger.opened();
            session::run(self, stream, read).await;
            sockets.fetch_sub(1, Ordering::Relaxed);
        });
        connection.lasts_as_long_as(session);
        let mut response = Response::new(());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, key);
        Ok(response)
    }
}

/// Returns the answer to the key of a valid request.
fn asked(headers: &HeaderMap) -> Option<HeaderValue> {
    let has = |name, wanted: &str| {
        let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
        values.flat_map(|value| value.split(',')).any(|value| value.trim().eq_ignore_ascii_case(wanted))
    };
    let is_proper = has(header::CONNECTION, "upgrade")
        && has(header::UPGRADE, "websocket")
        && headers.get(header::SEC_WEBSOCKET_VERSION).is_some_and(|version| version == "13");
    let key = headers.get(header::SEC_WEBSOCKET_KEY).filter(|key| is_proper && key.len() == 24)?;
    HeaderValue::from_str(&derive_accept_key(key.as_bytes())).ok()
}
