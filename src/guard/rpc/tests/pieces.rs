//! Tests with a client that sends its answers in pieces of any size, with a length or in chunks, or incompletely.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::client::How;
use super::websocket::{asked, open};
use super::*;

/// What the client sends: head and body in pieces of `step` bytes, and whether it closes the connection afterwards.
#[derive(Clone)]
struct Sent {
    text: String,
    step: usize,
    ends: bool,
}

/// An answer with this text after its id.
fn json_of(rest: &str) -> String {
    format!("{{\"jsonrpc\":\"2.0\",\"id\":1{rest}\n")
}

fn sized(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// A response with chunks of this size.
fn chunked(body: &str, size: usize) -> String {
    let chunks = body
        .as_bytes()
        .chunks(size)
        .map(|chunk| format!("{:x}\r\n{}\r\n", chunk.len(), std::str::from_utf8(chunk).unwrap()));
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    format!("{head}{}0\r\n\r\n", chunks.collect::<String>())
}

async fn request_of(stream: &mut TcpStream, read: &mut Vec<u8>) -> Option<String> {
    loop {
        let text = String::from_utf8_lossy(read).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "))?;
            let length: usize = length.parse().ok()?;
            if body.len() >= length {
                read.drain(..head.len() + 4 + length);
                return Some(body[..length].to_owned());
            }
        }
        if stream.read_buf(read).await.ok()? == 0 {
            return None;
        }
    }
}

/// A guard in front of a client that sends what `sends` returns for a body.
async fn before(
    sends: impl Fn(&str) -> Sent + Clone + Send + Sync + 'static,
    change: impl FnOnce(&mut Policy),
) -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = Client::start().await.with_http(listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let sends = sends.clone();
            tokio::spawn(async move {
                stream.set_nodelay(true).unwrap();
                let mut read = Vec::new();
                while let Some(body) = request_of(&mut stream, &mut read).await {
                    let Sent { text, step, ends } = sends(&body);
                    for piece in text.as_bytes().chunks(step) {
                        if stream.write_all(piece).await.is_err() {
                            return;
                        }
                        // so that the pieces are read separately
                        tokio::time::sleep(Duration::from_micros(100)).await;
                    }
                    if ends {
                        return;
                    }
                }
            });
        }
    });
    Running::before(client, change).await
}

fn call(id: u32, method: &str) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "method": method})
}

fn answer(id: u32, result: &str) -> String {
    format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":\"{result}\"}}")
}

#[tokio::test]
async fn an_answer_is_passed_on_whole_in_whatever_pieces_it_comes() {
    let small = json_of(",\"result\":\"0x1\"}");
    for step in [1, 2, 7, 22, 23, 24, 25, 46, 1000] {
        for text in [sized(&small), chunked(&small, 23), chunked(&small, step)] {
            let running = before(move |_| Sent { text: text.clone(), step, ends: false }, |_| {}).await;
            let answered = running.call(&call(7, "eth_call").to_string()).await;
            assert_eq!(answered.text, answer(7, "0x1") + "\n", "in pieces of {step}");
            let batch = json!([call(7, "eth_call"), call(8, "admin_peers"), call(9, "eth_call")]);
            let answered = running.call(&batch.to_string()).await;
            let begin = format!("[{},{{", answer(7, "0x1"));
            let end = format!("}}}},{}]\n", answer(9, "0x1"));
            assert!(answered.text.starts_with(&begin) && answered.text.ends_with(&end), "{}", answered.text);
            let records = running.end().await;
            let out = records.iter().filter(|record| record["verdict"] == "allowed");
            assert!(
                out.clone().all(|record| record["bytesOut"] == answer(7, "0x1").len() + 1),
                "{records:?}"
            );
            assert_eq!(out.count(), 3);
        }
    }
}

