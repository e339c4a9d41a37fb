//! Subscriptions of a WebSocket, over a separate WebSocket to the client that is opened for the first one. The guard
//! always reads it, because the client waits for a reader that is slow and then delays the notifications of all others.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::{SinkExt as _, StreamExt as _};
use hyper::body::Bytes;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{WebSocketStream, client_async_with_config};
use tracing::debug;

use super::super::upstream;
use crate::guard::rpc::{
    decide::{message, rejection::Rejection},
    limits::{caller_state::CallerState, memory_budget::Budget},
};

/// Time for the client to accept a connection or a call.
const TAKE: Duration = Duration::from_secs(5);
/// Maximum size of a notification in bytes: a log of this size costs more gas than a block has.
const TOLD: usize = 4 * 1024 * 1024;
/// Notifications that may wait for a caller that does not read.
const QUEUE: usize = 1024;

type Client = WebSocketStream<TcpStream>;

/// Starts and ends subscriptions.
#[derive(Clone)]
pub struct Subscriptions(Arc<Inner>);

struct Inner {
    at: SocketAddr,
    most: u32,
    /// Subscriptions that exist or are requested.
    number: AtomicU32,
    client: Mutex<Link>,
}

/// The WebSocket to the client.
enum Link {
    /// Not opened yet. Notifications will go to this queue.
    None(Queue),
    /// Opened; takes calls until it ends. It is not opened again, because notifications in between would be lost
    /// silently.
    Opened(mpsc::Sender<Question>),
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unanswered {
    /// The call was not sent to the client.
    NotAsked(Rejection),
    /// The call was sent, and the client may have executed it.
    Asked(Rejection),
}

/// Queue of notifications.
#[derive(Clone)]
struct Queue {
    told: mpsc::Sender<Bytes>,
    budget: Arc<Budget>,
    account: Arc<CallerState>,
}

struct Question {
    method: String,
    params: Bytes,
    answer: oneshot::Sender<Bytes>,
}

/// A requested subscription. Unless it stays, dropping it lowers the number again.
struct Coming<'a> {
    number: &'a AtomicU32,
    stays: bool,
}

impl Coming<'_> {
    fn stays(mut self) {
        self.stays = true;
    }
}

impl Drop for Coming<'_> {
    fn drop(&mut self) {
        if !self.stays {
            self.number.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Subscriptions {
    /// Creates subscriptions, at most `most`. The receiver yields their notifications and ends with them.
    #[must_use]
    pub fn new(
        at: SocketAddr,
        most: u32,
        budget: Arc<Budget>,
        account: Arc<CallerState>,
    ) -> (Self, mpsc::Receiver<Bytes>) {
        let (told, receiver) = mpsc::channel(QUEUE);
        let (number, to) = (AtomicU32::new(0), Queue { told, budget, account });
        (Self(Arc::new(Inner { at, most, number, client: Mutex::new(Link::None(to)) })), receiver)
    }

    /// Sends a call to the client. Returns the answer's text after its id.
    ///
    /// # Errors
    /// If there are too many subscriptions, or the client does not answer.
    pub async fn ask(&self, method: &str, params: &Bytes, due: Instant) -> Result<Bytes, Unanswered> {
        let inner = &*self.0;
        let begins = method.ends_with("_subscribe");
        let coming = begins.then(|| inner.one_more()).transpose().map_err(Unanswered::NotAsked)?;
        let unreachable = || Unanswered::NotAsked(Rejection::client_unreachable());
        let asks = inner.client().await.ok_or_else(unreachable)?;
        let failed = || Unanswered::Asked(Rejection::client_failed());
        let (answer, answered) = oneshot::channel();
        let question = Question { method: method.to_owned(), params: params.clone(), answer };
        let asked = async {
            asks.send(question).await.ok()?;
            answered.await.ok()
        };
        let text = match timeout_at(due, asked).await {
            Ok(text) => text.ok_or_else(failed)?,
            Err(_) => {
                // the subscription may still be created
                coming.into_iter().for_each(Coming::stays);
                return Err(failed());
            }
        };
        let result = text.strip_prefix(b",\"result\":".as_slice());
        match coming {
            Some(coming) if result.is_some() => coming.stays(),
            None if result.is_some_and(|result| result.starts_with(b"true")) => {
                drop(Coming { number: &inner.number, stays: false })
            }
            _ => {}
        }
        Ok(text)
    }
}

impl Inner {
    fn one_more(&self) -> Result<Coming<'_>, Rejection> {
        let more = |there: u32| (there < self.most).then_some(there + 1);
        match self.number.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more) {
            Ok(_) => Ok(Coming { number: &self.number, stays: false }),
            Err(_) => Err(Rejection::subscriptions(self.most)),
        }
    }

    /// Returns the sender of calls, opening the WebSocket if necessary.
    async fn client(&self) -> Option<mpsc::Sender<Question>> {
        let link = || self.client.lock().unwrap_or_else(PoisonError::into_inner);
        if let Link::Opened(asks) = &*link() {
            return Some(asks.clone());
        }
        let client = timeout(TAKE, dial(self.at)).await.ok().flatten()?;
        let mut link = link();
        let to = match &*link {
            // another call opened it meanwhile
            Link::Opened(asks) => return Some(asks.clone()),
            Link::None(to) => to.clone(),
        };
        let (asks, questions) = mpsc::channel(1);
        // from here on only that task holds the queue, which ends with it
        *link = Link::Opened(asks.clone());
        tokio::spawn(run(client, questions, to));
        Some(asks)
    }
}

