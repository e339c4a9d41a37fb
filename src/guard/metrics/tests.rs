use std::fs;
use std::sync::atomic::Ordering;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::*;
use crate::{
    guard::testing::{Authority, Client, plain_get, talk, until},
    protocol::{chain_metrics::Figures, peer_connections::Connections},
};

const PAGE: &str = "chain_head_block 7\np2p_peers 2\nup {n}\nrpc_duration_plugin@x 1\n";

/// A running `quorum-guard metrics`; stops with the test.
struct Running {
    port: u16,
    health: u16,
    dir: tempfile::TempDir,
    authority: Authority,
    client: Client,
    stop: watch::Sender<bool>,
    task: tokio::task::JoinHandle<()>,
}

#[derive(Clone, Copy)]
struct Setup {
    client_ca: bool,
    min_peers: u32,
    source: fn(Source) -> Source,
    limits: Limits,
    /// The client's peer list, if there is one.
    peers: Option<&'static str>,
}

impl Default for Setup {
    fn default() -> Setup {
        let limits = Limits::default();
        Setup { client_ca: false, min_peers: 0, source: |source| source, limits, peers: None }
    }
}

impl Running {
    async fn start(setup: Setup) -> Running {
        let authority = Authority::new("acme");
        let client = Client::start(PAGE).await;
        let dir = tempfile::tempdir().unwrap();
        authority.server("localhost").write(dir.path());
        let ca = dir.path().join("ca.crt");
        fs::write(&ca, &authority.cert).unwrap();
        let files = Files { dir: dir.path().to_owned(), client_ca: setup.client_ca.then(|| ca.clone()) };
        let mut expiring = rcgen::CertificateParams::new(vec!["x".to_owned()]).unwrap();
        expiring.not_after = rcgen::date_time_ymd(2033, 5, 18);
        let end = dir.path().join("end.crt");
        fs::write(&end, authority.sign(expiring).cert).unwrap();
        let guard = Arc::new(Guard {
            identity: vec![("name", "alice".into()), ("namespace", "ledger".into())],
            certificates: vec![
                Certificate { purpose: "tm".into(), path: end },
                Certificate { purpose: "lost".into(), path: "/nowhere".into() },
            ],
            merged: Merged::new((setup.source)(Source::at(client.at))),
            min_peers: setup.min_peers,
            rpc: None,
            meeting: setup.peers.map(|text| {
                let list = dir.path().join("static-nodes.json");
                fs::write(&list, text).unwrap();
                Meeting::of(list, 1)
            }),
            samples: Mutex::default(),
            reloading: Arc::new(Reloading::open(files, terms()).unwrap()),
            wants_certificate: setup.client_ca,
        });
        let (listener, health) = (
            TcpListener::bind("127.0.0.1:0").await.unwrap(),
            TcpListener::bind("127.0.0.1:0").await.unwrap(),
        );
        let ports = [&listener, &health].map(|one| one.local_addr().unwrap().port());
        let (stop, stopped) = watch::channel(false);
        let pace = Pace {
            limits: setup.limits,
            sample: Duration::from_millis(50),
            files: Duration::from_millis(20),
        };
        let task = tokio::spawn(guard.serve(listener, health, pace, stopped));
        Running { port: ports[0], health: ports[1], dir, authority, client, stop, task }
    }

    async fn connect(&self, pair: Option<&Authority>) -> std::io::Result<TlsStream<TcpStream>> {
        let dir = tempfile::tempdir().unwrap();
        let ca = dir.path().join("ca.crt");
        fs::write(&ca, &self.authority.cert).unwrap();
        let (cert, key) = (dir.path().join("tls.crt"), dir.path().join("tls.key"));
        let paths = pair.map(|authority| {
            authority.client("prometheus").write(dir.path());
            (cert.as_path(), key.as_path())
        });
        let config = tls::client(&ca, paths).unwrap();
        let stream = TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("localhost").unwrap(), stream).await
    }

    async fn ask(&self, request: &str) -> String {
        talk(self.connect(None).await.unwrap(), request).await
    }

    async fn scrape(&self) -> String {
        self.ask("GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n").await
    }
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or("closed")
}

#[tokio::test]
async fn a_scrape_gets_the_clients_page_without_illegal_lines_and_our_own_series() {
    let running = Running::start(Setup::default()).await;
    let answer = running.scrape().await;
    assert_eq!(status(&answer), "200", "{answer}");
    assert!(answer.contains("content-type: text/plain; version=0.0.4; charset=utf-8"), "{answer}");
    for line in [
        "chain_head_block 7",
        "quorum_node_info{name=\"alice\",namespace=\"ledger\"} 1",
        "quorum_certificate_not_after_timestamp_seconds{purpose=\"tm\"} 1999987200",
        "quorum_certificate_undecodable{purpose=\"lost\"} 1",
        "quorum_guard_scrape_lines_dropped 1",
        "quorum_guard_reload_failed 0",
    ] {
        assert!(answer.contains(&format!("\n{line}\n")), "{line} is missing:\n{answer}");
    }
    assert!(!answer.contains("plugin@x"), "{answer}");
}

