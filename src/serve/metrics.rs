//! Metrics of the operator and of its nodes.

use std::{collections::BTreeMap, sync::atomic::AtomicU64, time::Duration};

use k8s_openapi::jiff::Timestamp;
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
        info::Info,
    },
    registry::Registry,
};

use super::queue_metrics::{Queues, Standing};
use crate::node::decide::chain_message;
use crate::{
    api::QuorumNodeStatus, cluster::Staleness, model::names::Purpose, node::status::PEERS_CONNECTED,
};

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Of {
    namespace: String,
    name: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Certificate {
    namespace: String,
    name: String,
    purpose: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfIssuer {
    issuer: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct AtStage {
    stage: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfKind {
    kind: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Request {
    verb: &'static str,
    code: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Outcome {
    result: &'static str,
}

/// All metrics of the operator.
pub struct Metrics {
    registry: Registry,
    /// 1 while this replica leads.
    pub leader: Gauge,
    /// Requests that changed something.
    pub writes: Counter,
    /// Errors that watches reported.
    pub watch_errors: Counter,
    /// When the API server last sent something about each watched kind.
    pub staleness: Staleness,
    queues: Queues,
    waiting: Gauge,
    longest: Gauge<f64, AtomicU64>,
    running: Gauge,
    silence: Family<OfKind, Gauge<f64, AtomicU64>>,
    requests: Family<Request, Counter>,
    undecodable: Family<OfKind, Gauge>,
    reconciles: Family<Outcome, Counter>,
    failures: Family<AtStage, Counter>,
    duration: Histogram,
    ready: Family<Of, Gauge>,
    expiry: Family<Certificate, Gauge<f64, AtomicU64>>,
    served: Family<Certificate, Gauge>,
    head: Family<Of, Gauge>,
    advancing: Family<Of, Gauge>,
    connected: Family<Of, Gauge>,
    issuers: Family<OfIssuer, Gauge<f64, AtomicU64>>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Metrics that are all zero.
    #[must_use]
    pub fn new() -> Self {
        let mut registry = Registry::default();
        let metrics = Self {
            leader: Gauge::default(),
            writes: Counter::default(),
            watch_errors: Counter::default(),
            staleness: Staleness::default(),
            queues: Queues::default(),
            waiting: Gauge::default(),
            longest: Gauge::default(),
            running: Gauge::default(),
            silence: Family::default(),
            requests: Family::default(),
            undecodable: Family::default(),
            reconciles: Family::default(),
            failures: Family::default(),
            duration: Histogram::new(exponential_buckets(0.0001, 4.0, 10)),
            ready: Family::default(),
            expiry: Family::default(),
            served: Family::default(),
            head: Family::default(),
            advancing: Family::default(),
            connected: Family::default(),
            issuers: Family::default(),
            registry: Registry::default(),
        };
        registry.register(
            "quorum_operator_build",
            "Version of the operator",
            Info::new([("version", env!("CARGO_PKG_VERSION"))]),
        );
        registry.register("quorum_operator_leader", "1 while this replica leads", metrics.leader.clone());
        registry.register(
            "quorum_operator_reconcile",
            "Reconciles of a node, by result",
            metrics.reconciles.clone(),
        );
        registry.register(
            "quorum_operator_reconcile_errors",
            "Reconciles that failed, by stage",
            metrics.failures.clone(),
        );
        registry.register(
            "quorum_operator_reconcile_duration_seconds",
            "Duration of a reconcile in seconds",
            metrics.duration.clone(),
        );
        registry.register(
            "quorum_operator_writes",
            "Requests that changed the cluster",
            metrics.writes.clone(),
        );
        registry.register(
            "quorum_operator_watch_errors",
            "Errors that watches reported",
            metrics.watch_errors.clone(),
        );
        registry.register(
            "quorum_operator_queue_depth",
            "Nodes whose reconcile is due and waits to start",
            metrics.waiting.clone(),
        );
        registry.register(
            "quorum_operator_queue_oldest_seconds",
            "Longest time in seconds that a node in the queue has waited",
            metrics.longest.clone(),
        );
        registry.register(
            "quorum_operator_reconcile_in_flight",
            "Reconciles in progress",
            metrics.running.clone(),
        );
        registry.register(
            "quorum_operator_watch_staleness_seconds",
            "Seconds since the API server last sent anything about a watched kind, by kind",
            metrics.silence.clone(),
        );
        registry.register(
            "quorum_operator_api_requests",
            "Requests to the API server, by verb and status code; code none if no answer came",
            metrics.requests.clone(),
        );
        registry.register(
            "quorum_operator_undecodable_objects",
            "Watched objects that do not decode, by kind",
            metrics.undecodable.clone(),
        );
        registry.register(
            "quorum_node_ready",
            "1 if a node's Ready condition is True, otherwise 0",
            metrics.ready.clone(),
        );
        registry.register(
            "quorum_cert_expiry_timestamp_seconds",
            "When a certificate expires, in seconds since 1970, by purpose",
            metrics.expiry.clone(),
        );
        registry.register(
            "quorum_cert_served",
            "1 if a port was observed to serve the certificate of its Secret, 0 if another one, by purpose",
            metrics.served.clone(),
        );
        registry.register(
            "quorum_chain_head",
            "Number of the highest block of a node's client when it was last observed",
            metrics.head.clone(),
        );
        registry.register(
            "quorum_chain_advancing",
            "1 if a node's ChainAdvancing condition is True, 0 if it is False",
            metrics.advancing.clone(),
        );
        registry.register(
            "quorum_peers_connected",
            "1 if a node's PeersConnected condition is True, 0 if it is False",
            metrics.connected.clone(),
        );
        registry.register(
            "quorum_issuer_keys_timestamp_seconds",
            "When the keys of a token issuer were last read, in seconds since 1970, by issuer",
            metrics.issuers.clone(),
        );
        Self { registry, ..metrics }
    }

    /// Records the end of a reconcile: its duration, and the stage at which it failed, if any.
    pub fn passed(&self, took: Duration, failed_at: Option<&'static str>) {
        self.duration.observe(took.as_secs_f64());
        let result = if failed_at.is_some() { "error" } else { "success" };
        self.reconciles.get_or_create(&Outcome { result }).inc();
        if let Some(stage) = failed_at {
            self.failures.get_or_create(&AtStage { stage }).inc();
        }
    }

    /// Adds a scope and returns the handle of its work queue.
    #[must_use]
    pub fn queue(&self) -> Standing {
        self.queues.open()
    }

    /// Records a request to the API server: its verb, and the status code of the answer, `None` without an answer.
    pub fn asked(&self, verb: &'static str, code: Option<u16>) {
        let code = code.map_or_else(|| "none".to_owned(), |code| code.to_string());
        self.requests.get_or_create(&Request { verb, code }).inc();
    }

    /// Records that an object of a kind does not decode (`begins`), or no longer counts as such.
    pub fn undecodable(&self, kind: &str, begins: bool) {
        let objects = self.undecodable.get_or_create(&OfKind { kind: kind.into() });
        if begins {
            objects.inc()
        } else {
            objects.dec()
        };
    }

    /// Sets the metrics that follow from a node's status.
    pub fn node(&self, namespace: &str, name: &str, status: &QuorumNodeStatus) {
        let ready = status.conditions.iter().any(|found| found.type_ == "Ready" && found.status == "True");
        let of = Of { namespace: namespace.into(), name: name.into() };
        self.ready.get_or_create(&of).set(i64::from(ready));
        for (kind, family) in
            [(chain_message::ADVANCING, &self.advancing), (PEERS_CONNECTED, &self.connected)]
        {
            let told = status.conditions.iter().find(|found| found.type_ == kind);
            match told.map(|found| found.status.as_str()) {
                Some("True") => drop(family.get_or_create(&of).set(1)),
                Some("False") => drop(family.get_or_create(&of).set(0)),
                _ => drop(family.remove(&of)),
            }
        }
        for certificate in &status.certificates {
            let of = Certificate {
                namespace: namespace.into(),
                name: name.into(),
                purpose: certificate.purpose.clone(),
            };
            self.expiry.get_or_create(&of).set(certificate.not_after.0.as_second() as f64);
        }
    }

    /// Sets which ports were observed to serve the certificate of their Secret; purposes that are not in the map
    /// have no series.
    pub fn served(&self, namespace: &str, name: &str, served: &BTreeMap<Purpose, bool>) {
        for purpose in Purpose::ALL {
            let of = Certificate {
                namespace: namespace.into(),
                name: name.into(),
                purpose: purpose.as_str().into(),
            };
            match served.get(&purpose) {
                Some(same) => drop(self.served.get_or_create(&of).set(i64::from(*same))),
                None => drop(self.served.remove(&of)),
            }
        }
    }

    /// Sets the number of a client's highest block; `None` removes the series.
    pub fn chain_head(&self, namespace: &str, name: &str, head: Option<u64>) {
        let of = Of { namespace: namespace.into(), name: name.into() };
        match head.and_then(|head| i64::try_from(head).ok()) {
            Some(head) => drop(self.head.get_or_create(&of).set(head)),
            None => drop(self.head.remove(&of)),
        }
    }

    /// Records that the keys of an issuer were read now.
    pub fn issuer(&self, name: &str, now: Timestamp) {
        self.issuers.get_or_create(&OfIssuer { issuer: name.into() }).set(now.as_second() as f64);
    }

    /// Removes an issuer that no caller uses any more.
    pub fn forget_issuer(&self, name: &str) {
        self.issuers.remove(&OfIssuer { issuer: name.into() });
    }

    /// Removes the series of a deleted node.
    pub fn forget(&self, namespace: &str, name: &str) {
        let of = Of { namespace: namespace.into(), name: name.into() };
        for family in [&self.ready, &self.head, &self.advancing, &self.connected] {
            family.remove(&of);
        }
        for purpose in Purpose::ALL {
            let purpose = purpose.as_str().into();
            self.expiry.remove(&Certificate { namespace: namespace.into(), name: name.into(), purpose });
        }
        self.served(namespace, name, &BTreeMap::new());
    }

    /// Updates the metrics that change with time.
    fn look(&self) {
        let (waiting, longest, running) = self.queues.sum();
        self.waiting.set(waiting as i64);
        self.longest.set(longest.as_secs_f64());
        self.running.set(running as i64);
        let staleness_by_kind = self.staleness.staleness_by_kind();
        // a kind that is no longer watched has no staleness
        self.silence.clear();
        for (kind, silence) in staleness_by_kind {
            self.silence.get_or_create(&OfKind { kind }).set(silence.as_secs_f64());
        }
    }

    /// All metrics in the text format of Prometheus.
    #[must_use]
    pub fn text(&self) -> String {
        self.look();
        let mut text = String::new();
        // writing to a String cannot fail
        let _ = encode(&mut text, &self.registry);
        text
    }
}
