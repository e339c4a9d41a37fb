//! A WebSocket: each message judged once it is whole, and its calls asked as those of a request. Subscriptions have a
//! WebSocket of their own to the client, which ends with it.

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
use super::entry::Ledger;
use super::identity::Known;
use super::listen::Stream;
use super::record::{Transport, Way};
use super::refusal::Refusal;
use super::rules::Rules;

/// A WebSocket that a caller asks for.
pub struct Socket {
    /// Over which it comes.
    pub connection: Arc<Connection>,
    /// By which the caller is known.
    pub rules: Arc<Rules>,
    /// Who it is.
    pub known: Known,
    /// Where its calls are put down.
    pub ledger: Ledger,
}

impl Socket {
    /// Accepts it, where the request is as RFC 6455 section 4.2.1 has it. No extension and no subprotocol is taken.
    ///
    /// # Errors
    /// Where it is not.
    pub fn accept(mut self, request: Request<Incoming>) -> Result<Response<()>, Refusal> {
        let key = asked(request.headers()).ok_or_else(Refusal::verb)?;
        self.ledger.way = Way { transport: Transport::WebSocket, ..self.ledger.way };
        let connection = self.connection.clone();
        let session = tokio::spawn(async move {
            let Ok(upgraded) = hyper::upgrade::on(request).await else { return };
            self.connection.patience.release();
            let Ok(parts) = upgraded.downcast::<TokioIo<Stream>>() else { return };
            let (stream, read) = (parts.io.into_inner(), parts.read_buf);
            let sockets = &self.connection.shared.counts.clone().websockets;
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

/// What the key of a proper request is answered with.
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
