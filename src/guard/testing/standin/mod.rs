//! Stand-in for the client. Answers JSON-RPC over HTTP/1 and WebSocket byte for byte as the client does; `make
//! test-guard` compares the two.

pub(crate) mod answers;
mod chain;
pub(crate) mod http;
pub(crate) mod scan;
mod sockets;
pub(crate) mod wire;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{broadcast, watch};

pub(crate) use answers::{Answer, Call};
pub(crate) use chain::Chain;

/// How a message arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Http,
    WebSocket,
}

/// What happens to a body or message.
#[derive(Clone, Debug)]
pub(crate) enum Mood {
    /// It is answered.
    Well,
    /// It is answered with this text, JSON or not. The status applies to HTTP only.
    Sends(u16, Vec<u8>),
    /// The answer to id 1 contains this many bytes of white space; over WebSocket, as many as a message can have.
    Blank(u64),
    /// The connection is closed.
    HangsUp,
}

/// Decides how calls are answered.
pub(crate) trait Client: Send + Sync + 'static {
    /// Returns what happens to a body or message. Others are answered while this is pending.
    fn mood(&self, body: &[u8], way: Way) -> impl Future<Output = Mood> + Send;
    /// Returns the answer to a call. Never called for subscriptions.
    fn answer(&self, call: &Call<'_>) -> Answer;
}

/// A stand-in that listens until it leaves.
pub(crate) struct Standin {
    pub(crate) http: SocketAddr,
    pub(crate) ws: SocketAddr,
    hands: Arc<Hands>,
}

/// State shared by its connections.
struct Hands {
    /// Closes all connections.
    hangs_up: watch::Sender<u32>,
    /// Whether it accepts no more connections.
    is_gone: watch::Sender<bool>,
    /// Notifications for all subscriptions.
    tells: broadcast::Sender<String>,
    under_way: AtomicUsize,
    most_under_way: AtomicUsize,
    subscriptions: AtomicUsize,
}

impl Hands {
    /// Counts a message under way until the returned value is dropped.
    fn begin(&self) -> Busy<'_> {
        let now = self.under_way.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_under_way.fetch_max(now, Ordering::SeqCst);
        Busy(&self.under_way)
    }
}

struct Busy<'a>(&'a AtomicUsize);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Standin {
    /// Listens on two loopback ports.
    pub(crate) async fn start<C: Client>(client: Arc<C>) -> io::Result<Self> {
        let http = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let ws = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let hands = Arc::new(Hands {
            hangs_up: watch::Sender::new(0),
            is_gone: watch::Sender::new(false),
            tells: broadcast::Sender::new(1024),
            under_way: AtomicUsize::new(0),
            most_under_way: AtomicUsize::new(0),
            subscriptions: AtomicUsize::new(0),
        });
        let standin = Self { http: http.local_addr()?, ws: ws.local_addr()?, hands: hands.clone() };
        tokio::spawn(listen(http, Way::Http, client.clone(), hands.clone()));
        tokio::spawn(listen(ws, Way::WebSocket, client, hands));
        Ok(standin)
    }

    /// Closes all connections.
    pub(crate) fn hang_up(&self) {
        self.hands.hangs_up.send_modify(|times| *times += 1);
    }

    /// Closes the listeners and all connections.
    pub(crate) fn leave(&self) {
        self.hands.is_gone.send_replace(true);
        self.hang_up();
    }

    /// Sends this JSON to every subscription.
    pub(crate) fn tell(&self, result: &str) {
        // fails if there is no subscription
        let _ = self.hands.tells.send(result.to_owned());
    }

    /// Number of bodies and messages that are not answered yet.
    pub(crate) fn under_way(&self) -> usize {
        self.hands.under_way.load(Ordering::SeqCst)
    }

    /// Maximum of [`Self::under_way`] so far.
    pub(crate) fn most_under_way(&self) -> usize {
        self.hands.most_under_way.load(Ordering::SeqCst)
    }

    /// Number of subscriptions.
    pub(crate) fn subscriptions(&self) -> usize {
        self.hands.subscriptions.load(Ordering::SeqCst)
    }
}

async fn listen<C: Client>(listener: TcpListener, way: Way, client: Arc<C>, hands: Arc<Hands>) {
    let mut is_gone = hands.is_gone.subscribe();
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(_) => continue,
            },
            _ = is_gone.wait_for(|is_gone| *is_gone) => return,
        };
        let (client, hands) = (client.clone(), hands.clone());
        let mut hangs_up = hands.hangs_up.subscribe();
        tokio::spawn(async move {
            tokio::select! {
                // a broken connection is no error
                _ = serve(stream, way, client, &hands) => {}
                _ = hangs_up.changed() => {}
            }
        });
    }
}

async fn serve<C: Client>(stream: TcpStream, way: Way, client: Arc<C>, hands: &Arc<Hands>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    match way {
        Way::Http => http::serve(stream, client, hands).await,
        Way::WebSocket => sockets::serve(stream, client, hands).await,
    }
}
