use std::future::{Future as _, poll_fn};
use std::net::{IpAddr, Ipv4Addr};
use std::pin::Pin;
use std::task::Poll;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::TlsAcceptor;

use super::client::How;
use super::*;
use crate::guard::rpc::{
    audit::record::Transport,
    decide::rules::Rules,
    limits::deadlines::{Bound, Bounded, Bounds, Deadlines},
    serve::{
        connection::{Connection, Handshake},
        connection_slots::ConnectionSlot,
        idle_http::Http1,
    },
};

/// An HTTP/1.1 connection that the test polls itself, and the caller's end.
struct Served {
    http1: Http1,
    connection: Arc<Connection>,
    caller: TlsStream<TcpStream>,
    client: Client,
    _rules: channel::Sender<Arc<Rules>>,
    _stop: channel::Sender<bool>,
}

impl Served {
    async fn start(bounds: Bounds) -> Self {
        let client = Client::start().await;
        let (rules, of_now) = channel::channel(Arc::new(Rules::of(policy(), None).unwrap()));
        let (stop, stopped) = channel::channel(false);
        let (_, into) = rustix::pipe::pipe().unwrap();
        let server_state = Arc::new(ServerState {
            rules: of_now,
            counts: Arc::new(Metrics::new(Audit::to(into))),
            budget: Budget::of(1 << 20),
            http: Arc::new(Upstream::new(client.http)),
            ws: client.ws,
            stop: stopped,
            since: Instant::now(),
        });
        let (authority, dir) = (Authority::new("acme"), tempfile::tempdir().unwrap());
        let pair = authority.server(HOST);
        let ca = dir.path().join("ca.crt");
        fs::write(&ca, &authority.cert).unwrap();
        let dials = TlsConnector::from(Arc::new(certificates::client(&ca, None).unwrap()));
        let takes = certificates::server(pair.cert.as_bytes(), pair.key.as_bytes(), None).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let accepted = async {
            let (stream, _) = listener.accept().await.unwrap();
            TlsAcceptor::from(Arc::new(takes)).accept(stream).await.unwrap()
        };
        let dialled = async {
            let stream = TcpStream::connect(at).await.unwrap();
            dials.connect(ServerName::try_from(HOST).unwrap(), stream).await.unwrap()
        };
        let (stream, caller) = tokio::join!(accepted, dialled);
        let place = ConnectionSlot::take(&server_state, IpAddr::V4(Ipv4Addr::LOCALHOST)).unwrap();
        let handshake = Handshake { place, transport: Transport::Http1, certificates: vec![] };
        let connection = Connection::new(handshake, Deadlines::new(bounds));
        let stream = Bounded::new(stream, connection.deadlines.clone(), true);
        let http1 = Http1::new(stream, connection.clone(), 16 * 1024);
        Self { http1, connection, caller, client, _rules: rules, _stop: stop }
    }

    /// Sends this and reads one answer to its end.
    async fn ask(&mut self, text: &str) -> String {
        let asked = async {
            self.caller.write_all(text.as_bytes()).await.unwrap();
            let mut answer = String::new();
            while !answer.ends_with("}\n") {
                let mut piece = [0; 1000];
                let size = self.caller.read(&mut piece).await.unwrap();
                assert!(size > 0, "ended after {answer}");
                answer.push_str(std::str::from_utf8(&piece[..size]).unwrap());
            }
            answer
        };
        tokio::select! {
            answer = asked => answer,
            ended = Pin::new(&mut self.http1) => panic!("{ended:?}"),
        }
    }

    async fn until_it_rests(&mut self) {
        let rests = poll_fn(|cx| {
            assert!(Pin::new(&mut self.http1).poll(cx).is_pending());
            if self.http1.rests() { Poll::Ready(()) } else { Poll::Pending }
        });
        tokio::time::timeout(Duration::from_secs(10), rests).await.expect("it never rests");
    }
}

const LONG: Duration = Duration::from_secs(60);

fn bounds() -> Bounds {
    Bounds { idle: LONG, header: LONG, request: LONG }
}

