//! Tests of pings over a WebSocket whose calls wait or run.

use futures::{SinkExt as _, StreamExt as _};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

use super::client::How;
use super::websocket::{Socket, answer, open};
use super::*;

fn call(id: u32, bytes: usize) -> String {
    json!({"jsonrpc": "2.0", "id": id, "method": "eth_call", "params": ["x".repeat(bytes)]}).to_string()
}

/// A guard whose only concurrency slot is taken, and a WebSocket whose first call waits for it.
async fn waiting() -> (Running, Socket) {
    let running = Running::start(|policy| policy.limits.requests_at_client = 1).await;
    running.client.answer(How::Never);
    let mut first = running.http1().await;
    let first_call = request(&token(), &ask("eth_call"));
    tokio::spawn(async move { first.send_request(first_call).await.map(|answer| answer.status()) });
    until(async || running.client.asked().len(), |asked| *asked == 1).await;
    let mut socket = open(&running, &token()).await.unwrap();
    socket.send(Message::text(call(1, 1))).await.unwrap();
    let waits = "quorum_guard_rpc_requests_waiting 1\n";
    until(|| running.scrape(), |page| page.contains(waits)).await;
    (running, socket)
}

/// Whether a ping is answered within a second.
async fn is_answered(socket: &mut Socket, payload: &'static str) -> bool {
    socket.send(Message::Ping(payload.into())).await.unwrap();
    let pong = async {
        while let Some(Ok(message)) = socket.next().await {
            if message == Message::Pong(payload.into()) {
                return;
            }
        }
        panic!("it has ended");
    };
    tokio::time::timeout(Duration::from_secs(1), pong).await.is_ok()
}

fn in_flight(page: &str) -> u64 {
    let line = page.lines().find_map(|line| line.strip_prefix("quorum_guard_rpc_in_flight_bytes "));
    line.unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_ping_is_answered_while_a_call_waits_for_its_turn_and_while_one_runs() {
    let (running, mut socket) = waiting().await;
    assert!(is_answered(&mut socket, "it waits").await);
    // further messages are read ahead and start in order
    for id in 2..5 {
        socket.send(Message::text(call(id, 100))).await.unwrap();
    }
    assert!(is_answered(&mut socket, "more wait").await);
    assert_eq!(running.client.asked().len(), 1);
    running.client.answer(How::Well);
    let ids = [
        answer(&mut socket).await,
        answer(&mut socket).await,
        answer(&mut socket).await,
        answer(&mut socket).await,
    ];
    assert_eq!(ids.map(|answer| answer["id"].as_u64()), [1, 2, 3, 4].map(Some));
    running.client.answer(How::Never);
    socket.send(Message::text(call(5, 1))).await.unwrap();
    until(async || running.client.asked().len(), |asked| *asked == 6).await;
    assert!(is_answered(&mut socket, "it runs").await);
    running.client.answer(How::Well);
    assert_eq!(answer(&mut socket).await["id"], 5);
}

#[tokio::test]
async fn what_is_read_ahead_is_bounded_and_nothing_of_it_is_lost() {
    let (running, mut socket) = waiting().await;
    let before = in_flight(&running.scrape().await);
    for id in 2..20 {
        socket.send(Message::text(call(id, 10_000))).await.unwrap();
    }
    assert!(!is_answered(&mut socket, "behind too much").await, "too much is read");
    let held = in_flight(&running.scrape().await) - before;
    assert!((30_000..100_000).contains(&held), "{held} bytes");
    running.client.answer(How::Well);
    let mut ids = Vec::new();
    for _ in 1..20 {
        ids.push(answer(&mut socket).await["id"].as_u64().unwrap());
    }
    assert_eq!(ids, (1..20).collect::<Vec<_>>());
    assert!(is_answered(&mut socket, "read on").await);
}

#[tokio::test]
async fn a_large_message_and_one_in_pieces_wait_to_be_read_and_are_asked_then() {
    for is_large in [true, false] {
        let (running, mut socket) = waiting().await;
        let before = in_flight(&running.scrape().await);
        let text = call(2, if is_large { 70_000 } else { 100 });
        if is_large {
            socket.send(Message::text(text)).await.unwrap();
        } else {
            let (first, last) = text.split_at(20);
            for (piece, code, is_last) in [(first, Data::Text, false), (last, Data::Continue, true)] {
                let frame = Frame::message(piece.to_owned(), OpCode::Data(code), is_last);
                socket.send(Message::Frame(frame)).await.unwrap();
            }
        }
        assert!(!is_answered(&mut socket, "behind it").await);
        assert_eq!(in_flight(&running.scrape().await), before, "nothing of it is held");
        running.client.answer(How::Well);
        assert_eq!(answer(&mut socket).await["id"], 1);
        assert_eq!(answer(&mut socket).await["id"], 2);
    }
}

#[tokio::test]
async fn messages_without_a_byte_are_not_gathered() {
    let (running, mut socket) = waiting().await;
    for _ in 0..100 {
        socket.send(Message::text("")).await.unwrap();
    }
    assert!(!is_answered(&mut socket, "behind them").await);
    running.client.answer(How::Well);
    let mut answered = [0, 0];
    for _ in 0..101 {
        let answer = answer(&mut socket).await;
        let is_call = answer["id"] == 1;
        assert!(is_call || answer["error"]["code"] == -32700, "{answer}");
        answered[usize::from(is_call)] += 1;
    }
    assert_eq!(answered, [100, 1]);
    assert!(is_answered(&mut socket, "read on").await);
}
