//! Counters and gauges of `quorum-guard rpc`, rendered as `quorum_guard_rpc_*`.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use super::{
    audit::{Audit, record::Verdict},
    decide::{rejection::REASONS, rules::Rules},
    limits::{caller_state::CallerState, deadlines::Bound},
    serve::connection_slots::ConnectionSlots,
};
use crate::guard::metrics::series::family;

/// Upper bounds of the duration histogram's buckets, in seconds.
const BUCKETS: [f64; 9] = [0.001, 0.005, 0.025, 0.1, 0.25, 1.0, 5.0, 15.0, 60.0];

/// All counters, and the audit log.
#[derive(Debug)]
pub struct Metrics {
    /// The audit log.
    pub audit: Audit,
    /// Open connections of known and unknown callers.
    pub connections: ConnectionSlots,
    /// Connections that were rejected because no slot was free.
    pub turned_away: AtomicU64,
    /// Connections that exceeded a deadline, in the order of [`Bound::ALL`].
    pub timed_out: [AtomicU64; Bound::ALL.len()],
    /// Whether the policy on disk cannot be used and an older one is in use.
    pub policy_failed: AtomicBool,
    /// Open WebSockets.
    pub websockets: AtomicU64,
    reasons: [AtomicU64; REASONS.len()],
    unknown: AtomicU64,
    durations: [AtomicU64; BUCKETS.len() + 1],
    micros: AtomicU64,
}

impl Metrics {
    /// Starts with all counters at zero.
    #[must_use]
    pub fn new(audit: Audit) -> Self {
        Self {
            audit,
            connections: ConnectionSlots::default(),
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

    /// Counts a rejected call or request.
    pub fn refused(&self, account: Option<&CallerState>, reason: &'static str) {
        account.map_or(&self.unknown, |account| &account.refused).fetch_add(1, Ordering::Relaxed);
        self.reason(reason);
    }

    /// Counts a connection that exceeded a deadline.
    pub fn timed_out(&self, bound: Bound) {
        self.timed_out[bound as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a forwarded call whose answer has ended.
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

    /// Renders Prometheus text. `load` is the number of waiting requests and of requests at the client; `tls` the
    /// number of failed handshakes and whether the certificates on disk cannot be used.
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
            "quorum_guard_rpc_rejections_total",
            "counter",
            "Calls and requests that were rejected, or whose answer ended early, by reason.",
        ];
        family(&mut out, head, &reasons);
        let bounds = Bound::ALL.map(|bound| [("bound", bound.as_str())]);
        let bounds = bounds.iter().zip(&self.timed_out).map(|(labels, count)| (&labels[..], at(count)));
        let head = [
            "quorum_guard_rpc_connections_timed_out_total",
            "counter",
            "Connections that were closed because something took too long, by bound.",
        ];
        family(&mut out, head, &bounds.collect::<Vec<_>>());
        self.durations(&mut out);
        let (waiting, busy) = load;
        let (handshakes, reload_failed) = tls;
        for (name, kind, help, value) in [
            (
                "connections",
                "gauge",
                "Open connections, of callers and of clients that are not identified yet.",
                self.connections.number().into(),
            ),
            (
                "connections_rejected_total",
                "counter",
                "Connections that found no free connection slot.",
                at(&self.turned_away),
            ),
            ("websockets", "gauge", "Open WebSockets.", at(&self.websockets)),
            ("requests_waiting", "gauge", "Calls that wait for a concurrency slot.", waiting.into()),
            ("requests_at_client", "gauge", "Calls that the client runs.", busy.into()),
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
                "1 if the policy on disk cannot be used and an older one is in use.",
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
                "aggregated_total",
                "counter",
                "Rejections and opened WebSockets that share a record with others.",
                audit.summed(),
            ),
            (
                "pending_bytes",
                "gauge",
                "Bytes of audit records that stdout has not taken yet.",
                audit.waiting() as u64,
            ),
            (
                "reserved_bytes",
                "gauge",
                "Bytes reserved for audit records of calls under way.",
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
            "Calls, by caller and verdict; caller is empty if it is not identified.",
        ];
        family(out, head, &calls);
        let connections: Vec<_> = connections.iter().map(|(labels, count)| (&labels[..], *count)).collect();
        family(
            out,
            ["quorum_guard_rpc_caller_connections", "gauge", "Open connections of a caller."],
            &connections,
        );
    }

    fn durations(&self, out: &mut String) {
        use std::fmt::Write as _;
        let name = "quorum_guard_rpc_request_duration_seconds";
        let _ = write!(
            out,
            "# HELP {name} Seconds from a request's header to its answer's end.\n# TYPE {name} histogram\n"
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
