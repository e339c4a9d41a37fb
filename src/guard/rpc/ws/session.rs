//! What goes on over a WebSocket.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures::{SinkExt as _, StreamExt as _};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{self, Message};

use super::super::account::Take;
use super::super::batch::{self, Entries};
use super::super::entry::Ledger;
use super::super::judge::{Judged, judge};
use super::super::refusal::Refusal;
use super::super::upstream::Turn;
use super::reply::{self, Outcome, Reply};
use super::{Socket, dial};

type Caller = WebSocketStream<TokioIo<Upgraded>>;
type Client = WebSocketStream<TcpStream>;
type Received = Option<Result<Message, tungstenite::Error>>;

/// Why a WebSocket ends: RFC 6455 section 7.4, and words.
type End = (CloseCode, &'static str);

const LEFT: End = (CloseCode::Normal, "");
const CLIENT_GONE: End = (CloseCode::Again, "the client does not answer: connect again");
const IDENTITY_ENDED: End = (CloseCode::Policy, "the identity has ended: connect again with a new one");
const POLICY_CHANGED: End = (CloseCode::Policy, "what this caller may do has changed: connect again");
const SLOW: End = (CloseCode::Policy, "what was answered was not read in time");
const NOT_TEXT: End = (CloseCode::Unsupported, "send text");
const SILENT: End = (CloseCode::Policy, "no answer to a ping");
const ENDING: End = (CloseCode::Away, "the guard ends: connect again");

/// How long the client has to take what is passed on.
const TAKE: Duration = Duration::from_secs(5);

/// What was asked in one message, on its way.
struct Asked {
    text: String,
    /// Of those that have one.
    ids: Vec<String>,
    /// Of the first of them.
    first: Value,
    is_batch: bool,
    /// Error objects that belong into the answer.
    errors: Vec<u8>,
    /// Whether it begins a subscription, or ends one.
    subscribes: Option<bool>,
    entry: Entries,
    since: Instant,
}

/// A message and its turn.
type Next = (Asked, Pin<Box<dyn Future<Output = Result<Turn, Refusal>> + Send + Sync>>);

struct Session {
    socket: Socket,
    /// What was passed on and is not answered yet.
    pending: VecDeque<(Asked, Turn)>,
    /// What waits for its turn; meanwhile nothing more is read of the caller.
    next: Option<Next>,
    subscriptions: u32,
    heard: Instant,
    /// Whether it was asked by a ping whether it is there.
    is_asked: bool,
}

/// Serves it until either end leaves, or the caller may not stay.
pub(super) async fn run(socket: Socket, mut caller: Caller) {
    let (at, most) = (socket.connection.shared.ws, socket.rules.policy.limits.answer_bytes);
    let (pending, heard) = (VecDeque::new(), Instant::now());
    let mut session = Session { socket, pending, next: None, subscriptions: 0, heard, is_asked: false };
    let end = match dial(at, most).await {
        Some(client) => session.serve(&mut caller, client).await,
        None => CLIENT_GONE,
    };
    let close = CloseFrame { code: end.0, reason: end.1.into() };
    let _ = timeout(Duration::from_secs(1), caller.close(Some(close))).await;
}

impl Session {
    async fn serve(&mut self, caller: &mut Caller, mut client: Client) -> End {
        let shared = self.socket.connection.shared.clone();
        let (mut rules, mut stop) = (shared.rules.clone(), shared.stop.clone());
        let mut ticks = interval(Duration::from_secs(1));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let went = tokio::select! {
                biased;
                () = asked_to_end(&mut stop) => Err(ENDING),
                changed = rules.changed() => if changed.is_ok() { self.judged_anew() } else { Err(ENDING) },
                _ = ticks.tick() => self.tick(caller).await,
                said = client.next() => self.said(said, caller).await,
                turn = turn(&mut self.next), if self.next.is_some() => self.pass(turn, caller, &mut client).await,
                asked = caller.next(), if self.next.is_none() => self.asked(asked, caller).await,
            };
            if let Err(end) = went {
                return end;
            }
        }
    }

    /// The policy has changed.
    fn judged_anew(&mut self) -> Result<(), End> {
        let rules = self.socket.connection.shared.rules();
        let caller = self.socket.rules.caller(self.socket.known.caller);
        if !rules.keeps(caller) {
            return Err(POLICY_CHANGED);
        }
        self.socket.known.caller = rules.position(&caller.name).ok_or(POLICY_CHANGED)?;
        self.socket.rules = rules;
        Ok(())
    }

    /// A second has gone.
    async fn tick(&mut self, caller: &mut Caller) -> Result<(), End> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        if now.as_secs() >= self.socket.known.until {
            return Err(IDENTITY_ENDED);
        }
        let limits = self.socket.rules.policy.limits.clone();
        let bound = Duration::from_secs(limits.answer_seconds.into());
        while self.pending.front().is_some_and(|(asked, _)| asked.since.elapsed() > bound) {
            let Some((mut asked, _turn)) = self.pending.pop_front() else { break };
            let refusal = Refusal::answer_too_slow(limits.answer_seconds);
            asked.entry.end(Some(refusal.reason));
            self.tell(caller, asked.failed(&refusal)).await?;
        }
        let silent = self.heard.elapsed();
        let idle = Duration::from_secs(limits.idle_seconds.into());
        if silent > idle * 2 {
            return Err(SILENT);
        }
        if silent > idle && !self.is_asked {
            self.is_asked = true;
            return self.send(caller, Message::Ping(tungstenite::Bytes::new())).await;
        }
        Ok(())
    }

    async fn send(&self, caller: &mut Caller, message: Message) -> Result<(), End> {
        let bound = Duration::from_secs(self.socket.rules.policy.limits.answer_seconds.into());
        match timeout(bound, caller.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(LEFT),
            Err(_) => Err(SLOW),
        }
    }

    async fn tell(&self, caller: &mut Caller, text: impl Into<String>) -> Result<(), End> {
        let text = text.into();
        if text.is_empty() { Ok(()) } else { self.send(caller, Message::text(text)).await }
    }

    /// The caller has sent something.
    async fn asked(&mut self, received: Received, caller: &mut Caller) -> Result<(), End> {
        self.heard = Instant::now();
        self.is_asked = false;
        match received {
            None | Some(Err(_) | Ok(Message::Close(_))) => Err(LEFT),
            Some(Ok(Message::Binary(bytes))) => {
                self.ledger().refused(&Refusal::not_text(), bytes.len() as u64);
                Err(NOT_TEXT)
            }
            Some(Ok(Message::Text(text))) => {
                let answer = self.judge(text.as_str());
                self.tell(caller, answer).await
            }
            Some(Ok(_)) => Ok(()),
        }
    }

    /// Where a message is put down that comes now.
    fn ledger(&self) -> Ledger {
        Ledger { since: std::time::Instant::now(), ..self.socket.ledger.clone() }
    }

    /// Judges a message: what of it is answered here is given, and the rest waits for its turn.
    fn judge(&mut self, text: &str) -> String {
        let Socket { connection, rules, known, .. } = &self.socket;
        let (shared, ledger, bytes) = (&connection.shared, self.ledger(), text.len() as u64);
        let mut judged = match judge(rules, known.caller, text.as_bytes()) {
            Ok(judged) => judged,
            Err(refusal) => {
                ledger.refused(&refusal, bytes);
                return object(&refusal, None);
            }
        };
        let (account, entry) = (rules.account(known.caller), rules.caller(known.caller));
        let over = match account.take(entry, judged.calls(), shared.since.elapsed()) {
            Take::Taken => None,
            Take::Later(seconds) => Some(Refusal::rate(seconds)),
            Take::Never => Some(Refusal::over_burst(entry.burst)),
        };
        if let Some(refusal) = over {
            judged.refuse(|_| Some(refusal.clone()));
        }
        let most = rules.policy.limits.subscriptions;
        let mut there = self.subscriptions;
        judged.refuse(|call| {
            let over = call.method.ends_with("_subscribe") && there >= most;
            there += u32::from(call.method.ends_with("_subscribe") && !over);
            over.then(|| Refusal::subscriptions(most))
        });
        self.subscriptions = there;
        let entries = Entries::open(&ledger, &judged, bytes);
        if let Err(refusal) = &entries {
            judged.refuse(|_| Some(refusal.clone()));
        }
        batch::refused(&ledger, &judged, bytes);
        let Ok(entries) = entries else { return text_of(judged.answer()) };
        if judged.allowed.is_empty() {
            return text_of(judged.answer());
        }
        let asked = Asked::of(&judged, entries);
        let (http, limits, account) = (shared.http.clone(), rules.policy.limits.clone(), account.clone());
        self.next = Some((asked, Box::pin(async move { http.turn(&account, &limits).await })));
        String::new()
    }

    /// A message has its turn, or none in time.
    async fn pass(
        &mut self,
        turn: Result<Turn, Refusal>,
        caller: &mut Caller,
        client: &mut Client,
    ) -> Result<(), End> {
        let Some((mut asked, _)) = self.next.take() else { return Ok(()) };
        let turn = match turn {
            Ok(turn) => turn,
            Err(refusal) => {
                asked.entry.shed(&refusal);
                let begun = u32::from(asked.subscribes == Some(true));
                self.subscriptions = self.subscriptions.saturating_sub(begun);
                return self.tell(caller, asked.failed(&refusal)).await;
            }
        };
        asked.entry.sent();
        let sent = timeout(TAKE, client.send(Message::text(std::mem::take(&mut asked.text)))).await;
        if !matches!(sent, Ok(Ok(()))) {
            asked.entry.end(Some("client_failed"));
            return Err(CLIENT_GONE);
        }
        if asked.ids.is_empty() {
            asked.entry.end(None);
            return self.tell(caller, asked.around("")).await;
        }
        self.pending.push_back((asked, turn));
        Ok(())
    }

    /// The client has sent something.
    async fn said(&mut self, received: Received, caller: &mut Caller) -> Result<(), End> {
        let text = match received {
            Some(Ok(Message::Text(text))) => text,
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => return Ok(()),
            _ => return Err(CLIENT_GONE),
        };
        let (id, outcome) = match reply::read(text.as_str()) {
            Ok(Reply::Told) => return self.send(caller, Message::Text(text)).await,
            Ok(Reply::Answer(id, outcome)) => (id, outcome),
            Err(_) => return Err(CLIENT_GONE),
        };
        // what took too long was answered already
        let at = self.pending.iter().position(|(asked, _)| asked.first == id);
        let Some((mut asked, _turn)) = at.and_then(|at| self.pending.remove(at)) else { return Ok(()) };
        if matches!((asked.subscribes, outcome), (Some(true), Outcome::Failed) | (Some(false), Outcome::True))
        {
            self.subscriptions = self.subscriptions.saturating_sub(1);
        }
        asked.entry.answered(text.len());
        asked.entry.end(None);
        if asked.errors.is_empty() {
            return self.send(caller, Message::Text(text)).await;
        }
        self.tell(caller, asked.around(text.as_str())).await
    }
}

