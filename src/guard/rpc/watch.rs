//! The policy's file, read again when it changes. One that cannot be used leaves the old policy in place, is logged
//! once per change and shows in a metric.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};
use tracing::{error, info};

use super::counts::Counts;
use super::rules::Rules;
use crate::guard::reload::{Reloading, Terms};
use crate::guard::tls;
use crate::policy::Policy;

/// Between two looks: what is withdrawn is cut within a second of the file's change.
const EVERY: Duration = Duration::from_millis(250);

/// The policy's file.
pub struct Watched {
    path: PathBuf,
    /// What was last looked at, or why it could not be read.
    seen: Result<Vec<u8>, String>,
    rules: watch::Sender<Arc<Rules>>,
}

impl Watched {
    /// Reads the file for the first time; what cannot be used then is an error.
    ///
    /// # Errors
    /// Where there is no file, or it is no policy.
    pub fn open(path: PathBuf) -> Result<Self> {
        let file = tls::read(&path)?;
        let rules = compile(&file, None).map_err(anyhow::Error::msg);
        let rules = Arc::new(rules.with_context(|| path.display().to_string())?);
        Ok(Self { path, seen: Ok(file), rules: watch::Sender::new(rules) })
    }

    /// Tells of each policy that is taken over.
    #[must_use]
    pub fn rules(&self) -> watch::Receiver<Arc<Rules>> {
        self.rules.subscribe()
    }

    /// What is asked of handshakes.
    ///
    /// # Errors
    /// Where a caller's authority cannot be used.
    pub fn terms(&self) -> Result<Terms> {
        terms(&self.rules.borrow()).map_err(anyhow::Error::msg)
    }

    /// Looks again and again.
    pub async fn run(mut self, counts: Arc<Counts>, tls: Arc<Reloading>) {
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.look(&counts, &tls);
        }
    }

    fn look(&mut self, counts: &Counts, tls: &Reloading) {
        let found = tls::read(&self.path).map_err(|error| format!("{error:#}"));
        if self.seen == found {
            return;
        }
        let before = self.rules.borrow().clone();
        let taken = found.clone().and_then(|file| compile(&file, Some(&before)));
        let taken = taken.and_then(|rules| terms(&rules).map(|terms| (rules, terms)));
        counts.policy_failed.store(taken.is_err(), Ordering::Relaxed);
        match taken {
            Ok((rules, terms)) => {
                info!(callers = rules.policy.callers.len(), "policy reloaded");
                tls.serve_on(terms);
                self.rules.send_replace(Arc::new(rules));
            }
            Err(error) => error!(%error, "the new policy cannot be used; the old one stays"),
        }
        self.seen = found;
    }
}

fn compile(file: &[u8], before: Option<&Rules>) -> Result<Rules, String> {
    Rules::of(Policy::read(file)?, before)
}

fn terms(rules: &Rules) -> Result<Terms, String> {
    Ok(Terms { verifier: rules.identities.client_verifier()?, speaks_http2: true, ..Terms::default() })
}
