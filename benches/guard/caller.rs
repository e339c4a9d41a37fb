//! TLS client with one connection that sends one request at a time and reads the whole answer.

use std::{
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::Arc,
    time::Duration,
};

use rustls::{ClientConfig, ClientConnection, StreamOwned, pki_types::ServerName};

/// Port and TLS configuration for new connections.
#[derive(Clone)]
pub(crate) struct Dial {
    pub(crate) port: u16,
    pub(crate) config: Arc<ClientConfig>,
}

/// An open connection.
pub(crate) struct Caller {
    stream: StreamOwned<ClientConnection, TcpStream>,
    answer: Vec<u8>,
}

/// An answer.
pub(crate) struct Answer<'a> {
    pub(crate) status: u16,
    pub(crate) body: &'a [u8],
    /// Whether the peer will close the connection.
    pub(crate) is_last: bool,
}

impl Answer<'_> {
    /// Whether it holds only results of the client, and no error.
    pub(crate) fn is_result(&self) -> bool {
        let has = |part: &[u8]| self.body.windows(part.len()).any(|window| window == part);
        self.status == 200 && has(b"\"result\"") && !has(b"\"error\"")
    }
}

impl Dial {
    /// Connects and completes the caller's side of the handshake.
    pub(crate) fn connect(&self) -> io::Result<Caller> {
        let stream = TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], self.port)))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
        let mut tls = ClientConnection::new(self.config.clone(), name).map_err(io::Error::other)?;
        let mut socket = &stream;
        while tls.is_handshaking() {
            tls.complete_io(&mut socket)?;
        }
        Ok(Caller { stream: StreamOwned::new(tls, stream), answer: Vec::new() })
    }
}

impl Caller {
    /// Sends a whole request and reads the whole answer.
    pub(crate) fn ask(&mut self, request: &[u8]) -> io::Result<Answer<'_>> {
        self.stream.write_all(request)?;
        self.stream.flush()?;
        self.answer.clear();
        let (head, length, is_chunked, is_last) = loop {
            if let Some(head) = self.answer.windows(4).position(|end| end == b"\r\n\r\n") {
                let text = String::from_utf8_lossy(&self.answer[..head]);
                let field = |name: &str| {
                    let mut fields = text.lines().filter_map(|line| line.split_once(':'));
                    fields.find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
                };
                let length: usize =
                    field("content-length").unwrap_or("0").parse().map_err(io::Error::other)?;
                let is_chunked = field("transfer-encoding").is_some();
                break (head + 4, length, is_chunked, field("connection") == Some("close"));
            }
            self.more()?;
        };
        // chunks are not decoded: callers only search the text
        while self.answer.len() < head + length || is_chunked && !self.answer.ends_with(b"\r\n0\r\n\r\n") {
            self.more()?;
        }
        let status = self.answer.get(9..12).and_then(|code| std::str::from_utf8(code).ok());
        let status = status.and_then(|code| code.parse().ok()).unwrap_or(0);
        Ok(Answer { status, body: &self.answer[head..], is_last })
    }

    /// Closes the connection with a TLS close_notify.
    pub(crate) fn close(mut self) {
        self.stream.conn.send_close_notify();
        // fails if the peer has already closed, which does not matter
        let _ = self.stream.flush();
    }

    fn more(&mut self) -> io::Result<()> {
        let mut chunk = [0; 16 * 1024];
        match self.stream.read(&mut chunk)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            read => {
                self.answer.extend_from_slice(&chunk[..read]);
                Ok(())
            }
        }
    }
}

/// A POST request with a JSON body.
pub(crate) fn post(body: &str) -> Vec<u8> {
    request("POST", body)
}

pub(crate) fn request(verb: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "{verb} / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}
