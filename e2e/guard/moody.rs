//! A client with moods: it hangs, hangs up, or answers a gigabyte, as the method says, and answers all else well.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};

use futures::{SinkExt as _, StreamExt as _};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

const PIECE: &[u8] = &[b' '; 64 * 1024];
const PIECES: usize = 1024 * 1024 * 1024 / PIECE.len();
const WELL: &str = r#"{"jsonrpc":"2.0","id":1,"result":"0x1"}"#;

/// Where it listens: HTTP and WebSocket.
pub(crate) async fn start() -> anyhow::Result<[SocketAddr; 2]> {
    let http = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let at = [http.local_addr()?, socket.local_addr()?];
    tokio::spawn(async move {
        while let Ok((stream, _)) = http.accept().await {
            let service = service_fn(answer);
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    tokio::spawn(async move {
        while let Ok((stream, _)) = socket.accept().await {
            tokio::spawn(async move {
                let Ok(mut socket) = tokio_tungstenite::accept_async(stream).await else { return };
                while let Some(Ok(message)) = socket.next().await {
                    if message.is_text() && socket.send(WELL.into()).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    Ok(at)
}

async fn answer(
    request: Request<Incoming>,
) -> Result<Response<BoxBody<Bytes, Infallible>>, Box<dyn std::error::Error + Send + Sync>> {
    let body = request.into_body().collect().await?.to_bytes();
    let asks = |method: &[u8]| body.windows(method.len()).any(|part| part == method);
    if asks(b"eth_hang") {
        std::future::pending::<()>().await;
    }
    if asks(b"eth_die") {
        return Err("it hangs up".into());
    }
    if asks(b"eth_gigabyte") {
        let pieces = (0..PIECES).map(|_| Ok(Frame::data(Bytes::from_static(PIECE))));
        let pieces = StreamBody::new(futures::stream::iter(pieces));
        return Ok(Response::new(http_body_util::BodyExt::boxed(pieces)));
    }
    Ok(Response::new(Full::from(WELL).boxed()))
}
