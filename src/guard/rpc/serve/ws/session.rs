//! Session of a caller's WebSocket. One task both reads and writes, so a caller that does not read delays only itself,
//! and can be disconnected at any time.

use std::collections::VecDeque;
use std::future::{Future as _, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hyper::body::Bytes;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, Sleep, interval, sleep, timeout};

use super::super::answers::{Answers, Asker, Piece, Stop};
use super::super::listen::Stream;
use super::Socket;
use super::end::{
    ANSWER_TOO_LARGE, BUSY, CLIENT_FAILED, ENDING, End, IDENTITY_ENDED, LEFT, POLICY_CHANGED, SILENT, SLOW,
    SLOW_MESSAGE, TOLD_ENDED,
};
use super::frame::{Event, Fault, Frames};
use super::message::Message;
use super::subscriptions::Subscriptions;
use crate::guard::rpc::{
    audit::audit_scope::Ledger,
    decide::{
        authorize::{Authorized, SLOT, authorize},
        rejection::Rejection,
    },
    limits::{caller_state::Take, memory_budget::Charge},
};

/// Messages of one WebSocket under way; at this number the session starts no further message.
const UNDER_WAY: usize = 32;
/// Bytes of messages that are read ahead while none may start, so that a ping behind them is answered. A larger message
/// stays unread.
const AHEAD: usize = 64 * 1024;
/// Time for which a message waits for memory.
const MEMORY: Duration = Duration::from_secs(5);
/// Pause in reading after the caller's rate is used up.
const REST: Duration = Duration::from_millis(100);
/// Time for the caller to read the close frame.
const LAST: Duration = Duration::from_millis(500);

/// An answer that is not being written yet.
struct Waiting {
    answers: Answers,
    /// Its first piece, once there is one.
    first: Option<Piece>,
    subscribes: bool,
}

struct Session {
    socket: Socket,
    frames: Frames<Stream>,
    message: Message,
    /// Complete messages that have not started.
    ahead: VecDeque<(Bytes, Charge)>,
    waiting: VecDeque<Waiting>,
    /// The answer being written, and whether a fragment of it was written.
    writing: Option<(Answers, bool)>,
    subscriptions: Subscriptions,
    told: mpsc::Receiver<Bytes>,
    heard: Instant,
    /// Since when queued frames could not be written.
    blocked: Option<Instant>,
    /// Whether a ping of the guard is unanswered.
    is_asked: bool,
    /// Whether reading has stopped.
    is_stopped: bool,
    /// Pause in reading, because the caller's rate is used up.
    rests: Option<Pin<Box<Sleep>>>,
    /// Whether the guard shuts down: calls under way are answered, and nothing more is read.
    is_ending: bool,
}

/// Serves the WebSocket until either side closes it or the caller may no longer use it. `read` are the bytes that
/// arrived with the request.
pub(super) async fn run(socket: Socket, stream: Stream, read: Bytes) {
    let (server_state, limits) = (socket.connection.server_state.clone(), &socket.rules.policy.limits);
    let account = socket.rules.account(socket.known.caller).clone();
    let (subscriptions, told) = Subscriptions::new(
        server_state.ws,
        limits.subscriptions,
        server_state.budget.clone(),
        account.clone(),
    );
    let frames = Frames::new(stream, read, limits.body_bytes.into());
    let message = Message::new(&server_state.budget, &account);
    let mut session = Session {
        socket,
        frames,
        message,
        ahead: VecDeque::new(),
        waiting: VecDeque::new(),
        writing: None,
        subscriptions,
        told,
        heard: Instant::now(),
        blocked: None,
        is_asked: false,
        is_stopped: false,
        rests: None,
        is_ending: false,
    };
    let end = session.serve().await;
    // answers under way lose their reader here
    (session.writing, session.waiting, session.ahead) = (None, VecDeque::new(), VecDeque::new());
    session.frames.close(end.0, end.1);
    let _ = timeout(LAST, session.frames.leave()).await;
}

