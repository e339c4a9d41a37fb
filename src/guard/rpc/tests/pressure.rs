//! Tests of how many calls reach the client at once, whether or not the callers stay for the answers.

use futures::{SinkExt as _, StreamExt as _};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};

use super::client::How;
use super::websocket::{answer, asked, closed, open};
use super::*;

/// A guard with two slots for each new caller, in front of a client that does not answer.
async fn stuck() -> Running {
    let running = Running::start(|policy| policy.limits.requests_at_client = 16).await;
    running.client.answer(How::Never);
    running
}

/// Waits until the client has received this many calls, and checks that it receives no further one.
async fn is_asked(running: &Running, wanted: usize) {
    until(async || running.client.asked().len(), |asked| *asked >= wanted).await;
    for _ in 0..20 {
        running.scrape().await;
    }
    assert_eq!(running.client.asked().len(), wanted);
}

#[tokio::test]
async fn calls_go_on_at_the_client_when_their_caller_has_left_and_keep_their_turns() {
    let running = stuck().await;
    for _ in 0..3 {
        let mut sender = running.http1().await;
        let call =
            tokio::spawn(async move { sender.send_request(request(&token(), &ask("eth_call"))).await });
        until(async || running.client.asked().len(), |asked| *asked >= 1).await;
        running.scrape().await;
        call.abort();
    }
    let sender = running.http2().await;
    for _ in 0..5 {
        let mut request = request(&token(), &ask("eth_call"));
        *request.uri_mut() = format!("https://{HOST}/").parse().unwrap();
        request.headers_mut().remove("host");
        let mut sender = sender.clone();
        let call = tokio::spawn(async move { sender.send_request(request).await });
        running.scrape().await;
        // the stream is reset
        call.abort();
    }
    is_asked(&running, 2).await;
    let other = tokio::spawn({
        let mut sender = running.http1().await;
        async move { sender.send_request(request(&token_for("shop", 600), &ask("eth_call"))).await }
    });
    is_asked(&running, 3).await;
    running.client.answer(How::Well);
    assert_eq!(other.await.unwrap().unwrap().status(), 200);
    assert_eq!(running.call(&ask("eth_call")).await.status, 200, "the slots are free again");
}

