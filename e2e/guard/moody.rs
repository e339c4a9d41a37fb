//! A client with moods: it hangs, hangs up, or answers a gigabyte, as the method says, and answers all else well.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::standin::{Answer, Call, Client, Mood, Standin, Way};

const GIGABYTE: u64 = 1024 * 1024 * 1024;

struct Moody;

impl Client for Moody {
    async fn mood(&self, body: &[u8], _: Way) -> Mood {
        let asks = |method: &[u8]| body.windows(method.len()).any(|part| part == method);
        if asks(b"eth_hang") {
            std::future::pending().await
        } else if asks(b"eth_die") {
            Mood::HangsUp
        } else if asks(b"eth_gigabyte") {
            Mood::Blank(GIGABYTE)
        } else {
            Mood::Well
        }
    }

    fn answer(&self, _: &Call<'_>) -> Answer {
        Answer::Result("\"0x1\"".into())
    }
}

/// Where it listens: HTTP and WebSocket.
pub(crate) async fn start() -> anyhow::Result<[SocketAddr; 2]> {
    let standin = Standin::start(Arc::new(Moody)).await?;
    Ok([standin.http, standin.ws])
}
