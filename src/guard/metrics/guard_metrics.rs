//! Fetches the metrics of `quorum-guard rpc` in the same pod over loopback.

use std::net::SocketAddr;
use std::time::Duration;

use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::series::family;

/// Time for the whole exchange.
const TIME: Duration = Duration::from_secs(2);
/// Maximum size of the page; each of 32 callers adds about 300 bytes.
const BYTES: usize = 256 * 1024;
/// Prefix of the series that are taken over; all others are dropped.
const OURS: &str = "quorum_guard_rpc_";

/// Returns the page and a series that says whether it could be read; an empty text if there is no guard.
pub async fn page(at: Option<SocketAddr>) -> String {
    let Some(at) = at else { return String::new() };
    let read = timeout(TIME, fetch(at)).await.ok().flatten();
    let mut page = String::new();
    let head = ["quorum_guard_rpc_up", "gauge", "1 if the metrics of the guard can be read."];
    family(&mut page, head, &[(&[], u8::from(read.is_some()))]);
    page + &read.unwrap_or_default()
}

async fn fetch(at: SocketAddr) -> Option<String> {
    let stream = TcpStream::connect(at).await.ok()?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.ok()?;
    let mut driver = JoinSet::new();
    driver.spawn(connection);
    let request = Request::get("/metrics").header(header::HOST, at.to_string()).body(Empty::<Bytes>::new());
    let answer = sender.send_request(request.ok()?).await.ok().filter(|it| it.status() == StatusCode::OK)?;
    let page = Limited::new(answer.into_body(), BYTES).collect().await.ok()?.to_bytes();
    let is_ours =
        |line: &&str| line.trim_start_matches("# HELP ").trim_start_matches("# TYPE ").starts_with(OURS);
    let lines = std::str::from_utf8(&page).ok()?.lines().filter(is_ours);
    Some(lines.flat_map(|line| [line, "\n"]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guard::testing::Client;

    #[tokio::test]
    async fn its_series_are_shown_and_nothing_else_and_whether_it_is_there() {
        assert_eq!(page(None).await, "");
        let text = "# HELP quorum_guard_rpc_x X.\n# TYPE quorum_guard_rpc_x gauge\nquorum_guard_rpc_x 1\n# EOF\nother 1\n";
        let guard = Client::start(text).await;
        let shown = page(Some(guard.at)).await;
        assert!(shown.contains("quorum_guard_rpc_up 1\n"), "{shown}");
        assert!(shown.ends_with(&text[..text.find("# EOF").unwrap()]), "{shown}");
        let gone = Client::raw("nothing of HTTP\r\n\r\n".to_owned()).await;
        let shown = page(Some(gone.at)).await;
        assert!(shown.ends_with("quorum_guard_rpc_up 0\n"), "{shown}");
    }
}