#[tokio::test]
async fn one_spelling_of_one_path_is_answered_and_the_client_sees_one_path() {
    let running = Running::start(Setup::default()).await;
    let table = [
        ("GET /metrics", "200"),
        ("GET http://elsewhere/metrics", "200"),
        ("HEAD /metrics", "405"),
        ("POST /metrics", "405"),
        ("OPTIONS /metrics", "405"),
        ("HEAD /chain", "405"),
        ("GET /chain?", "404"),
        ("GET /chain/", "404"),
        ("GET //chain", "404"),
        ("GET /metrics?", "404"),
        ("GET /metrics?a=b", "404"),
        ("GET /metrics/", "404"),
        ("GET //metrics", "404"),
        ("GET /./metrics", "404"),
        ("GET /x/../metrics", "404"),
        ("GET /metrics/../debug/pprof/heap", "404"),
        ("GET /metrics/..%2fdebug%2fpprof/heap", "404"),
        ("GET /Metrics", "404"),
        ("GET /%6detrics", "404"),
        ("GET /metrics%00", "404"),
        ("GET /metrics%20", "404"),
        ("GET /metrics;x", "404"),
        ("GET /metrics\\..\\debug", "404"),
        ("GET /", "404"),
        ("OPTIONS *", "404"),
        ("GET /debug/metrics", "404"),
        ("GET /debug/metrics/prometheus", "404"),
        ("GET /debug/pprof/", "404"),
        ("GET /debug/pprof/heap", "404"),
        ("GET /debug/pprof/profile?seconds=1", "404"),
        ("POST /debug/pprof/symbol", "404"),
        ("HEAD /debug/pprof/cmdline", "404"),
        ("GET //debug/pprof/trace", "404"),
        ("GET /debug/vars", "404"),
        ("GET http://127.0.0.1:6060/debug/pprof/goroutine", "404"),
        ("GET http://x//metrics", "404"),
        ("GET http://x/metrics?y", "404"),
        ("CONNECT 127.0.0.1:6060", "404"),
        ("GET metrics", "404"),
        ("GET /metrics HTTP/1.1\r\nhost: x\r\n\r\nGET /debug/vars", "200"),
    ];
    for (line, wanted) in table {
        let answer = running.ask(&format!("{line} HTTP/1.1\r\nhost: x\r\n\r\n")).await;
        assert_eq!(status(&answer), wanted, "{line}:\n{answer}");
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "one answer per connection: {line}");
        assert_eq!(answer.contains("chain_head_block"), wanted == "200", "{line}");
    }
    let h2 = running.ask("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    assert!(!h2.contains("chain_head_block") && status(&h2) != "200", "{h2}");
    let seen = running.client.paths.lock().unwrap().clone();
    assert!(!seen.is_empty() && seen.iter().all(|path| path == "/debug/metrics/prometheus"), "{seen:?}");
}

#[tokio::test]
async fn a_client_that_fails_is_a_503_with_a_reason_and_none_of_its_bytes() {
    let bounds = |source| Source { time: Duration::from_millis(500), bytes: 4096, ..source };
    let running = Running::start(Setup { source: bounds, ..Setup::default() }).await;
    running.client.status.store(500, Ordering::SeqCst);
    let answer = until(|| running.scrape(), |answer| status(answer) == "503").await;
    assert!(answer.contains("the client answered with status 500"), "{answer}");
    assert!(!answer.contains("chain_head_block"), "{answer}");

    running.client.status.store(200, Ordering::SeqCst);
    *running.client.page.lock().unwrap() = "5ecre7 1\n".repeat(1000);
    let answer = until(|| running.scrape(), |answer| answer.contains("larger than 4096 bytes")).await;
    assert!(status(&answer) == "503" && !answer.contains("5ecre7"), "{answer}");

    let _hold = running.client.hold.lock().await;
    until(|| running.scrape(), |answer| answer.contains("took longer than 0.5 s")).await;
}

