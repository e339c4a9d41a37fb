//! Stand-in for the client whose answers a test chooses.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::sync::watch;

use crate::guard::testing::standin::{self, Answer, Call, Mood, Standin, Way};

/// How calls are answered.
#[derive(Clone, Debug)]
pub(super) enum How {
    /// With their method as the result.
    Well,
    /// With this status and text.
    With(u16, &'static str),
    /// Over HTTP only once another answer is set; over WebSocket never.
    Never,
    /// Endlessly.
    Endlessly,
    /// Calls of this method with this many bytes of white space in chunks, all others as [`How::Well`].
    Blank(&'static str, u64),
}

/// A stand-in for the client: its addresses, the calls it received and its answers.
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

    /// The same over WebSocket, but with another HTTP listener.
    pub(super) fn with_http(self, http: SocketAddr) -> Self {
        Self { http, ..self }
    }

    /// Every body and message received so far.
    pub(super) fn asked(&self) -> Vec<String> {
        self.told.asked.lock().unwrap().clone()
    }

    pub(super) fn answer(&self, how: How) {
        self.told.how.send_replace(how);
    }

    /// Sends this JSON to all subscriptions.
    pub(super) fn tell(&self, result: &str) {
        self.standin.tell(result);
    }

    pub(super) fn hang_up(&self) {
        self.standin.hang_up();
    }

    /// Closes the listeners and all connections.
    pub(super) fn leave(&self) {
        self.standin.leave();
    }
}
