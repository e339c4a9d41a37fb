use super::client::How;
use super::*;

#[tokio::test]
async fn a_granted_call_is_written_anew_and_its_record_says_so() {
    let running = Running::start(|_| {}).await;
    let body = " {\"params\" : [ \"0x1\" , {} ],\n\"method\":\"eth_call\", \"id\": \"a\\u0062\",\"jsonrpc\":\"2.0\"} ";
    let answered = running.call(body).await;
    assert_eq!(
        (answered.status, answered.text.as_str()),
        (200, "{\"jsonrpc\":\"2.0\",\"id\":\"a\\u0062\",\"result\":\"eth_call\"}\n")
    );
    assert_eq!(answered.headers["content-type"], "application/json");
    assert!(!answered.headers.contains_key("access-control-allow-origin"));
    let wanted = r#"{"jsonrpc":"2.0","id":1,"method":"eth_call","params":[ "0x1" , {} ]}"#;
    assert_eq!(running.client.asked(), [wanted]);
    let records = running.end().await;
    assert_eq!(records.len(), 1, "{records:?}");
    let record = &records[0];
    assert_eq!(record["caller"], "wallet");
    assert_eq!((&record["method"], &record["verdict"]), (&"eth_call".into(), &"allowed".into()));
    assert_eq!(record["bytesIn"], body.trim().len(), "length of its own text");
    assert_eq!(record["bytesOut"], answered.text.len());
    assert!(record.get("reason").is_none() && record.get("params").is_none());
}

#[tokio::test]
async fn what_is_not_granted_never_reaches_the_client() {
    let running = Running::start(|_| {}).await;
    for method in ["personal_listAccounts", "admin_peers", "eth_sign", "web3_sha3", "nonsense_call"] {
        let answered = running.call(&ask(method)).await;
        assert_eq!(
            (answered.status, answered.code(), &answered.json()["id"]),
            (200, (-32601).into(), &1.into())
        );
        // the answer does not reveal which methods exist
        let wanted = "not granted: have the method listed for this caller";
        assert_eq!(answered.json()["error"]["message"], wanted, "{method}");
    }
    assert_eq!(running.client.asked(), Vec::<String>::new());
    let records = running.end().await;
    assert_eq!(records.len(), 5);
    assert_eq!(records[1]["method"], "admin_peers");
    assert_eq!(records[1]["bytesIn"], ask("admin_peers").len());
    assert!(records.iter().all(|record| record["verdict"] == "refused" && record["reason"] == "not_granted"));
}

#[tokio::test]
async fn of_a_batch_what_is_granted_is_passed_on_and_the_rest_has_errors_of_its_own() {
    let running = Running::start(|_| {}).await;
    let call = |id: u32, method: &str| json!({"jsonrpc": "2.0", "id": id, "method": method});
    let batch = json!([call(1, "eth_call"), call(2, "admin_peers"), {"id": 3}, call(4, "net_version"),
        {"jsonrpc": "2.0", "method": "admin_peers"}]);
    let answered = running.call(&batch.to_string()).await;
    let answers = answered.json().as_array().unwrap().clone();
    let ids: Vec<_> = answers.iter().map(|answer| answer["id"].as_u64().unwrap()).collect();
    assert_eq!(ids, [1, 2, 3, 4], "in the order of the calls");
    assert_eq!((&answers[0]["result"], &answers[3]["result"]), (&"eth_call".into(), &"net_version".into()));
    assert_eq!(answers[1]["error"]["code"], -32601);
    assert_eq!(answers[2]["error"]["code"], -32600);
    assert!(answered.text.ends_with("}]\n"), "as the client ends it: {}", answered.text);
    let asked = |method: &str| format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}"}}"#);
    assert_eq!(running.client.asked(), ["eth_call", "net_version"].map(asked), "each by itself");

    // texts of the client that do not answer the call
    for how in [
        r#"{"jsonrpc":"2.0","id":null,"error":{"code":-1,"message":"no"}}"#,
        r#"[{"jsonrpc":"2.0","id":1,"result":1}]"#,
        r#"{"jsonrpc":"2.0","id":1"#,
        r#"{"jsonrpc":"2.0","id":11,"result":1}"#,
        "",
    ] {
        running.client.answer(How::With(200, how));
        let answered = running.call(&json!([call(1, "eth_call"), call(2, "admin_peers")]).to_string()).await;
        let codes = [0, 1].map(|at| answered.json()[at]["error"]["code"].clone());
        assert_eq!(codes, [json!(-32603), json!(-32601)], "{}", answered.text);
    }
    let refused = running.call(&json!([call(2, "admin_peers")]).to_string()).await;
    assert_eq!(refused.json()[0]["error"]["code"], -32601);
    assert_eq!(running.client.asked().len(), 7);
    let records = running.end().await;
    assert_eq!(records.len(), 5 + 5 * 2 + 1);
    let refused = records.iter().find(|record| record["method"] == "admin_peers").expect("a record");
    assert_eq!(refused["bytesIn"], call(2, "admin_peers").to_string().len(), "as if it had come alone");
}

