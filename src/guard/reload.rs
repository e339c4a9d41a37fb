//! A server's certificates, read again when their content changes. A pair that cannot be used leaves the old
//! one in place, is logged once per change and shows in a metric.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use anyhow::{Context, Result};
use rustls::ServerConfig;
use rustls::server::danger::ClientCertVerifier;
use tokio::time::{MissedTickBehavior, interval};
use tracing::{info, warn};

use crate::guard::tls;

/// Where the files are.
#[derive(Clone, Debug)]
pub struct Files {
    /// Holds `tls.crt` and `tls.key`.
    pub dir: PathBuf,
    /// Callers must show a certificate of one of these authorities, where they show one.
    pub client_ca: Option<PathBuf>,
}

/// No `Debug`: it holds the key.
#[derive(PartialEq, Eq)]
struct Content {
    cert: Vec<u8>,
    key: Vec<u8>,
    client_ca: Option<Vec<u8>>,
}

impl Files {
    fn content(&self) -> Result<Content> {
        // A mounted Secret is swapped through the link `..data`. Resolved once, both files are of one version.
        let dir = fs::canonicalize(self.dir.join("..data")).unwrap_or_else(|_| self.dir.clone());
        let client_ca = self.client_ca.as_deref().map(tls::read).transpose()?;
        Ok(Content {
            cert: tls::read(&dir.join("tls.crt"))?,
            key: tls::read(&dir.join("tls.key"))?,
            client_ca,
        })
    }

    fn config(&self, content: &Content, terms: &Terms) -> Result<Arc<ServerConfig>> {
        let place = || format!("the certificate in {}", self.dir.display());
        let verifier = match &content.client_ca {
            None => terms.verifier.clone(),
            Some(authority) => Some(tls::verifier(authority, terms.lets_in_anonymous).with_context(place)?),
        };
        let mut config = tls::server(&content.cert, &content.key, verifier).with_context(place)?;
        if terms.speaks_http2 {
            config.alpn_protocols.insert(0, b"h2".to_vec());
            config.alpn_protocols.push(b"http/1.0".to_vec());
        }
        Ok(Arc::new(config))
    }
}

/// What is served besides the certificate.
#[derive(Clone, Debug, Default)]
pub struct Terms {
    /// Whom a handshake lets in, where no file says so; nobody set, everyone.
    pub verifier: Option<Arc<dyn ClientCertVerifier>>,
    /// Whether callers without a certificate are let in where a file says whom a handshake lets in: who answers judges.
    pub lets_in_anonymous: bool,
    /// HTTP/2 and HTTP/1.0 besides HTTP/1.1.
    pub speaks_http2: bool,
}

/// The configuration to serve with now.
pub struct Reloading {
    files: Files,
    terms: Mutex<Terms>,
    current: RwLock<Arc<ServerConfig>>,
    /// What was last looked at, or why it could not be read.
    seen: Mutex<Result<Content, String>>,
    failed: AtomicBool,
    failed_handshakes: AtomicU64,
}

impl Reloading {
    /// Reads the files for the first time; what cannot be used then is an error.
    pub fn open(files: Files, terms: Terms) -> Result<Reloading> {
        let content = files.content()?;
        let current = RwLock::new(files.config(&content, &terms)?);
        let (failed, failed_handshakes) = (AtomicBool::new(false), AtomicU64::new(0));
        let (terms, seen) = (Mutex::new(terms), Mutex::new(Ok(content)));
        Ok(Reloading { files, terms, current, seen, failed, failed_handshakes })
    }

    /// Serves on other terms from the next handshake on.
    pub fn serve_on(&self, terms: Terms) {
        *self.terms.lock().unwrap_or_else(PoisonError::into_inner) = terms;
        // what was seen is looked at again
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Err(String::new());
        self.look();
    }

