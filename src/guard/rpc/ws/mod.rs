//! A WebSocket: each message judged once it is whole, written anew, and passed on over a WebSocket of its own to
//! the client, which ends with it, subscriptions and all.

pub mod reply;
mod session;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};
use tracing::debug;

use super::connection::Connection;
use super::entry::Ledger;
use super::identity::Known;
use super::record::{Transport, Way};
use super::refusal::Refusal;
use super::rules::Rules;

/// Bytes of buffers before there is anything to read.
const BUFFER: usize = 4096;

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
        tokio::spawn(async move {
            let Ok(upgraded) = hyper::upgrade::on(request).await else { return };
            self.connection.patience.release();
            let limits = &self.rules.policy.limits;
            let caller = WebSocketStream::from_raw_socket(
                TokioIo::new(upgraded),
                Role::Server,
                Some(bounds(limits.body_bytes)),
            )
            .await;
            let sockets = &self.connection.shared.counts.clone().websockets;
            sockets.fetch_add(1, Ordering::Relaxed);
            self.ledger.opened();
            session::run(self, caller).await;
            sockets.fetch_sub(1, Ordering::Relaxed);
        });
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

fn bounds(message: u32) -> WebSocketConfig {
    let message = message as usize;
    WebSocketConfig::default()
        .read_buffer_size(BUFFER)
        .write_buffer_size(0)
        .max_write_buffer_size(usize::MAX)
        .max_message_size(Some(message))
        .max_frame_size(Some(message))
}

/// The client's WebSocket. No origin is sent: the client lets in whoever sends none.
async fn dial(at: SocketAddr, message: u32) -> Option<WebSocketStream<TcpStream>> {
    let dial = async {
        let stream = TcpStream::connect(at).await.ok()?;
        let _ = stream.set_nodelay(true);
        match client_async_with_config("ws://localhost/", stream, Some(bounds(message))).await {
            Ok((socket, _)) => Some(socket),
            Err(error) => {
                debug!(%error, "the client takes no WebSocket");
                None
            }
        }
    };
    timeout(Duration::from_secs(5), dial).await.ok().flatten()
}