#[tokio::test]
async fn a_call_without_an_id_has_a_turn_like_any_other() {
    let running = stuck().await;
    for _ in 0..3 {
        let mut socket = open(&running, &token()).await.unwrap();
        for _ in 0..20 {
            socket.send(Message::text(r#"{"jsonrpc":"2.0","method":"eth_call"}"#)).await.unwrap();
        }
        until(async || running.client.asked().len(), |asked| *asked >= 2).await;
        drop(socket);
    }
    is_asked(&running, 2).await;
    running.client.answer(How::Well);
    let mut socket = open(&running, &token()).await.unwrap();
    assert_eq!(asked(&mut socket, &ask("eth_call")).await["result"], "eth_call");
}

#[tokio::test]
async fn the_calls_of_a_batch_are_asked_one_after_another() {
    let running = stuck().await;
    let batch = format!("[{}]", vec![ask("eth_call"); 10].join(","));
    let call = async { running.call(&batch).await };
    let (answered, ()) = tokio::join!(call, async {
        is_asked(&running, 1).await;
        running.client.answer(How::Well);
    });
    assert_eq!(answered.json().as_array().map(Vec::len), Some(10));
    assert_eq!(running.client.asked().len(), 10);
}

#[tokio::test]
async fn messages_of_one_socket_are_answered_as_they_are_done() {
    let running = Running::start(|_| {}).await;
    let mut socket = open(&running, &token()).await.unwrap();
    running.client.answer(How::Never);
    socket.send(Message::text(ask("eth_call"))).await.unwrap();
    is_asked(&running, 1).await;
    let refused = json!({"jsonrpc": "2.0", "id": 2, "method": "admin_peers"});
    assert_eq!(asked(&mut socket, &refused.to_string()).await["id"], 2);
    running.client.answer(How::Well);
    assert_eq!(answer(&mut socket).await["result"], "eth_call");
}

#[tokio::test]
async fn calls_of_one_socket_with_one_id_have_their_own_answers() {
    let running = Running::start(|_| {}).await;
    let mut socket = open(&running, &token()).await.unwrap();
    let call = |method: &str| json!({"jsonrpc": "2.0", "id": 7, "method": method});
    let batch = json!([call("eth_call"), call("admin_peers"), call("net_version"), call("eth_chainId")]);
    let answers = asked(&mut socket, &batch.to_string()).await;
    let results = [0, 2, 3].map(|at| answers[at]["result"].clone());
    assert_eq!(results, ["eth_call", "net_version", "eth_chainId"]);
    assert_eq!((&answers[1]["id"], &answers[1]["error"]["code"]), (&7.into(), &(-32601).into()));
}

#[tokio::test]
async fn a_batch_has_so_many_bytes_and_what_is_over_is_not_asked() {
    let running = Running::start(|policy| policy.limits.answer_bytes = 100).await;
    let batch = format!("[{}]", vec![ask("eth_call"); 10].join(","));
    let answered = running.call(&batch).await.json();
    let results = answered.as_array().unwrap().iter().filter(|answer| answer["result"] == "eth_call").count();
    let refused = answered.as_array().unwrap().iter().filter(|answer| answer["error"]["code"] == -32005);
    assert_eq!((results, refused.count()), (4, 6), "{answered}");
    assert!(running.client.asked().len() <= 5);
}

#[tokio::test]
async fn whoever_is_unknown_is_let_go_after_a_refusal_or_sixteen_requests() {
    let running = Running::start(|_| {}).await;
    let mut sender = running.http1().await;
    let stranger = Request::get("/x").header("host", HOST).body(Full::default()).unwrap();
    let answer = sender.send_request(stranger).await.unwrap();
    assert_eq!((answer.status().as_u16(), &answer.headers()["connection"]), (404, &"close".parse().unwrap()));

    let preflight = || {
        let request = Request::options("/").header("host", HOST).header("origin", "https://app.example");
        request.header("access-control-request-method", "POST").body(Full::default()).unwrap()
    };
    let mut sender = running.http1().await;
    let mut answered = 0;
    while sender.ready().await.is_ok() && sender.send_request(preflight()).await.is_ok() {
        answered += 1;
        assert!(answered < 100, "it continues");
    }
    assert!((16..=18).contains(&answered), "{answered}");
}

#[tokio::test]
async fn a_key_that_is_withdrawn_ends_the_sockets_that_it_let_in() {
    let running = Running::start(|_| {}).await;
    let mut socket = open(&running, &token()).await.unwrap();
    assert_eq!(asked(&mut socket, &ask("eth_call")).await["result"], "eth_call");
    let mut policy = policy();
    policy.issuers[0].keys[0].id = "two".into();
    running.put(&policy);
    let ended = tokio::time::timeout(Duration::from_secs(2), async {
        while let Some(Ok(_)) = socket.next().await {}
    });
    ended.await.expect("it is ended");
}

#[tokio::test]
async fn a_socket_that_does_not_read_is_cut_when_its_caller_is_removed() {
    let running = Running::start(|policy| policy.limits.answer_bytes = 1 << 30).await;
    let mut socket = open(&running, &token()).await.unwrap();
    running.client.answer(How::Endlessly);
    socket.send(Message::text(ask("eth_call"))).await.unwrap();
    is_asked(&running, 1).await;
    let mut policy = policy();
    policy.callers.remove(0);
    running.put(&policy);
    let put = std::time::Instant::now();
    let gone = "quorum_guard_rpc_websockets 0\n";
    until(|| running.scrape(), |page| page.contains(gone)).await;
    assert!(put.elapsed() < Duration::from_millis(1500), "{:?}", put.elapsed());
}

#[tokio::test]
async fn filters_are_counted_until_they_are_gone() {
    let running = Running::start(|_| {}).await;
    running.client.answer(How::With(200, "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":\"0x5\"}\n"));
    for _ in 0..64 {
        assert_eq!(running.call(&ask("eth_newBlockFilter")).await.json()["result"], "0x5");
    }
    let refused = running.call(&ask("eth_newFilter")).await.json();
    assert_eq!(refused["error"]["code"], -32005);
    assert!(refused["error"]["message"].as_str().unwrap().contains("spec.rpc.limits.filters"), "{refused}");
    assert_eq!(running.client.asked().len(), 64);
}

#[tokio::test]
async fn what_the_client_takes_is_taken() {
    let running = Running::start(|_| {}).await;
    for (name, value) in [
        ("host", format!("{HOST}.")),
        ("host", format!("{HOST}.:8545")),
        ("content-type", "application/json-rpc".into()),
        ("content-type", "application/jsonrequest".into()),
        ("content-type", "application/json; charset=\"utf-8\"".into()),
        ("content-encoding", "identity".into()),
    ] {
        let mut request = request(&token(), &ask("eth_call"));
        request.headers_mut().insert(name, value.parse().unwrap());
        assert_eq!(running.send(request).await.status, 200, "{name}: {value}");
    }
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"eth_call","params":null}"#;
    assert_eq!(running.call(body).await.json()["result"], "eth_call");
    assert!(!running.client.asked().last().unwrap().contains("params"));
    let wrong = r#"{"jsonrpc":"2.0","id":1,"method":"eth_call","Result":1}"#;
    let told = running.call(wrong).await.json()["error"]["message"].clone();
    assert!(told.as_str().unwrap().contains("\"Result\""), "{told}");
}

#[tokio::test]
async fn http_1_0_is_spoken_with_a_host_and_without() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let running = Running::start(|_| {}).await;
    for (protocol, host) in [("http/1.1", format!("host: {HOST}\r\n")), ("http/1.0", String::new())] {
        let mut stream = running.connect_with(protocol).await;
        let body = ask("eth_call");
        let head = format!(
            "POST / HTTP/1.0\r\n{host}content-type: application/json\r\nauthorization: Bearer {}\r\ncontent-length: {}\r\n\r\n",
            token(),
            body.len()
        );
        stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
        let mut text = String::new();
        let _ = stream.read_to_string(&mut text).await;
        assert!(text.starts_with("HTTP/1.0 200") && text.contains("\"eth_call\""), "{protocol}: {text}");
    }
}