#[tokio::test]
async fn without_a_certificate_of_the_scrapers_authority_there_is_no_answer() {
    let running = Running::start(Setup { client_ca: true, ..Setup::default() }).await;
    let request = "GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n";
    let stranger = Authority::new("acme");
    for (number, who) in [None, Some(&stranger)].into_iter().enumerate() {
        // With TLS 1.3 the rejection may arrive after the client's side of the handshake is complete.
        if let Ok(stream) = running.connect(who).await {
            let refused = talk(stream, request).await;
            match who {
                None => assert_eq!(status(&refused), "401", "{refused}"),
                Some(_) => assert_eq!(refused, "", "nothing is answered"),
            }
            assert!(!refused.contains("chain_head_block"), "{refused}");
        }
        let known = talk(running.connect(Some(&running.authority)).await.unwrap(), request).await;
        assert_eq!(status(&known), "200", "{known}");
        let line = format!("quorum_guard_tls_handshake_failures_total {}", number + 1);
        assert!(known.contains(&line), "{line} is missing:\n{known}");
    }
}

#[tokio::test]
async fn figures_of_the_chain_are_those_of_the_last_sample_for_everybody_and_cost_the_client_nothing() {
    for client_ca in [false, true] {
        let running = Running::start(Setup { client_ca, ..Setup::default() }).await;
        let ask = || running.ask("GET /chain HTTP/1.1\r\nhost: x\r\n\r\n");
        let answer = until(ask, |answer| status(answer) == "200").await;
        let (_, page) = answer.split_once("\r\n\r\n").unwrap();
        let figures = Figures::read(page.as_bytes()).unwrap();
        assert_eq!((figures.head, figures.peers), (7, 2), "{answer}");
        // a request neither waits for the client nor sends it anything
        let _hold = running.client.hold.lock().await;
        let asked = running.client.hits.load(Ordering::SeqCst);
        for _ in 0..20 {
            assert_eq!(status(&ask().await), "200");
        }
        assert!(running.client.hits.load(Ordering::SeqCst) <= asked + 1, "the sample's own");
    }
}

#[tokio::test]
async fn peers_without_a_connection_are_told_with_the_figures_where_there_is_a_list() {
    let running = Running::start(Setup { peers: Some("[\"enode://ab\"]"), ..Setup::default() }).await;
    let ask = || running.ask("GET /chain HTTP/1.1\r\nhost: x\r\n\r\n");
    let connections = |answer: &str| Connections::read(answer.split_once("\r\n\r\n")?.1);
    until(ask, |answer| connections(answer) == Some(Connections::default())).await;
    let list = format!("[\"enode://{}@127.0.0.1:1?discport=0\"]", "ab".repeat(64));
    fs::write(running.dir.path().join("static-nodes.json"), list).unwrap();
    let is_missing = |seen: &Connections| {
        (seen.listed, seen.missing) == (1, 1) && seen.suspects[0].id.to_string() == "ab".repeat(8)
    };
    until(ask, |answer| connections(answer).as_ref().is_some_and(is_missing)).await;
    fs::write(running.dir.path().join("static-nodes.json"), "none").unwrap();
    let answer = until(ask, |answer| connections(answer).is_none()).await;
    assert_eq!(status(&answer), "200", "the figures are served all the same: {answer}");
}

/// Asks like the operator, which accepts only the certificate in the Secret.
#[cfg(feature = "operator")]
#[tokio::test]
async fn the_operator_is_told_with_the_certificate_that_is_served() {
    for client_ca in [false, true] {
        let running = Running::start(Setup { client_ca, ..Setup::default() }).await;
        let ask = || crate::cluster::tls_probe::chain_metrics::ask(([127, 0, 0, 1], running.port).into());
        let (shown, said) = until(ask, Option::is_some).await.unwrap();
        assert_eq!((said.figures.head, said.figures.peers, said.connections), (7, 2, None));
        let served =
            running.connect(None).await.unwrap().get_ref().1.peer_certificates().unwrap()[0].to_vec();
        assert_eq!(shown, crate::model::secrets::tls::Fingerprint::of(&served));
    }
}

#[tokio::test]
async fn a_new_certificate_is_served_and_a_broken_one_is_not() {
    let running = Running::start(Setup::default()).await;
    let leaf = async || {
        let stream = running.connect(None).await.unwrap();
        stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
    };
    let first = leaf().await;
    running.authority.server("localhost").write(running.dir.path());
    let second = until(leaf, |now| *now != first).await;

    fs::write(running.dir.path().join("tls.key"), "broken").unwrap();
    until(|| running.scrape(), |answer| answer.contains("quorum_guard_reload_failed 1\n")).await;
    assert_eq!(leaf().await, second);

    running.authority.server("localhost").write(running.dir.path());
    until(|| running.scrape(), |answer| answer.contains("quorum_guard_reload_failed 0\n")).await;
    assert_ne!(leaf().await, second);
}

