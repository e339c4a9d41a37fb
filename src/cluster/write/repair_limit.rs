//! Rate limit for repairs, and detection of field conflicts: objects that another writer changes after each repair.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::cluster::drift::Drift;

/// Maximum number of repairs of an object within [`MINUTE`].
const LIMIT: usize = 6;
const MINUTE: Duration = Duration::from_secs(60);
/// How long repairs are remembered. Longer than the limit lasts, so that a conflict does not appear to end each time.
const MEMORY: Duration = Duration::from_secs(120);

/// An object that another writer changes after each repair.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldConflict {
    /// Kind and name.
    pub object: String,
    /// Fields that both sides write.
    pub fields: BTreeSet<String>,
    /// Field managers of the other writers.
    pub managers: BTreeSet<String>,
    /// Whether the operator leaves the object for now.
    pub holds: bool,
    /// Time until the limit allows a repair again, or until the conflict may be over.
    pub again: Duration,
}

/// Kind, namespace, name.
pub type Object = (String, String, String);

/// Recent repairs of all objects. They affect when something is written, not what.
#[derive(Debug, Default)]
pub struct RepairLimit {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    repairs: HashMap<Object, Repairs>,
    /// Time of the last cleanup.
    swept: Option<Instant>,
}

#[derive(Debug, Default)]
struct Repairs {
    times: VecDeque<Instant>,
    /// Time of the last admitted repair, if its write has not succeeded yet.
    begun: Option<Instant>,
    fields: BTreeSet<String>,
    managers: BTreeSet<String>,
}

impl Repairs {
    fn forget(&mut self, now: Instant) {
        while self.times.front().is_some_and(|time| now.duration_since(*time) >= MEMORY) {
            self.times.pop_front();
        }
        self.begun.take_if(|begun| now.duration_since(*begun) >= MEMORY);
    }

    fn is_over(&self) -> bool {
        self.times.is_empty() && self.begun.is_none()
    }

    fn is_limited(&self, now: Instant) -> bool {
        self.times.iter().filter(|time| now.duration_since(**time) < MINUTE).count() >= LIMIT
    }
}

impl RepairLimit {
    /// Whether an object may be repaired now. The repair counts once it is [`Self::done`]; a failed one changes
    /// nothing, and is retried.
    pub fn admit(&self, object: &Object, drift: Drift, now: Instant) -> bool {
        let mut state = self.lock();
        if state.swept.is_none_or(|swept| now.duration_since(swept) >= MINUTE) {
            state.swept = Some(now);
            state.repairs.retain(|_, repairs| {
                repairs.forget(now);
                !repairs.is_over()
            });
        }
        let repairs = state.repairs.entry(object.clone()).or_default();
        repairs.forget(now);
        if repairs.is_over() {
            *repairs = Repairs::default();
        }
        repairs.fields.extend(drift.fields);
        repairs.managers.extend(drift.managers);
        let admitted = !repairs.is_limited(now);
        if admitted {
            repairs.begun = Some(now);
        }
        admitted
    }

    /// Records that an object was written. This completes a repair that was admitted.
    pub fn done(&self, object: &Object, now: Instant) {
        let mut state = self.lock();
        let Some(repairs) = state.repairs.get_mut(object) else { return };
        if repairs.begun.take().is_some() {
            repairs.times.push_back(now);
        }
    }

    /// The field conflict over an object, if there is one.
    #[must_use]
    pub fn over(&self, object: &Object, now: Instant) -> Option<FieldConflict> {
        let mut state = self.lock();
        let repairs = state.repairs.get_mut(object)?;
        repairs.forget(now);
        let oldest = *repairs.times.get(repairs.times.len().checked_sub(LIMIT)?)?;
        let holds = repairs.is_limited(now);
        let until = oldest + if holds { MINUTE } else { MEMORY };
        Some(FieldConflict {
            object: format!("{} {}", object.0, object.2),
            fields: repairs.fields.clone(),
            managers: repairs.managers.clone(),
            holds,
            again: until.duration_since(now),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service() -> Object {
        ("Service".into(), "ledger".into(), "alice-p2p".into())
    }

    fn drift() -> Drift {
        Drift { fields: vec!["spec.selector".into()], managers: vec!["fighter".into()] }
    }

    /// Repairs an object if the limit allows it.
    fn repair(repair_limit: &RepairLimit, object: &Object, now: Instant) -> bool {
        let admitted = repair_limit.admit(object, drift(), now);
        if admitted {
            repair_limit.done(object, now);
        }
        admitted
    }

    #[test]
    fn a_repair_whose_write_fails_is_none() {
        let (repair_limit, start) = (RepairLimit::default(), Instant::now());
        for second in 0..60 {
            assert!(repair_limit.admit(&service(), drift(), start + Duration::from_secs(second)));
        }
        let after = |seconds| start + Duration::from_secs(seconds);
        repair_limit.done(&service(), after(60));
        repair_limit.done(&service(), after(61));
        for second in 61..66 {
            assert!(repair(&repair_limit, &service(), after(second)), "{second}");
        }
        assert!(!repair(&repair_limit, &service(), after(66)), "six have succeeded");
        repair_limit.done(&("Service".into(), "ledger".into(), "bob-p2p".into()), after(66));
        assert_eq!(repair_limit.lock().repairs.len(), 1, "a write that is no repair leaves no trace");
    }

    /// No minute has more than six repairs, whatever their timing.
    #[test]
    fn no_minute_sees_more_than_six_repairs() {
        for step in [1, 700, 9_000, 11_000] {
            let (repair_limit, start) = (RepairLimit::default(), Instant::now());
            let mut written = Vec::new();
            for at in (0..600_000).step_by(step).map(Duration::from_millis) {
                if repair(&repair_limit, &service(), start + at) {
                    written.push(at);
                }
            }
            for from in &written {
                let minute = written.iter().filter(|at| (*from..*from + MINUTE).contains(*at)).count();
                assert!(minute <= LIMIT, "{minute} from {from:?}, one each {step} ms");
            }
            assert!(written.len() >= 50, "it is not given up: {}", written.len());
        }
    }

    #[test]
    fn a_fight_is_named_while_it_lasts_and_ends() {
        let (repair_limit, start) = (RepairLimit::default(), Instant::now());
        for second in 0..5 {
            assert!(repair(&repair_limit, &service(), start + Duration::from_secs(second)));
        }
        let after = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(repair_limit.over(&service(), after(5)), None, "five repairs are no fight yet");
        assert!(repair(&repair_limit, &service(), after(5)));
        let fight = repair_limit.over(&service(), after(10)).expect("a fight");
        assert_eq!((fight.object.as_str(), fight.holds), ("Service alice-p2p", true));
        assert!(fight.fields.contains("spec.selector") && fight.managers.contains("fighter"));
        assert_eq!(fight.again, Duration::from_secs(50), "when the first of the six is a minute old");
        let fight = repair_limit.over(&service(), after(60)).expect("not over at once");
        assert_eq!((fight.holds, fight.again), (false, Duration::from_secs(60)));
        assert_eq!(repair_limit.over(&service(), after(120)), None);
        assert!(repair(&repair_limit, &("Service".into(), "ledger".into(), "bob-p2p".into()), after(125)));
        assert_eq!(repair_limit.lock().repairs.len(), 1, "what is over is forgotten");
    }
}
