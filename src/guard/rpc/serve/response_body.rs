//! Body of a response: a text of the guard, or the client's answer as a stream.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use hyper::body::{Body, Bytes, Frame, SizeHint};

use super::answers::{Answers, Stop};
use crate::guard::rpc::limits::deadlines::Busy;

/// The body of a response.
pub struct Answer {
    /// Sent first.
    text: Option<Bytes>,
    /// Sent after `text`.
    rest: Option<Box<Answers>>,
    /// The request counts as under way until this is dropped.
    _busy: Option<Busy>,
}

impl Answer {
    /// A body of text only.
    pub fn text(text: impl Into<Bytes>, busy: Option<Busy>) -> Self {
        let text = text.into();
        Self { text: Some(text).filter(|text| !text.is_empty()), rest: None, _busy: busy }
    }

    /// A body of text and the stream that follows it.
    pub fn passed(first: Bytes, rest: Answers, busy: Option<Busy>) -> Self {
        Self { text: Some(first), rest: Some(Box::new(rest)), _busy: busy }
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if let Some(text) = self.text.take() {
            return Poll::Ready(Some(Ok(Frame::data(text))));
        }
        let Some(rest) = &mut self.rest else { return Poll::Ready(None) };
        let piece = ready!(rest.poll(cx));
        if !matches!(piece, Some(Ok(_))) || rest.has_ended() {
            self.rest = None;
        }
        Poll::Ready(piece.map(|piece| match piece {
            Ok(piece) => Ok(Frame::data(piece)),
            Err(Stop::Refused(rejection, _) | Stop::Broken(rejection)) => {
                Err(io::Error::other(rejection.reason))
            }
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.text.is_none() && self.rest.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        let text = self.text.as_ref().map_or(0, |text| text.len() as u64);
        let rest = self.rest.as_ref().map_or(Some(0), |rest| rest.left());
        rest.map_or_else(SizeHint::default, |rest| SizeHint::with_exact(text + rest))
    }
}