#[tokio::test]
async fn a_notification_that_is_refused_has_no_answer() {
    let running = Running::start(|_| {}).await;
    let answered = running.call(r#"{"jsonrpc":"2.0","method":"admin_peers"}"#).await;
    assert_eq!((answered.status, answered.text.as_str()), (200, ""));
    let answered = running.call(r#"{"jsonrpc":"2.0","method":"eth_call"}"#).await;
    assert_eq!((answered.status, answered.text.as_str()), (200, ""));
    assert_eq!(running.client.asked().len(), 1);
}

#[tokio::test]
async fn nobody_without_an_identity_is_answered() {
    let running = Running::start(|_| {}).await;
    let with = |authorization: Option<String>| {
        let mut request = request("", &ask("eth_call"));
        request.headers_mut().remove("authorization");
        if let Some(value) = authorization {
            request.headers_mut().insert("authorization", value.parse().unwrap());
        }
        request
    };
    let mut twice = with(Some(format!("Bearer {}", token())));
    twice.headers_mut().append("authorization", "Bearer x".parse().unwrap());
    let strange = token_for("stranger", 600);
    let reasons = [
        (with(None), "no_credentials"),
        (with(Some("Basic eDp5".into())), "token_malformed"),
        (with(Some("Bearer".into())), "token_malformed"),
        (with(Some("Bearer x.y.z".into())), "token_malformed"),
        (with(Some(format!("Bearer {strange}"))), "no_caller"),
        (twice, "token_malformed"),
    ];
    let wanted = reasons.each_ref().map(|(_, reason)| *reason);
    for (request, _) in reasons {
        let answered = running.send(request).await;
        assert_eq!((answered.status, answered.code()), (401, (-32001).into()), "{}", answered.text);
        assert_eq!(
            (&answered.headers["www-authenticate"], &answered.headers["connection"]),
            (&"Bearer".parse().unwrap(), &"close".parse().unwrap())
        );
        assert!(!answered.text.contains(&strange[..20]));
    }
    let lower = with(Some(format!("bearer {}", token())));
    assert_eq!(running.send(lower).await.status, 200);
    let records = running.end().await;
    assert_eq!(records.len(), 7);
    assert!(records[..6].iter().all(|record| record.get("caller").is_none()));
    assert_eq!(records[..6].iter().map(|record| record["reason"].clone()).collect::<Vec<_>>(), wanted);
}

#[tokio::test]
async fn each_request_of_a_connection_is_of_whom_its_own_token_names() {
    let running = Running::start(|_| {}).await;
    let mut sender = running.http1().await;
    let [wallet, shop] = ["wallet", "shop"].map(|account| token_for(account, 600));
    for (token, status) in [(&wallet, 200), (&shop, 200), (&wallet, 200), (&"x.y.z".to_owned(), 401)] {
        let answer = sender.send_request(request(token, &ask("eth_call"))).await.unwrap();
        assert_eq!(Answered::of(answer).await.unwrap().status, status);
    }
    let records = running.end().await;
    let callers: Vec<_> = records.iter().map(|record| record["caller"].as_str()).collect();
    assert_eq!(callers, [Some("wallet"), Some("shop"), Some("wallet"), None]);
}

#[tokio::test]
async fn what_is_no_call_is_refused_before_it_is_read() {
    let running = Running::start(|policy| policy.limits.body_bytes = 1000).await;
    let good = || request(&token(), &ask("eth_call"));
    let header = |name: &'static str, value: &str| {
        let mut request = good();
        request.headers_mut().remove(name);
        if !value.is_empty() {
            request.headers_mut().insert(name, value.parse().unwrap());
        }
        request
    };
    let to = |uri: &str| {
        let mut request = good();
        *request.uri_mut() = uri.parse().unwrap();
        request
    };
    let verb = |verb: &str| {
        let mut request = good();
        *request.method_mut() = verb.parse().unwrap();
        request
    };
    let body = |body: &str| request(&token(), body);
    let mut hosts = good();
    hosts.headers_mut().append("host", HOST.parse().unwrap());
    for (request, status, reason) in [
        (header("host", "other.ledger.svc"), 421, "host"),
        (header("host", ""), 421, "host"),
        (header("host", "10.1.2.3:8545"), 421, "host"),
        (hosts, 421, "host"),
        (to("https://other.ledger.svc/"), 421, "host"),
        (to("http://alice-rpc.ledger.svc/"), 421, "host"),
        (to("https://wallet@alice-rpc.ledger.svc/"), 421, "host"),
        (to("https://alice-rpc.ledger.svc/other"), 404, "path"),
        (to("https://alice-rpc.ledger.svc?x"), 404, "path"),
        (to("/other"), 404, "path"),
        (to("/?x"), 404, "path"),
        (to("//"), 404, "path"),
        (verb("PUT"), 405, "verb"),
        (verb("GET"), 405, "verb"),
        (verb("HEAD"), 405, "verb"),
        (verb("OPTIONS"), 405, "verb"),
        (header("content-type", "text/plain"), 415, "content_type"),
        (header("content-type", "application/json; charset=latin1"), 415, "content_type"),
        (header("content-type", "application/jsonx"), 415, "content_type"),
        (header("content-type", ""), 415, "content_type"),
        (header("content-encoding", "gzip"), 415, "encoding"),
        (header("origin", "https://evil.example"), 403, "origin"),
        (header("origin", "null"), 403, "origin"),
        (body(&ask(&"x".repeat(1000))), 413, "body_too_large"),
        (body("{"), 400, "syntax"),
        (body(""), 400, "syntax"),
        (body("[]"), 400, "batch_empty"),
    ] {
        let told = format!("{request:?}");
        let answered = running.send(request).await;
        assert_eq!(answered.status, status, "{told}");
        if answered.status != 405 {
            assert!(answered.json()["error"]["message"].is_string(), "{told}");
        }
        let refusals = format!("quorum_guard_rpc_rejections_total{{reason=\"{reason}\"}} 0\n");
        assert!(!running.scrape().await.contains(&refusals), "{told}");
    }
    assert_eq!(running.client.asked(), Vec::<String>::new());
    for (name, value) in [
        ("host", "ALICE-rpc.ledger.svc:8545"),
        ("content-type", "Application/JSON; charset=UTF-8"),
        ("origin", "https://app.example"),
    ] {
        assert_eq!(running.send(header(name, value)).await.status, 200, "{name}");
    }
}

#[tokio::test]
async fn a_page_may_call_from_an_origin_of_the_list_alone() {
    let running = Running::start(|policy| policy.callers[1].origins.clear()).await;
    let preflight = |origin: &str| {
        Request::options("/")
            .header("host", HOST)
            .header("origin", origin)
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "authorization,content-type")
            .body(Full::default())
            .unwrap()
    };
    let answered = running.send(preflight("https://app.example")).await;
    assert_eq!((answered.status, answered.text.as_str()), (204, ""));
    assert_eq!(answered.headers["access-control-allow-origin"], "https://app.example");
    assert_eq!(answered.headers["access-control-allow-methods"], "POST");
    for origin in ["https://evil.example", "null", "https://app.example.evil", "*", "HTTPS://APP.EXAMPLE"] {
        let answered = running.send(preflight(origin)).await;
        assert_eq!(answered.status, 403, "{origin}");
        assert!(answered.headers.keys().all(|name| !name.as_str().starts_with("access-control")), "{origin}");
    }
    let from = |account: &str| {
        let mut request = request(&token_for(account, 600), &ask("eth_call"));
        request.headers_mut().insert("origin", "https://app.example".parse().unwrap());
        request
    };
    let answered = running.send(from("wallet")).await;
    assert_eq!((answered.status, &answered.headers["vary"]), (200, &"origin".parse().unwrap()));
    assert_eq!(answered.headers["access-control-allow-origin"], "https://app.example");
    // an origin of another caller
    assert_eq!(running.send(from("shop")).await.status, 403);
    assert_eq!(running.client.asked().len(), 1);
}

