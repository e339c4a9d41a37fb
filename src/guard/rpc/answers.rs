//! The answer to a body: its calls asked of the client one after another, each answered in its place, all of it passed on
//! as it comes. Nothing holds a whole answer.

mod asker;
mod request;
mod state;

use std::collections::VecDeque;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant as StdInstant};

use hyper::body::Bytes;
use tokio::time::Instant;

pub use self::asker::Asker;
use self::request::request;
pub use self::state::{Piece, Stop};
use self::state::{State, Under};
use super::at_client::{AtClient, Failed};
use super::filters::{self, Watch};
use super::judge::{Ask, Slot};
use super::message;
use super::refusal::Refusal;
use super::upstream::{Exchange, Turn};
use super::ws::subscriptions::Unanswered;

/// Bytes of small answers that are passed on together.
const TOGETHER: usize = 8 * 1024;
/// Bytes from which on a piece is passed on without being copied.
const LARGE: usize = 4 * 1024;

/// The answer to a body.
pub struct Answers {
    asker: Asker,
    slots: std::vec::IntoIter<Slot>,
    is_batch: bool,
    state: State,
    /// Small pieces that are passed on together.
    small: Vec<u8>,
    /// What is passed on next.
    queue: VecDeque<Bytes>,
    /// Whether an answer stands before the next one.
    has_one: bool,
    /// Whether something was passed on.
    is_out: bool,
    /// Bytes that may still be answered.
    left: u64,
}

impl Answers {
    /// Of calls that were judged; nothing happens before it is polled.
    #[must_use]
    pub fn new(asker: Asker, slots: Vec<Slot>, is_batch: bool) -> Self {
        let left = asker.rules.policy.limits.answer_bytes.into();
        let (state, slots) = (State::Next, slots.into_iter());
        let (small, queue) = (Vec::new(), VecDeque::new());
        Self { asker, slots, is_batch, state, small, queue, has_one: false, is_out: false, left }
    }

    /// Whether a call waits for its turn: whoever reads calls should not read more of them.
    #[must_use]
    pub fn waits(&self) -> bool {
        matches!(self.state, State::Waits(_))
    }

