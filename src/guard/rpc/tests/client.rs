//! A client that is told what to answer.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::sync::watch;

use crate::guard::testing::standin::{self, Answer, Call, Mood, Standin, Way};

/// How calls are answered.
#[derive(Clone, Debug)]
pub(super) enum How {
    /// Each with its method as the result.
    Well,
    /// With this, whatever is asked.
    With(u16, &'static str),
    /// Not before it is told otherwise; over WebSocket never.
    Never,
    /// Endlessly.
    Endlessly,
    /// What asks for this method with so many bytes of white space in chunks, everything else well.
    Blank(&'static str, u64),
}

/// What it was asked, and how it answers.
pub(super) struct Client {
    pub(super) http: SocketAddr,
    pub(super) ws: SocketAddr,
    standin: Standin,
    told: Arc<Told>,
}

struct Told {
    asked: Mutex<Vec<String>>,
    how: watch::Sender<How>,
}

impl standin::Client for Told {
    async fn mood(&self, body: &[u8], way: Way) -> Mood {
        self.asked.lock().unwrap().push(String::from_utf8(body.to_vec()).unwrap());
        let mut told = self.how.subscribe();
        if way == Way::WebSocket && matches!(*told.borrow(), How::Never) {
            return std::future::pending().await;
        }
        let how = told.wait_for(|how| !matches!(how, How::Never)).await.unwrap().clone();
        match how {
            How::With(status, with) => Mood::Sends(status, with.into()),
            How::Endlessly => Mood::Blank(u64::MAX),
            How::Blank(method, bytes) if String::from_utf8_lossy(body).contains(method) => Mood::Blank(bytes),
            How::Blank(..) | How::Well | How::Never => Mood::Well,
        }
    }

    fn answer(&self, call: &Call<'_>) -> Answer {
        Answer::Result(format!("{:?}", call.method))
    }
}

impl Client {
    pub(super) async fn start() -> Self {
        let told = Arc::new(Told { asked: Mutex::default(), how: watch::Sender::new(How::Well) });
        let standin = Standin::start(told.clone()).await.unwrap();
        Self { http: standin.http, ws: standin.ws, standin, told }
    }

    /// The same over WebSocket, and another one over HTTP.
    pub(super) fn with_http(self, http: SocketAddr) -> Self {
        Self { http, ..self }
    }

    /// Every body and message so far.
    pub(super) fn asked(&self) -> Vec<String> {
        self.told.asked.lock().unwrap().clone()
    }

    pub(super) fn answer(&self, how: How) {
        self.told.how.send_replace(how);
    }

    /// Tells all subscriptions this JSON.
    pub(super) fn tell(&self, result: &str) {
        self.standin.tell(result);
    }

    pub(super) fn hang_up(&self) {
        self.standin.hang_up();
    }

    /// Ends, with all connections that it has.
    pub(super) fn leave(&self) {
        self.standin.leave();
    }
}
