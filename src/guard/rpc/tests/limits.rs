use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::client::How;
use super::*;

#[tokio::test]
async fn a_caller_that_is_too_fast_is_told_when_to_come_back_and_nobody_else_is() {
    let running = Running::start(|policy| {
        (policy.callers[0].calls_per_second, policy.callers[0].burst) = (1, 3);
    })
    .await;
    let batch =
        |calls: usize| Value::from(vec![json!({"jsonrpc": "2.0", "id": 1, "method": "eth_call"}); calls]);
    assert_eq!(running.call(&batch(3).to_string()).await.status, 200);
    let answered = running.call(&ask("eth_call")).await;
    assert_eq!((answered.status, answered.code()), (429, (-32005).into()));
    assert_eq!(answered.headers["retry-after"], "1");
    let answered = running.call(&batch(4).to_string()).await;
    assert!(answered.status == 400 && answered.text.contains("burst of 3"), "{}", answered.text);
    assert_eq!(running.send(request(&token_for("shop", 600), &ask("eth_call"))).await.status, 200);
    assert_eq!(running.client.asked().len(), 4);
    let page = running.scrape().await;
    for line in [
        "quorum_guard_rpc_calls_total{caller=\"wallet\",verdict=\"allowed\"} 3\n",
        "quorum_guard_rpc_calls_total{caller=\"wallet\",verdict=\"refused\"} 2\n",
        "quorum_guard_rpc_calls_total{caller=\"shop\",verdict=\"allowed\"} 1\n",
        "quorum_guard_rpc_rejections_total{reason=\"rate\"} 2\n",
        "quorum_guard_rpc_request_duration_seconds_count 4\n",
    ] {
        assert!(page.contains(line), "{line} in {page}");
    }
}

#[tokio::test]
async fn a_batch_has_so_many_calls_and_no_more() {
    let running = Running::start(|policy| policy.limits.batch_calls = 2).await;
    let batch =
        |calls: usize| Value::from(vec![json!({"jsonrpc": "2.0", "id": 1, "method": "eth_call"}); calls]);
    assert_eq!(running.call(&batch(2).to_string()).await.status, 200);
    let answered = running.call(&batch(3).to_string()).await;
    assert_eq!((answered.status, answered.code()), (400, (-32005).into()));
    assert_eq!(running.client.asked().len(), 2);
}

