//! The body of an answer: text of our own, or what the client answers, passed on as it comes.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};

use super::batch::Entries;
use super::patience::Busy;
use super::upstream::{Line, Turn, Upstream};

/// The body of an answer.
pub struct Answer {
    kind: Kind,
    /// The request is under way until this is dropped.
    _busy: Option<Busy>,
}

enum Kind {
    Text(Option<Bytes>),
    Passed(Box<Passed>),
}

impl Answer {
    /// Text of our own.
    pub fn text(text: impl Into<Bytes>, busy: Option<Busy>) -> Self {
        let text = text.into();
        Self { kind: Kind::Text((!text.is_empty()).then_some(text)), _busy: busy }
    }

    /// What the client answers.
    pub fn passed(passed: Passed, busy: Option<Busy>) -> Self {
        Self { kind: Kind::Passed(Box::new(passed)), _busy: busy }
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        match &mut self.kind {
            Kind::Text(text) => Poll::Ready(text.take().map(|text| Ok(Frame::data(text)))),
            Kind::Passed(passed) => passed.poll(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Text(text) => text.is_none(),
            Kind::Passed(passed) => passed.ended,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Text(text) => SizeHint::with_exact(text.as_ref().map_or(0, |text| text.len() as u64)),
            Kind::Passed(passed) => passed.size_hint(),
        }
    }
}

/// What the client answers, bounded in size and time, with error objects put in front where some of a batch's
/// calls were not passed on.
pub struct Passed {
    answer: Incoming,
    errors: Errors,
    left: u64,
    /// When all of it must have come.
    due: Instant,
    timer: Option<Pin<Box<Sleep>>>,
    entry: Entries,
    line: Option<Line>,
    turn: Option<Turn>,
    upstream: Arc<Upstream>,
    ended: bool,
}

/// Error objects that have a place in the answer.
enum Errors {
    /// There are none, or they are in it.
    Placed,
    /// They come first.
    Before(Vec<u8>),
    /// The client has answered with something else than a list; the list is closed behind it.
    Around,
}

/// With what the client is asked.
pub struct Asking {
    /// Its turn.
    pub turn: Turn,
    /// Over which connection.
    pub line: Line,
    /// Where that is kept.
    pub upstream: Arc<Upstream>,
    /// Error objects with commas between them, of a batch's calls that were not passed on.
    pub errors: Vec<u8>,
}

impl Passed {
    /// Passes an answer on, of so many bytes at most, within so long.
    pub fn new(answer: Incoming, asking: Asking, bounds: (u32, Duration), entry: Entries) -> Self {
        let errors = if asking.errors.is_empty() { Errors::Placed } else { Errors::Before(asking.errors) };
        Self {
            answer,
            errors,
            left: bounds.0.into(),
            due: Instant::now() + bounds.1,
            timer: None,
            entry,
            line: Some(asking.line),
            turn: Some(asking.turn),
            upstream: asking.upstream,
            ended: false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self.errors {
            Errors::Placed => self.answer.size_hint(),
            _ => SizeHint::default(),
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        loop {
            let Poll::Ready(frame) = Pin::new(&mut self.answer).poll_frame(cx) else {
                ready!(self.wait(cx));
                return Poll::Ready(Some(Err(self.broken("answer_too_slow"))));
            };
            let frame = match frame {
                None => return Poll::Ready(self.end().map(|text| Ok(Frame::data(text)))),
                Some(Err(_)) => return Poll::Ready(Some(Err(self.broken("client_failed")))),
                Some(Ok(frame)) => frame,
            };
            let Ok(data) = frame.into_data() else { continue };
            if data.is_empty() {
                continue;
            }
            let Some(left) = self.left.checked_sub(data.len() as u64) else {
                return Poll::Ready(Some(Err(self.broken("answer_too_large"))));
            };
            self.left = left;
            let data = self.placed(data);
            self.entry.answered(data.len());
            if matches!(self.errors, Errors::Placed) && self.answer.is_end_stream() {
                self.done();
            }
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
    }

    /// Until it has been too long.
    fn wait(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let due = self.due;
        self.timer.get_or_insert_with(|| Box::pin(sleep_until(due))).as_mut().poll(cx)
    }

    /// The answer's first bytes, with the error objects where they belong.
    fn placed(&mut self, data: Bytes) -> Bytes {
        match std::mem::replace(&mut self.errors, Errors::Placed) {
            Errors::Placed => data,
            Errors::Around => {
                self.errors = Errors::Around;
                data
            }
            Errors::Before(errors) if data.first() == Some(&b'[') => {
                [b"[", &errors[..], b",", &data[1..]].concat().into()
            }
            Errors::Before(errors) => {
                self.errors = Errors::Around;
                [b"[", &errors[..], b",", &data[..]].concat().into()
            }
        }
    }

    /// The client has said all; there may be something to add.
    fn end(&mut self) -> Option<Bytes> {
        let last = match std::mem::replace(&mut self.errors, Errors::Placed) {
            Errors::Placed => None,
            Errors::Around => Some(Bytes::from_static(b"]")),
            Errors::Before(errors) => Some([b"[", &errors[..], b"]"].concat().into()),
        };
        self.entry.answered(last.as_ref().map_or(0, Bytes::len));
        self.done();
        last
    }

    fn done(&mut self) {
        self.ended = true;
        self.turn = None;
        self.entry.end(None);
        if let Some(line) = self.line.take() {
            self.upstream.keep(line);
        }
    }

    fn broken(&mut self, reason: &'static str) -> io::Error {
        self.ended = true;
        self.turn = None;
        self.line = None;
        self.entry.end(Some(reason));
        io::Error::other(reason)
    }
}