/// Opens a WebSocket to the client without an `Origin` header, which the client accepts.
async fn dial(at: SocketAddr) -> Option<Client> {
    let stream = upstream::dial(at).await.ok()?;
    let bounds = WebSocketConfig::default()
        .read_buffer_size(4096)
        .write_buffer_size(0)
        .max_message_size(Some(TOLD))
        .max_frame_size(Some(TOLD));
    match client_async_with_config("ws://localhost/", stream, Some(bounds)).await {
        Ok((socket, _)) => Some(socket),
        Err(error) => {
            debug!(%error, "the client rejected the WebSocket");
            None
        }
    }
}

/// Runs until the caller's WebSocket or the client's ends, or the queue is full.
async fn run(mut client: Client, mut asks: mpsc::Receiver<Question>, to: Queue) {
    let mut pending = HashMap::new();
    let mut number = 0_u64;
    loop {
        tokio::select! {
            question = asks.recv() => {
                let Some(question) = question else { return };
                number += 1;
                pending.retain(|_, answer: &mut oneshot::Sender<Bytes>| !answer.is_closed());
                let text = written(number, &question);
                pending.insert(number, question.answer);
                if !matches!(timeout(TAKE, client.send(Message::text(text))).await, Ok(Ok(()))) {
                    return;
                }
            }
            said = client.next() => {
                let text: Bytes = match said {
                    Some(Ok(Message::Text(text))) => text.into(),
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => continue,
                    _ => return,
                };
                match read(&text) {
                    Some((number, rest)) => {
                        // missing if the call timed out and was answered already
                        if let Some(answer) = pending.remove(&number) {
                            let _ = answer.send(text.slice_ref(rest));
                        }
                    }
                    None if text.starts_with(b"{\"jsonrpc\":\"2.0\",\"method\":") => {
                        let Some(charge) = to.budget.charge(&to.account, text.len()) else { return };
                        if to.told.try_send(charge.travel_with(text)).is_err() {
                            return;
                        }
                    }
                    None => return,
                }
            }
            () = to.told.closed() => return,
        }
    }
}

fn written(number: u64, question: &Question) -> String {
    let params = String::from_utf8_lossy(&question.params);
    let params = if params.is_empty() { String::new() } else { format!(r#","params":{params}"#) };
    format!(r#"{{"jsonrpc":"2.0","id":{number},"method":"{}"{params}}}"#, question.method)
}

/// Returns the id of an answer to a call of the guard, and the text after it.
fn read(text: &[u8]) -> Option<(u64, &[u8])> {
    let rest = text.strip_prefix(message::BEFORE_ID)?;
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let number = std::str::from_utf8(&rest[..digits]).ok()?.parse().ok()?;
    Some((number, &rest[digits..])).filter(|(_, rest)| rest.starts_with(b","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_told_from_what_a_subscription_tells() {
        let rest = b",\"result\":\"0x1\"}\n".as_slice();
        assert_eq!(read(b"{\"jsonrpc\":\"2.0\",\"id\":17,\"result\":\"0x1\"}\n"), Some((17, rest)));
        for text in [
            r#"{"jsonrpc":"2.0","method":"eth_subscription","params":{}}"#,
            r#"{"jsonrpc":"2.0","id":"17","result":1}"#,
            r#"{"jsonrpc":"2.0","id":17}"#,
            "",
        ] {
            assert_eq!(read(text.as_bytes()), None, "{text}");
        }
    }
}