    /// Whether all of it was given.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        matches!(self.state, State::Ended) && self.queue.is_empty() && self.small.is_empty()
    }

    /// Bytes that are still to come, where that is known.
    #[must_use]
    pub fn left(&self) -> Option<u64> {
        let there = self.small.len() + self.queue.iter().map(Bytes::len).sum::<usize>();
        let coming = match &self.state {
            State::Ended => 0,
            // the one call is answered
            State::Next if !self.is_batch && self.slots.len() == 0 => 0,
            State::Asks(asks) if !self.is_batch && asks.0.id.is_some() => asks.1.left()?,
            _ => return None,
        };
        Some(there as u64 + coming)
    }

    /// The next bytes of it.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Piece> {
        loop {
            if self.small.len() >= TOGETHER || (matches!(self.state, State::Ended) && !self.small.is_empty())
            {
                self.queue.push_back(std::mem::take(&mut self.small).into());
            }
            if let Some(next) = self.queue.front() {
                let shared = &self.asker.connection.shared;
                let account = self.asker.rules.account(self.asker.known.caller);
                let charge = ready!(shared.budget.poll_charge(account, next.len(), cx));
                let Some(next) = self.queue.pop_front() else { continue };
                self.is_out = true;
                return Poll::Ready(Some(Ok(charge.travel_with(next))));
            }
            if matches!(self.state, State::Ended) {
                return Poll::Ready(None);
            }
            if let Err(stop) = ready!(self.advance(cx)) {
                self.state = State::Ended;
                self.small.clear();
                return Poll::Ready(Some(Err(stop)));
            }
        }
    }

    fn advance(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Stop>> {
        match std::mem::replace(&mut self.state, State::Next) {
            State::Next => match self.slots.next() {
                None => {
                    if self.is_batch && self.has_one {
                        self.small.extend_from_slice(b"]\n");
                    }
                    self.state = State::Ended;
                }
                Some(Slot::Silent) => {}
                Some(Slot::Answer(text)) => self.put(&text),
                Some(Slot::Ask(ask)) => return Poll::Ready(self.begin(ask)),
            },
            State::Waits(mut waits) => {
                let Poll::Ready(turn) = waits.1.as_mut().poll(cx) else {
                    self.state = State::Waits(waits);
                    return Poll::Pending;
                };
                let (ask, _) = *waits;
                return Poll::Ready(match turn {
                    Ok(turn) => self.send(ask, turn),
                    Err(refusal) => self.unasked(ask, refusal),
                });
            }
            State::Dials(mut dials) => {
                let Poll::Ready(exchange) = dials.1.as_mut().poll(cx) else {
                    self.state = State::Dials(dials);
                    return Poll::Pending;
                };
                let (mut under, _, turn) = *dials;
                match (exchange, turn) {
                    (Some(exchange), Some(turn)) => self.ask(under, exchange, turn),
                    _ => {
                        let refusal = Refusal::client_unreachable();
                        under.entry.shed(&refusal);
                        under.watch.take().into_iter().for_each(Watch::unasked);
                        return Poll::Ready(self.give_up(under, refusal));
                    }
                }
            }
            State::Asks(mut asks) => {
                let Poll::Ready(piece) = asks.1.poll(cx) else {
                    self.state = State::Asks(asks);
                    return Poll::Pending;
                };
                return Poll::Ready(self.answered(asks, piece));
            }
            State::Subscribes(mut asks) => {
                let Poll::Ready(answer) = asks.1.as_mut().poll(cx) else {
                    self.state = State::Subscribes(asks);
                    return Poll::Pending;
                };
                let (mut under, _, turn) = *asks;
                drop(turn);
                match answer {
                    Ok(text) => {
                        under.answered(text.len());
                        under.entry.end(None);
                        self.pass(&mut under, text);
                    }
                    Err(Unanswered::NotAsked(refusal)) => {
                        under.entry.shed(&refusal);
                        return Poll::Ready(self.give_up(under, refusal));
                    }
                    Err(Unanswered::Asked(refusal)) => {
                        under.entry.end(Some(refusal.reason));
                        return Poll::Ready(self.give_up(under, refusal));
                    }
                }
            }
            State::Ended => self.state = State::Ended,
        }
        Poll::Ready(Ok(()))
    }

    /// A call is next: it waits for its turn.
    fn begin(&mut self, ask: Ask) -> Result<(), Stop> {
        let Asker { connection, rules, known, .. } = &self.asker;
        // what nobody waits for takes no room
        if self.left == 0 && ask.id.is_some() {
            return self.unasked(ask, Refusal::answer_too_large(rules.policy.limits.answer_bytes));
        }
        // how many there are is said by the policy of now
        let now = connection.shared.rules();
        let limits = &now.policy.limits;
        let (upstream, account) = (&connection.shared.http, rules.account(known.caller));
        if let Some(turn) = upstream.turn_now(account, limits) {
            return self.send(ask, turn);
        }
        let (upstream, account) = (upstream.clone(), account.clone());
        let turn = Box::pin(async move { upstream.turn(&account, &now.policy.limits).await });
        self.state = State::Waits(Box::new((ask, turn)));
        Ok(())
    }

    /// A call is not made.
    fn unasked(&mut self, ask: Ask, refusal: Refusal) -> Result<(), Stop> {
        self.asker.ledger.refused_call(Some(&ask.method), &refusal, ask.bytes);
        self.refuse(refusal, ask.id)
    }

    /// A call has its turn, and is judged by the rules of now.
    fn send(&mut self, ask: Ask, turn: Turn) -> Result<(), Stop> {
        let Asker { connection, rules, known, ledger, .. } = &self.asker;
        let (shared, limits) = (&connection.shared, &rules.policy.limits);
        if !shared.rules.borrow().still_allows(rules, known, &ask.method) {
            return self.unasked(ask, Refusal::revoked());
        }
        let filters = filters::before(rules.account(known.caller), &ask, limits.filters, StdInstant::now());
        let watch = match filters {
            Ok(watch) => watch,
            Err(most) => return self.unasked(ask, Refusal::filters(most)),
        };
        let entry = match ledger.open(&ask.method, ask.bytes) {
            Ok(entry) => entry,
            Err(refusal) => {
                watch.into_iter().for_each(Watch::unasked);
                return self.unasked(ask, refusal);
            }
        };
        let due = Instant::now() + Duration::from_secs(limits.answer_seconds.into());
        let (has_begun, ends_line) = (false, false);
        let Ask { id, method, params, .. } = ask;
        let (seen, left) = (Vec::new(), limits.answer_bytes.into());
        let mut under = Under { id, entry, watch, seen, start: 0, has_begun, ends_line, left, due };
        if let Some(subscriptions) = self.asker.subscriptions.clone()
            && (method.ends_with("_subscribe") || method.ends_with("_unsubscribe"))
        {
            under.entry.sent();
            let answer = Box::pin(async move { subscriptions.ask(&method, &params, due).await });
            self.state = State::Subscribes(Box::new((under, answer, turn)));
            return Ok(());
        }
        match shared.http.ask_now(request(&method, params)) {
            Ok(exchange) => self.ask(under, exchange, turn),
            Err(request) => {
                let upstream = shared.http.clone();
                let exchange = Box::pin(async move { upstream.ask(request).await });
                self.state = State::Dials(Box::new((under, exchange, Some(turn))));
            }
        }
        Ok(())
    }

    fn ask(&mut self, mut under: Under, exchange: Exchange, turn: Turn) {
        under.entry.sent();
        let upstream = self.asker.connection.shared.http.clone();
        let at_client = AtClient::new(exchange, turn, upstream, under.due);
        self.state = State::Asks(Box::new((under, at_client)));
    }

    /// The client has answered something.
    fn answered(
        &mut self,
        mut asks: Box<(Under, AtClient)>,
        piece: Option<Result<Bytes, Failed>>,
    ) -> Result<(), Stop> {
        let limits = &self.asker.rules.policy.limits;
        let (under, at_client) = &mut *asks;
        // what nobody waits for takes nothing of what the others have
        let left = if under.id.is_some() { &mut self.left } else { &mut under.left };
        let refusal = match &piece {
            Some(Ok(piece)) => {
                let coming = piece.len() as u64 + at_client.left().filter(|_| !under.has_begun).unwrap_or(0);
                (coming > *left).then(|| Refusal::answer_too_large(limits.answer_bytes))
            }
            Some(Err(Failed::Client)) => Some(Refusal::client_failed()),
            Some(Err(Failed::Slow)) => Some(Refusal::answer_too_slow(limits.answer_seconds)),
            None => None,
        };
        if let Some(refusal) = refusal {
            if refusal.reason == "answer_too_large" {
                // what follows is not even asked
                *left = 0;
            }
            under.entry.end(Some(refusal.reason));
            return self.give_up(asks.0, refusal);
        }
        let piece = piece.and_then(Result::ok);
        let has_ended = piece.is_none() || at_client.has_ended();
        let piece = piece.unwrap_or_default();
        *left -= piece.len() as u64;
        under.answered(piece.len());
        if under.watch.is_some() {
            under.seen.extend_from_slice(&piece[..piece.len().min(filters::SEEN)]);
            if has_ended || under.seen.len() >= filters::SEEN {
                under.watch.take().into_iter().for_each(|watch| watch.after(&under.seen, StdInstant::now()));
            }
        }
        if has_ended {
            under.entry.end(None);
        }
        self.pass(under, piece);
        if !has_ended {
            self.state = State::Asks(asks);
        }
        Ok(())
    }

    /// There is no answer to a call, or no end of it.
    fn give_up(&mut self, under: Under, refusal: Refusal) -> Result<(), Stop> {
        if !under.has_begun {
            return self.refuse(refusal, under.id);
        }
        if self.is_out || !self.queue.is_empty() {
            return Err(Stop::Broken(refusal));
        }
        // nothing of it was passed on yet
        self.small.truncate(under.start);
        self.has_one = under.start > 0;
        self.refuse(refusal, under.id)
    }

    /// Passes on a piece of the client's answer.
    fn pass(&mut self, under: &mut Under, mut piece: Bytes) {
        let Some(id) = &under.id else { return };
        if piece.is_empty() {
            return;
        }
        if !under.has_begun {
            under.has_begun = true;
            under.start = self.small.len();
            self.separate();
            self.small.extend_from_slice(message::BEFORE_ID);
            self.small.extend_from_slice(id);
        }
        if self.is_batch {
            if std::mem::take(&mut under.ends_line) {
                self.small.push(b'\n');
            }
            if piece.ends_with(b"\n") {
                under.ends_line = true;
                piece.truncate(piece.len() - 1);
            }
        }
        if piece.len() < LARGE {
            self.small.extend_from_slice(&piece);
            return;
        }
        self.queue.push_back(std::mem::take(&mut self.small).into());
        self.queue.push_back(piece);
    }

    /// What stands before an answer.
    fn separate(&mut self) {
        if self.is_batch {
            self.small.push(if self.has_one { b',' } else { b'[' });
        }
        self.has_one = true;
    }

    /// An answer of our own.
    fn put(&mut self, text: &[u8]) {
        self.separate();
        self.small.extend_from_slice(text);
        if !self.is_batch {
            self.small.push(b'\n');
        }
    }

    /// A call is not made, or not answered, and nothing of its answer was passed on. Whoever gave it no id is told
    /// nothing.
    fn refuse(&mut self, refusal: Refusal, id: Option<Bytes>) -> Result<(), Stop> {
        let Some(id) = id else { return Ok(()) };
        if !self.is_batch {
            return Err(Stop::Refused(refusal, id));
        }
        let text = refusal.text(std::str::from_utf8(&id).ok());
        self.put(&text);
        Ok(())
    }
}

/// What waits for its turn never has it.
impl Drop for Answers {
    fn drop(&mut self) {
        if let State::Waits(waits) = &self.state {
            self.asker.ledger.cut(&waits.0.method, waits.0.bytes);
        }
    }
}
