//! Tests of audit records: each answered call has its record, whatever else is sent; rejections have few.

use std::sync::atomic::AtomicU64;

use futures::{SinkExt as _, StreamExt as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_tungstenite::tungstenite::Message;

use super::client::How;
use super::websocket::{asked, open};
use super::*;

/// Reads records until the guard ends.
fn reading(running: &mut Running) -> std::thread::JoinHandle<Vec<Value>> {
    let records = BufReader::new(std::fs::File::from(running.records.take().unwrap()));
    let read = || records.lines().map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect();
    std::thread::spawn(read)
}

async fn ended(running: Running, read: std::thread::JoinHandle<Vec<Value>>) -> Vec<Value> {
    running.stop.send_replace(true);
    running.served.await.unwrap().unwrap();
    read.join().unwrap()
}

/// Number of calls or requests that the records stand for.
fn counted<'a>(records: impl IntoIterator<Item = &'a Value>) -> u64 {
    records.into_iter().map(|record| record["count"].as_u64().unwrap_or(1)).sum()
}

/// A batch of a hundred elements that are not calls.
fn nonsense() -> String {
    format!("[{}]", vec!["1"; 100].join(","))
}

/// Sends invalid batches over a WebSocket for this long and reads the answers. Returns how many were sent.
async fn flood(running: &Running, account: &str, lasts: Duration) -> u64 {
    let mut socket = open(running, &token_for(account, 600)).await.unwrap();
    let (begin, mut sent) = (Instant::now(), 0);
    while begin.elapsed() < lasts {
        socket.send(Message::text(nonsense())).await.unwrap();
        socket.next().await.unwrap().unwrap();
        sent += 1;
    }
    sent
}

#[tokio::test]
async fn a_flood_of_nonsense_over_a_websocket_has_a_few_lines_a_second_and_all_of_it_is_counted() {
    let mut running = Running::start(|_| {}).await;
    let read = reading(&mut running);
    let begin = Instant::now();
    let sent = flood(&running, "wallet", Duration::from_secs(2)).await;
    let seconds = begin.elapsed().as_secs() + 2;
    let records = ended(running, read).await;
    let of_flood: Vec<_> = records.iter().filter(|record| record["verdict"] == "refused").collect();
    assert!(sent > 20, "{sent} messages");
    assert!((of_flood.len() as u64) < 50 + 25 * seconds, "{} lines in {seconds} s", of_flood.len());
    assert_eq!(counted(of_flood.iter().copied()), sent * 100);
    let last = of_flood.iter().rfind(|record| record["count"].is_u64()).unwrap();
    assert_eq!((&last["caller"], &last["pod"]), (&"wallet".into(), &"wallet-0".into()));
}