#[tokio::test]
async fn a_client_that_fails_is_told_from_one_that_is_slow_or_not_there() {
    let running = Running::start(|policy| {
        (policy.limits.answer_seconds, policy.limits.answer_bytes) = (1, 100_000);
    })
    .await;
    let answer = |how| {
        running.client.answer(how);
        running.call(r#"{"jsonrpc":"2.0","id":"mine","method":"eth_call"}"#)
    };
    for (how, status, reason) in [
        (How::With(500, "oh"), 502, "client_failed"),
        (How::With(413, "oh"), 502, "client_failed"),
        (How::Never, 504, "answer_too_slow"),
    ] {
        let answered = answer(how).await;
        assert_eq!((answered.status, &answered.json()["id"]), (status, &"mine".into()), "{reason}");
    }
    running.client.answer(How::Endlessly);
    let mut sender = running.http1().await;
    let endless = sender.send_request(request(&token(), &ask("eth_call"))).await.unwrap();
    assert!(Answered::of(endless).await.is_err(), "a too large answer is cut off");
    running.client.answer(How::Well);
    assert_eq!(running.call(&ask("eth_call")).await.status, 200);
    let records = running.end().await;
    let reasons: Vec<_> = records.iter().map(|record| record["reason"].as_str()).collect();
    let wanted = ["client_failed", "client_failed", "answer_too_slow", "answer_too_large"].map(Some);
    assert_eq!((&reasons[..4], reasons[4]), (&wanted[..], None));
    // they were forwarded and may have been executed
    assert!(records.iter().all(|record| record["verdict"] == "allowed"));
    assert!(records[3]["bytesOut"].as_u64().unwrap() <= 100_000);
}

#[tokio::test]
async fn what_could_not_be_asked_was_not_passed_on() {
    let running = Running::start(|_| {}).await;
    assert_eq!(running.call(&ask("eth_call")).await.status, 200);
    running.client.leave();
    until(async || TcpStream::connect(running.client.http).await.is_err(), |gone| *gone).await;
    let answered = until(
        async || running.call(&ask("eth_call")).await,
        |answered| {
            answered.json()["error"]["message"]
                .as_str()
                .is_some_and(|message| message.contains("does not answer"))
        },
    );
    assert_eq!(answered.await.status, 502);
    // a filter whose creation was never sent does not count
    let mut sender = running.http1().await;
    for _ in 0..65 {
        let answered = sender.send_request(request(&token(), &ask("eth_newBlockFilter"))).await;
        assert_eq!(answered.unwrap().status(), 502);
    }
    let records = running.end().await;
    let last = records.last().expect("a record");
    assert_eq!((&last["verdict"], &last["reason"]), (&"refused".into(), &"client_unreachable".into()));
}

#[tokio::test]
async fn connections_that_the_client_has_ended_trouble_nobody() {
    let running = Running::start(|_| {}).await;
    for _ in 0..20 {
        assert_eq!(running.call(&ask("eth_call")).await.status, 200);
        running.client.hang_up();
    }
    assert_eq!(running.client.asked().len(), 20, "no call is sent twice");
}

#[tokio::test]
async fn a_caller_has_some_turns_at_the_client_and_half_the_waiting() {
    let running = Running::start(|policy| {
        let limits = &mut policy.limits;
        (limits.requests_at_client, limits.requests_waiting) = (16, 6);
    })
    .await;
    running.client.answer(How::Never);
    let call = || async {
        let mut sender = running.http1().await;
        Answered::of(sender.send_request(request(&token(), &ask("eth_call"))).await.unwrap()).await.unwrap()
    };
    let calls = futures::future::join_all((0..6).map(|_| call()));
    let late = async {
        let full = "quorum_guard_rpc_requests_waiting 3\n";
        until(|| running.scrape(), |page| page.contains(full)).await;
        let page = running.scrape().await;
        for (name, value) in [("requests_at_client", 2), ("caller_at_client{caller=\"wallet\"}", 2)] {
            assert!(page.contains(&format!("quorum_guard_rpc_{name} {value}\n")), "{page}");
        }
        let waits = |page: &String| page.contains("quorum_guard_rpc_caller_slow{caller=\"wallet\"} 1\n");
        until(|| running.scrape(), waits).await;
        assert!(page.contains("quorum_guard_rpc_caller_waiting{caller=\"wallet\"} 3\n"), "{page}");
        assert_eq!(running.client.asked().len(), 2);
        // other callers still reach the client
        let mut other = running.http1().await;
        let shop = request(&token_for("shop", 600), &ask("eth_call"));
        let other = tokio::spawn(async move { other.send_request(shop).await.unwrap().status() });
        until(async || running.client.asked().len(), |asked| *asked == 3).await;
        running.client.answer(How::Well);
        assert_eq!(other.await.unwrap(), 200);
    };
    let (answers, ()) = tokio::join!(calls, late);
    let refused: Vec<_> = answers.iter().filter(|answered| answered.status == 503).collect();
    assert_eq!(refused.len(), 1);
    assert_eq!(
        (refused[0].code(), &refused[0].headers["retry-after"]),
        ((-32005).into(), &"1".parse().unwrap())
    );
    assert_eq!(answers.iter().filter(|answered| answered.status == 200).count(), 5);
}

#[tokio::test]
async fn a_caller_has_so_many_connections() {
    let running = Running::start(|policy| policy.callers[0].connections = 2).await;
    let mut kept = Vec::new();
    for _ in 0..2 {
        let mut sender = running.http1().await;
        assert_eq!(sender.send_request(request(&token(), &ask("eth_call"))).await.unwrap().status(), 200);
        kept.push(sender);
    }
    assert_eq!(running.call(&ask("eth_call")).await.status, 429);
    assert_eq!(running.send(request(&token_for("shop", 600), &ask("eth_call"))).await.status, 200);
    kept.pop();
    until(async || running.call(&ask("eth_call")).await, |answered| answered.status == 200).await;
}

#[tokio::test]
async fn connections_above_the_limit_are_not_taken() {
    let running = Running::start(|policy| policy.limits.connections = 1).await;
    let mut sender = running.http1().await;
    assert_eq!(sender.send_request(request(&token(), &ask("eth_call"))).await.unwrap().status(), 200);
    let mut stream = TcpStream::connect(running.at).await.unwrap();
    let mut byte = [0];
    assert!(matches!(stream.read(&mut byte).await, Ok(0) | Err(_)));
    assert!(running.scrape().await.contains("quorum_guard_rpc_connections_rejected_total 1\n"));
    drop(sender);
    let gone = "quorum_guard_rpc_connections 0\n";
    until(|| running.scrape(), |page| page.contains(gone)).await;
    assert_eq!(running.call(&ask("eth_call")).await.status, 200);
}

/// Reads until the other end closes, which it must do within ten seconds.
async fn rest(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> String {
    let mut rest = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut rest)).await;
    // a broken connection is acceptable too
    let _ = read.expect("the connection stays open");
    String::from_utf8_lossy(&rest).into_owned()
}

