//! Reloads the policy file when it changes. If the new policy cannot be used, the old one stays in use, one log line
//! per change says so, and a metric shows it.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};
use tracing::{error, info};

use super::{decide::rules::Rules, metrics::Metrics};
use crate::{
    guard::{
        reload::{Reloading, Terms},
        tls,
    },
    protocol::policy::Policy,
};

/// Interval of the checks. The guard closes the connections of a removed caller within a second of the change.
const EVERY: Duration = Duration::from_millis(250);

/// The policy file.
pub struct ReloadedPolicy {
    path: PathBuf,
    /// The content read last, or why reading failed.
    seen: Result<Vec<u8>, String>,
    rules: watch::Sender<Arc<Rules>>,
}

impl ReloadedPolicy {
    /// Reads the file for the first time.
    ///
    /// # Errors
    /// If the file cannot be read or is not a valid policy.
    pub fn open(path: PathBuf) -> Result<Self> {
        let file = tls::read(&path)?;
        let rules = compile(&file, None).map_err(anyhow::Error::msg);
        let rules = Arc::new(rules.with_context(|| path.display().to_string())?);
        Ok(Self { path, seen: Ok(file), rules: watch::Sender::new(rules) })
    }

    /// Returns a receiver that always has the current policy.
    #[must_use]
    pub fn rules(&self) -> watch::Receiver<Arc<Rules>> {
        self.rules.subscribe()
    }

    /// Returns the TLS settings that the policy requires.
    ///
    /// # Errors
    /// If a caller's CA cannot be used.
    pub fn terms(&self) -> Result<Terms> {
        terms(&self.rules.borrow()).map_err(anyhow::Error::msg)
    }

    /// Checks the file periodically. Never returns.
    pub async fn run(mut self, counts: Arc<Metrics>, tls: Arc<Reloading>) {
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.look(&counts, &tls);
        }
    }

    fn look(&mut self, counts: &Metrics, tls: &Reloading) {
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
            Err(error) => error!(%error, "the new policy cannot be used; the old one stays in use"),
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
