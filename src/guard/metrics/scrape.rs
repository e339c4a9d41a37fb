//! Fetches the client's metrics page from loopback: one fixed path, limited in time and size. Concurrent callers share
//! one request.

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{Request, header};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::sanitize::{self, Page};
use crate::guard::fault::Fault;
use crate::guard::flags::METRICS_PATH;

/// Why there is no page. Contains nothing that the client sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The connection failed or broke.
    Unreachable(String),
    /// The page did not arrive within this time.
    Slow(Duration),
    /// The page has more than this many bytes.
    Large(usize),
    /// The status was not 200.
    Status(u16),
    /// The page contains no metric.
    Empty,
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Unreachable(why) => write!(out, "the client's metrics cannot be read: {why}"),
            Failure::Slow(bound) => {
                write!(out, "the client's metrics took longer than {} s", bound.as_secs_f32())
            }
            Failure::Large(bound) => write!(out, "the client's metrics are larger than {bound} bytes"),
            Failure::Status(status) => write!(out, "the client answered with status {status}"),
            Failure::Empty => {
                out.write_str("the client's page holds no metric; is it started with bare --metrics?")
            }
        }
    }
}

/// A page, or why there is none.
pub type Outcome = Result<Arc<Page>, Failure>;

/// The client's metrics page.
#[derive(Clone, Copy, Debug)]
pub struct Source {
    /// A loopback address.
    pub at: SocketAddr,
    /// Time for the whole fetch.
    pub time: Duration,
    /// Maximum size of the body in bytes.
    pub bytes: usize,
}

impl Source {
    /// Uses the default limits.
    pub fn at(at: SocketAddr) -> Source {
        Source { at, time: Duration::from_secs(5), bytes: 16 * 1024 * 1024 }
    }

    async fn fetch(self) -> Outcome {
        let page = timeout(self.time, self.body()).await.map_err(|_| Failure::Slow(self.time))??;
        if page.samples == 0 { Err(Failure::Empty) } else { Ok(Arc::new(page)) }
    }

    async fn body(self) -> Result<Page, Failure> {
        // Uses only the kind of the fault, because its detail may quote the peer.
        let unreachable = |fault: Fault| Failure::Unreachable(fault.kind.to_string());
        let stream = TcpStream::connect(self.at).await.map_err(|error| unreachable(Fault::of(&error)))?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| unreachable(Fault::of(&error)))?;
        let mut driver = JoinSet::new();
        driver.spawn(connection);
        let request = Request::get(METRICS_PATH)
            .header(header::HOST, self.at.to_string())
            .header(header::CONNECTION, "close")
            .body(Empty::<Bytes>::new())
            .map_err(|_| Failure::Unreachable("no request".to_owned()))?;
        let answer = sender.send_request(request).await.map_err(|error| unreachable(Fault::of(&error)))?;
        if answer.status().as_u16() != 200 {
            return Err(Failure::Status(answer.status().as_u16()));
        }
        match Limited::new(answer.into_body(), self.bytes).collect().await {
            Ok(body) => Ok(sanitize::page(&body.to_bytes())),
            Err(error) if error.is::<http_body_util::LengthLimitError>() => Err(Failure::Large(self.bytes)),
            Err(error) => Err(unreachable(Fault::of(&*error))),
        }
    }
}

/// Shares one fetch among all callers that ask while it runs. A later caller starts a new fetch.
#[derive(Debug)]
pub struct Merged {
    source: Source,
    running: Mutex<Option<watch::Receiver<Option<Outcome>>>>,
}

impl Merged {
    /// Creates a shared fetch of this source.
    pub fn new(source: Source) -> Arc<Merged> {
        Arc::new(Merged { source, running: Mutex::new(None) })
    }

    /// Returns the page of the fetch that is running, or of a new one.
    pub async fn fetch(self: &Arc<Self>) -> Outcome {
        let mut result = self.join();
        let outcome = match result.wait_for(Option::is_some).await {
            Ok(outcome) => outcome.clone(),
            Err(_) => None,
        };
        outcome.unwrap_or_else(|| Err(Failure::Unreachable("given up".to_owned())))
    }