#[tokio::test]
async fn http_2_carries_many_calls_at_once() {
    let running = Running::start(|_| {}).await;
    let sender = running.http2().await;
    let calls = (0..50).map(|id| {
        let mut sender = sender.clone();
        let mut request =
            request(&token(), &json!({"jsonrpc": "2.0", "id": id, "method": "eth_call"}).to_string());
        *request.uri_mut() = format!("https://{HOST}/").parse().unwrap();
        request.headers_mut().remove("host");
        async move { Answered::of(sender.send_request(request).await.unwrap()).await.unwrap() }
    });
    let answers = futures::future::join_all(calls).await;
    for (id, answered) in answers.iter().enumerate() {
        assert_eq!((answered.status, &answered.json()["id"]), (200, &id.into()));
    }
    let mut other = request(&token(), &ask("eth_call"));
    *other.uri_mut() = "https://other.ledger.svc/".parse().unwrap();
    other.headers_mut().remove("host");
    let mut sender = sender.clone();
    assert_eq!(sender.send_request(other).await.unwrap().status(), 421);
    drop(sender);
    let records = running.end().await;
    assert_eq!(records.len(), 51);
    assert_eq!(
        (&records[0]["transport"], &records[0]["connection"]),
        (&"h2".into(), &records[49]["connection"])
    );
}

