use std::fs;
use std::io::Write;
use std::sync::atomic::Ordering;

use super::database::Login;
use super::*;
use crate::guard::testing::postgres::{Postgres, Server};
use crate::guard::testing::{Authority, Manager, plain_get, until};

/// A running probe; stops with the test.
struct Running {
    health: u16,
    files: Files,
    _dir: tempfile::TempDir,
    _stop: watch::Sender<bool>,
}

impl Running {
    async fn start(authority: &Authority, port: u16, database: Option<Database>) -> Running {
        let (dir, files) = authority.client_files();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let health = listener.local_addr().unwrap().port();
        let probe = Probe {
            dns: Dns::default(),
            upcheck: "https://alice-tm.ledger.svc:9101/upcheck".parse().unwrap(),
            connect: HostPort { host: "127.0.0.1".into(), port },
            files: files.clone(),
            state: Mutex::new(State { manager: None, database: database.is_some().then_some(None) }),
            database,
        };
        let (stop, stopped) = watch::channel(false);
        tokio::spawn(Arc::new(probe).serve(listener, Limits::default(), Duration::from_millis(50), stopped));
        Running { health, files, _dir: dir, _stop: stop }
    }

    async fn until_it_says(&self, words: &str) {
        let end = format!("\r\n{words}\n");
        until(|| plain_get(self.health, "/readyz"), |answer| answer.ends_with(&end)).await;
    }
}

#[tokio::test]
async fn readiness_follows_the_managers_upcheck_and_rotated_files() {
    let authority = Authority::new("acme");
    let manager = Manager::start(&authority).await;
    let running = Running::start(&authority, manager.port, None).await;
    running.until_it_says("ok").await;
    manager.status.store(503, Ordering::SeqCst);
    running.until_it_says("transaction manager: status 503").await;
    manager.status.store(200, Ordering::SeqCst);
    running.until_it_says("ok").await;

    let stranger = Authority::new("stranger").client("alice");
    fs::write(&running.files.cert, &stranger.cert).unwrap();
    fs::write(&running.files.key, &stranger.key).unwrap();
    running.until_it_says("transaction manager: TLS refused").await;
    fs::write(&running.files.key, "broken").unwrap();
    running.until_it_says("transaction manager: own files unusable").await;
    let renewed = authority.client("alice");
    fs::write(&running.files.cert, &renewed.cert).unwrap();
    fs::write(&running.files.key, &renewed.key).unwrap();
    running.until_it_says("ok").await;
}

#[tokio::test]
async fn a_manager_that_is_not_there_and_one_with_another_name_are_told_apart() {
    let authority = Authority::new("acme");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let running = Running::start(&authority, port, None).await;
    running.until_it_says("transaction manager: connection refused").await;
    assert!(plain_get(running.health, "/livez").await.ends_with("\r\nok\n"));
    assert!(plain_get(running.health, "/readyz?verbose").await.contains("404"));

    let (_dir, files) = authority.client_files();
    let manager = Manager::start(&authority).await;
    let other: HttpsUrl = "https://bob-tm.ledger.svc:9101/upcheck".parse().unwrap();
    let at = HostPort { host: "127.0.0.1".into(), port: manager.port };
    let fault = https::answers(&Dns::default(), &other, &at, files.client().unwrap()).await.unwrap_err();
    assert_eq!(fault.kind, Kind::Tls, "{fault}");
    assert!(fault.detail.contains("bob-tm"), "the log says which name: {fault}");
}

#[test]
fn old_news_and_no_news_are_not_ready() {
    let begun = Instant::now();
    let after = |seconds| begun + Duration::from_secs(seconds);
    let well = Some((begun, Ok(())));
    let verdict = |manager, database, seconds| State { manager, database }.verdict(after(seconds));
    assert_eq!(verdict(well, None, 20), Ok(()));
    assert_eq!(verdict(well, Some(well), 20), Ok(()));
    assert_eq!(verdict(None, None, 0), Err("transaction manager: not checked yet".into()));
    assert_eq!(verdict(well, Some(None), 0), Err("database: not checked yet".into()));
    assert_eq!(verdict(well, None, 21), Err("transaction manager: not checked for 20 s".into()));
    let unwell = Some((begun, Err(Kind::Authentication)));
    assert_eq!(verdict(well, Some(unwell), 1), Err("database: authentication refused".into()));
}

