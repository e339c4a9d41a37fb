//! Reloads a server's certificates when their content changes. If the new pair cannot be used, the old one stays in
//! use, one log line per change says so, and a metric shows it.

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

/// Paths of the certificate files.
#[derive(Clone, Debug)]
pub struct Files {
    /// Holds `tls.crt` and `tls.key`.
    pub dir: PathBuf,
    /// If a caller shows a certificate, one of the CAs in this PEM file must have signed it.
    pub client_ca: Option<PathBuf>,
}

/// Has no `Debug`, because it contains the private key.
#[derive(PartialEq, Eq)]
struct Content {
    cert: Vec<u8>,
    key: Vec<u8>,
    client_ca: Option<Vec<u8>>,
}

impl Files {
    fn content(&self) -> Result<Content> {
        // The kubelet replaces a mounted Secret by changing the link `..data`. Resolving the link once gives both files
        // of the same version.
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

/// TLS settings besides the certificate.
#[derive(Clone, Debug, Default)]
pub struct Terms {
    /// Verifies client certificates if no file of CAs is given; without a verifier every caller is accepted.
    pub verifier: Option<Arc<dyn ClientCertVerifier>>,
    /// Whether callers without a certificate are accepted if a file of CAs is given. The request handler then
    /// authorizes them.
    pub lets_in_anonymous: bool,
    /// Offers HTTP/2 and HTTP/1.0 besides HTTP/1.1.
    pub speaks_http2: bool,
}

/// The TLS configuration in use.
pub struct Reloading {
    files: Files,
    terms: Mutex<Terms>,
    current: RwLock<Arc<ServerConfig>>,
    /// The content read last, or why reading failed.
    seen: Mutex<Result<Content, String>>,
    failed: AtomicBool,
    failed_handshakes: AtomicU64,
}

impl Reloading {
    /// Reads the files for the first time. Fails if they cannot be used.
    pub fn open(files: Files, terms: Terms) -> Result<Reloading> {
        let content = files.content()?;
        let current = RwLock::new(files.config(&content, &terms)?);
        let (failed, failed_handshakes) = (AtomicBool::new(false), AtomicU64::new(0));
        let (terms, seen) = (Mutex::new(terms), Mutex::new(Ok(content)));
        Ok(Reloading { files, terms, current, seen, failed, failed_handshakes })
    }

    /// Uses other TLS settings from the next handshake on.
    pub fn serve_on(&self, terms: Terms) {
        *self.terms.lock().unwrap_or_else(PoisonError::into_inner) = terms;
        // forget the content, so that `look` builds a new configuration
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Err(String::new());
        self.look();
    }

    /// Returns the configuration for the next handshake.
    pub fn current(&self) -> Arc<ServerConfig> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether an older certificate is in use because the files on disk cannot be used.
    pub fn failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }

    /// Number of failed handshakes since the start.
    pub fn failed_handshakes(&self) -> u64 {
        self.failed_handshakes.load(Ordering::Relaxed)
    }

    /// Counts a failed handshake.
    pub fn count_failed_handshake(&self) {
        self.failed_handshakes.fetch_add(1, Ordering::Relaxed);
    }

    /// Reads the files and uses them if they changed.
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
                // A new configuration starts without TLS sessions, so no session from before the change is resumed.
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = config;
                info!(dir = %self.files.dir.display(), "certificates reloaded");
            }
            Err(error) => warn!(%error, "new certificates cannot be used; the old ones stay in use"),
        }
        *seen = found;
    }

    /// Checks the files periodically. Never returns.
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
        assert!(error.contains("the client CA") && error.contains("BEGIN CERTIFICATE"), "{error}");
    }
}
