//! HTTP/1.1 connection that releases hyper's buffers (two of 8 KB) while it is idle, and restores them with the next
//! byte.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use hyper::body::Incoming;
use hyper::server::conn::http1::{Builder, UpgradeableConnection};
use hyper::service::Service;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;

use super::{connection::Connection, http, listen::Stream, response_body::Answer};
use crate::guard::rpc::limits::deadlines::is_blank;

/// Service that answers the requests of a connection.
pub struct Answers(pub Arc<Connection>);

impl Service<Request<Incoming>> for Answers {
    type Response = Response<Answer>;
    type Error = Infallible;
    /// Boxed, so that an idle connection holds no future.
    type Future = Pin<Box<dyn Future<Output = Result<Response<Answer>, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let connection = self.0.clone();
        Box::pin(async move { Ok(http::answer(connection, request).await) })
    }
}

/// An HTTP/1.1 connection.
pub struct Http1 {
    connection: Arc<Connection>,
    /// Maximum size of a header in bytes.
    header: usize,
    state: State,
}

enum State {
    Serves(Box<UpgradeableConnection<TokioIo<Stream>, Answers>>),
    Rests(Box<Stream>),
    Ended,
}

impl Http1 {
    /// Serves a stream with headers of at most `header` bytes.
    #[must_use]
    pub fn new(stream: Stream, connection: Arc<Connection>, header: usize) -> Self {
        let mut this = Self { connection, header, state: State::Ended };
        this.serve(stream);
        this
    }

    fn serve(&mut self, stream: Stream) {
        let serving = Builder::new()
            .max_buf_size(self.header.max(8192))
            .max_headers(64)
            .serve_connection(TokioIo::new(stream), Answers(self.connection.clone()))
            .with_upgrades();
        self.state = State::Serves(Box::new(serving));
    }

    /// Ends the connection once nothing is under way.
    pub fn graceful_shutdown(mut self: Pin<&mut Self>) {
        let this = &mut *self;
        match std::mem::replace(&mut this.state, State::Ended) {
            State::Rests(stream) => this.serve(*stream),
            state => this.state = state,
        }
        if let State::Serves(serving) = &mut this.state {
            Pin::new(&mut **serving).graceful_shutdown();
        }
    }

    /// Whether the buffers are released.
    #[cfg(test)]
    pub(crate) fn rests(&self) -> bool {
        matches!(self.state, State::Rests(_))
    }
}

impl Future for Http1 {
    type Output = hyper::Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<hyper::Result<()>> {
        let this = &mut *self;
        loop {
            match &mut this.state {
                State::Ended => return Poll::Ready(Ok(())),
                State::Serves(serving) => {
                    if let Poll::Ready(ended) = Pin::new(&mut **serving).poll(cx) {
                        return Poll::Ready(ended);
                    }
                    if !this.connection.deadlines.rests() {
                        return Poll::Pending;
                    }
                }
                State::Rests(stream) => {
                    if ready!(stream.poll_readable(cx)).is_err() {
                        this.state = State::Ended;
                        continue;
                    }
                }
            }
            match std::mem::replace(&mut this.state, State::Ended) {
                State::Ended => {}
                State::Serves(serving) => {
                    let Some(parts) = serving.into_parts() else { continue };
                    let mut stream = parts.io.into_inner();
                    // bytes behind the last request begin a header, unless they are empty lines
                    if !is_blank(&parts.read_buf) {
                        stream.read_first(parts.read_buf);
                    }
                    this.state = State::Rests(Box::new(stream));
                }
                State::Rests(stream) => this.serve(*stream),
            }
        }
    }
}
