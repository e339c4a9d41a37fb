use futures::{SinkExt as _, StreamExt as _};
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use super::client::How;
use super::*;

pub(super) type Socket = WebSocketStream<TlsStream<TcpStream>>;

pub(super) async fn open(running: &Running, token: &str) -> Result<Socket, Error> {
    let mut request = format!("wss://{HOST}/").into_client_request().unwrap();
    request.headers_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    client_async(request, running.connect_with("http/1.1").await).await.map(|(socket, _)| socket)
}

async fn next(socket: &mut Socket) -> Message {
    let next = tokio::time::timeout(Duration::from_secs(10), socket.next()).await;
    next.expect("nothing came").expect("it has ended").unwrap_or_else(|error| panic!("{error}"))
}

pub(super) async fn answer(socket: &mut Socket) -> Value {
    loop {
        // the guard pings a caller that it makes wait
        if let Message::Text(text) = next(socket).await {
            return serde_json::from_str(text.as_str()).unwrap();
        }
    }
}

pub(super) async fn asked(socket: &mut Socket, text: &str) -> Value {
    socket.send(Message::text(text)).await.unwrap();
    answer(socket).await
}

fn subscribe() -> String {
    json!({"jsonrpc": "2.0", "id": 1, "method": "eth_subscribe", "params": ["newHeads"]}).to_string()
}

pub(super) async fn closed(socket: &mut Socket) -> CloseCode {
    loop {
        if let Message::Close(frame) = next(socket).await {
            return frame.map_or(CloseCode::Status, |frame| frame.code);
        }
    }
}