#[tokio::test]
async fn real_postgres_is_logged_in_to_and_each_refusal_has_its_words() {
    let (postgres, authority) = (Postgres::find(), Authority::new("acme"));
    let server = Server::start(&postgres, &authority);
    let dns = Dns::default();
    let files = tempfile::tempdir().unwrap();
    let login = |authority: &Authority, name: &str| {
        let dir = files.path().join(name);
        fs::create_dir(&dir).unwrap();
        authority.client(name).write(&dir);
        Login::Certificate { cert: dir.join("tls.crt"), key: dir.join("tls.key") }
    };
    let ca = files.path().join("ca.crt");
    fs::write(&ca, &authority.cert).unwrap();
    let alice = server.database(ca.clone(), login(&authority, "alice_tm"));
    until(|| alice.check(&dns), Result::is_ok).await.unwrap();

    let kind = async |database: &Database| database.check(&dns).await.unwrap_err().kind;
    let mallory = server.database(ca.clone(), login(&authority, "mallory"));
    assert_eq!(kind(&mallory).await, Kind::Authentication, "a certificate of another name");
    let other = Authority::new("other");
    assert_eq!(
        kind(&server.database(ca.clone(), login(&other, "stranger"))).await,
        Kind::Tls,
        "of another CA"
    );
    let not_ours = files.path().join("other.crt");
    fs::write(&not_ours, &other.cert).unwrap();
    assert_eq!(
        kind(&Database { ca: not_ours, ..alice.clone() }).await,
        Kind::Tls,
        "the server's CA is not the client's"
    );
    assert_eq!(kind(&Database { name: "missing".into(), ..alice.clone() }).await, Kind::NoDatabase);

    let file = files.path().join("password");
    fs::write(&file, "pa ss\n").unwrap();
    let bob = Database {
        user: "bob_tm".into(),
        ..server.database(ca.clone(), Login::Password { file: file.clone() })
    };
    bob.check(&dns).await.unwrap();
    fs::write(&file, "5ecre7\n").unwrap();
    let fault = bob.check(&dns).await.unwrap_err();
    assert_eq!(fault.kind, Kind::Authentication);
    assert!(!format!("{fault} {fault:?} {bob:?}").contains("5ecre7"));

    let manager = Manager::start(&authority).await;
    let running = Running::start(&authority, manager.port, Some(alice)).await;
    running.until_it_says("ok").await;
    drop(server);
    running.until_it_says("database: connection refused").await;
}

/// The probe uses the manager's password and detects another database in place of the expected one.
#[tokio::test]
async fn real_postgres_is_reached_as_the_manager_reaches_it_and_known_by_its_identifier() {
    let (postgres, authority) = (Postgres::find(), Authority::new("acme"));
    let server = Server::start(&postgres, &authority);
    let dns = Dns::default();
    let files = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        fs::write(files.path().join(name), text).unwrap();
        files.path().join(name)
    };
    let ca = file("ca.crt", &authority.cert);
    let configured = |password: &str| {
        let text = serde_json::json!({"jdbc": {"username": "bob_tm", "password": password}}).to_string();
        let login = Login::Configuration { file: file("config.json", &text), read: Default::default() };
        Database { user: "bob_tm".into(), ..server.database(ca.clone(), login) }
    };
    let bob = configured("pa ss");
    until(|| bob.check(&dns), Result::is_ok).await.unwrap();
    let rotated = configured("5ecre7");
    assert_eq!(rotated.check(&dns).await.unwrap_err().kind, Kind::Authentication);
    bob.check(&dns).await.expect("the manager has not read its configuration again either");
    assert!(!format!("{bob:?} {rotated:?}").contains("5ecre7"));
    file("config.json", "{\"jdbc\": {\"password\": 5ecre7}}");
    let broken = Login::Configuration { file: files.path().join("config.json"), read: Default::default() };
    let fault = Database { login: broken, ..bob.clone() }.check(&dns).await.unwrap_err();
    assert_eq!(fault.kind, Kind::Files);
    assert!(fault.detail.contains("jdbc.password") && !fault.detail.contains("5ecre7"), "{fault}");

    let found = bob.identifier(&dns).await.unwrap();
    assert_eq!(found, server.identifier(&postgres), "as a role without rights");
    let expected = file("system-identifier", "");
    let pinned = Database { expected: Some(expected.clone()), ..bob };
    pinned.check(&dns).await.expect("any will do");
    file("system-identifier", &found.to_string());
    pinned.check(&dns).await.expect("it is this one");
    file("system-identifier", "77");
    let fault = pinned.check(&dns).await.unwrap_err();
    assert_eq!(fault.kind, Kind::Replaced);
    assert!(fault.detail.contains("77 is expected"), "{fault}");
}