#[tokio::test]
async fn over_http_1_0_no_websocket_is_opened() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let running = Running::start(|_| {}).await;
    for (version, status) in [("1.0", "405"), ("1.1", "101")] {
        let mut stream = running.connect_with("http/1.1").await;
        let head = format!(
            "GET / HTTP/{version}\r\nhost: {HOST}\r\nauthorization: Bearer {}\r\nconnection: upgrade\r\n\
             upgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: {}==\r\n\r\n",
            token(),
            "A".repeat(22)
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answered = [0; 12];
        stream.read_exact(&mut answered).await.unwrap();
        assert_eq!(String::from_utf8_lossy(&answered), format!("HTTP/{version} {status}"));
    }
}

#[tokio::test]
async fn what_is_in_flight_is_bounded_and_given_back() {
    let running = Running::start(|policy| policy.callers[0].connections = 100).await;
    let mut sockets = Vec::new();
    for _ in 0..60 {
        let mut socket = open(&running, &token()).await.unwrap();
        let piece = Frame::message(vec![b' '; 900_000], OpCode::Data(Data::Text), false);
        // unread bytes stay in the kernels' buffers
        let _ = tokio::time::timeout(Duration::from_millis(300), socket.send(Message::Frame(piece))).await;
        sockets.push(socket);
    }
    let in_flight = |page: &str| -> u64 {
        let line = page.lines().find_map(|line| line.strip_prefix("quorum_guard_rpc_in_flight_bytes "));
        line.unwrap().parse().unwrap()
    };
    let half = Budget::within(memory_budget::memory_limit(), policy().limits.connections).most() as u64 / 2;
    let held = in_flight(&running.scrape().await);
    assert!(held <= half && held > half * 9 / 10, "{held} of {half}");
    // other callers can still call
    assert_eq!(running.send(request(&token_for("shop", 600), &ask("eth_call"))).await.status, 200);
    drop(sockets);
    until(async || in_flight(&running.scrape().await), |held| *held == 0).await;
}

