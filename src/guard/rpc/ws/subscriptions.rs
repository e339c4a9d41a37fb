//! Subscriptions of a WebSocket: over a WebSocket of its own to the client, opened with the first of them and always read.
//! The client waits for whoever does not read, and everybody else's news with it.

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

use super::super::account::Account;
use super::super::budget::Budget;
use super::super::message;
use super::super::refusal::Refusal;
use super::super::upstream;

/// How long the client has to take a connection, or a call.
const TAKE: Duration = Duration::from_secs(5);
/// Bytes of what a subscription tells at once: a log of this size costs more gas than a block has.
const TOLD: usize = 4 * 1024 * 1024;
/// What may wait for a caller that does not read.
const QUEUE: usize = 1024;

type Client = WebSocketStream<TcpStream>;

/// Asks for subscriptions and ends them.
#[derive(Clone)]
pub struct Subscriptions(Arc<Inner>);

struct Inner {
    at: SocketAddr,
    most: u32,
    /// Those that are there, and those that are asked for.
    number: AtomicU32,
    client: Mutex<Link>,
}

/// The WebSocket to the client.
enum Link {
    /// There is none yet; what it tells will go there.
    None(Queue),
    /// It was opened, and takes questions until it ends. There is no second one: what was missed would not be told.
    Opened(mpsc::Sender<Question>),
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unanswered {
    /// Nothing was sent to the client.
    NotAsked(Refusal),
    /// It may have done what it was asked.
    Asked(Refusal),
}

/// Where goes what subscriptions tell.
#[derive(Clone)]
struct Queue {
    told: mpsc::Sender<Bytes>,
    budget: Arc<Budget>,
    account: Arc<Account>,
}

struct Question {
    method: String,
    params: Bytes,
    answer: oneshot::Sender<Bytes>,
}

/// One more subscription, unless it fails.
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
    /// None yet, and at most so many; what they tell comes out of the receiver, which ends when they do.
    #[must_use]
    pub fn new(
        at: SocketAddr,
        most: u32,
        budget: Arc<Budget>,
        account: Arc<Account>,
    ) -> (Self, mpsc::Receiver<Bytes>) {
        let (told, receiver) = mpsc::channel(QUEUE);
        let (number, to) = (AtomicU32::new(0), Queue { told, budget, account });
        (Self(Arc::new(Inner { at, most, number, client: Mutex::new(Link::None(to)) })), receiver)
    }

    /// Asks the client; the answer's text behind its id.
    ///
    /// # Errors
    /// Where there are too many, or the client gives no answer.
    pub async fn ask(&self, method: &str, params: &Bytes, due: Instant) -> Result<Bytes, Unanswered> {
        let inner = &*self.0;
        let begins = method.ends_with("_subscribe");
        let coming = begins.then(|| inner.one_more()).transpose().map_err(Unanswered::NotAsked)?;
        let unreachable = || Unanswered::NotAsked(Refusal::client_unreachable());
        let asks = inner.client().await.ok_or_else(unreachable)?;
        let failed = || Unanswered::Asked(Refusal::client_failed());
        let (answer, answered) = oneshot::channel();
        let question = Question { method: method.to_owned(), params: params.clone(), answer };
        let asked = async {
            asks.send(question).await.ok()?;
            answered.await.ok()
        };
        let text = match timeout_at(due, asked).await {
            Ok(text) => text.ok_or_else(failed)?,
            Err(_) => {
                // it may come yet
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
    fn one_more(&self) -> Result<Coming<'_>, Refusal> {
        let more = |there: u32| (there < self.most).then_some(there + 1);
        match self.number.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more) {
            Ok(_) => Ok(Coming { number: &self.number, stays: false }),
            Err(_) => Err(Refusal::subscriptions(self.most)),
        }
    }

    /// The client's WebSocket, opened if there is none.
    async fn client(&self) -> Option<mpsc::Sender<Question>> {
        let link = || self.client.lock().unwrap_or_else(PoisonError::into_inner);
        if let Link::Opened(asks) = &*link() {
            return Some(asks.clone());
        }
        let client = timeout(TAKE, dial(self.at)).await.ok().flatten()?;
        let mut link = link();
        let to = match &*link {
            // another was faster
            Link::Opened(asks) => return Some(asks.clone()),
            Link::None(to) => to.clone(),
        };
        let (asks, questions) = mpsc::channel(1);
        // from now on that task alone holds the queue, which ends with it
        *link = Link::Opened(asks.clone());
        tokio::spawn(run(client, questions, to));
        Some(asks)
    }
}

/// No origin is sent: the client lets in whoever sends none.
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
            debug!(%error, "the client takes no WebSocket");
            None
        }
    }
}

/// Until the caller's WebSocket ends, the client's does, or the queue is full.
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
                        // what took too long was answered already
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

/// The id of an answer to a question of ours, and what follows it.
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
