//! What is counted, as metrics: `quorum_guard_rpc_*`.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use super::account::Account;
use super::audit::Audit;
use super::patience::Bound;
use super::place::Places;
use super::record::Verdict;
use super::refusal::REASONS;
use super::rules::Rules;
use crate::guard::metrics::series::family;

/// Upper ends of the histogram of durations, in seconds.
const BUCKETS: [f64; 9] = [0.001, 0.005, 0.025, 0.1, 0.25, 1.0, 5.0, 15.0, 60.0];

/// What is counted, and where records go.
#[derive(Debug)]
pub struct Counts {
    /// Where records go.
    pub audit: Audit,
    /// Connections now, of callers and of those not yet known.
    pub connections: Places,
    /// Connections that were not taken, since there were too many.
    pub turned_away: AtomicU64,
    /// Connections that were ended for what took too long, as [`Bound::ALL`] has it.
    pub timed_out: [AtomicU64; Bound::ALL.len()],
    /// The policy on disk cannot be used, and an older one is gone by.
    pub policy_failed: AtomicBool,
    /// WebSockets now.
    pub websockets: AtomicU64,
    reasons: [AtomicU64; REASONS.len()],
    unknown: AtomicU64,
    durations: [AtomicU64; BUCKETS.len() + 1],
    micros: AtomicU64,
}

impl Counts {
    /// Nothing yet.
    #[must_use]
    pub fn new(audit: Audit) -> Self {
        Self {
            audit,
            connections: Places::default(),
            turned_away: AtomicU64::new(0),
            timed_out: Default::default(),
            policy_failed: AtomicBool::new(false),
            websockets: AtomicU64::new(0),
            reasons: [const { AtomicU64::new(0) }; REASONS.len()],
            unknown: AtomicU64::new(0),
            durations: Default::default(),
            micros: AtomicU64::new(0),
        }
    }

    /// A call or request is not passed on.
    pub fn refused(&self, account: Option<&Account>, reason: &'static str) {
        account.map_or(&self.unknown, |account| &account.refused).fetch_add(1, Ordering::Relaxed);
        self.reason(reason);
    }

