//! Pod evictions by this process: those that the watches have not shown yet, and those whose parts are not available
//! again. Held in memory: it affects only when a pod is replaced, not what replaces it.

use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use k8s_openapi::jiff::SignedDuration;
use tokio::time::Instant;

use crate::model::names::{Component, NamespacedName};

/// Time after which an eviction without an event is forgotten. Longer than the 90 s that a watch may be stale.
const SILENCE: Duration = Duration::from_secs(120);

/// How long other parts wait for a part that is to be replaced before them.
const TIMEOUT: Duration = Duration::from_secs(120);

/// How long a node stays the canary while none of its pods is being replaced.
const TRIAL: Duration = Duration::from_secs(300);

/// Default number of pods, of all nodes, that are replaced at the same time.
pub const USUAL: u16 = 5;

/// Evictions of all nodes, and the canary of what this process renders.
#[derive(Debug)]
pub struct Rollouts {
    /// Maximum number of parts, of all nodes, that are replaced at the same time.
    pub most: usize,
    state: Mutex<State>,
}

/// Exclusive access for one decision: no other decision is made meanwhile.
#[derive(Debug)]
pub struct Decision<'a> {
    state: MutexGuard<'a, State>,
    now: Instant,
}

#[derive(Debug, Default)]
struct State {
    /// Evictions by the uid of the pod.
    granted: HashMap<String, Granted>,
    /// First and last time at which another pod waited for this pod, by uid.
    first: HashMap<String, (Instant, Instant)>,
    /// Whether some node runs what this process renders, and is available.
    proved: bool,
    /// The canary node, and since when it is the canary.
    trial: Option<(NamespacedName, Instant)>,
    /// Nodes that failed as canary.
    tried: HashSet<NamespacedName>,
    /// Since when there has been no canary.
    untried: Option<Instant>,
}

/// A part whose pod is replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replaced {
    /// Namespace of its node.
    pub namespace: String,
    /// Its node.
    pub node: String,
    /// Its component.
    pub component: Component,
    /// How long its new pod must be ready to count as available.
    pub min_ready: SignedDuration,
}

#[derive(Debug)]
struct Granted {
    at: Instant,
    /// `None` for a pod that provides no service, which does not count towards the limit.
    counted: Option<Replaced>,
    /// Whether it is unknown if the server deletes the pod.
    doubted: bool,
}

impl Granted {
    fn is_recent(&self, now: Instant) -> bool {
        now.duration_since(self.at) < SILENCE
    }
}

impl Rollouts {
    /// Creates an empty state with the limit `most`.
    #[must_use]
    pub fn new(most: u16) -> Self {
        Self { most: most.into(), state: Mutex::default() }
    }