#[tokio::test]
async fn a_target_that_names_its_host_counts_and_the_header_does_not() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let running = Running::start(|_| {}).await;
    let body = ask("eth_call");
    let rest = format!(
        "content-type: application/json\r\nauthorization: Bearer {}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        token(),
        body.len()
    );
    for (target, hosts, status) in [
        (format!("https://{HOST}/"), format!("host: {HOST}\r\n"), 200),
        (format!("https://{HOST}"), format!("host: {HOST}\r\n"), 200),
        (format!("HTTPS://{}.:8545/", HOST.to_uppercase()), "host: other.ledger.svc\r\n".into(), 200),
        ("https://other.ledger.svc/".into(), format!("host: {HOST}\r\n"), 421),
        (format!("http://{HOST}/"), format!("host: {HOST}\r\n"), 421),
        (format!("ftp://{HOST}/"), format!("host: {HOST}\r\n"), 421),
        (format!("https://{HOST}/"), String::new(), 421),
        (format!("https://{HOST}/"), format!("host: {HOST}\r\nhost: {HOST}\r\n"), 421),
    ] {
        let mut stream = running.connect_with("http/1.1").await;
        stream.write_all(format!("POST {target} HTTP/1.1\r\n{hosts}{rest}").as_bytes()).await.unwrap();
        let mut text = String::new();
        let _ = stream.read_to_string(&mut text).await;
        assert!(text.starts_with(&format!("HTTP/1.1 {status} ")), "{target} {hosts}: {text}");
    }
    assert_eq!(running.client.asked().len(), 3);
}

#[tokio::test]
async fn a_call_has_the_same_size_alone_in_a_batch_and_over_a_websocket() {
    use super::websocket::{asked, open};
    let running = Running::start(|_| {}).await;
    let granted = r#"{"jsonrpc":"2.0", "id":1,"method":"eth_call", "params":[ 1 ]}"#;
    let refused = r#"{"jsonrpc":"2.0","id":2 ,"method":"admin_peers"}"#;
    let invalid = r#"{"id":3,  "jsonrpc":"2.0"}"#;
    let all = [granted, refused, invalid];
    for text in all {
        assert_eq!(running.call(&format!(" {text}\n ")).await.status, 200);
    }
    assert_eq!(running.call(&format!("[ {} ]\n", all.join(" , "))).await.status, 200);
    let mut socket = open(&running, &token()).await.unwrap();
    for text in all {
        asked(&mut socket, &format!("\t{text}  ")).await;
    }
    assert_eq!(running.call("{nonsense").await.status, 400);
    asked(&mut socket, "{nonsense").await;
    drop(socket);
    let mut records = running.end().await;
    records.retain(|record| record["verdict"] != "opened");
    let of_reason = |reason: Value| -> Vec<u64> {
        let found = records.iter().filter(|record| record.get("reason").unwrap_or(&Value::Null) == &reason);
        found.map(|record| record["bytesIn"].as_u64().unwrap()).collect()
    };
    for (reason, text) in
        [(Value::Null, granted), ("not_granted".into(), refused), ("invalid_request".into(), invalid)]
    {
        assert_eq!(of_reason(reason), [text.len() as u64; 3], "{text}");
    }
    assert_eq!(
        of_reason("syntax".into()),
        ["{nonsense".len() as u64; 2],
        "the whole text if it is not a call"
    );
}
