use std::time::Instant as Clock;

use super::client::How;
use super::*;

#[tokio::test]
async fn what_is_withdrawn_is_refused_and_cut_within_a_second_and_nothing_else_is() {
    let running = Running::start(|_| {}).await;
    let mut wallet = running.http1().await;
    let mut shop = running.http1().await;
    let (of_wallet, of_shop) = (token_for("wallet", 600), token_for("shop", 600));
    let good =
        |account: &str| request(if account == "shop" { &of_shop } else { &of_wallet }, &ask("eth_call"));
    assert_eq!(wallet.send_request(good("wallet")).await.unwrap().status(), 200);
    assert_eq!(shop.send_request(good("shop")).await.unwrap().status(), 200);
    running.client.answer(How::Never);
    let mut busy = running.http1().await;
    let first = good("wallet");
    let under_way = tokio::spawn(async move { busy.send_request(first).await });
    until(async || running.client.asked().len(), |asked| *asked == 3).await;

    let mut policy = policy();
    policy.callers.remove(0);
    running.put(&policy);
    let put = Clock::now();
    let cut = tokio::time::timeout(Duration::from_secs(5), under_way).await.expect("it is cut").unwrap();
    assert!(cut.is_err());
    until(async || wallet.is_closed(), |closed| *closed).await;
    assert!(put.elapsed() < Duration::from_secs(1), "{:?}", put.elapsed());
    running.client.answer(How::Well);
    assert_eq!(running.send(good("wallet")).await.status, 401);
    assert_eq!(shop.send_request(good("shop")).await.unwrap().status(), 200, "the other caller's stays open");
    let records = running.end().await;
    let last = records.last().expect("a record");
    assert_eq!(last["caller"], "shop", "by the current policy");
    let cut = records.iter().find(|record| record["reason"] == "cut").expect("a record of what was cut");
    assert_eq!((&cut["caller"], &cut["verdict"]), (&"wallet".into(), &"allowed".into()));
}

#[tokio::test]
async fn other_methods_count_from_the_next_call_on() {
    let running = Running::start(|_| {}).await;
    let mut sender = running.http1().await;
    let mut code = async |method: &str| {
        let answer = sender.send_request(request(&token(), &ask(method))).await.unwrap();
        Answered::of(answer).await.unwrap().code()
    };
    assert!(code("eth_call").await.is_null());
    let mut policy = policy();
    policy.callers[0].methods = vec!["net_version".into()];
    running.put(&policy);
    let refused = until(async || code("eth_call").await, |code| !code.is_null()).await;
    assert_eq!(refused, -32601);
    assert!(code("net_version").await.is_null());
}

#[tokio::test]
async fn private_state_that_is_withdrawn_is_read_no_more() {
    let running = Running::start(|_| {}).await;
    let mut sender = running.http1().await;
    let mut code = async |method: &str| {
        let answer = sender.send_request(request(&token(), &ask(method))).await.unwrap();
        Answered::of(answer).await.unwrap().code()
    };
    assert!(code("eth_getLogs").await.is_null());
    let mut policy = policy();
    policy.callers[0].private_state = false;
    running.put(&policy);
    let refused = until(async || code("eth_getLogs").await, |code| !code.is_null()).await;
    assert_eq!(refused, -32601);
    assert!(code("eth_blockNumber").await.is_null());
}

#[tokio::test]
async fn a_broken_policy_leaves_the_old_one_and_is_told() {
    let running = Running::start(|_| {}).await;
    let failed = |value: u8| format!("quorum_guard_rpc_policy_reload_failed {value}\n");
    for broken in [
        "",
        "{",
        "{\"version\": 2}",
        &policy().write().replace("eth_*", "admin_*"),
        &policy().write().replace("apps", "apps\": \""),
    ] {
        fs::write(running.dir.path().join(policy::FILE), broken).unwrap();
        until(|| running.scrape(), |page| page.contains(&failed(1))).await;
        assert_eq!(running.call(&ask("eth_call")).await.status, 200);
        running.put(&policy());
        until(|| running.scrape(), |page| page.contains(&failed(0))).await;
    }
    fs::remove_file(running.dir.path().join(policy::FILE)).unwrap();
    until(|| running.scrape(), |page| page.contains(&failed(1))).await;
    assert_eq!(running.call(&ask("eth_call")).await.status, 200);
}

#[tokio::test]
async fn one_that_cannot_be_used_from_the_start_ends_the_guard_with_the_reason() {
    let (dir, free) = (tempfile::tempdir().unwrap(), "127.0.0.1:0".parse().unwrap());
    let file = dir.path().join(policy::FILE);
    fs::write(&file, policy().write().replace("eth_*", "admin_*")).unwrap();
    let args = Args {
        listen: free,
        health: free,
        metrics: free,
        http: free,
        ws: free,
        tls_dir: dir.path().to_owned(),
        policy: file,
    };
    let ended = super::super::until(std::future::pending(), args);
    let ended = tokio::time::timeout(Duration::from_secs(10), ended).await;
    let reason = format!("{:#}", ended.expect("serving must end by itself").unwrap_err());
    assert!(reason.contains(policy::FILE) && reason.contains("admin_*"), "{reason}");
}