    /// Begins a decision.
    pub fn decide(&self, now: Instant) -> Decision<'_> {
        let mut state = self.lock();
        state.granted.retain(|_, granted| granted.counted.is_some() || granted.is_recent(now));
        state.first.retain(|_, (_, last)| now.duration_since(*last) < TIMEOUT);
        Decision { state, now }
    }

    /// Records that it is unknown whether the server deletes the pod. Other nodes wait as if it did, and its own node
    /// repeats the eviction.
    pub fn doubt(&self, pod: &str) {
        if let Some(granted) = self.lock().granted.get_mut(pod) {
            granted.doubted = true;
        }
    }

    /// Records that the server does not delete the pod.
    pub fn revoke(&self, pod: &str) {
        self.lock().granted.remove(pod);
    }

    /// Whether some node runs what this process renders, and is available.
    pub fn is_proved(&self) -> bool {
        self.lock().proved
    }

    /// Records that a node runs what this process renders, and is available.
    pub fn prove(&self) {
        self.lock().proved = true;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Decision<'_> {
    /// Whether a pod was evicted recently. A cache may still show it unchanged.
    #[must_use]
    pub fn is_granted(&self, pod: &str) -> bool {
        self.state.granted.get(pod).is_some_and(|granted| granted.is_recent(self.now))
    }

    /// Whether the result of a pod's eviction is unknown.
    #[must_use]
    pub fn is_doubted(&self, pod: &str) -> bool {
        self.state.granted.get(pod).is_some_and(|granted| granted.doubted)
    }

    /// Parts of all nodes that are being replaced, with the time since their eviction. `is_available` returns whether a
    /// part has a new pod that is available, or `None` while the evicted pod still serves. An eviction without effect
    /// is forgotten after two minutes.
    pub fn on_the_way(
        &mut self,
        is_available: impl Fn(&Replaced, &str) -> Option<bool>,
    ) -> Vec<(Replaced, Duration)> {
        let now = self.now;
        self.state.granted.retain(|pod, granted| {
            let Some(replaced) = &granted.counted else { return true };
            match is_available(replaced, pod) {
                Some(is_available) => !is_available,
                None => granted.is_recent(now),
            }
        });
        let since = |granted: &Granted| Some((granted.counted.clone()?, now.duration_since(granted.at)));
        self.state.granted.values().filter_map(since).collect()
    }

    /// Whether other pods have waited too long for this pod, and may go ahead.
    #[must_use]
    pub fn is_late(&self, pod: &str) -> bool {
        let first = self.state.first.get(pod);
        first.is_some_and(|(since, _)| self.now.duration_since(*since) >= TIMEOUT)
    }

    /// Records that another pod waits for this pod.
    pub fn waits_for(&mut self, pod: &str) {
        let now = self.now;
        self.state.first.entry(pod.to_owned()).and_modify(|(_, last)| *last = now).or_insert((now, now));
    }

    /// Whether some node runs what this process renders, and is available.
    #[must_use]
    pub fn is_proved(&self) -> bool {
        self.state.proved
    }

    /// The canary node, if there is one that `goes_on` and makes progress.
    pub fn trial(&mut self, goes_on: impl Fn(&NamespacedName) -> bool) -> Option<NamespacedName> {
        let (now, state) = (self.now, &mut *self.state);
        let counted = state.granted.values().filter_map(|granted| granted.counted.as_ref());
        let on_its_way: HashSet<_> = counted.map(|it| (it.namespace.clone(), it.node.clone())).collect();
        let is_stuck = |(trial, since): &(NamespacedName, Instant)| {
            !on_its_way.contains(trial) && now.duration_since(*since) >= TRIAL
        };
        if let Some((stuck, _)) = state.trial.take_if(|trial| is_stuck(trial)) {
            state.tried.insert(stuck);
        }
        state.trial.take_if(|(trial, _)| !goes_on(trial));
        if state.trial.is_none() {
            state.untried.get_or_insert(now);
        }
        state.trial.as_ref().map(|(trial, _)| trial.clone())
    }

    /// Whether a node failed as canary.
    #[must_use]
    pub fn was_tried(&self, node: &NamespacedName) -> bool {
        self.state.tried.contains(node)
    }

    /// Whether there has been no canary for so long that any node may become it.
    #[must_use]
    pub fn is_trial_late(&self) -> bool {
        self.state.untried.is_some_and(|since| self.now.duration_since(since) >= TIMEOUT)
    }

    /// Makes a node the canary, unless what this process renders is proved.
    pub fn try_on(&mut self, node: NamespacedName) {
        let is_first = self.state.trial.as_ref().is_some_and(|(trial, _)| *trial == node);
        if !self.state.proved && !is_first {
            (self.state.trial, self.state.untried) = (Some((node, self.now)), None);
        }
    }

    /// Ends the decision: this pod is replaced. It is `counted` towards the limit if it provides a service.
    pub fn grant(mut self, pod: &str, counted: Option<Replaced>) {
        let asked = self.state.granted.remove(pod).and_then(|asked| asked.counted);
        let granted = Granted { at: self.now, counted: asked.or(counted), doubted: false };
        self.state.granted.insert(pod.to_owned(), granted);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(second: u64, since: Instant) -> Instant {
        since + Duration::from_secs(second)
    }

    fn replaced(node: &str) -> Replaced {
        Replaced {
            namespace: "ledger".into(),
            node: node.into(),
            component: Component::Client,
            min_ready: SignedDuration::from_secs(30),
        }
    }

    #[test]
    fn a_pod_is_granted_until_that_is_revoked_or_its_event_is_long_overdue() {
        let (rollouts, began) = (Rollouts::new(USUAL), Instant::now());
        rollouts.decide(began).grant("a", None);
        rollouts.decide(began).grant("b", None);
        rollouts.decide(began).grant("c", Some(replaced("c")));
        rollouts.revoke("b");
        let decision = rollouts.decide(second(119, began));
        assert!(decision.is_granted("a") && !decision.is_granted("b") && decision.is_granted("c"));
        drop(decision);
        let decision = rollouts.decide(second(120, began));
        assert!(!decision.is_granted("a") && !decision.is_granted("c"));
    }

    #[test]
    fn a_part_is_on_its_way_until_its_new_pod_is_available_or_its_end_is_long_overdue() {
        let (rollouts, began) = (Rollouts::new(USUAL), Instant::now());
        let on_the_way = |at, seen: Option<bool>| {
            let mut nodes: Vec<_> = rollouts
                .decide(second(at, began))
                .on_the_way(
                    |part, pod| if part.node == "a" { Some(false) } else { seen.filter(|_| pod == "b") },
                )
                .into_iter()
                .map(|(part, since)| (part.node, since.as_secs()))
                .collect();
            nodes.sort();
            nodes
        };
        rollouts.decide(began).grant("idle", None);
        rollouts.decide(began).grant("a", Some(replaced("a")));
        rollouts.decide(began).grant("b", Some(replaced("b")));
        let told = |parts: &[(&str, u64)]| {
            parts.iter().map(|(node, since)| ((*node).to_owned(), *since)).collect::<Vec<_>>()
        };
        assert_eq!(on_the_way(119, None), told(&[("a", 119), ("b", 119)]));
        assert_eq!(on_the_way(500, Some(false)), told(&[("a", 500), ("b", 500)]));
        assert_eq!(on_the_way(501, None), told(&[("a", 501)]));
        rollouts.decide(second(501, began)).grant("b", Some(replaced("b")));
        assert_eq!(on_the_way(502, Some(false)), told(&[("a", 502), ("b", 1)]));
        assert_eq!(on_the_way(502, Some(true)), told(&[("a", 502)]));
    }

    #[test]
    fn a_pod_whose_end_is_in_doubt_is_asked_for_again_and_counted_meanwhile() {
        let (rollouts, began) = (Rollouts::new(USUAL), Instant::now());
        rollouts.decide(began).grant("a", Some(replaced("a")));
        assert!(!rollouts.decide(began).is_doubted("a"));
        rollouts.doubt("a");
        let decision = rollouts.decide(began);
        assert!(decision.is_doubted("a") && decision.is_granted("a"));
        decision.grant("a", None);
        let mut decision = rollouts.decide(began);
        assert!(!decision.is_doubted("a"));
        assert_eq!(decision.on_the_way(|_, _| Some(false)).len(), 1);
    }

    #[test]
    fn one_node_is_the_first_until_it_does_not_go_on_and_another_one_is_looked_for() {
        let (rollouts, began) = (Rollouts::new(USUAL), Instant::now());
        let node = |name: &str| ("ledger".to_owned(), name.to_owned());
        let mut decision = rollouts.decide(began);
        assert_eq!(decision.trial(|_| true), None);
        decision.try_on(node("a"));
        assert_eq!(decision.trial(|_| true), Some(node("a")));
        drop(decision);
        let mut decision = rollouts.decide(second(500, began));
        assert!(!decision.is_trial_late());
        assert_eq!(decision.trial(|trial| *trial != node("a")), None);
        assert!(!decision.is_trial_late());
        drop(decision);
        assert!(!rollouts.decide(second(619, began)).is_trial_late());
        assert!(rollouts.decide(second(620, began)).is_trial_late());
        assert!(!rollouts.is_proved());
        rollouts.prove();
        rollouts.decide(second(621, began)).try_on(node("b"));
        assert!(rollouts.is_proved() && rollouts.decide(second(621, began)).trial(|_| true).is_none());
    }

    #[test]
    fn a_first_node_that_does_not_get_on_is_the_first_no_longer() {
        let (rollouts, began) = (Rollouts::new(USUAL), Instant::now());
        let node = |name: &str| ("ledger".to_owned(), name.to_owned());
        let first = |at| rollouts.decide(second(at, began)).trial(|_| true);
        rollouts.decide(began).try_on(node("a"));
        // the eviction is repeated, and a budget rejects it each time
        for at in [15, 200, 299] {
            let mut decision = rollouts.decide(second(at, began));
            decision.try_on(node("a"));
            decision.grant("a", Some(replaced("a")));
            rollouts.revoke("a");
        }
        assert_eq!(first(299), Some(node("a")));
        assert_eq!(first(300), None);
        assert!(rollouts.decide(second(300, began)).was_tried(&node("a")));
        // a node whose pod is being replaced stays the canary until that is done
        let mut decision = rollouts.decide(second(301, began));
        decision.try_on(node("b"));
        decision.grant("b", Some(replaced("b")));
        assert_eq!(first(9000), Some(node("b")));
    }

    #[test]
    fn who_goes_first_is_waited_for_as_long_as_patience_lasts() {
        let (rollouts, began) = (Rollouts::new(USUAL), Instant::now());
        let late = |at: u64| {
            let mut decision = rollouts.decide(second(at, began));
            let late = decision.is_late("a");
            decision.waits_for("a");
            late
        };
        assert_eq!([0, 60, 119, 120, 121].map(late), [false, false, false, true, true]);
        assert!(!late(300), "nobody has waited for it meanwhile");
    }
}