#[tokio::test]
async fn whoever_is_slow_is_not_waited_for() {
    let running = Running::start(|policy| {
        let limits = &mut policy.limits;
        (limits.handshake_seconds, limits.header_seconds, limits.idle_seconds) = (1, 1, 3600);
        (limits.body_seconds, limits.body_bytes_per_second) = (3600, 1_000_000);
    })
    .await;
    // not a byte of TLS
    let mut stream = TcpStream::connect(running.at).await.unwrap();
    assert_eq!(rest(&mut stream).await, "");
    // not a byte of HTTP, in either version
    for protocol in ["http/1.1", "h2"] {
        let mut stream = running.connect_with(protocol).await;
        rest(&mut stream).await;
    }
    // half a header
    let mut stream = running.connect_with("http/1.1").await;
    stream.write_all(b"POST / HTTP/1.1\r\nhost: ").await.unwrap();
    rest(&mut stream).await;
    // half a body; the complete header must not count as slow
    let head = format!(
        "POST / HTTP/1.1\r\nhost: {HOST}\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\n",
        token()
    );
    for length in ["content-length: 100\r\n\r\n{", "transfer-encoding: chunked\r\n\r\n1\r\n{\r\n"] {
        let mut stream = running.connect_with("http/1.1").await;
        stream.write_all(format!("{head}{length}").as_bytes()).await.unwrap();
        let answered = rest(&mut stream).await;
        assert!(answered.starts_with("HTTP/1.1 408"), "{answered}");
    }
    let page = running.scrape().await;
    assert!(page.contains("quorum_guard_rpc_tls_handshake_failures_total 1\n"), "{page}");
    for (bound, count) in [("handshake", 1), ("header", 1), ("idle", 2), ("request", 0), ("identity", 0)] {
        let line = format!("quorum_guard_rpc_connections_timed_out_total{{bound=\"{bound}\"}} {count}\n");
        assert!(page.contains(&line), "{line} in {page}");
    }
    assert!(page.contains("quorum_guard_rpc_rejections_total{reason=\"body_too_slow\"} 2\n"), "{page}");
}