    /// For the next handshake.
    pub fn current(&self) -> Arc<ServerConfig> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether the files on disk are others than those in use, because they cannot be used.
    pub fn failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }

    /// Handshakes that failed so far.
    pub fn failed_handshakes(&self) -> u64 {
        self.failed_handshakes.load(Ordering::Relaxed)
    }

    /// One more handshake failed.
    pub fn count_failed_handshake(&self) {
        self.failed_handshakes.fetch_add(1, Ordering::Relaxed);
    }

    /// Looks at the files and takes them over if they changed.
    pub fn look(&self) {
        let found = self.files.content().map_err(|error| format!("{error:#}"));
        let terms = self.terms.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if *seen == found {
            return;
        }
        let config = match &found {
            Ok(content) => self.files.config(content, &terms).map_err(|error| format!("{error:#}")),
            Err(why) => Err(why.clone()),
        };
        self.failed.store(config.is_err(), Ordering::Relaxed);
        match config {
            Ok(config) => {
                // A new configuration has no memory of old sessions, so none is resumed past a change.
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = config;
                info!(dir = %self.files.dir.display(), "certificates reloaded");
            }
            Err(error) => warn!(%error, "new certificates cannot be used; the old ones stay"),
        }
        *seen = found;
    }

    /// Looks again and again.
    pub async fn watch(self: Arc<Self>, every: Duration) {
        let mut ticks = interval(every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.look();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guard::testing::{Authority, Pair};
    use std::os::unix::fs::symlink;
    use std::path::Path;

    fn files(pair: &Pair) -> (tempfile::TempDir, Files) {
        let dir = tempfile::tempdir().unwrap();
        pair.write(dir.path());
        let files = Files { dir: dir.path().to_owned(), client_ca: None };
        (dir, files)
    }

    #[test]
    fn a_changed_pair_is_taken_over_and_a_broken_one_is_not() {
        let authority = Authority::new("acme");
        let (dir, files) = files(&authority.server("localhost"));
        let reloading = Reloading::open(files, Terms::default()).unwrap();
        let first = reloading.current();
        reloading.look();
        assert!(Arc::ptr_eq(&first, &reloading.current()), "nothing changed");

        authority.server("localhost").write(dir.path());
        reloading.look();
        let second = reloading.current();
        assert!(!Arc::ptr_eq(&first, &second));

        fs::write(dir.path().join("tls.crt"), authority.server("localhost").cert).unwrap();
        reloading.look();
        assert!(Arc::ptr_eq(&second, &reloading.current()) && reloading.failed());

        fs::remove_file(dir.path().join("tls.key")).unwrap();
        reloading.look();
        assert!(Arc::ptr_eq(&second, &reloading.current()) && reloading.failed());

        authority.server("localhost").write(dir.path());
        reloading.look();
        assert!(!Arc::ptr_eq(&second, &reloading.current()) && !reloading.failed());
    }

    #[test]
    fn the_swap_of_a_mounted_secret_is_seen() {
        let authority = Authority::new("acme");
        let dir = tempfile::tempdir().unwrap();
        let version = |name: &str| {
            let place = dir.path().join(name);
            fs::create_dir(&place).unwrap();
            authority.server("localhost").write(&place);
            symlink(name, dir.path().join("..data_tmp")).unwrap();
            fs::rename(dir.path().join("..data_tmp"), dir.path().join("..data")).unwrap();
        };
        version("..one");
        for name in ["tls.crt", "tls.key"] {
            symlink(Path::new("..data").join(name), dir.path().join(name)).unwrap();
        }
        let reloading =
            Reloading::open(Files { dir: dir.path().to_owned(), client_ca: None }, Terms::default()).unwrap();
        let first = reloading.current();
        version("..two");
        reloading.look();
        assert!(!Arc::ptr_eq(&first, &reloading.current()) && !reloading.failed());
    }

    #[test]
    fn a_client_authority_that_is_none_names_itself() {
        let pair = Authority::new("acme").server("localhost");
        let (dir, mut files) = files(&pair);
        let ca = dir.path().join("ca.crt");
        fs::write(&ca, "nothing").unwrap();
        files.client_ca = Some(ca);
        let error = Reloading::open(files, Terms::default()).err().map(|error| format!("{error:#}")).unwrap();
        assert!(error.contains("the client authority") && error.contains("BEGIN CERTIFICATE"), "{error}");
    }
}