    /// A connection was ended for what took too long.
    pub fn timed_out(&self, bound: Bound) {
        self.timed_out[bound as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// A request that was passed on has ended.
    pub fn answered(&self, took: Duration, reason: Option<&'static str>) {
        if let Some(reason) = reason {
            self.reason(reason);
        }
        let bucket = BUCKETS.iter().position(|end| took.as_secs_f64() <= *end).unwrap_or(BUCKETS.len());
        self.durations[bucket].fetch_add(1, Ordering::Relaxed);
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.micros.fetch_add(micros, Ordering::Relaxed);
    }

    fn reason(&self, reason: &'static str) {
        if let Some(at) = REASONS.iter().position(|known| *known == reason) {
            self.reasons[at].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// As Prometheus text. `load` is how many requests wait, and how many are with the client; then failed handshakes, and
    /// whether the certificates on disk cannot be used.
    #[must_use]
    pub fn render(&self, rules: &Rules, load: (u32, u32), tls: (u64, bool)) -> String {
        let mut out = String::new();
        self.calls(&mut out, rules);
        let at = |value: &AtomicU64| value.load(Ordering::Relaxed);
        let reasons =
            REASONS.iter().zip(&self.reasons).map(|(reason, count)| ([("reason", *reason)], at(count)));
        let reasons: Vec<_> = reasons.collect();
        let reasons: Vec<_> = reasons.iter().map(|(labels, count)| (&labels[..], *count)).collect();
        let head = [
            "quorum_guard_rpc_refusals_total",
            "counter",
            "Calls and requests that were refused or broke off, by reason.",
        ];
        family(&mut out, head, &reasons);
        let bounds = Bound::ALL.map(|bound| [("bound", bound.as_str())]);
        let bounds = bounds.iter().zip(&self.timed_out).map(|(labels, count)| (&labels[..], at(count)));
        let head = [
            "quorum_guard_rpc_connections_timed_out_total",
            "counter",
            "Connections that were ended for what took too long.",
        ];
        family(&mut out, head, &bounds.collect::<Vec<_>>());
        self.durations(&mut out);
        let (waiting, busy) = load;
        let (handshakes, reload_failed) = tls;
        for (name, kind, help, value) in [
            (
                "connections",
                "gauge",
                "Connections now, of known callers and others.",
                self.connections.number().into(),
            ),
            (
                "connections_turned_away_total",
                "counter",
                "Connections that were not taken: there were too many.",
                at(&self.turned_away),
            ),
            ("websockets", "gauge", "WebSockets now.", at(&self.websockets)),
            ("requests_waiting", "gauge", "Requests that wait for their turn at the client.", waiting.into()),
            ("requests_at_client", "gauge", "Requests that are with the client.", busy.into()),
            ("tls_handshake_failures_total", "counter", "TLS handshakes that failed.", handshakes),
            (
                "reload_failed",
                "gauge",
                "1 if the certificates on disk cannot be used and older ones are served.",
                reload_failed.into(),
            ),
            (
                "policy_reload_failed",
                "gauge",
                "1 if the policy on disk cannot be used and an older one is gone by.",
                self.policy_failed.load(Ordering::Relaxed).into(),
            ),
        ] {
            family(&mut out, [&format!("quorum_guard_rpc_{name}"), kind, help], &[(&[], value)]);
        }
        self.audited(&mut out);
        out
    }

    fn audited(&self, out: &mut String) {
        let audit = &self.audit;
        let verdicts = Verdict::ALL.map(|verdict| [("verdict", verdict.as_str())]);
        let lines: Vec<_> = verdicts.iter().map(|labels| &labels[..]).zip(audit.lines()).collect();
        let head = ["quorum_guard_rpc_audit_records_total", "counter", "Audit records, by verdict."];
        family(out, head, &lines);
        for (name, kind, help, value) in [
            (
                "summed_total",
                "counter",
                "Refusals and openings that were counted in a record of several.",
                audit.summed(),
            ),
            (
                "waiting_bytes",
                "gauge",
                "Bytes of audit records that stdout has not taken yet.",
                audit.waiting() as u64,
            ),
            (
                "reserved_bytes",
                "gauge",
                "Bytes that are reserved for audit records of calls under way.",
                audit.reserved() as u64,
            ),
            ("lost_total", "counter", "Audit records that stdout never took.", audit.lost()),
        ] {
            family(out, [&format!("quorum_guard_rpc_audit_{name}"), kind, help], &[(&[], value)]);
        }
    }

    fn calls(&self, out: &mut String, rules: &Rules) {
        let mut calls = Vec::new();
        let mut connections = Vec::new();
        for account in rules.accounts() {
            let of = |verdict| [("caller", account.name.as_str()), ("verdict", verdict)];
            calls.push((of("allowed"), account.allowed.load(Ordering::Relaxed)));
            calls.push((of("refused"), account.refused.load(Ordering::Relaxed)));
            connections.push(([("caller", account.name.as_str())], account.connections()));
        }
        calls.push(([("caller", ""), ("verdict", "refused")], self.unknown.load(Ordering::Relaxed)));
        let calls: Vec<_> = calls.iter().map(|(labels, count)| (&labels[..], *count)).collect();
        let head = [
            "quorum_guard_rpc_calls_total",
            "counter",
            "Calls, by caller; without a name where none was known.",
        ];
        family(out, head, &calls);
        let connections: Vec<_> = connections.iter().map(|(labels, count)| (&labels[..], *count)).collect();
        family(
            out,
            ["quorum_guard_rpc_caller_connections", "gauge", "Connections of a caller now."],
            &connections,
        );
    }

    fn durations(&self, out: &mut String) {
        use std::fmt::Write as _;
        let name = "quorum_guard_rpc_request_duration_seconds";
        let _ = write!(
            out,
            "# HELP {name} From a request's header to the end of its answer.\n# TYPE {name} histogram\n"
        );
        let mut count = 0;
        for (at, bucket) in self.durations.iter().enumerate() {
            count += bucket.load(Ordering::Relaxed);
            let end = BUCKETS.get(at).map_or_else(|| "+Inf".to_owned(), ToString::to_string);
            let _ = writeln!(out, "{name}_bucket{{le=\"{end}\"}} {count}");
        }
        let sum = Duration::from_micros(self.micros.load(Ordering::Relaxed)).as_secs_f64();
        let _ = write!(out, "{name}_sum {sum}\n{name}_count {count}\n");
    }
}
