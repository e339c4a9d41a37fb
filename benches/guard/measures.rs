//! CPU time of a request: each peer gets the same load, one after another, in several rounds.

use std::{sync::Arc, thread, time::Duration};

use anyhow::{Context as _, ensure};
use serde_json::json;

use crate::{
    Options,
    caller::{Dial, post},
    load::{Load, Sent},
    peer::{Kind, Peer},
    report::{Report, listed, median, percentile},
    say,
    setup::Setup,
    verdicts,
};

/// A request whose cost is measured, and its load.
struct Measure {
    what: &'static str,
    body: String,
    /// Requests per second.
    rate: f64,
    connections: usize,
    is_new_each: bool,
    is_allowed: bool,
    /// Goals: maximum ratio of the guard's CPU time to that of each peer.
    goals: &'static [(Kind, f64)],
}

/// Figures of a peer: CPU time per request for each round, and latencies.
#[derive(Default)]
struct Taken {
    cpu: Vec<f64>,
    took: Vec<f64>,
    closed: usize,
}

const LARGE: &[(Kind, f64)] = &[(Kind::Nginx, 0.40), (Kind::Haproxy, 0.60), (Kind::Envoy, 0.20)];

fn all() -> [Measure; 5] {
    use Kind::{Envoy, Haproxy, Nginx};
    let call = |what, body, rate| Measure {
        what,
        body,
        rate,
        connections: 16,
        is_new_each: false,
        is_allowed: true,
        goals: &[],
    };
    [
        Measure {
            goals: &[(Nginx, 0.95), (Haproxy, 0.70), (Envoy, 0.35)],
            ..call("63 B", verdicts::small(), 2000.0)
        },
        Measure { goals: LARGE, ..call("48 KB", verdicts::large(), 400.0) },
        Measure { goals: LARGE, ..call("48 KB of small values", verdicts::many(), 400.0) },
        Measure { is_allowed: false, ..call("denied", verdicts::denied(), 2000.0) },
        // each connection also carries a small call, whose cost is subtracted afterwards
        Measure {
            is_new_each: true,
            connections: 8,
            goals: &[(Envoy, 0.80)],
            ..call("handshake", verdicts::small(), 160.0)
        },
    ]
}

/// Takes every measure for every peer in every round, and reports the results.
pub(crate) fn rounds(
    peers: &[Peer],
    options: &Options,
    setup: &Setup,
    report: &mut Report,
) -> anyhow::Result<()> {
    let measures = all();
    let mut taken: Vec<Vec<Taken>> =
        measures.iter().map(|_| peers.iter().map(|_| Taken::default()).collect()).collect();
    let mut sent = vec![0; peers.len()];
    let records: Vec<usize> = peers.iter().map(Peer::records).collect();
    for round in 0..options.rounds {
        say(&format!("round {} of {}", round + 1, options.rounds));
        for (measure, taken) in measures.iter().zip(&mut taken) {
            for ((peer, taken), count) in peers.iter().zip(taken).zip(&mut sent) {
                let one = measure
                    .take(peer, options, setup)
                    .with_context(|| format!("{}, {}", measure.what, peer.kind.name()))?;
                let cpu = one.1 / one.0.count as f64;
                *count += one.0.count;
                taken.cpu.push(cpu);
                taken.took.extend(one.0.took);
                taken.closed += one.0.closed;
            }
        }
    }
    for ((peer, sent), before) in peers.iter().zip(sent).zip(records) {
        written(peer, before + sent)?;
    }
    without_the_call(&mut taken);
    for (measure, taken) in measures.iter().zip(&taken) {
        measure.tell(peers, taken, report);
    }
    Ok(())
}

/// Subtracts the cost of a small call in the same round from that of a new connection.
fn without_the_call(taken: &mut [Vec<Taken>]) {
    let [small, .., new] = taken else { return };
    for (new, small) in new.iter_mut().zip(small) {
        new.cpu.iter_mut().zip(&small.cpu).for_each(|(new, small)| *new -= small);
    }
}

/// Waits until the peer has recorded each request, since some write their records late.
fn written(peer: &Peer, wanted: usize) -> anyhow::Result<()> {
    for _ in 0..150 {
        if peer.records() >= wanted {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(100));
    }
    ensure!(false, "{}: {} lines in its record for {wanted} requests", peer.kind.name(), peer.records());
    Ok(())
}

impl Measure {
    fn take(&self, peer: &Peer, options: &Options, setup: &Setup) -> anyhow::Result<(Sent, f64)> {
        let rate = self.rate * options.rate;
        let load = Load {
            dial: Dial { port: peer.port, config: setup.pki.dials()? },
            request: Arc::new(post(&self.body)),
            rate,
            count: (rate * options.seconds) as usize,
            connections: self.connections,
            is_new_each: self.is_new_each,
            is_allowed: self.is_allowed,
        };
        load.send(|| peer.cpu())
    }

    fn tell(&self, peers: &[Peer], taken: &[Taken], report: &mut Report) {
        let what = self.what;
        for (peer, taken) in peers.iter().zip(taken) {
            let (p50, p99) = (percentile(&taken.took, 0.5), percentile(&taken.took, 0.99));
            let mut note = format!("{}; answered in {p50:.2} ms, p99 {p99:.2}", listed(&taken.cpu));
            if taken.closed > 0 {
                note += &format!("; closed its connection {} times, each a handshake", taken.closed);
            }
            report.row(&format!("{what}, {}", peer.kind.name()), (median(&taken.cpu), "µs"), None, note);
            report.raw(&format!("{what}, {}, µs", peer.kind.name()), json!(taken.cpu));
        }
        let of = |kind| peers.iter().zip(taken).find(|(peer, _)| peer.kind == kind).map(|(_, taken)| taken);
        let Some(guard) = of(Kind::Guard) else { return };
        for kind in [Kind::Nginx, Kind::Haproxy, Kind::Envoy] {
            let Some(other) = of(kind) else { continue };
            let ratios: Vec<f64> =
                guard.cpu.iter().zip(&other.cpu).map(|(guard, other)| guard / other).collect();
            let goal = self.goals.iter().find(|(goal, _)| *goal == kind).map(|(_, most)| *most);
            let name = format!("{what}, guard over {}", kind.name());
            report.row(&name, (median(&ratios), "x"), goal, listed(&ratios));
        }
    }
}
