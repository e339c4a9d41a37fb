//! Waits for the transaction manager until a deadline and logs what is missing.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tracing::info;

use crate::guard::{
    dial::Dns,
    fault::{Fault, Kind},
    flags::HttpsUrl,
    https, tls,
};

/// Files for mutual TLS, read again at each attempt.
#[derive(Clone, Debug)]
pub struct Files {
    /// CAs that the server's certificate is verified against.
    pub ca: PathBuf,
    /// The client's certificate.
    pub cert: PathBuf,
    /// The client's private key.
    pub key: PathBuf,
}

impl Files {
    /// Reads the files and returns the TLS configuration.
    pub fn client(&self) -> Result<Arc<rustls::ClientConfig>, Fault> {
        let config = tls::client(&self.ca, Some((&self.cert, &self.key)));
        config.map(Arc::new).map_err(|error| Fault::new(Kind::Files, format!("{error:#}")))
    }
}

/// Time limits and intervals of a wait.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Time for the whole wait.
    pub timeout: Duration,
    /// Time for one attempt.
    pub attempt: Duration,
    /// Interval between the starts of two attempts.
    pub every: Duration,
    /// Interval between two log lines.
    pub line: Duration,
}

impl Pace {
    /// Returns the default intervals for a wait of this length.
    pub fn within(timeout: Duration) -> Pace {
        let seconds = Duration::from_secs;
        Pace { timeout, attempt: seconds(5), every: seconds(1), line: seconds(10) }
    }
}

/// Waits until the URL answers 200. Fails at the deadline with the last reason.
pub async fn run(dns: &Dns, url: &HttpsUrl, files: &Files, pace: Pace) -> Result<()> {
    let begun = Instant::now();
    let end = begun + pace.timeout;
    let mut next_line = begun + pace.line;
    info!(%url, seconds = pace.timeout.as_secs(), "waiting for the transaction manager");
    let mut last = None;
    loop {
        let started = Instant::now();
        match timeout_at(end, attempt(dns, url, files, pace.attempt)).await {
            Ok(Ok(())) => {
                info!(%url, "the transaction manager answers");
                return Ok(());
            }
            Ok(Err(fault)) => last = Some(fault),
            Err(_) => last = last.or_else(|| Some(Fault::new(Kind::TimedOut, ""))),
        }
        let missing = last.as_ref().map(Fault::to_string).unwrap_or_default();
        let now = Instant::now();
        if now + pace.every >= end {
            bail!(
                "{url} did not answer within {} s; last: {missing}. Check that the transaction manager runs and \
                 that this pod may reach it, or raise --wait-timeout-seconds",
                pace.timeout.as_secs(),
            );
        }
        if now >= next_line {
            next_line = now + pace.line;
            info!(%url, missing, waited = (now - begun).as_secs(), "still waiting for the transaction manager");
        }
        sleep_until(started + pace.every).await;
    }
}

async fn attempt(dns: &Dns, url: &HttpsUrl, files: &Files, bound: Duration) -> Result<(), Fault> {
    let tls = files.client()?;
    match timeout(bound, https::answers(dns, url, &url.at, tls)).await {
        Ok(result) => result,
        Err(_) => Err(Fault::new(Kind::TimedOut, format!("no answer in {} s", bound.as_secs()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guard::testing::{Authority, Manager};
    use std::sync::atomic::Ordering;
    use tokio::net::TcpListener;

    fn pace(timeout: u64) -> Pace {
        let millis = Duration::from_millis;
        Pace { timeout: millis(timeout), attempt: millis(1500), every: millis(20), line: millis(40) }
    }

    fn url(port: u16) -> HttpsUrl {
        format!("https://127.0.0.1:{port}/upcheck").parse().unwrap()
    }

    /// Returns the error of a wait that must fail. Fails itself if the wait does not end.
    async fn told(url: HttpsUrl, files: &Files) -> String {
        let dns = Dns::default();
        let waited = run(&dns, &url, files, pace(2000));
        let result = timeout(Duration::from_secs(10), waited).await.expect("the wait has a deadline");
        format!("{:#}", result.unwrap_err())
    }

    #[tokio::test]
    async fn it_ends_when_the_manager_answers() {
        let authority = Authority::new("acme");
        let manager = Manager::start(&authority).await;
        manager.status.store(503, Ordering::SeqCst);
        let (dir, files) = authority.client_files();
        let status = manager.status.clone();
        let asked = manager.asked.clone();
        let wait = tokio::spawn(async move {
            let _dir = dir;
            run(&Dns::default(), &url(manager.port), &files, pace(20_000)).await
        });
        // The manager starts to answer 200 only after one attempt has failed.
        asked.notified().await;
        status.store(200, Ordering::SeqCst);
        wait.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn each_reason_has_its_words() {
        let authority = Authority::new("acme");
        let manager = Manager::start(&authority).await;
        manager.status.store(503, Ordering::SeqCst);
        let (_dir, files) = authority.client_files();
        let (_other, strangers) = Authority::new("stranger").client_files();
        let ours_unknown = Files { ca: files.ca.clone(), ..strangers.clone() };
        let theirs_unknown = Files { ca: strangers.ca, ..files.clone() };
        let unreadable = Files { key: "/nowhere/tls.key".into(), ..files.clone() };
        let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let closed_port = closed.local_addr().unwrap().port();
        drop(closed);
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let silent_port = silent.local_addr().unwrap().port();

        let seen = tokio::join!(
            told(url(manager.port), &files),
            told(url(manager.port), &ours_unknown),
            told(url(manager.port), &theirs_unknown),
            told(url(closed_port), &files),
            told(url(silent_port), &files),
            told(url(closed_port), &unreadable),
        );
        for (told, words) in [
            (seen.0, "last: status 503"),
            (seen.1, "last: TLS refused"),
            (seen.2, "last: TLS refused"),
            (seen.3, "last: connection refused"),
            (seen.4, "last: timed out"),
            (seen.5, "last: own files unusable (/nowhere/tls.key"),
        ] {
            assert!(told.contains(words), "{words}: {told}");
        }
    }

    #[tokio::test]
    async fn a_name_that_does_not_resolve_is_told_so() {
        let authority = Authority::new("acme");
        let (_dir, files) = authority.client_files();
        let dns = Dns::at("/nowhere/resolv.conf".into(), 1);
        let url = "https://alice-tm.ledger.svc:9101/upcheck".parse().unwrap();
        let error = run(&dns, &url, &files, pace(100)).await.unwrap_err().to_string();
        assert!(
            error.contains("name does not resolve") && error.contains("--wait-timeout-seconds"),
            "{error}"
        );
    }
}
