//! WebSockets as the client serves them: it answers messages as soon as they are done, in fragments of its own sizes.

use std::collections::BTreeSet;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use futures::{SinkExt as _, StreamExt as _};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::sync::{broadcast, mpsc};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};

use super::answers::{self, Body};
use super::{Answer, Call, Client, Hands, Mood, Way, http, wire};

/// Maximum size of a message in bytes; the client closes the WebSocket on a larger one.
const MOST: usize = 15 * 1024 * 1024;
const KINDS: [&str; 4] = ["newHeads", "logs", "newPendingTransactions", "syncing"];

/// Ids look like the client's and are unique.
static IDS: AtomicU64 = AtomicU64::new(1);

/// Subscriptions of a WebSocket.
struct Subscriptions {
    of_socket: Mutex<BTreeSet<String>>,
    hands: Arc<Hands>,
}

impl Subscriptions {
    fn change<T>(&self, change: impl FnOnce(&mut BTreeSet<String>) -> T) -> T {
        let mut of_socket = self.of_socket.lock().unwrap_or_else(PoisonError::into_inner);
        let before = of_socket.len();
        let changed = change(&mut of_socket);
        self.hands.subscriptions.fetch_add(of_socket.len().wrapping_sub(before), Ordering::SeqCst);
        changed
    }

    /// Answers a call about subscriptions; `None` for other calls.
    fn answer(&self, call: &Call<'_>) -> Option<Answer> {
        if call.method.ends_with("_unsubscribe") {
            Some(match call.first() {
                None => Answer::error(-32602, "missing value for required argument 0"),
                Some(id) if self.change(|of_socket| of_socket.remove(&id)) => Answer::Result("true".into()),
                Some(_) => Answer::error(-32000, "subscription not found"),
            })
        } else {
            call.method.strip_suffix("_subscribe").map(|namespace| self.subscribe(namespace, call))
        }
    }

    fn subscribe(&self, namespace: &str, call: &Call<'_>) -> Answer {
        if !call.params.is_some_and(|params| params.starts_with(b"[")) {
            return Answer::error(-32602, "non-array args");
        }
        let Some(kind) = call.first() else {
            return Answer::error(-32602, "expected subscription name as first argument");
        };
        if namespace != "eth" || !KINDS.contains(&kind.as_str()) {
            return Answer::error(-32601, format!("no {kind:?} subscription in {namespace} namespace"));
        }
        let number = u128::from(IDS.fetch_add(1, Ordering::Relaxed));
        let id = format!("{:#x}", number.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835));
        self.change(|of_socket| of_socket.insert(id.clone()));
        Answer::Result(format!("\"{id}\""))
    }
}

impl Drop for Subscriptions {
    fn drop(&mut self) {
        self.change(BTreeSet::clear);
    }
}

/// A frame to write; `None` closes the WebSocket.
type Written = Option<Message>;

/// Returns the frames of a text message.
fn fragments(text: &[u8]) -> Vec<Written> {
    let pieces = wire::fragments(text);
    let last = pieces.len().saturating_sub(1);
    let frame = |(number, piece): (usize, &[u8])| {
        let kind = if number == 0 { Data::Text } else { Data::Continue };
        Some(Message::Frame(Frame::message(piece.to_vec(), OpCode::Data(kind), number == last)))
    };
    pieces.into_iter().enumerate().map(frame).collect()
}

/// Answers the messages of a WebSocket.
pub(super) async fn serve<C: Client>(
    mut stream: TcpStream,
    client: Arc<C>,
    hands: &Arc<Hands>,
) -> io::Result<()> {
    let mut buffer = Vec::new();
    let Some(head) = http::head(&mut stream, &mut buffer).await? else { return Ok(()) };
    let Some(key) = head.header("sec-websocket-key") else {
        return stream.write_all(&wire::rejection(head.dialect, "404 Not Found", "")).await;
    };
    stream.write_all(wire::handshake(&derive_accept_key(key.as_bytes())).as_bytes()).await?;
    let config = WebSocketConfig::default().max_message_size(Some(MOST)).max_frame_size(Some(MOST));
    let socket = WebSocketStream::from_partially_read(stream, buffer, Role::Server, Some(config)).await;
    let (mut sink, mut messages) = socket.split();
    let (writes, mut to_write) = mpsc::channel::<Vec<Written>>(64);
    let writing = async {
        while let Some(written) = to_write.recv().await {
            for message in written {
                let Some(message) = message else { return };
                if sink.send(message).await.is_err() {
                    return;
                }
            }
        }
    };
    let subscriptions = Arc::new(Subscriptions { of_socket: Mutex::default(), hands: hands.clone() });
    let telling = tell(hands.tells.subscribe(), &subscriptions, writes.clone());
    let reading = async {
        loop {
            let body = match messages.next().await {
                Some(Ok(Message::Text(text))) => text.as_bytes().to_vec(),
                Some(Ok(Message::Binary(bytes))) => bytes.to_vec(),
                Some(Ok(_)) => continue,
                Some(Err(Error::Capacity(_))) => {
                    let close = CloseFrame { code: CloseCode::Size, reason: "".into() };
                    let _ = writes.send(vec![Some(Message::Close(Some(close))), None]).await;
                    return;
                }
                _ => return,
            };
            let (client, hands, writes) = (client.clone(), hands.clone(), writes.clone());
            let subscriptions = subscriptions.clone();
            // the client continues with calls under way after the WebSocket is closed
            tokio::spawn(async move {
                let _busy = hands.begin();
                respond(&body, &*client, &subscriptions, &writes).await;
            });
        }
    };
    tokio::select! {
        () = writing => {}
        () = telling => {}
        () = reading => {}
    }
    Ok(())
}

async fn tell(
    mut tells: broadcast::Receiver<String>,
    subscriptions: &Subscriptions,
    writes: mpsc::Sender<Vec<Written>>,
) {
    loop {
        let result = match tells.recv().await {
            Ok(result) => result,
            Err(broadcast::error::RecvError::Lagged(_)) => continue,
            Err(broadcast::error::RecvError::Closed) => return,
        };
        for id in subscriptions.change(|of_socket| of_socket.clone()) {
            if writes.send(fragments(&answers::told(&id, &result))).await.is_err() {
                return;
            }
        }
    }
}

async fn respond<C: Client>(
    body: &[u8],
    client: &C,
    subscriptions: &Subscriptions,
    writes: &mpsc::Sender<Vec<Written>>,
) {
    let written = match client.mood(body, Way::WebSocket).await {
        Mood::Well => match answers::read(body) {
            // the real client may name the error first; in any case it closes the WebSocket
            Body::Nothing | Body::Broken { .. } => vec![None],
            body => {
                let mut run =
                    |call: &Call<'_>| subscriptions.answer(call).unwrap_or_else(|| client.answer(call));
                answers::reply(&body, &mut run).map(|text| fragments(&text)).unwrap_or_default()
            }
        },
        Mood::Sends(_, text) => fragments(&text),
        Mood::Blank(bytes) => fragments(&vec![b' '; usize::try_from(bytes).unwrap_or(MOST).min(MOST)]),
        Mood::HangsUp => vec![None],
    };
    let _ = writes.send(written).await;
}