fn call() -> String {
    let (token, body) = (token(), ask("eth_call"));
    let length = body.len();
    format!(
        "POST / HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )
}

#[tokio::test]
async fn a_connection_rests_when_nothing_is_said_and_answers_whatever_is_said_then() {
    let mut served = Served::start(bounds()).await;
    served.until_it_rests().await;
    for _ in 0..2 {
        assert!(served.ask(&call()).await.starts_with("HTTP/1.1 200 OK\r\n"));
        assert!(!served.http1.rests());
        served.until_it_rests().await;
    }
    // one byte is enough to wake it, and is not lost
    let text = call();
    served.caller.write_all(&text.as_bytes()[..1]).await.unwrap();
    assert!(served.ask(&text[1..]).await.starts_with("HTTP/1.1 200 OK\r\n"));
    served.until_it_rests().await;
    Pin::new(&mut served.http1).graceful_shutdown();
    Pin::new(&mut served.http1).await.unwrap();
    assert_eq!(served.caller.read(&mut [0]).await.unwrap(), 0, "the answer announces the end");
    assert_eq!(served.client.asked().len(), 3);
}

#[tokio::test]
async fn a_call_that_is_under_way_does_not_rest() {
    let mut served = Served::start(bounds()).await;
    served.client.answer(How::Never);
    served.caller.write_all(call().as_bytes()).await.unwrap();
    let mut seen = false;
    let asked = poll_fn(|cx| {
        assert!(Pin::new(&mut served.http1).poll(cx).is_pending() && !served.http1.rests());
        seen |= !served.client.asked().is_empty();
        if seen {
            Poll::Ready(())
        } else {
            cx.waker().wake_by_ref();
            Poll::Pending
        }
    });
    asked.await;
    assert!(!served.connection.deadlines.rests());
    served.client.answer(How::Well);
    assert!(served.ask("").await.starts_with("HTTP/1.1 200 OK\r\n"));
    served.until_it_rests().await;
}

#[tokio::test]
async fn a_header_that_began_with_the_last_request_is_bounded_and_not_lost() {
    let bounds = Bounds { header: Duration::from_secs(3), ..bounds() };
    let mut served = Served::start(bounds).await;
    let (first, next) = (call(), call());
    let (begin, rest) = next.split_at(20);
    served.ask(&format!("{first}{begin}")).await;
    let resumed = poll_fn(|cx| {
        assert!(Pin::new(&mut served.http1).poll(cx).is_pending());
        if served.connection.deadlines.hears() { Poll::Ready(()) } else { Poll::Pending }
    });
    resumed.await;
    assert!(served.ask(rest).await.starts_with("HTTP/1.1 200 OK\r\n"));
    served.ask(&format!("{first}{begin}")).await;
    let _ = Pin::new(&mut served.http1).await;
    assert_eq!(served.connection.deadlines.ended(), Some(Bound::Header));
}

#[tokio::test]
async fn one_that_rests_ends_when_it_has_idled_too_long_or_its_caller_leaves() {
    let idle = Duration::from_millis(1500);
    let mut served = Served::start(Bounds { idle, ..bounds() }).await;
    served.ask(&call()).await;
    served.until_it_rests().await;
    let _ = Pin::new(&mut served.http1).await;
    assert_eq!(served.connection.deadlines.ended(), Some(Bound::Idle));

    let mut served = Served::start(bounds()).await;
    served.until_it_rests().await;
    served.caller.shutdown().await.unwrap();
    Pin::new(&mut served.http1).await.unwrap();
    assert_eq!(served.connection.deadlines.ended(), None);
}

#[tokio::test]
async fn an_empty_line_after_an_answer_is_no_header() {
    let [header, idle] = [1500, 3000].map(Duration::from_millis);
    let mut served = Served::start(Bounds { header, idle, ..bounds() }).await;
    served.ask(&format!("{}\r\n", call())).await;
    served.until_it_rests().await;
    assert!(served.ask(&format!("\r\n{}", call())).await.starts_with("HTTP/1.1 200 OK\r\n"));
    served.until_it_rests().await;
    served.caller.write_all(b"\r\n\r\n").await.unwrap();
    let _ = Pin::new(&mut served.http1).await;
    assert_eq!(served.connection.deadlines.ended(), Some(Bound::Idle));
}

#[tokio::test]
async fn one_whose_caller_is_known_no_longer_ends_once_the_last_answer_is_out() {
    let mut served = Served::start(bounds()).await;
    assert!(served.ask(&call()).await.starts_with("HTTP/1.1 200 OK\r\n"));
    served.connection.deadlines.known_until(tokio::time::Instant::now());
    let ended = tokio::time::timeout(Duration::from_secs(10), Pin::new(&mut served.http1)).await;
    let _ = ended.expect("the connection stays open");
    assert_eq!(served.connection.deadlines.ended(), Some(Bound::Identity));
}

#[tokio::test]
async fn a_header_may_have_sixty_four_lines_and_as_many_bytes_as_are_allowed() {
    let mut served = Served::start(bounds()).await;
    let text = call();
    let lines = text.lines().take_while(|line| !line.is_empty()).count() - 1;
    let more = format!("x: {}\r\n", "y".repeat(190)).repeat(64 - lines);
    let text = text.replacen("\r\n", &format!("\r\n{more}"), 1);
    assert!(text.len() > 8192 && text.len() < 16 * 1024, "{}", text.len());
    assert!(served.ask(&text).await.starts_with("HTTP/1.1 200 OK\r\n"));
}