#[tokio::test]
async fn every_refusal_costs_its_caller_a_call() {
    let running = Running::start(|policy| {
        (policy.callers[0].calls_per_second, policy.callers[0].burst) = (1, 5);
    })
    .await;
    let wrong = |name: &'static str, value: &str| {
        let mut request = request(&token(), &ask("eth_call"));
        request.headers_mut().insert(name, value.parse().unwrap());
        request
    };
    assert_eq!(running.send(wrong("origin", "https://evil.example")).await.status, 403);
    assert_eq!(running.send(wrong("content-type", "text/plain")).await.status, 415);
    assert_eq!(running.call("{").await.status, 400);
    assert_eq!(running.call(&ask("admin_peers")).await.code(), -32601);
    assert_eq!(running.call(&ask("eth_call")).await.status, 200);
    assert_eq!(running.call(&ask("eth_call")).await.status, 429);
}

#[tokio::test]
async fn a_header_that_cannot_be_read_costs_whoever_was_known_a_call() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let running = Running::start(|policy| {
        (policy.callers[0].calls_per_second, policy.callers[0].burst) = (1, 5);
    })
    .await;
    let begun = std::time::Instant::now();
    let body = ask("eth_call");
    let head = format!(
        "POST / HTTP/1.1\r\nhost: {HOST}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n",
        body.len()
    );
    for _ in 0..2 {
        let mut stream = running.connect_with("http/1.1").await;
        let known = format!("{head}authorization: Bearer {}\r\n\r\n{body}nonsense\r\n\r\n", token());
        stream.write_all(known.as_bytes()).await.unwrap();
        let mut answered = String::new();
        let _ = stream.read_to_string(&mut answered).await;
        assert!(answered.contains("HTTP/1.1 400"), "{answered}");
    }
    let counted = "quorum_guard_rpc_rejections_total{reason=\"header_malformed\"} 2\n";
    until(|| running.scrape(), |page| page.contains(counted)).await;
    let mut left = 0;
    while running.call(&ask("eth_call")).await.status != 429 {
        left += 1;
    }
    // a burst of five, and one for each second since
    let most = 1 + begun.elapsed().as_secs();
    assert!(left <= most, "{left} of {most} were left");
}

#[tokio::test]
async fn a_socket_ends_with_its_subscriptions() {
    let running = Running::start(|_| {}).await;
    let mut socket = open(&running, &token()).await.unwrap();
    let subscribe = r#"{"jsonrpc":"2.0","id":1,"method":"eth_subscribe","params":["newHeads"]}"#;
    assert!(asked(&mut socket, subscribe).await["result"].is_string());
    running.client.hang_up();
    assert_eq!(closed(&mut socket).await, CloseCode::Again);
}

#[tokio::test]
async fn what_is_under_way_over_a_socket_ends_before_the_process_does() {
    let running = Running::start(|_| {}).await;
    let mut socket = open(&running, &token()).await.unwrap();
    running.client.answer(How::Never);
    socket.send(Message::text(ask("eth_call"))).await.unwrap();
    is_asked(&running, 1).await;
    running.stop.send_replace(true);
    running.client.answer(How::Well);
    assert_eq!(answer(&mut socket).await["result"], "eth_call");
    assert_eq!(closed(&mut socket).await, CloseCode::Away);
    assert_eq!(running.end().await.last().expect("a record")["verdict"], "allowed");
}

/// A caller that does not read requests no further piece of the answer, but the call times out all the same.
#[tokio::test]
async fn a_caller_that_does_not_read_keeps_its_turn_no_longer_than_an_answer_may_take() {
    let running = Running::start(|policy| {
        (policy.limits.answer_seconds, policy.limits.answer_bytes) = (2, 1 << 30);
    })
    .await;
    running.client.answer(How::Endlessly);
    let busy = |calls: u32| format!("quorum_guard_rpc_requests_at_client {calls}\n");
    let turn_ends = async || {
        until(|| running.scrape(), |page| page.contains(&busy(1))).await;
        until(|| running.scrape(), |page| page.contains(&busy(0))).await;
    };
    let mut first = running.http1().await;
    let unread = first.send_request(request(&token(), &ask("eth_call"))).await.unwrap();
    turn_ends().await;
    drop(unread);
    let mut second = running.http2().await;
    let mut request = request(&token(), &ask("eth_call"));
    *request.uri_mut() = format!("https://{HOST}/").parse().unwrap();
    request.headers_mut().remove("host");
    let unread = second.send_request(request).await.unwrap();
    turn_ends().await;
    drop(unread);
    let mut socket = open(&running, &token()).await.unwrap();
    socket.send(Message::text(ask("eth_call"))).await.unwrap();
    turn_ends().await;
}