impl Asked {
    fn of(judged: &Judged<'_>, entry: Entries) -> Self {
        let ids: Vec<String> = judged.allowed.iter().filter_map(|call| call.id).map(str::to_owned).collect();
        let subscribes = match &judged.allowed[..] {
            [call] if call.method.ends_with("_subscribe") => Some(true),
            [call] if call.method.ends_with("_unsubscribe") => Some(false),
            _ => None,
        };
        Self {
            text: text_of(judged.written()),
            first: ids.first().map(|id| reply::value(id)).unwrap_or_default(),
            ids,
            is_batch: judged.is_batch,
            errors: judged.errors(),
            subscribes,
            entry,
            since: Instant::now(),
        }
    }

    /// An answer with the error objects that belong into it.
    fn around(&self, answer: &str) -> String {
        let inner = answer.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(answer);
        let errors = String::from_utf8_lossy(&self.errors);
        match (errors.is_empty(), inner.is_empty()) {
            (true, _) => answer.to_owned(),
            (false, true) => format!("[{errors}]"),
            (false, false) => format!("[{errors},{inner}]"),
        }
    }

    /// What it is answered where the client gives no answer.
    fn failed(&self, refusal: &Refusal) -> String {
        let objects: Vec<String> = self.ids.iter().map(|id| object(refusal, Some(id))).collect();
        match (self.is_batch, objects.is_empty()) {
            (true, true) => self.around(""),
            (true, false) => self.around(&format!("[{}]", objects.join(","))),
            (false, _) => objects.join(","),
        }
    }
}

async fn asked_to_end(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

async fn turn(next: &mut Option<Next>) -> Result<Turn, Refusal> {
    match next {
        Some((_, turn)) => turn.await,
        None => std::future::pending().await,
    }
}

fn object(refusal: &Refusal, id: Option<&str>) -> String {
    let mut object = Vec::new();
    refusal.object(id, &mut object);
    text_of(object)
}

/// It is made of text alone.
fn text_of(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_default()
}