#[tokio::test]
async fn a_new_certificate_is_served_and_no_request_fails() {
    let running = Running::start(|_| {}).await;
    let leaf = async || {
        let stream = running.connect_with("http/1.1").await;
        stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
    };
    let first = leaf().await;
    let mut kept = running.http1().await;
    running.authority.server(HOST).write(running.dir.path());
    until(async || leaf().await, |leaf| *leaf != first).await;
    assert_eq!(kept.send_request(request(&token(), &ask("eth_call"))).await.unwrap().status(), 200);
    assert_eq!(running.call(&ask("eth_call")).await.status, 200);
}

#[tokio::test]
async fn who_is_known_no_longer_is_let_go() {
    let running = Running::start(|_| {}).await;
    let mut sender = running.http1().await;
    let short = token_for("wallet", 2);
    assert_eq!(sender.send_request(request(&short, &ask("eth_call"))).await.unwrap().status(), 200);
    until(async || sender.is_closed(), |closed| *closed).await;
}

#[tokio::test]
async fn who_is_known_no_longer_asks_nothing_more_while_something_is_under_way() {
    let running = Running::start(|_| {}).await;
    running.client.answer(How::Never);
    let over_http2 = |token: &str| {
        let mut request = request(token, &ask("eth_call"));
        *request.uri_mut() = format!("https://{HOST}/").parse().unwrap();
        request.headers_mut().remove("host");
        request
    };
    let (mut sender, ends) = (running.http2().await, now() + 2);
    let short = token_for("wallet", 2);
    let (mut other, first) = (sender.clone(), over_http2(&short));
    let under_way = tokio::spawn(async move { other.send_request(first).await.unwrap().status() });
    until(async || running.client.asked().len(), |asked| *asked == 1).await;
    until(async || now(), |now| *now > ends).await;
    let answered = tokio::time::timeout(Duration::from_secs(5), sender.send_request(over_http2(&short)));
    assert_eq!(answered.await.expect("it is answered at once").unwrap().status(), 401);
    running.client.answer(How::Well);
    assert_eq!(under_way.await.unwrap(), 200, "calls under way end");
}

#[tokio::test]
async fn what_is_under_way_ends_before_the_process_does() {
    let running = Running::start(|_| {}).await;
    running.client.answer(How::Never);
    let mut sender = running.http1().await;
    let mut idle = running.http1().await;
    assert!(idle.ready().await.is_ok());
    let under_way = tokio::spawn(async move {
        Answered::of(sender.send_request(request(&token(), &ask("eth_call"))).await.unwrap()).await.unwrap()
    });
    until(async || running.client.asked().len(), |asked| *asked == 1).await;
    running.stop.send_replace(true);
    until(async || TcpStream::connect(running.at).await.is_err(), |refused| *refused).await;
    running.client.answer(How::Well);
    assert_eq!(under_way.await.unwrap().status, 200);
    let records = running.end().await;
    assert_eq!(records.len(), 1);
}

#[tokio::test]
async fn a_certificate_of_the_callers_authority_is_as_good_as_a_token() {
    let (bank, other) = (Authority::new("bank"), Authority::new("other"));
    let authority = bank.cert.clone();
    let running = Running::start(move |policy| {
        let subjects = vec!["cn:till-1".to_owned()];
        policy.callers[1].identity = Identity::ClientCertificate { authority, subjects };
    })
    .await;
    let send = async |pair: Option<crate::guard::testing::Pair>, protocol: &str| {
        let ca = running.dir.path().join("ca.crt");
        fs::write(&ca, &running.authority.cert).unwrap();
        let shown = pair.map(|pair| {
            let dir = tempfile::tempdir().unwrap();
            pair.write(dir.path());
            dir
        });
        let files = shown.as_ref().map(|dir| (dir.path().join("tls.crt"), dir.path().join("tls.key")));
        let files = files.as_ref().map(|(cert, key)| (cert.as_path(), key.as_path()));
        let mut config = certificates::client(&ca, files).unwrap();
        config.alpn_protocols = vec![protocol.into()];
        let stream = TcpStream::connect(running.at).await.unwrap();
        let name = ServerName::try_from(HOST).unwrap();
        let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.ok()?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.ok()?;
        tokio::spawn(connection);
        let mut request = request("", &ask("eth_call"));
        request.headers_mut().remove("authorization");
        Some(Answered::of(sender.send_request(request).await.ok()?).await.ok()?.status)
    };
    assert_eq!(send(Some(bank.client("till-1")), "http/1.1").await, Some(200));
    assert_eq!(send(Some(bank.client("till-2")), "http/1.1").await, Some(401));
    assert_eq!(send(None, "http/1.1").await, Some(401));
    assert_eq!(send(Some(other.client("till-1")), "http/1.1").await, None, "the handshake fails");
    let records = running.end().await;
    assert_eq!(records[0]["caller"], "shop");
}

