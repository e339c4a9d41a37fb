use std::fs;
use std::path::PathBuf;

use super::*;
use crate::guard::testing::Authority;
use crate::guard::testing::postgres::{Postgres, Server};

/// Arguments of an init container, and the directory of its termination log.
struct Pod {
    args: Args,
    dir: tempfile::TempDir,
}

impl Pod {
    fn new(authority: &Authority, port: u16) -> Pod {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| -> PathBuf {
            fs::write(dir.path().join(name), text).unwrap();
            dir.path().join(name)
        };
        let database = Flags {
            database: Some(format!("127.0.0.1:{port}").parse().unwrap()),
            database_name: Some("alice_data".into()),
            database_user: Some("bob_tm".into()),
            database_ca: Some(file("ca.crt", &authority.cert)),
            database_cert: None,
            database_key: None,
            database_password_file: None,
            database_config: Some(file("config.json", r#"{"jdbc": {"password": "pa ss"}}"#)),
            database_expected: Some(file("expected", "")),
        };
        let report = termination_message::To { termination_log: file("termination-log", "") };
        Pod { args: Args { database, wait_timeout_seconds: 60, report }, dir }
    }

    fn expects(&self, text: &str) {
        fs::write(self.dir.path().join("expected"), text).unwrap();
    }

    fn told(&self) -> Option<Report> {
        Report::read(&fs::read_to_string(self.dir.path().join("termination-log")).unwrap())
    }
}

#[tokio::test]
async fn real_postgres_elsewhere_is_told_and_another_one_is_refused() {
    let (postgres, authority) = (Postgres::find(), Authority::new("acme"));
    let server = Server::start(&postgres, &authority);
    let found = server.identifier(&postgres);
    let pod = Pod::new(&authority, server.port);
    run(&pod.args).await.unwrap();
    assert_eq!(pod.told(), Some(Report::new(Verdict::InUse, Some(found))));

    pod.expects(&found.to_string());
    run(&pod.args).await.unwrap();
    pod.expects("77");
    let error = run(&pod.args).await.unwrap_err().to_string();
    assert!(error.contains(&format!("{found}, and 77 is expected")), "{error}");
    assert_eq!(pod.told(), Some(Report::new(Verdict::Replaced, Some(found))));
}

#[tokio::test]
async fn a_database_that_is_not_there_is_waited_for_and_then_named() {
    let authority = Authority::new("acme");
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = closed.local_addr().unwrap().port();
    drop(closed);
    let mut pod = Pod::new(&authority, port);
    pod.args.wait_timeout_seconds = 1;
    let error = run(&pod.args).await.unwrap_err().to_string();
    assert!(error.contains("connection refused") && error.contains(&port.to_string()), "{error}");
    assert_eq!(pod.told(), None);
}