    fn join(self: &Arc<Self>) -> watch::Receiver<Option<Outcome>> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        // A sender dropped without a result belongs to a task that panicked; later callers must not wait for it.
        if let Some(result) = running.as_ref().filter(|result| result.has_changed().is_ok()) {
            return result.clone();
        }
        let (sender, result) = watch::channel(None);
        *running = Some(result.clone());
        let merged = self.clone();
        // Runs as a separate task, so that the other callers get the page even if the first one is cancelled.
        tokio::spawn(async move {
            let outcome = merged.source.fetch().await;
            *merged.running.lock().unwrap_or_else(PoisonError::into_inner) = None;
            let _ = sender.send(Some(outcome));
        });
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guard::testing::Client;
    use std::sync::atomic::Ordering;

    fn source(client: &Client) -> Source {
        Source { bytes: 1000, ..Source::at(client.at) }
    }

    #[tokio::test]
    async fn twenty_at_once_are_one_request_and_the_next_is_another() {
        let client = Client::start("chain_head_block {n}\n").await;
        let hold = client.hold.lock().await;
        let merged = Merged::new(Source::at(client.at));
        let waiting: Vec<_> = (0..20)
            .map(|_| {
                let merged = merged.clone();
                tokio::spawn(async move { merged.fetch().await })
            })
            .collect();
        // all twenty wait once `merged` has 22 owners: the tasks, the fetch and this test
        let all = async {
            while merged.running.lock().unwrap().is_none() || Arc::strong_count(&merged) < 22 {
                tokio::task::yield_now().await;
            }
            client.hit.notified().await;
        };
        timeout(Duration::from_secs(10), all).await.unwrap();
        drop(hold);
        for one in waiting {
            assert_eq!(one.await.unwrap().unwrap().head, Some(1.0));
        }
        assert_eq!(client.hits.load(Ordering::SeqCst), 1);
        assert_eq!(merged.fetch().await.unwrap().head, Some(2.0), "a later scrape fetches again");
    }

    #[tokio::test]
    async fn the_one_who_asked_first_may_leave() {
        let client = Client::start("chain_head_block {n}\n").await;
        let hold = client.hold.lock().await;
        let merged = Merged::new(Source::at(client.at));
        let first = tokio::spawn({
            let merged = merged.clone();
            async move { merged.fetch().await }
        });
        client.hit.notified().await;
        let second = merged.join();
        first.abort();
        assert!(first.await.unwrap_err().is_cancelled());
        drop(hold);
        let mut second = second;
        let outcome = second.wait_for(Option::is_some).await.unwrap().clone();
        assert_eq!(outcome.unwrap().unwrap().head, Some(1.0));
    }

    #[tokio::test]
    async fn slow_large_empty_and_odd_pages_are_refused_without_quoting_them() {
        let secret = "5ecre7";
        let slow = Client::start("chain_head_block 1\n").await;
        let _hold = slow.hold.lock().await;
        let time = Duration::from_millis(300);
        let merged = Merged::new(Source { time, ..source(&slow) });
        let outcome =
            timeout(Duration::from_secs(15), merged.fetch()).await.expect("the fetch has a deadline");
        assert_eq!(outcome, Err(Failure::Slow(time)));

        let large = Client::start(&format!("{secret} 1\n").repeat(200)).await;
        assert_eq!(Merged::new(source(&large)).fetch().await, Err(Failure::Large(1000)));

        let odd = Client::start(&format!("<html>{secret}</html>")).await;
        assert_eq!(Merged::new(source(&odd)).fetch().await, Err(Failure::Empty));

        let unwell = Client::start(secret).await;
        unwell.status.store(500, Ordering::SeqCst);
        assert_eq!(Merged::new(source(&unwell)).fetch().await, Err(Failure::Status(500)));

        let garbage = Client::raw(format!("{secret} is no HTTP\r\n\r\n")).await;
        let outcome = Merged::new(source(&garbage)).fetch().await;
        assert!(matches!(&outcome, Err(Failure::Unreachable(why)) if !why.contains(secret)), "{outcome:?}");

        let cut =
            Client::raw("HTTP/1.1 200 OK\r\ncontent-length: 900\r\n\r\nchain_head_block 1\n".to_owned())
                .await;
        let outcome = Merged::new(source(&cut)).fetch().await;
        assert!(matches!(outcome, Err(Failure::Unreachable(_))), "half a page is an error: {outcome:?}");
    }
}