#[tokio::test]
async fn a_long_answer_is_passed_on_whole_with_its_length_where_that_is_known() {
    for length in [4_000, 8_200, 100_000] {
        let (result, wanted) = ("x".repeat(length), answer(7, &"x".repeat(length)));
        let body = json_of(&format!(",\"result\":\"{result}\"}}"));
        for (text, is_sized) in
            [(sized(&body), true), (chunked(&body, 3000), false), (chunked(&body, 9000), false)]
        {
            for step in [1500, 5000, 200_000] {
                let text = text.clone();
                let running = before(move |_| Sent { text: text.clone(), step, ends: false }, |_| {}).await;
                let answered = running.call(&call(7, "eth_call").to_string()).await;
                assert!(answered.text == wanted.clone() + "\n", "{length} in pieces of {step}");
                if is_sized {
                    assert_eq!(answered.headers["content-length"], answered.text.len().to_string());
                }
                let none = json!({"jsonrpc": "2.0", "method": "eth_call"});
                assert_eq!(running.call(&none.to_string()).await.text, "");
                let batch = json!([call(7, "eth_call"), none, call(8, "admin_peers"), call(7, "eth_call")]);
                let answered = running.call(&batch.to_string()).await;
                let is_whole = answered.text.starts_with(&format!("[{wanted},{{"))
                    && answered.text.ends_with(&format!("}}}},{wanted}]\n"))
                    && answered.text.len() < 2 * wanted.len() + 200;
                assert!(is_whole, "{length} in pieces of {step}");
                let answered = running.call(&json!([call(7, "eth_call")]).to_string()).await;
                assert!(answered.text == format!("[{wanted}]\n"), "{length} in pieces of {step}");
                let records = running.end().await;
                let first = records.iter().find(|record| record["verdict"] == "allowed").expect("a record");
                assert_eq!(first["bytesOut"], wanted.len() + 1);
            }
        }
    }
}

#[tokio::test]
async fn half_an_answer_is_taken_back_where_nothing_of_it_was_passed_on() {
    let half = json_of(",\"result\":\"0x1234567890\"}");
    let broken = chunked(&half, 30).split_at(110).0.to_owned();
    let good = sized(&json_of(",\"result\":\"0x1\"}"));
    let sends = move |body: &str| {
        let ends = body.contains("eth_getLogs");
        Sent { text: if ends { broken.clone() } else { good.clone() }, step: 90, ends }
    };
    let running = before(sends, |_| {}).await;
    let (good, bad) = (call(1, "eth_call"), call(2, "eth_getLogs"));
    for batch in [
        vec![&bad],
        vec![&bad, &good],
        vec![&good, &bad],
        vec![&good, &bad, &good],
        vec![&bad, &bad, &good, &bad],
    ] {
        let answers = running.call(&json!(batch).to_string()).await.json();
        assert_eq!(answers.as_array().map(Vec::len), Some(batch.len()), "{answers}");
        for (asked, answer) in batch.iter().zip(answers.as_array().unwrap()) {
            assert_eq!(answer["id"], asked["id"], "{answers}");
            let is_error = answer["error"]["code"] == -32603 && answer.get("result").is_none();
            assert!(is_error || asked["id"] == 1 && answer["result"] == "0x1", "{answers}");
        }
    }
    let answered = running.call(&bad.to_string()).await;
    assert_eq!((answered.status, answered.code(), &answered.json()["id"]), (502, (-32603).into(), &2.into()));
    let mut socket = open(&running, &token()).await.unwrap();
    assert_eq!(asked(&mut socket, &bad.to_string()).await["error"]["code"], -32603);
    assert_eq!(asked(&mut socket, &good.to_string()).await["result"], "0x1");
}

#[tokio::test]
async fn half_a_long_answer_breaks_off_and_is_never_taken_for_a_whole_one() {
    let text = sized(&json_of(&format!(",\"result\":\"{}\"}}", "x".repeat(100_000))));
    let text = text.split_at(60_000).0.to_owned();
    let running = before(move |_| Sent { text: text.clone(), step: 20_000, ends: true }, |_| {}).await;
    for body in [call(1, "eth_call"), json!([call(1, "eth_call"), call(2, "eth_call")])] {
        let mut sender = running.http1().await;
        let answer = sender.send_request(request(&token(), &body.to_string())).await.unwrap();
        assert!(Answered::of(answer).await.is_err(), "it breaks off");
    }
    let records = running.end().await;
    let reasons: Vec<_> = records.iter().map(|record| record["reason"].as_str()).collect();
    assert_eq!(reasons[..2], [Some("client_failed"); 2], "{records:?}");
}