#[tokio::test]
async fn messages_are_judged_like_requests() {
    let running = Running::start(|_| {}).await;
    let mut socket = open(&running, &token()).await.unwrap();
    assert_eq!(
        asked(&mut socket, &ask("eth_call")).await,
        json!({"jsonrpc": "2.0", "id": 1, "result": "eth_call"})
    );
    assert_eq!(asked(&mut socket, &ask("admin_peers")).await["error"]["code"], -32601);
    assert_eq!(asked(&mut socket, "{").await["error"]["code"], -32700);
    let call = |id: u32, method: &str| json!({"jsonrpc": "2.0", "id": id, "method": method});
    let batch = json!([call(1, "eth_call"), call(2, "admin_peers"), call(3, "net_version")]);
    let answers = asked(&mut socket, &batch.to_string()).await;
    let ids: Vec<_> =
        answers.as_array().unwrap().iter().map(|answer| answer["id"].as_u64().unwrap()).collect();
    assert_eq!(ids, [1, 2, 3], "in the order of the calls");
    // a notification has no answer: the next answer belongs to the next call
    socket.send(Message::text(r#"{"jsonrpc":"2.0","method":"eth_call"}"#)).await.unwrap();
    assert_eq!(asked(&mut socket, &call(9, "eth_call").to_string()).await["id"], 9);
    // in a batch of notifications, only rejected calls with an id are answered
    let batch = json!([call(1, "admin_peers"), {"jsonrpc": "2.0", "method": "eth_call"}]);
    assert_eq!(asked(&mut socket, &batch.to_string()).await[0]["error"]["code"], -32601);
    socket.close(None).await.unwrap();
    assert!(running.client.asked().iter().all(|asked| !asked.contains("admin")));
    let records = running.end().await;
    assert!(records.iter().all(|record| record["transport"] == "websocket" && record["caller"] == "wallet"));
    let allowed = records.iter().filter(|record| record["verdict"] == "allowed");
    assert_eq!((allowed.count(), records.len()), (6, 11));
    assert_eq!(records[0]["verdict"], "opened");
}

#[tokio::test]
async fn a_message_in_pieces_is_judged_when_it_is_whole() {
    let running = Running::start(|_| {}).await;
    let mut socket = open(&running, &token()).await.unwrap();
    let text = ask("admin_peers");
    for (at, piece) in [(0, &text[..20]), (1, &text[20..22]), (2, &text[22..])] {
        let code = OpCode::Data(if at == 0 { Data::Text } else { Data::Continue });
        socket.send(Message::Frame(Frame::message(piece.to_owned(), code, at == 2))).await.unwrap();
        if at == 0 {
            socket.send(Message::Ping("are you there".into())).await.unwrap();
        }
    }
    let answer = loop {
        if let Message::Text(text) = next(&mut socket).await {
            break serde_json::from_str::<Value>(text.as_str()).unwrap();
        }
    };
    assert_eq!(answer["error"]["code"], -32601);
    assert_eq!(running.client.asked(), Vec::<String>::new());
}

#[tokio::test]
async fn a_subscription_tells_and_there_are_so_many() {
    let running = Running::start(|policy| policy.limits.subscriptions = 2).await;
    let mut socket = open(&running, &token()).await.unwrap();
    let subscription = asked(&mut socket, &subscribe()).await["result"].clone();
    running.client.tell("7");
    let told = json!({"subscription": subscription, "result": 7});
    assert_eq!(answer(&mut socket).await["params"], told);
    assert!(asked(&mut socket, &subscribe()).await["result"].is_string());
    assert_eq!(asked(&mut socket, &subscribe()).await["error"]["code"], -32005);
    assert_eq!(asked(&mut socket, &ask("eth_call")).await["result"], "eth_call");
}

#[tokio::test]
async fn whoever_may_not_stay_is_told_and_let_go() {
    let running = Running::start(|policy| policy.limits.body_bytes = 500).await;
    let mut expires = open(&running, &token_for("wallet", 4)).await.unwrap();
    assert_eq!(closed(&mut expires).await, CloseCode::Policy);

    let mut large = open(&running, &token()).await.unwrap();
    large.send(Message::text(" ".repeat(501))).await.unwrap();
    assert!(!matches!(large.next().await, Some(Ok(Message::Text(_)))));

    let mut withdrawn = open(&running, &token()).await.unwrap();
    let mut other = open(&running, &token_for("shop", 600)).await.unwrap();
    assert_eq!(asked(&mut withdrawn, &ask("eth_call")).await["result"], "eth_call");
    let mut policy = policy();
    policy.callers.remove(0);
    running.put(&policy);
    let put = std::time::Instant::now();
    assert_eq!(closed(&mut withdrawn).await, CloseCode::Policy);
    assert!(put.elapsed() < Duration::from_secs(1), "{:?}", put.elapsed());
    assert_eq!(
        asked(&mut other, &ask("eth_call")).await["result"],
        "eth_call",
        "the other caller's stays open"
    );
    let none = "quorum_guard_rpc_websockets 1\n";
    until(|| running.scrape(), |page| page.contains(none)).await;
    assert!(matches!(open(&running, &token()).await, Err(Error::Http(answer)) if answer.status() == 401));
}

#[tokio::test]
async fn a_binary_message_is_judged_like_a_text() {
    let running = Running::start(|_| {}).await;
    let mut socket = open(&running, &token()).await.unwrap();
    socket.send(Message::binary(ask("eth_call").into_bytes())).await.unwrap();
    assert_eq!(answer(&mut socket).await["result"], "eth_call");
    socket.send(Message::binary(ask("admin_peers").into_bytes())).await.unwrap();
    assert_eq!(answer(&mut socket).await["error"]["code"], -32601);
    socket.send(Message::binary(vec![0xff, 0xfe])).await.unwrap();
    assert_eq!(answer(&mut socket).await["error"]["code"], -32700);
}

#[tokio::test]
async fn what_has_no_turn_is_told_and_costs_nothing() {
    let running = Running::start(|policy| {
        let limits = &mut policy.limits;
        (limits.requests_at_client, limits.requests_waiting, limits.subscriptions) = (1, 1, 1);
    })
    .await;
    let mut socket = open(&running, &token()).await.unwrap();
    running.client.answer(How::Never);
    let calls = [running.http1().await, running.http1().await].map(|mut sender| {
        let call = request(&token(), &ask("eth_call"));
        tokio::spawn(async move { sender.send_request(call).await.unwrap().status() })
    });
    let full = "quorum_guard_rpc_requests_waiting 1\n";
    until(|| running.scrape(), |page| page.contains(full)).await;
    let busy = asked(&mut socket, &subscribe()).await;
    assert_eq!((&busy["id"], &busy["error"]["code"]), (&1.into(), &(-32005).into()));
    let batch = json!([
        {"jsonrpc": "2.0", "id": 2, "method": "admin_peers"},
        {"jsonrpc": "2.0", "method": "eth_call"},
    ]);
    let refused = asked(&mut socket, &batch.to_string()).await;
    assert_eq!((&refused[0]["id"], refused.as_array().map(Vec::len)), (&2.into(), Some(1)));
    running.client.answer(How::Well);
    for call in calls {
        assert_eq!(call.await.unwrap(), 200);
    }
    assert!(asked(&mut socket, &subscribe()).await["result"].is_string());
}

#[tokio::test]
async fn a_socket_has_its_callers_rate_and_ends_when_what_it_may_changes() {
    let running = Running::start(|policy| {
        (policy.callers[0].calls_per_second, policy.callers[0].burst) = (1, 3);
    })
    .await;
    let mut socket = open(&running, &token()).await.unwrap();
    for _ in 0..3 {
        assert_eq!(asked(&mut socket, &ask("eth_call")).await["result"], "eth_call");
    }
    let refused = asked(&mut socket, &ask("eth_call")).await;
    assert_eq!((&refused["id"], &refused["error"]["code"]), (&1.into(), &(-32005).into()));
    let mut policy = policy();
    policy.callers[0].methods.push("txpool_*".into());
    running.put(&policy);
    assert_eq!(closed(&mut socket).await, CloseCode::Policy);
    assert_eq!(running.client.asked().len(), 3);
}

#[tokio::test]
async fn what_takes_too_long_has_an_error_and_gives_its_turn_back() {
    let running = Running::start(|policy| {
        (policy.limits.answer_seconds, policy.limits.requests_at_client) = (1, 1);
    })
    .await;
    let mut socket = open(&running, &token()).await.unwrap();
    running.client.answer(How::Never);
    let answer = asked(&mut socket, &ask("eth_call")).await;
    assert_eq!((&answer["id"], &answer["error"]["code"]), (&1.into(), &(-32005).into()));
    running.client.answer(How::Well);
    assert_eq!(asked(&mut socket, &ask("eth_call")).await["result"], "eth_call");
    drop(socket);
    let records = running.end().await;
    assert_eq!(records[1]["reason"], "answer_too_slow");
}

#[tokio::test]
async fn whoever_says_nothing_is_asked_whether_it_is_there() {
    let running = Running::start(|policy| policy.limits.idle_seconds = 1).await;
    let mut socket = open(&running, &token()).await.unwrap();
    // it answers the ping by reading on
    let pinged = until(async || next(&mut socket).await, |message| matches!(message, Message::Ping(_))).await;
    assert!(matches!(pinged, Message::Ping(_)));
    assert_eq!(asked(&mut socket, &ask("eth_call")).await["result"], "eth_call");
    // it no longer reads, so it never answers
    let gone = "quorum_guard_rpc_websockets 0\n";
    until(|| running.scrape(), |page| page.contains(gone)).await;
}