#[tokio::test]
async fn slow_callers_are_dropped_and_do_not_take_the_place_of_others() {
    let short = Duration::from_secs(1);
    let limits =
        Limits { connections: 1, handshake: short, header: short, answer: short, ..Limits::default() };
    let running = Running::start(Setup { limits, ..Setup::default() }).await;
    let bound = Duration::from_secs(15);

    // One peer never starts the handshake, another never ends its header. The only slot is free again after each.
    let mut silent = TcpStream::connect(("127.0.0.1", running.port)).await.unwrap();
    let answer = timeout(bound, running.scrape()).await.unwrap();
    assert!(answer.contains("quorum_guard_tls_handshake_failures_total 1\n"), "{answer}");
    assert_eq!(timeout(bound, silent.read(&mut [0; 1])).await.unwrap().unwrap_or(0), 0, "it was dropped");

    let mut slow = running.connect(None).await.unwrap();
    slow.write_all(b"GET /metrics HTTP/1.1\r\nhost:").await.unwrap();
    assert_eq!(status(&timeout(bound, running.scrape()).await.unwrap()), "200");
    assert!(!timeout(bound, talk(slow, " x")).await.unwrap().contains("200"));
}

#[tokio::test]
async fn a_caller_that_does_not_read_is_dropped_too() {
    let limits = Limits { connections: 1, answer: Duration::from_secs(3), ..Limits::default() };
    let running = Running::start(Setup { limits, ..Setup::default() }).await;
    let bound = Duration::from_secs(15);
    // The answer is larger than the sockets' buffers.
    *running.client.page.lock().unwrap() =
        format!("{PAGE}{}", format!("# HELP x {}\n", "y".repeat(1000)).repeat(14_000));
    let mut deaf = running.connect(None).await.unwrap();
    deaf.write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    assert_eq!(timeout(bound, deaf.read(&mut [0; 1])).await.unwrap().unwrap(), 1, "its answer has begun");
    *running.client.page.lock().unwrap() = PAGE.to_owned();
    assert_eq!(status(&timeout(bound, running.scrape()).await.unwrap()), "200");
    drop(deaf);
}

#[tokio::test]
async fn a_large_header_is_refused() {
    let running = Running::start(Setup::default()).await;
    let answer = running.ask(&format!("GET /metrics HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(20_000))).await;
    assert_eq!(status(&answer), "431", "{answer}");
}

#[tokio::test]
async fn readiness_follows_the_client_and_says_what_is_missing() {
    let running = Running::start(Setup { min_peers: 2, ..Setup::default() }).await;
    let ready = || plain_get(running.health, "/readyz");
    until(ready, |answer| status(answer) == "200" && answer.ends_with("\r\nok\n")).await;
    *running.client.page.lock().unwrap() = PAGE.replace("p2p_peers 2", "p2p_peers 1");
    until(ready, |answer| status(answer) == "503" && answer.ends_with("\r\np2p_peers is 1, 2 needed\n"))
        .await;
    *running.client.page.lock().unwrap() = PAGE.replace("{n}", "0");
    until(ready, |answer| answer.ends_with("\r\nthe client's metrics stand still\n")).await;
    *running.client.page.lock().unwrap() = PAGE.replace("chain_head_block", "chain_heads");
    until(ready, |answer| answer.ends_with("\r\nchain_head_block is missing\n")).await;
    assert_eq!(status(&plain_get(running.health, "/livez").await), "200");
    assert_eq!(status(&plain_get(running.health, "/metrics").await), "404");
}

#[tokio::test]
async fn asked_to_end_it_ends_within_two_seconds_though_a_scrape_hangs() {
    let running = Running::start(Setup::default()).await;
    let _hold = running.client.hold.lock().await;
    let mut hanging = running.connect(None).await.unwrap();
    hanging.write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    running.stop.send(true).unwrap();
    timeout(Duration::from_secs(2), running.task).await.unwrap().unwrap();
}

#[test]
fn an_identity_is_complete_and_said_once() {
    let given = |pairs: &[&str]| pairs.iter().map(|pair| pair.parse().unwrap()).collect::<Vec<Identity>>();
    let four = ["role=Validator", "name=alice", "namespace=ledger", "network=acme"];
    let labels = identity(given(&four)).unwrap();
    let keys: Vec<&str> = labels.iter().map(|(key, _)| *key).collect();
    assert_eq!(keys, ["name", "namespace", "network", "role", "node_id"]);
    assert_eq!(labels[3].1, "Validator");
    let error = identity(given(&four[1..])).unwrap_err().to_string();
    assert!(error.contains("--identity role") && error.contains("missing"), "{error}");
    let twice: Vec<&str> = four.into_iter().chain(["name=bob"]).collect();
    assert!(identity(given(&twice)).unwrap_err().to_string().contains("given twice"));
}
