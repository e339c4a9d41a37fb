//! Stand-in client: answers JSON-RPC at once and records the methods that it receives.

use std::{
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use serde_json::Value;

use crate::standin::{
    Answer, answers, scan,
    wire::{self, Dialect},
};

/// A server on loopback with a thread for each connection. Peers open at most 64.
pub(crate) struct Upstream {
    pub(crate) port: u16,
    seen: Arc<Seen>,
}

#[derive(Default)]
struct Seen {
    /// Whether bodies are stored. They are not while requests are timed.
    is_kept: AtomicBool,
    bodies: Mutex<Vec<Vec<u8>>>,
}

/// Result of every call.
const RESULT: &str = "\"0x10d4f\"";

impl Upstream {
    pub(crate) fn start() -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let upstream = Self { port: listener.local_addr()?.port(), seen: Arc::default() };
        let seen = upstream.seen.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let seen = seen.clone();
                // ignore errors, such as a peer that closes its connection
                thread::spawn(move || serve(stream, &seen));
            }
        });
        Ok(upstream)
    }

    /// Starts or stops storing request bodies.
    pub(crate) fn keep(&self, is_kept: bool) {
        self.seen.is_kept.store(is_kept, Ordering::SeqCst);
    }

    /// Methods that a lenient client would have run since the last call of this function.
    pub(crate) fn asked(&self) -> Vec<String> {
        let bodies = self.seen.bodies.lock().map(|mut bodies| std::mem::take(&mut *bodies));
        bodies.unwrap_or_default().iter().flat_map(|body| methods(body)).collect()
    }
}

fn methods(body: &[u8]) -> Vec<String> {
    let one = |call: &Value| call["method"].as_str().unwrap_or("?").to_owned();
    match serde_json::from_slice(body) {
        Ok(Value::Array(calls)) => calls.iter().map(one).collect(),
        Ok(call) => vec![one(&call)],
        Err(_) => vec![format!("{} bytes that are no JSON", body.len())],
    }
}

fn serve(stream: TcpStream, seen: &Seen) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut to = stream.try_clone()?;
    let mut from = BufReader::with_capacity(64 * 1024, stream);
    let mut body = Vec::new();
    let usual = wire::answer(Dialect::default(), &reply(br#"{"id":1,"method":"any"}"#));
    while let Some(length) = head(&mut from)? {
        body.resize(length, 0);
        from.read_exact(&mut body)?;
        if seen.is_kept.load(Ordering::SeqCst)
            && let Ok(mut bodies) = seen.bodies.lock()
        {
            bodies.push(body.clone());
        }
        // the scan ends at the id if it comes first, however long the body is
        if scan::member(&body, "id") == Some(b"1") {
            to.write_all(&usual)?;
        } else {
            to.write_all(&wire::answer(Dialect::default(), &reply(&body)))?;
        }
    }
    Ok(())
}

/// Reads a request's header. Returns the length of the body, or `None` at the end of the connection.
fn head(from: &mut BufReader<TcpStream>) -> io::Result<Option<usize>> {
    let (mut length, mut line) = (0, String::new());
    loop {
        line.clear();
        if from.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        if line == "\r\n" {
            return Ok(Some(length));
        }
        if let Some((name, value)) = line.split_once(':') {
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse().map_err(io::Error::other)?;
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                return Err(io::Error::other("a body without a length"));
            }
        }
    }
}

/// Answer to a request, empty if it needs none.
fn reply(body: &[u8]) -> Vec<u8> {
    answers::reply(&answers::read(body), &mut |_| Answer::Result(RESULT.into())).unwrap_or_default()
}
