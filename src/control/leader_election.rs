//! Leader election by a Lease. A replica that loses the lease exits: a lease is no lock, and a fresh start is the only
//! state that is known to be correct.

use std::sync::Arc;

use anyhow::{Context as _, bail};
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
};
use kube::{
    Api,
    api::{ObjectMeta, PostParams},
};
use tokio::{sync::watch, time::Instant};

use super::{
    Clock,
    lease::{DURATION, LeaseAction, RETRY, Record, Watched},
    replica::Replica,
};
use crate::{cluster::write::fence::REQUEST, serve::Metrics};

pub(super) const NAME: &str = "quorum-operator";

/// Takes part in the election for one replica.
pub(super) struct LeaderElector {
    api: Api<Lease>,
    identity: String,
    metrics: Arc<Metrics>,
    /// Clock for the times in the Lease, which only inform its readers.
    clock: Clock,
    /// End of this replica's lease, counted from before the last renewal request.
    end: watch::Sender<Option<Instant>>,
}

impl LeaderElector {
    pub(super) fn new(replica: &Replica, end: watch::Sender<Option<Instant>>) -> Self {
        Self {
            api: Api::namespaced(replica.lease.clone(), &replica.namespace),
            identity: replica.identity.clone(),
            metrics: Arc::clone(&replica.metrics),
            clock: Arc::clone(&replica.clock),
            end,
        }
    }

    /// Acquires the lease, and renews it until it is lost.
    ///
    /// # Errors
    /// Always ends with an error: when a lease that was held is lost.
    pub(super) async fn keep(&self) -> anyhow::Result<()> {
        let mut watched = Watched::default();
        loop {
            let asked = Instant::now();
            match tokio::time::timeout(REQUEST, self.step(&mut watched)).await {
                Ok(Ok(true)) => self.hold(asked),
                Ok(Ok(false)) if self.leads() => {
                    self.lose();
                    bail!("another replica leads now")
                }
                Ok(Ok(false)) => {}
                Ok(Err(error)) => tracing::warn!(error = format!("{error:#}"), "lease request failed"),
                Err(_) => tracing::warn!("the API server did not answer a lease request"),
            }
            if self.end.borrow().is_some_and(|end| Instant::now() >= end) {
                self.lose();
                bail!("the lease could not be renewed for {} s", DURATION.as_secs())
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    fn leads(&self) -> bool {
        self.end.borrow().is_some()
    }

    fn hold(&self, asked: Instant) {
        if !self.leads() {
            tracing::info!(identity = self.identity, "leading");
        }
        self.metrics.leader.set(1);
        self.end.send_replace(Some(asked + DURATION));
    }

    fn lose(&self) {
        self.metrics.leader.set(0);
        self.end.send_replace(None);
    }

    /// Reads the Lease, and writes it if allowed. Returns whether this replica holds it.
    async fn step(&self, watched: &mut Watched) -> anyhow::Result<bool> {
        let found = self.api.get_opt(NAME).await.context("the lease cannot be read")?;
        let now = watched.next(found.as_ref().map(record), &self.identity, Instant::now());
        let parameters = PostParams::default();
        let written = match now {
            LeaseAction::Wait => return Ok(false),
            LeaseAction::Create => self.api.create(&parameters, &self.lease(None, &self.identity)).await,
            LeaseAction::Take(_) => {
                self.api.replace(NAME, &parameters, &self.lease(found.as_ref(), &self.identity)).await
            }
        };
        match written {
            Ok(_) => Ok(true),
            // includes a conflict: another replica was faster, and the next step reads what it wrote
            Err(error) => Err(error).context("the lease cannot be written"),
        }
    }

    fn lease(&self, over: Option<&Lease>, holder: &str) -> Lease {
        let before = over.and_then(|lease| lease.spec.clone()).unwrap_or_default();
        let changes_hands = before.holder_identity.as_deref() != Some(holder);
        let now = MicroTime((self.clock)());
        Lease {
            metadata: ObjectMeta {
                name: Some(NAME.into()),
                resource_version: over.and_then(|lease| lease.metadata.resource_version.clone()),
                ..ObjectMeta::default()
            },
            spec: Some(LeaseSpec {
                holder_identity: Some(holder.into()),
                lease_duration_seconds: i32::try_from(DURATION.as_secs()).ok(),
                acquire_time: if changes_hands { Some(now.clone()) } else { before.acquire_time },
                lease_transitions: Some(before.lease_transitions.unwrap_or(0) + i32::from(changes_hands)),
                renew_time: Some(now),
                ..LeaseSpec::default()
            }),
        }
    }

    /// Releases the lease, so that the next replica need not wait for its end.
    pub(super) async fn release(&self) {
        if !self.leads() {
            return;
        }
        self.lose();
        let given_back = async {
            let found = self.api.get(NAME).await?;
            if record(&found).holder == self.identity {
                self.api.replace(NAME, &PostParams::default(), &self.lease(Some(&found), "")).await?;
            }
            Ok::<_, kube::Error>(())
        };
        match tokio::time::timeout(REQUEST, given_back).await {
            Ok(Ok(())) => tracing::info!("lease released"),
            outcome => tracing::warn!(?outcome, "lease not released; it expires by itself"),
        }
    }
}

fn record(lease: &Lease) -> Record {
    let spec = lease.spec.clone().unwrap_or_default();
    let seconds = spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok());
    Record {
        holder: spec.holder_identity.unwrap_or_default(),
        duration: seconds.map_or(DURATION, std::time::Duration::from_secs),
        version: lease.metadata.resource_version.clone().unwrap_or_default(),
    }
}
