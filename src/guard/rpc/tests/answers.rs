//! Tests of forwarded answers: too large ones, and those of calls without an id.

use futures::{SinkExt as _, StreamExt as _};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use super::client::How;
use super::websocket::{Socket, asked, open};
use super::*;

const LARGE: &str = "eth_getLogs";

fn notification(method: &str) -> Value {
    json!({"jsonrpc": "2.0", "method": method})
}

fn call(id: u32, method: &str) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "method": method})
}

/// A guard with this limit of answers, and a client that answers [`LARGE`] with `bytes` bytes.
async fn before(answer_bytes: u32, bytes: u64) -> Running {
    let running = Running::start(|policy| {
        (policy.limits.answer_bytes, policy.limits.answer_seconds) = (answer_bytes, 5);
    })
    .await;
    running.client.answer(How::Blank(LARGE, bytes));
    running
}

/// Returns the text of the next message.
async fn text(socket: &mut Socket) -> String {
    loop {
        match socket.next().await {
            Some(Ok(Message::Text(text))) => return text.to_string(),
            Some(Ok(Message::Ping(_))) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_notification_has_no_answer_whatever_becomes_of_it() {
    let running = before(10_000, 100_000).await;
    let one = notification(LARGE).to_string();
    let is_nothing = |answered: &Answered| (answered.status, answered.text.as_str()) == (200, "");
    let answered = running.call(&one).await;
    assert!(is_nothing(&answered), "too large: {answered:?}");
    running.client.answer(How::With(500, "oh"));
    let answered = running.call(&one).await;
    assert!(is_nothing(&answered), "failed: {answered:?}");
    let batch = json!([notification(LARGE), notification("eth_call")]).to_string();
    let answered = running.call(&batch).await;
    assert!(is_nothing(&answered), "a batch of them: {answered:?}");
    let mut socket = open(&running, &token()).await.unwrap();
    socket.send(Message::text(one.clone())).await.unwrap();
    running.client.answer(How::Well);
    assert_eq!(asked(&mut socket, &call(7, "eth_call").to_string()).await["id"], 7);
    drop(socket);
    running.client.leave();
    until(async || TcpStream::connect(running.client.http).await.is_err(), |gone| *gone).await;
    for _ in 0..3 {
        let answered = running.call(&one).await;
        assert!(is_nothing(&answered), "the client is unreachable: {answered:?}");
    }
    let mut records = running.end().await;
    records.retain(|record| record["verdict"] != "opened");
    let reasons: Vec<_> = records.iter().map(|record| record["reason"].as_str().unwrap_or("")).collect();
    let wanted = ["answer_too_large", "client_failed", "client_failed", "client_failed"];
    assert_eq!(reasons[..4], wanted, "{records:?}");
    assert_eq!(reasons.last(), Some(&"client_unreachable"));
    assert!(records[..4].iter().all(|record| record["bytesOut"] == 0), "nothing was forwarded: {records:?}");
}

#[tokio::test]
async fn what_nobody_waits_for_takes_nothing_of_what_a_batch_may_be_answered() {
    let running = before(1000, 5000).await;
    let batch = json!([
        call(1, "eth_call"),
        notification(LARGE),
        call(2, "eth_call"),
        notification("eth_chainId"),
        call(3, LARGE),
        notification("net_version"),
        call(4, "eth_call"),
    ]);
    let answers = running.call(&batch.to_string()).await.json();
    let told = answers.as_array().unwrap().iter().map(|answer| (&answer["id"], &answer["error"]["code"]));
    let codes: Vec<_> = told.map(|(id, code)| (id.as_u64().unwrap(), code.as_i64())).collect();
    assert_eq!(codes, [(1, None), (2, None), (3, Some(-32005)), (4, Some(-32005))], "{answers}");
    // a call without an id is sent, even after an answer that was too large
    let asked = running.client.asked();
    let methods: Vec<_> = ["eth_call", LARGE, "eth_chainId", "net_version"]
        .map(|method| asked.iter().filter(|asked| asked.contains(method)).count())
        .to_vec();
    assert_eq!(methods, [2, 2, 1, 1], "{asked:?}");
}

/// Returns how a WebSocket ends.
async fn end(socket: &mut Socket) -> Option<CloseFrame> {
    let end = async {
        loop {
            match socket.next().await {
                Some(Ok(Message::Close(frame))) => return frame,
                Some(Ok(_)) => {}
                other => panic!("{other:?}"),
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(10), end).await.expect("it continues")
}

#[tokio::test]
async fn too_large_an_answer_of_which_nothing_was_sent_has_an_error_and_the_socket_goes_on() {
    let running = before(3000, 5000).await;
    let mut socket = open(&running, &token()).await.unwrap();
    for batch in [false, true] {
        let call = call(5, LARGE);
        let text = if batch { json!([call]).to_string() } else { call.to_string() };
        let mut answer = asked(&mut socket, &text).await;
        let answer = if batch { answer[0].take() } else { answer };
        assert_eq!((&answer["id"], &answer["error"]["code"]), (&5.into(), &(-32005).into()), "{answer}");
        assert!(answer["error"]["message"].as_str().unwrap().contains("spec.rpc.limits.answerBytes"));
    }
    assert_eq!(asked(&mut socket, &call(6, "eth_call").to_string()).await["id"], 6);
}

#[tokio::test]
async fn too_large_an_answer_of_which_a_frame_was_sent_ends_the_socket_with_the_reason() {
    let running = before(50_000, 500_000).await;
    let mut socket = open(&running, &token()).await.unwrap();
    socket.send(Message::text(call(5, LARGE).to_string())).await.unwrap();
    let frame = end(&mut socket).await.expect("a code");
    assert_eq!(frame.code, CloseCode::Size);
    assert!(frame.reason.contains("spec.rpc.limits.answerBytes"), "{frame:?}");
    drop(socket);
    let records = running.end().await;
    let last = records.last().expect("a record");
    assert_eq!((&last["reason"], &last["verdict"]), (&"answer_too_large".into(), &"allowed".into()));
    let out = last["bytesOut"].as_u64().unwrap();
    assert!((1..=50_000).contains(&out), "a part of the message was sent: {out} bytes");
}

#[tokio::test]
async fn an_answer_may_have_as_many_bytes_as_it_may_have() {
    // text after the id in the answer to eth_call: ,"result":"eth_call"} and the line end
    let bytes = ",\"result\":\"eth_call\"}\n".len() as u32;
    for (more, status) in [(0, 200), (1, 200), (-1, 502)] {
        let running = before(bytes.checked_add_signed(more).unwrap(), 0).await;
        let answered = running.call(&call(1, "eth_call").to_string()).await;
        assert_eq!(answered.status, status, "{more}: {}", answered.text);
        let mut socket = open(&running, &token()).await.unwrap();
        let answer = asked(&mut socket, &call(1, "eth_call").to_string()).await;
        assert_eq!(answer.get("error").is_none(), status == 200, "{more}: {answer}");
    }
}

#[tokio::test]
async fn a_long_answer_in_chunks_comes_whole_over_everything() {
    let running = before(10_000_000, 300_000).await;
    // white space within quotes that are never closed: the guard does not check the end of the client's answer
    let wanted = format!("{{\"jsonrpc\":\"2.0\",\"id\":9,\"result\":\"{}", " ".repeat(300_000));
    let answered = running.call(&call(9, LARGE).to_string()).await;
    assert!(answered.text == wanted, "{} bytes", answered.text.len());
    let batch = json!([call(9, LARGE), call(8, "eth_call"), call(9, LARGE)]);
    let answered = running.call(&batch.to_string()).await;
    let small = r#"{"jsonrpc":"2.0","id":8,"result":"eth_call"}"#;
    assert!(answered.text == format!("[{wanted},{small},{wanted}]\n"), "{} bytes", answered.text.len());
    let mut socket = open(&running, &token()).await.unwrap();
    socket.send(Message::text(call(9, LARGE).to_string())).await.unwrap();
    let text = loop {
        if let Some(Ok(Message::Text(text))) = socket.next().await {
            break text;
        }
    };
    assert!(text.as_str() == wanted, "{} bytes", text.len());
    assert_eq!(asked(&mut socket, &call(1, "eth_call").to_string()).await["id"], 1);
    drop(socket);
    let records = running.end().await;
    assert_eq!(records[0]["bytesOut"], wanted.len());
    let small_out = records.iter().find(|record| record["method"] == "eth_call").expect("a record");
    assert_eq!(small_out["bytesOut"], small.len() + 1);
}

#[tokio::test]
async fn subscriptions_are_asked_over_the_clients_socket_and_recorded_like_calls() {
    let running = Running::start(|policy| {
        (policy.limits.subscriptions, policy.limits.answer_seconds) = (1, 1);
    })
    .await;
    let mut socket = open(&running, &token()).await.unwrap();
    let subscribe = json!({"jsonrpc": "2.0", "id": 1, "method": "eth_subscribe", "params": ["newHeads"]});
    let subscribed = asked(&mut socket, &subscribe.to_string()).await;
    let refused = asked(&mut socket, &subscribe.to_string()).await;
    assert_eq!(refused["error"]["code"], -32005, "{refused}");
    let mut unsubscribe = call(22, "eth_unsubscribe");
    unsubscribe["params"] = json!([subscribed["result"]]);
    let ended = asked(&mut socket, &unsubscribe.to_string()).await;
    assert_eq!(ended["result"], true, "{ended}");
    running.client.answer(How::Never);
    let silent = asked(&mut socket, &subscribe.to_string()).await;
    assert_eq!(silent["error"]["code"], -32603, "{silent}");
    drop(socket);
    let mut records = running.end().await;
    records.retain(|record| record["verdict"] != "opened");
    let told = |at: usize| (records[at]["verdict"].as_str().unwrap(), records[at]["reason"].as_str());
    assert_eq!(told(0), ("allowed", None));
    assert_eq!(told(1), ("refused", Some("subscriptions")));
    assert_eq!(told(2), ("allowed", None));
    assert_eq!(told(3), ("allowed", Some("client_failed")), "the filter may exist");
    for (at, answer) in [(0, subscribed), (2, ended)] {
        assert_eq!(records[at]["bytesOut"], answer.to_string().len() + 1, "{answer}");
    }
}

#[tokio::test]
async fn the_client_may_answer_and_tell_as_deeply_as_it_likes() {
    let running = Running::start(|_| {}).await;
    let deep = format!("{}{}", "[".repeat(1000), "]".repeat(1000));
    let answer = format!("{{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{deep}}}\n");
    let leaked: &'static str = Box::leak(answer.clone().into_boxed_str());
    running.client.answer(How::With(200, leaked));
    assert_eq!(running.call(&ask("eth_call")).await.text, answer);
    let mut socket = open(&running, &token()).await.unwrap();
    socket.send(Message::text(ask("eth_call"))).await.unwrap();
    assert_eq!(text(&mut socket).await, answer);

    running.client.answer(How::Well);
    let subscribe = json!({"jsonrpc": "2.0", "id": 1, "method": "eth_subscribe", "params": ["newHeads"]});
    assert!(asked(&mut socket, &subscribe.to_string()).await["result"].is_string());
    running.client.tell(&deep);
    assert!(text(&mut socket).await.contains(&deep));
}