#[tokio::test]
async fn whoever_is_known_may_say_nothing_for_so_long() {
    let running = Running::start(|policy| {
        (policy.limits.header_seconds, policy.limits.idle_seconds) = (3600, 1);
    })
    .await;
    let head = format!(
        "POST / HTTP/1.1\r\nhost: {HOST}\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\n",
        token()
    );
    let mut stream = running.connect_with("http/1.1").await;
    let body = ask("eth_call");
    stream.write_all(format!("{head}content-length: {}\r\n\r\n{body}", body.len()).as_bytes()).await.unwrap();
    assert!(rest(&mut stream).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn bodies_hold_so_much_together() {
    let running = Running::start(|policy| policy.limits.body_bytes = 30 * 1024 * 1024).await;
    let body =
        format!(r#"{{"jsonrpc":"2.0","id":1,"method":"eth_call","params":["{}"]}}"#, "x".repeat(26 << 20));
    let mut sender = running.http1().await;
    match sender.send_request(request(&token(), &body)).await {
        Ok(answer) => assert_eq!(answer.status(), 503),
        // answered before the body was read, and the connection closed
        Err(error) => assert!(!error.is_timeout(), "{error}"),
    }
    let page = running.scrape().await;
    assert!(page.contains("quorum_guard_rpc_rejections_total{reason=\"memory\"} 1\n"), "{page}");
    let body =
        format!(r#"{{"jsonrpc":"2.0","id":1,"method":"eth_call","params":["{}"]}}"#, "x".repeat(4 << 20));
    // the client accepts at most 5 MiB
    for _ in 0..9 {
        assert_eq!(running.call(&body).await.status, 200, "the bytes were released");
    }
}

#[tokio::test]
async fn what_cannot_be_recorded_is_not_passed_on() {
    let mut running = Running::start(|_| {}).await;
    let mut sender = running.http1().await;
    let answered = loop {
        let answered = sender.send_request(request(&token(), &ask("eth_call"))).await;
        let answered = Answered::of(answered.unwrap()).await.unwrap();
        if answered.status != 200 {
            break answered;
        }
    };
    assert_eq!((answered.status, answered.code()), (503, (-32005).into()));
    // a filter whose creation was never sent does not count
    for _ in 0..65 {
        let answered = sender.send_request(request(&token(), &ask("eth_newBlockFilter"))).await;
        assert_eq!(answered.unwrap().status(), 503);
    }
    let asked = running.client.asked().len();
    assert_eq!(running.call(&ask("eth_call")).await.status, 503);
    assert_eq!(running.client.asked().len(), asked);
    assert!(!running.scrape().await.contains("quorum_guard_rpc_audit_pending_bytes 0\n"));
    // the records are read again
    let mut records = tokio::fs::File::from_std(std::fs::File::from(running.records.take().unwrap()));
    let read = tokio::spawn(async move {
        let mut text = String::new();
        records.read_to_string(&mut text).await.map(|_| text)
    });
    until(async || running.call(&ask("eth_call")).await, |answered| answered.status == 200).await;
    running.stop.send_replace(true);
    running.served.await.unwrap().unwrap();
    let text = read.await.unwrap().unwrap();
    let allowed = text.lines().filter(|line| line.contains("\"allowed\"")).count();
    assert_eq!(allowed, asked + 1, "each forwarded call has its record");
}

#[tokio::test]
async fn a_header_that_cannot_be_read_has_a_record_and_a_flood_of_them_few() {
    let mut running = Running::start(|_| {}).await;
    let records = BufReader::new(std::fs::File::from(running.records.take().unwrap()));
    let read = std::thread::spawn(|| records.lines().map(|line| line.unwrap()).collect::<Vec<_>>());
    let many = (0..65).map(|number| format!("x-{number}: 1\r\n")).collect::<String>();
    for (text, status) in [
        ("nonsense\r\n\r\n".to_owned(), 400),
        (format!("POST / HTTP/1.1\r\nhost: {HOST}\r\nb\u{0}d: 1\r\n\r\n"), 400),
        (format!("POST / HTTP/1.1\r\nhost: {HOST}\r\n{many}\r\n"), 431),
        (format!("POST / HTTP/1.1\r\nx: {}\r\n\r\n", "x".repeat(40_000)), 431),
    ] {
        let mut stream = running.connect_with("http/1.1").await;
        let _ = stream.write_all(text.as_bytes()).await;
        let answered = rest(&mut stream).await;
        // if more was sent than is read, the answer may be lost with the connection
        assert!(answered.is_empty() || answered.starts_with(&format!("HTTP/1.1 {status}")), "{answered}");
    }
    let count = |reason: &str, count: u32| {
        format!("quorum_guard_rpc_rejections_total{{reason=\"header_{reason}\"}} {count}\n")
    };
    let (malformed, large) = (count("malformed", 2), count("too_large", 2));
    until(|| running.scrape(), |page| page.contains(&malformed) && page.contains(&large)).await;
    for _ in 0..100 {
        let mut stream = running.connect_with("http/1.1").await;
        let _ = stream.write_all(b"\r\n: nonsense\r\n\r\n").await;
        rest(&mut stream).await;
    }
    let all = count("malformed", 102);
    until(|| running.scrape(), |page| page.contains(&all)).await;
    running.stop.send_replace(true);
    running.served.await.unwrap().unwrap();
    let lines = read.join().unwrap();
    let records: Vec<Value> = lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(records.iter().all(|record| record["verdict"] == "refused" && record.get("caller").is_none()));
    let counted: u64 = records.iter().map(|record| record["count"].as_u64().unwrap_or(1)).sum();
    assert_eq!(counted, 104);
    assert_eq!((&records[0]["reason"], &records[0]["bytesIn"]), (&"header_malformed".into(), &0.into()));
    assert_eq!(
        (&records[3]["reason"], &records[3]["transport"]),
        (&"header_too_large".into(), &"http/1.1".into())
    );
}