#[tokio::test]
async fn a_flood_of_somebody_unknown_has_a_few_lines_a_second() {
    let mut running = Running::start(|_| {}).await;
    let read = reading(&mut running);
    let (begin, sent) = (Instant::now(), AtomicU64::new(0));
    let one = || async {
        let request = format!("GET /x HTTP/1.1\r\nhost: {HOST}\r\n\r\n").repeat(100);
        while sent.load(Ordering::Relaxed) < 400 {
            let mut stream = running.connect_with("http/1.1").await;
            let _ = stream.write_all(request.as_bytes()).await;
            let _ = stream.shutdown().await;
            let mut answers = Vec::new();
            let _ = stream.read_to_end(&mut answers).await;
            let answers = String::from_utf8_lossy(&answers).matches("HTTP/1.1 404").count() as u64;
            sent.fetch_add(answers, Ordering::Relaxed);
        }
    };
    tokio::join!(one(), one());
    let seconds = begin.elapsed().as_secs() + 2;
    let records = ended(running, read).await;
    let sent = sent.into_inner();
    assert!((records.len() as u64) < 50 + 25 * seconds, "{} lines in {seconds} s", records.len());
    assert!(counted(&records) >= sent && records.iter().all(|record| record.get("caller").is_none()));
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_that_nobody_reads_keep_no_caller_from_calling() {
    let mut running = Running::start(|_| {}).await;
    let floods = (0..4).map(|_| flood(&running, "wallet", Duration::from_secs(3)));
    let shop = async {
        let (begin, mut answered) = (Instant::now(), 0);
        let mut sender = running.http1().await;
        while begin.elapsed() < Duration::from_secs(3) {
            let answer =
                sender.send_request(request(&token_for("shop", 600), &ask("eth_call"))).await.unwrap();
            assert_eq!(Answered::of(answer).await.unwrap().status, 200, "after {answered} calls");
            answered += 1;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        answered
    };
    let (_, answered) = tokio::join!(futures::future::join_all(floods), shop);
    let read = reading(&mut running);
    let records = ended(running, read).await;
    let of_shop =
        records.iter().filter(|record| record["caller"] == "shop" && record["verdict"] == "allowed");
    assert_eq!(of_shop.count(), answered);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_is_under_way_while_four_sockets_flood_has_its_record() {
    let mut running = Running::start(|_| {}).await;
    running.client.answer(How::Never);
    let mut sender = running.http1().await;
    let call = sender.send_request(request(&token_for("shop", 600), &ask("eth_call")));
    let call = tokio::spawn(async move { Answered::of(call.await.unwrap()).await.unwrap().status });
    until(async || running.client.asked().len(), |asked| *asked == 1).await;
    // records are not read meanwhile
    let floods = (0..4).map(|_| flood(&running, "wallet", Duration::from_secs(3)));
    futures::future::join_all(floods).await;
    running.client.answer(How::Well);
    assert_eq!(call.await.unwrap(), 200);
    let read = reading(&mut running);
    let records = ended(running, read).await;
    let of_shop: Vec<_> = records.iter().filter(|record| record["caller"] == "shop").collect();
    assert_eq!((of_shop.len(), &of_shop[0]["verdict"]), (1, &"allowed".into()));
}

#[tokio::test]
async fn records_say_which_pod_called_and_that_a_websocket_was_opened() {
    let running =
        Running::start(|policy| policy.callers[0].methods = vec!["eth_sendTransaction".into()]).await;
    let mut socket = open(&running, &token()).await.unwrap();
    assert_eq!(asked(&mut socket, &ask("eth_sendTransaction")).await["result"], "eth_sendTransaction");
    assert_eq!(asked(&mut socket, &ask("eth_call")).await["error"]["code"], -32601);
    assert_eq!(running.call(&ask("eth_sendTransaction")).await.status, 200);
    let page = running.scrape().await;
    for line in [
        "quorum_guard_rpc_audit_records_total{verdict=\"allowed\"} 2\n",
        "quorum_guard_rpc_audit_records_total{verdict=\"begun\"} 2\n",
        "quorum_guard_rpc_audit_records_total{verdict=\"opened\"} 1\n",
        "quorum_guard_rpc_audit_records_total{verdict=\"refused\"} 1\n",
        "quorum_guard_rpc_audit_aggregated_total 0\n",
        "quorum_guard_rpc_audit_reserved_bytes 0\n",
    ] {
        assert!(page.contains(line), "{line} in {page}");
    }
    drop(socket);
    let records = running.end().await;
    let verdicts: Vec<_> = records.iter().map(|record| record["verdict"].as_str().unwrap()).collect();
    assert_eq!(verdicts, ["opened", "begun", "allowed", "refused", "begun", "allowed"]);
    for record in &records {
        assert_eq!(record["subject"], "system:serviceaccount:apps:wallet", "{record}");
        assert_eq!((&record["pod"], &record["caller"]), (&"wallet-0".into(), &"wallet".into()), "{record}");
    }
    assert_eq!(records[1]["call"], records[2]["call"]);
    assert_ne!(records[1]["call"], records[4]["call"]);
}