#[tokio::test]
async fn too_long_an_answer_whose_length_is_known_is_refused_at_once() {
    let body = json_of(&format!(",\"result\":\"{}\"}}", "x".repeat(100_000)));
    let running = before(
        move |_| Sent { text: sized(&body), step: 50_000, ends: false },
        |policy| policy.limits.answer_bytes = 50_000,
    )
    .await;
    let answered = running.call(&call(3, "eth_call").to_string()).await;
    assert_eq!((answered.status, answered.code(), &answered.json()["id"]), (502, (-32005).into(), &3.into()));
    let mut socket = open(&running, &token()).await.unwrap();
    assert_eq!(asked(&mut socket, &call(4, "eth_call").to_string()).await["error"]["code"], -32005);
    assert_eq!(
        asked(&mut socket, &call(5, "eth_call").to_string()).await["id"],
        5,
        "the WebSocket stays open"
    );
}

#[tokio::test]
async fn a_turn_is_free_as_soon_as_the_client_has_failed() {
    let running = Running::start(|policy| policy.limits.requests_at_client = 1).await;
    for how in [How::With(500, "oh"), How::With(200, "[]"), How::With(200, "")] {
        running.client.answer(how);
        assert_eq!(running.call(&ask("eth_call")).await.status, 502);
        running.client.answer(How::Well);
        let body = ask("eth_call");
        let next = tokio::time::timeout(Duration::from_secs(5), running.call(&body));
        assert_eq!(next.await.expect("its turn comes at once").status, 200);
    }
}

#[tokio::test]
async fn a_turn_ends_when_its_call_is_due_also_where_the_caller_has_left() {
    let running = Running::start(|policy| {
        (policy.limits.requests_at_client, policy.limits.answer_seconds) = (1, 1);
    })
    .await;
    running.client.answer(How::Never);
    let mut sender = running.http1().await;
    let left = tokio::spawn(async move { sender.send_request(request(&token(), &ask("eth_call"))).await });
    until(async || running.client.asked().len(), |asked| *asked == 1).await;
    left.abort();
    let next = async || {
        let _ = running.call(&ask("eth_call")).await;
        running.client.asked().len()
    };
    until(next, |asked| *asked == 2).await;
}

#[tokio::test]
async fn what_a_caller_has_not_taken_of_an_answer_is_in_flight() {
    let running = Running::start(|policy| policy.limits.answer_bytes = 1 << 30).await;
    running.client.answer(How::Endlessly);
    let mut stream = running.connect_with("http/1.1").await;
    let body = ask("eth_call");
    let head = format!(
        "POST / HTTP/1.1\r\nhost: {HOST}\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\n",
        token()
    );
    stream.write_all(format!("{head}content-length: {}\r\n\r\n{body}", body.len()).as_bytes()).await.unwrap();
    let in_flight = async || {
        let page = running.scrape().await;
        let line = page.lines().find_map(|line| line.strip_prefix("quorum_guard_rpc_in_flight_bytes "));
        line.unwrap().parse::<u64>().unwrap()
    };
    until(in_flight, |bytes| *bytes > 4096).await;
    drop(stream);
    until(in_flight, |bytes| *bytes == 0).await;
}

#[tokio::test]
async fn what_has_come_of_an_answer_in_small_pieces_is_passed_on_before_its_end() {
    let body = json_of(&format!(",\"result\":\"{}\"}}", "x".repeat(20_000)));
    let text = chunked(&body, 1000);
    // the rest never comes
    let text = text.split_at(12_000).0.to_owned();
    let running = before(move |_| Sent { text: text.clone(), step: 1000, ends: false }, |_| {}).await;
    let mut sender = running.http1().await;
    let asked = sender.send_request(request(&token(), &ask("eth_call")));
    let answer = tokio::time::timeout(Duration::from_secs(5), asked).await.expect("a header").unwrap();
    let frame = tokio::time::timeout(Duration::from_secs(5), answer.into_body().frame()).await;
    let first = frame.expect("a piece").unwrap().unwrap().into_data().unwrap();
    assert!(first.len() > 4096, "{} bytes", first.len());
}