impl Session {
    async fn serve(&mut self) -> End {
        let server_state = self.socket.connection.server_state.clone();
        let (mut rules, mut stop) = (server_state.rules.clone(), server_state.stop.clone());
        let mut ticks = interval(Duration::from_secs(1));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let went = tokio::select! {
                biased;
                () = asked_to_end(&mut stop), if !self.is_ending => {
                    self.is_ending = true;
                    Ok(())
                }
                changed = rules.changed() => if changed.is_ok() { self.judged_anew() } else { Err(ENDING) },
                _ = ticks.tick() => self.tick(),
                end = poll_fn(|cx| self.poll(cx)) => Err(end),
            };
            if let Err(end) = went {
                return end;
            }
        }
    }

    /// Applies a changed policy.
    fn judged_anew(&mut self) -> Result<(), End> {
        let rules = self.socket.connection.server_state.rules();
        let name = &self.socket.rules.caller(self.socket.known.caller).name;
        if !rules.keeps(&self.socket.rules, &self.socket.known)
            || !self.socket.connection.is_still(&rules, name)
        {
            return Err(POLICY_CHANGED);
        }
        self.socket.known.caller = rules.position(name).ok_or(POLICY_CHANGED)?;
        self.socket.rules = rules;
        Ok(())
    }

    /// Checks deadlines, once a second.
    fn tick(&mut self) -> Result<(), End> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        if now.as_secs() >= self.socket.known.until {
            return Err(IDENTITY_ENDED);
        }
        let limits = &self.socket.rules.policy.limits;
        let seconds = |seconds: u32| Duration::from_secs(seconds.into());
        // while outgoing bytes are stuck, a closed connection shows only as an error of the socket
        if has_left(&self.frames) {
            return Err(LEFT);
        }
        // if the subscriptions have ended already, waiting for the caller is useless
        if self.told.is_closed() && self.blocked.is_some() {
            return Err(TOLD_ENDED);
        }
        if self.is_stopped && !self.frames.is_writing() {
            self.frames.ping(Bytes::new());
        }
        if self.blocked.is_some_and(|since| since.elapsed() > seconds(limits.answer_seconds)) {
            return Err(SLOW);
        }
        if self.message.waits().is_some_and(|since| since.elapsed() > MEMORY) {
            return Err(BUSY);
        }
        if self.message.began().is_some_and(|since| since.elapsed() > seconds(limits.body_seconds)) {
            return Err(SLOW_MESSAGE);
        }
        let (silent, idle) = (self.heard.elapsed(), seconds(limits.idle_seconds));
        if silent > idle * 2 {
            return Err(SILENT);
        }
        if silent > idle && !self.is_asked {
            self.is_asked = true;
            self.frames.ping(Bytes::new());
        }
        Ok(())
    }

    /// Writes and reads whatever is possible now.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        loop {
            let went = match self.poll_write(cx) {
                Ok(true) => Ok(true),
                Ok(false) => self.poll_read(cx),
                Err(end) => Err(end),
            };
            match went {
                Ok(true) => {}
                Ok(false) if self.is_ending && self.is_done() => return Poll::Ready(ENDING),
                Ok(false) => return Poll::Pending,
                Err(end) => return Poll::Ready(end),
            }
        }
    }

    /// Whether everything is answered.
    fn is_done(&self) -> bool {
        self.waiting.is_empty() && self.writing.is_none() && !self.frames.is_writing()
    }

    /// Makes progress with writing. Returns whether there was any.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Result<bool, End> {
        for waiting in self.waiting.iter_mut().filter(|waiting| waiting.first.is_none()) {
            if let Poll::Ready(piece) = waiting.answers.poll(cx) {
                waiting.first = Some(piece);
            }
        }
        if self.frames.is_writing() {
            match self.frames.poll_written(cx) {
                Poll::Ready(Ok(())) => self.blocked = None,
                Poll::Ready(Err(_)) => return Err(LEFT),
                Poll::Pending => {
                    self.blocked.get_or_insert_with(Instant::now);
                    return Ok(false);
                }
            }
        }
        if let Some((answers, _)) = &mut self.writing {
            let Poll::Ready(piece) = answers.poll(cx) else { return Ok(false) };
            return self.write(piece).map(|()| true);
        }
        if let Some(at) = self.waiting.iter().position(|waiting| waiting.first.is_some()) {
            let Some(Waiting { answers, first, .. }) = self.waiting.remove(at) else { return Ok(false) };
            self.writing = Some((answers, false));
            return self.write(first.flatten()).map(|()| true);
        }
        // notifications of a subscription come after the answer with its id
        if self.waiting.iter().any(|waiting| waiting.subscribes) {
            return Ok(false);
        }
        match self.told.poll_recv(cx) {
            Poll::Ready(Some(told)) => self.frames.text(told),
            Poll::Ready(None) => return Err(TOLD_ENDED),
            Poll::Pending => return Ok(false),
        }
        Ok(true)
    }

    /// Writes a piece of the current answer.
    fn write(&mut self, piece: Piece) -> Result<(), End> {
        let Some((answers, has_begun)) = &mut self.writing else { return Ok(()) };
        let has_ended = answers.has_ended();
        match piece {
            Some(Ok(piece)) => {
                self.frames.fragment(piece, !*has_begun, has_ended);
                *has_begun = true;
                if has_ended {
                    self.writing = None;
                }
            }
            None => {
                if *has_begun {
                    self.frames.fragment(Bytes::new(), false, true);
                }
                self.writing = None;
            }
            Some(Err(Stop::Refused(rejection, id))) => {
                self.writing = None;
                self.tell(&rejection, std::str::from_utf8(&id).ok());
            }
            Some(Err(Stop::Broken(rejection))) if rejection.reason == "answer_too_large" => {
                return Err(ANSWER_TOO_LARGE);
            }
            Some(Err(Stop::Broken(_))) => return Err(CLIENT_FAILED),
        }
        Ok(())
    }

    fn tell(&mut self, rejection: &Rejection, id: Option<&str>) {
        let mut text = rejection.text(id);
        text.push(b'\n');
        self.frames.text(text.into());
    }

    /// Makes progress with reading or starts a message. Returns whether there was any. While no message may start,
    /// reads a few bytes ahead and answers pings.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Result<bool, End> {
        if self.is_ending {
            return Ok(false);
        }
        if self.rests.as_mut().is_some_and(|rests| rests.as_mut().poll(cx).is_ready()) {
            self.rests = None;
        }
        let is_busy = self.is_busy();
        if !is_busy && let Some((body, charge)) = self.ahead.pop_front() {
            self.asked(body, charge);
            return Ok(true);
        }
        self.is_stopped = true;
        if !self.message.poll_room(cx, is_busy) {
            return Ok(false);
        }
        self.frames.let_begin(is_busy.then(|| self.room()));
        let event = self.frames.poll_event(cx);
        self.is_stopped = self.frames.is_kept();
        let event = match event {
            Poll::Pending => return Ok(false),
            Poll::Ready(Ok(Some(event))) => event,
            Poll::Ready(Ok(None) | Err(Fault::Stream(_))) => return Err(LEFT),
            Poll::Ready(Err(Fault::Breach(breach))) => return Err(End(breach.code, breach.reason)),
        };
        self.heard = Instant::now();
        self.is_asked = false;
        match event {
            Event::Piece(piece) => self.message.add(piece),
            Event::End => self.ahead.push_back(self.message.take()),
            Event::Ping(payload) => self.frames.pong(payload),
            Event::Pong => {}
            Event::Close(_) => return Err(LEFT),
        }
        Ok(true)
    }

    /// Whether no message may start now.
    fn is_busy(&self) -> bool {
        self.rests.is_some()
            || self.waiting.len() >= UNDER_WAY
            || self.waiting.iter().any(|waiting| waiting.answers.waits())
            || self.writing.as_ref().is_some_and(|(answers, _)| answers.waits())
    }

    /// While no message may start: reads the next one ahead if it has fewer bytes than this.
    fn room(&self) -> u64 {
        let there = self.ahead.iter().map(|(_, charge)| charge.bytes()).sum::<usize>();
        if self.ahead.len() >= UNDER_WAY { 0 } else { AHEAD.saturating_sub(there) as u64 }
    }

    /// Authorizes a complete message and starts its granted calls.
    fn asked(&mut self, body: Bytes, mut charge: Charge) {
        let Socket { connection, rules, known, ledger } = &self.socket;
        let ledger = Ledger { since: std::time::Instant::now(), ..ledger.clone() };
        let bytes = body.len() as u64;
        let judged = authorize(rules, known.caller, &body);
        let calls = judged.as_ref().map_or(1, Authorized::number);
        let (account, caller) = (rules.account(known.caller), rules.caller(known.caller));
        let over = match account.take(caller, calls, connection.server_state.since.elapsed()) {
            Take::Taken => None,
            Take::Later(seconds) => {
                self.rests = Some(Box::pin(sleep(REST)));
                Some(Rejection::rate(seconds))
            }
            Take::Never => Some(Rejection::over_burst(caller.burst)),
        };
        let mut judged = match judged {
            Ok(judged) => judged,
            Err(rejection) => {
                let rejection = over.unwrap_or(rejection);
                ledger.refused(&rejection, bytes);
                return self.tell(&rejection, None);
            }
        };
        let over = over.or_else(|| (!charge.grow(judged.calls.len() * SLOT)).then(Rejection::memory));
        if let Some(rejection) = over {
            judged.refuse(|_| Some(rejection.clone()));
        }
        ledger.judged(&judged);
        let (slots, is_batch) = (judged.plan(&body), judged.is_batch);
        let subscribes = slots.iter().any(|slot| slot.method().ends_with("_subscribe"));
        let asker = Asker {
            connection: connection.clone(),
            rules: rules.clone(),
            known: known.clone(),
            ledger,
            subscriptions: Some(self.subscriptions.clone()),
            charge,
        };
        let answers = Answers::new(asker, slots, is_batch);
        self.waiting.push_back(Waiting { answers, first: None, subscribes });
    }
}

/// Whether the caller has closed its side of the connection.
fn has_left(frames: &Frames<Stream>) -> bool {
    let mut looked = [PollFd::new(frames.get_ref().get_ref().get_ref().0, PollFlags::RDHUP)];
    let ready = poll(&mut looked, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }));
    ready.is_ok() && looked[0].revents().intersects(PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR)
}

async fn asked_to_end(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}
