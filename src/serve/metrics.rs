//! What the operator tells of itself and of its nodes, by the field's usual names.

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

use super::queue::{Queues, Standing};
use crate::{
    api::QuorumNodeStatus,
    cluster::Heard,
    node::{chain, names::Purpose, report::PEERS_CONNECTED},
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

/// All series of the operator.
pub struct Metrics {
    registry: Registry,
    /// 1 while this replica leads.
    pub leader: Gauge,
    /// Requests that changed something.
    pub writes: Counter,
    /// Errors that watches reported.
    pub watch_errors: Counter,
    /// When the server was last heard of what is watched.
    pub heard: Heard,
    queues: Queues,
    waiting: Gauge,
    longest: Gauge<f64, AtomicU64>,
    running: Gauge,
    silence: Family<OfKind, Gauge<f64, AtomicU64>>,
    requests: Family<Request, Counter>,
    unreadable: Family<OfKind, Gauge>,
    passes: Family<Outcome, Counter>,
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
    /// Series that all stand at nothing.
    #[must_use]
    pub fn new() -> Self {
        let mut registry = Registry::default();
        let metrics = Self {
            leader: Gauge::default(),
            writes: Counter::default(),
            watch_errors: Counter::default(),
            heard: Heard::default(),
            queues: Queues::default(),
            waiting: Gauge::default(),
            longest: Gauge::default(),
            running: Gauge::default(),
            silence: Family::default(),
            requests: Family::default(),
            unreadable: Family::default(),
            passes: Family::default(),
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
            "Passes over a node, by result",
            metrics.passes.clone(),
        );
        registry.register(
            "quorum_operator_reconcile_errors",
            "Passes that failed, by stage",
            metrics.failures.clone(),
        );
        registry.register(
            "quorum_operator_reconcile_duration_seconds",
            "Time of a pass",
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
            "Nodes whose pass is due and that wait for a place",
            metrics.waiting.clone(),
        );
        registry.register(
            "quorum_operator_queue_oldest_seconds",
            "For how long the node has waited that has waited longest",
            metrics.longest.clone(),
        );
        registry.register(
            "quorum_operator_reconcile_in_flight",
            "Passes that go on now",
            metrics.running.clone(),
        );
        registry.register(
            "quorum_operator_watch_silence_seconds",
            "For how long the server has not been heard of a kind that is watched",
            metrics.silence.clone(),
        );
        registry.register(
            "quorum_operator_api_requests",
            "Requests to the API server, by verb and status code; none: it did not answer",
            metrics.requests.clone(),
        );
        registry.register(
            "quorum_operator_unreadable_objects",
            "Watched objects that do not decode, by kind",
            metrics.unreadable.clone(),
        );
        registry.register(
            "quorum_node_ready",
            "1 where a node's Ready condition is True",
            metrics.ready.clone(),
        );
        registry.register(
            "quorum_cert_expiry_timestamp_seconds",
            "End of a certificate, in seconds since 1970",
            metrics.expiry.clone(),
        );
        registry.register(
            "quorum_cert_served",
            "1 where a port was seen to serve the certificate of its Secret, 0 where another one",
            metrics.served.clone(),
        );
        registry.register(
            "quorum_chain_head",
            "Number of the highest block of a node's client, as it was last seen",
            metrics.head.clone(),
        );
        registry.register(
            "quorum_chain_advancing",
            "1 where a node's ChainAdvancing condition is True, 0 where it is False",
            metrics.advancing.clone(),
        );
        registry.register(
            "quorum_peers_connected",
            "1 where a node's PeersConnected condition is True, 0 where it is False",
            metrics.connected.clone(),
        );
        registry.register(
            "quorum_issuer_keys_timestamp_seconds",
            "When the keys of an issuer of callers' tokens were last read, in seconds since 1970",
            metrics.issuers.clone(),
        );
        Self { registry, ..metrics }
    }

    /// A pass has ended, in failure at a stage or well.
    pub fn passed(&self, took: Duration, failed_at: Option<&'static str>) {
        self.duration.observe(took.as_secs_f64());
        let result = if failed_at.is_some() { "error" } else { "success" };
        self.passes.get_or_create(&Outcome { result }).inc();
        if let Some(stage) = failed_at {
            self.failures.get_or_create(&AtStage { stage }).inc();
        }
    }

    /// Another scope, and how it stands with its nodes.
    #[must_use]
    pub fn queue(&self) -> Standing {
        self.queues.open()
    }

    /// The API server was asked for something, and has answered with this code, or not at all.
    pub fn asked(&self, verb: &'static str, code: Option<u16>) {
        let code = code.map_or_else(|| "none".to_owned(), |code| code.to_string());
        self.requests.get_or_create(&Request { verb, code }).inc();
    }

    /// An object of a kind cannot be read from now on, or no longer counts as such.
    pub fn unreadable(&self, kind: &str, begins: bool) {
        let objects = self.unreadable.get_or_create(&OfKind { kind: kind.into() });
        if begins {
            objects.inc()
        } else {
            objects.dec()
        };
    }

    /// What a node's status says.
    pub fn node(&self, namespace: &str, name: &str, status: &QuorumNodeStatus) {
        let ready = status.conditions.iter().any(|found| found.type_ == "Ready" && found.status == "True");
        let of = Of { namespace: namespace.into(), name: name.into() };
        self.ready.get_or_create(&of).set(i64::from(ready));
        for (kind, family) in [(chain::ADVANCING, &self.advancing), (PEERS_CONNECTED, &self.connected)] {
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

    /// What was seen to be served, and whether it is what the Secret holds. Of the rest nothing is known.
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

    /// The highest block that a node's client was seen at; `None`: it is not seen.
    pub fn chain_head(&self, namespace: &str, name: &str, head: Option<u64>) {
        let of = Of { namespace: namespace.into(), name: name.into() };
        match head.and_then(|head| i64::try_from(head).ok()) {
            Some(head) => drop(self.head.get_or_create(&of).set(head)),
            None => drop(self.head.remove(&of)),
        }
    }

    /// The keys of an issuer have been read.
    pub fn issuer(&self, name: &str, now: Timestamp) {
        self.issuers.get_or_create(&OfIssuer { issuer: name.into() }).set(now.as_second() as f64);
    }

    /// Nobody is known by an issuer's word any more.
    pub fn forget_issuer(&self, name: &str) {
        self.issuers.remove(&OfIssuer { issuer: name.into() });
    }

    /// A node is gone: so are its series.
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

    /// What changes as time goes by.
    fn look(&self) {
        let (waiting, longest, running) = self.queues.sum();
        self.waiting.set(waiting as i64);
        self.longest.set(longest.as_secs_f64());
        self.running.set(running as i64);
        let silences = self.heard.silences();
        // a kind that is no longer watched is not silent
        self.silence.clear();
        for (kind, silence) in silences {
            self.silence.get_or_create(&OfKind { kind }).set(silence.as_secs_f64());
        }
    }

    /// All series in the text format.
    #[must_use]
    pub fn text(&self) -> String {
        self.look();
        let mut text = String::new();
        // writing to a String does not fail
        let _ = encode(&mut text, &self.registry);
        text
    }
}
