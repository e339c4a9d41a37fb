//! Reads a client's chain metrics over TLS, and the certificate that served them. Size and time are limited, since any
//! process may answer.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use super::{Witness, shake_hands};
use crate::{
    model::secrets::tls::Fingerprint,
    protocol::chain_metrics::{self, Said},
};

/// Deadline for connection, handshake and response.
const TIMEOUT: Duration = Duration::from_secs(3);

/// Maximum size of the response in bytes.
const BYTES: usize = 2048 + chain_metrics::BYTES;

const REQUEST: &[u8] = b"GET /chain HTTP/1.1\r\nhost: chain\r\nconnection: close\r\n\r\n";

/// Reads the metrics at an address. Returns them with the fingerprint of the server's certificate, or `None` without a
/// valid response.
pub async fn ask(address: SocketAddr) -> Option<(Fingerprint, Said)> {
    let witness = Arc::new(Witness::new());
    let answer = timeout(TIMEOUT, exchange(address, Arc::clone(&witness))).await.ok()?.ok()?;
    let said = said(&answer)?;
    Some((witness.seen()?, said))
}

async fn exchange(address: SocketAddr, witness: Arc<Witness>) -> anyhow::Result<Vec<u8>> {
    let mut stream = shake_hands(TcpStream::connect(address).await?, address, witness).await?;
    stream.write_all(REQUEST).await?;
    let mut answer = Vec::new();
    // a longer response is cut off, and is invalid
    (&mut stream).take(BYTES as u64 + 1).read_to_end(&mut answer).await?;
    Ok(answer)
}

/// Parses the body of a complete response with status 200.
fn said(answer: &[u8]) -> Option<Said> {
    let text = std::str::from_utf8(answer).ok().filter(|_| answer.len() <= BYTES)?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let mut lines = head.split("\r\n");
    let is_well = lines.next()?.starts_with("HTTP/1.1 200 ");
    let length = lines.find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    (is_well && length == Some(body.len())).then(|| Said::read(body.as_bytes()))?
}

#[cfg(test)]
mod tests;