const RIGHT: &str = "canary/right+password=5e3c9f";
const WRONG: &str = "canary/wrong+password=b07d24";
const KEY: &str = "canary/no+key=91fe6a";

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

/// Returns the planted secrets that a text contains, in any notation.
fn seen(text: &str) -> Vec<&'static str> {
    let shown = |value: &str| {
        let bytes = value.as_bytes();
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let listed = bytes.iter().map(u8::to_string).collect::<Vec<_>>().join(", ");
        let forms = [hex.to_uppercase(), hex, listed, value.to_owned(), value.replace('/', "\\/")];
        forms.iter().any(|form| text.contains(form.as_str()))
    };
    [RIGHT, WRONG, KEY].into_iter().filter(|value| shown(value)).collect()
}

/// Checks all results of a login at log level TRACE, libraries included, although the program never logs that much.
#[tokio::test]
async fn real_postgres_is_told_the_password_and_nobody_else() {
    use tracing_subscriber::util::SubscriberInitExt;
    let (log, authority) = (Log::default(), Authority::new("acme"));
    let to = log.clone();
    let lines =
        tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(move || to.clone());
    // with a second dispatcher, tracing does not cache that an event first seen by a thread without one is
    // uninteresting
    let company = tracing::Dispatch::new(tracing::subscriber::NoSubscriber::default());
    let watching = lines.finish().set_default();
    let server = Server::start(&Postgres::find(), &authority);
    let files = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        fs::write(files.path().join(name), text).unwrap();
        files.path().join(name)
    };
    let (ca, other) = (file("ca.crt", &authority.cert), file("other.crt", &Authority::new("other").cert));
    let with = |password: PathBuf, user: &str| Database {
        user: user.into(),
        ..server.database(ca.clone(), Login::Password { file: password })
    };
    let (right, wrong) = (file("right", &format!("{RIGHT}\n")), file("wrong", WRONG));
    let broken = file("broken", &format!("-----BEGIN PRIVATE KEY-----\n{KEY}\n-----END PRIVATE KEY-----\n"));
    let dns = Dns::default();
    let mut told = String::new();
    for user in ["carol_tm", "dave_tm"] {
        let let_in = with(right.clone(), user);
        until(|| let_in.check(&dns), Result::is_ok).await.unwrap();
        let refused = [
            with(wrong.clone(), user),
            Database { name: "missing".into(), ..let_in.clone() },
            Database { ca: other.clone(), ..let_in.clone() },
            Database { ca: right.clone(), ..let_in.clone() },
            with(files.path().join("nowhere"), user),
            Database {
                login: Login::Certificate { cert: ca.clone(), key: broken.clone() },
                ..let_in.clone()
            },
        ];
        for database in refused.iter().chain([&let_in]) {
            let mut last = None;
            let seen = bounded("database", &mut last, database.check(&dns)).await;
            assert_eq!(seen.is_ok(), std::ptr::eq(database, &let_in));
            told += &format!("{database:?} {:?} {seen:?}\n", database.check(&dns).await);
            let state = State {
                manager: Some((Instant::now(), Ok(()))),
                database: Some(Some((Instant::now(), seen))),
            };
            told += &format!("{:?}\n", state.verdict(Instant::now()));
        }
    }
    drop((watching, company));
    let log = log.text();
    for part in ["the check fails", "28P01", "rustls", "tokio_postgres"] {
        assert!(log.contains(part), "the log has no {part}");
    }
    assert_eq!(seen(&log), [""; 0], "log");
    assert_eq!(seen(&told), [""; 0], "{told}");
}

#[test]
fn what_is_planted_is_known_in_every_form() {
    for text in [format!("a{RIGHT}b"), format!("{:?}", RIGHT.as_bytes()), RIGHT.replace('/', "\\/")] {
        assert_eq!(seen(&text), [RIGHT], "{text}");
    }
}