/// The policy without the key that signs the tokens of these tests.
fn without_the_key() -> Policy {
    let mut policy = policy();
    policy.issuers[0].keys[0].id = "two".into();
    policy
}

#[tokio::test]
async fn a_key_that_is_withdrawn_ends_a_batch_that_is_under_way_and_what_waits_for_its_turn() {
    for protocol in ["http/1.1", "h2"] {
        let running = Running::start(|policy| policy.limits.requests_at_client = 1).await;
        running.client.answer(How::Never);
        let batch = format!("[{}]", vec![ask("eth_call"); 3].join(","));
        let send = async |body: &str| {
            let mut request = request(&token(), body);
            let answered = if protocol == "h2" {
                *request.uri_mut() = format!("https://{HOST}/").parse().unwrap();
                request.headers_mut().remove("host");
                let mut sender = running.http2().await;
                Answered::of(sender.send_request(request).await.unwrap()).await
            } else {
                let mut sender = running.http1().await;
                Answered::of(sender.send_request(request).await.unwrap()).await
            };
            answered.unwrap()
        };
        let second = async {
            until(async || running.client.asked().len(), |asked| *asked == 1).await;
            send(&ask("eth_call")).await
        };
        let withdrawn = async {
            let waiting = "quorum_guard_rpc_requests_waiting 1\n";
            until(|| running.scrape(), |page| page.contains(waiting)).await;
            running.put(&without_the_key());
            until(async || running.call(&ask("admin_peers")).await.status, |status| *status == 401).await;
            running.client.answer(How::Well);
        };
        let (answered, waited, ()) = tokio::join!(send(&batch), second, withdrawn);
        let answers = answered.json();
        assert_eq!(answers[0]["result"], "eth_call", "sent calls are answered: {answers}");
        let codes = [1, 2].map(|at| answers[at]["error"]["code"].clone());
        assert_eq!(codes, [-32001, -32001], "{answers}");
        assert_eq!((waited.status, waited.code()), (403, (-32001).into()), "{}", waited.text);
        assert_eq!(running.client.asked().len(), 1, "{protocol}");
        let records = running.end().await;
        assert_eq!(records.iter().filter(|record| record["reason"] == "revoked").count(), 3);
    }
}

#[tokio::test]
async fn a_body_that_comes_while_the_key_is_withdrawn_is_not_asked() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let running = Running::start(|_| {}).await;
    let mut stream = running.connect_with("http/1.1").await;
    let body = ask("eth_call");
    let head = format!(
        "POST / HTTP/1.1\r\nhost: {HOST}\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\n",
        token()
    );
    let (first, last) = body.split_at(5);
    stream
        .write_all(format!("{head}content-length: {}\r\n\r\n{first}", body.len()).as_bytes())
        .await
        .unwrap();
    let known = "quorum_guard_rpc_caller_connections{caller=\"wallet\"} 1\n";
    until(|| running.scrape(), |page| page.contains(known)).await;
    running.put(&without_the_key());
    until(async || running.call(&ask("admin_peers")).await.status, |status| *status == 401).await;
    stream.write_all(last.as_bytes()).await.unwrap();
    let mut text = String::new();
    let _ = stream.read_to_string(&mut text).await;
    assert!(text.starts_with("HTTP/1.1 403") && text.contains("-32001"), "{text}");
    assert_eq!(running.client.asked(), Vec::<String>::new());
}

#[tokio::test]
async fn another_key_and_another_caller_leave_what_is_under_way_alone() {
    let running = Running::start(|_| {}).await;
    running.client.answer(How::Never);
    let mut sender = running.http1().await;
    let batch = format!("[{}]", vec![ask("eth_call"); 3].join(","));
    let under_way = tokio::spawn(async move {
        Answered::of(sender.send_request(request(&token(), &batch)).await.unwrap()).await.unwrap()
    });
    until(async || running.client.asked().len(), |asked| *asked == 1).await;
    let mut policy = policy();
    let second = Key { id: "two".into(), ..policy.issuers[0].keys[0].clone() };
    policy.issuers[0].keys.insert(0, second);
    policy.callers.insert(0, caller("third"));
    running.put(&policy);
    // a rejection needs no client
    let third = async || running.send(request(&token_for("third", 600), &ask("admin_peers"))).await.status;
    until(third, |status| *status == 200).await;
    running.client.answer(How::Well);
    let answers = under_way.await.unwrap().json();
    assert!(answers.as_array().unwrap().iter().all(|answer| answer["result"] == "eth_call"), "{answers}");
}
