//! Readiness of the operator: what is missing before it can work, for `/readyz`.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// State of the watches of a scope: a namespace, or all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Watched {
    /// Their first lists are not complete yet.
    Filling,
    /// All watches work.
    Whole,
    /// A watch does not work. Other scopes are not affected.
    Lacking {
        /// What is missing and what to do.
        why: String,
        /// Whether all watches worked before, so that reconciles continue as far as possible.
        works: bool,
    },
}

/// Readiness of the operator, shared by the tasks that report to it.
#[derive(Debug)]
pub struct Health(Mutex<State>);

#[derive(Debug)]
struct State {
    missing: Option<&'static str>,
    scopes: BTreeMap<String, Watched>,
}

impl Default for Health {
    fn default() -> Self {
        Self(Mutex::new(State { missing: Some("starting"), scopes: BTreeMap::new() }))
    }
}

impl Health {
    /// Reports that something is missing for all scopes.
    pub fn missing(&self, what: &'static str) {
        self.lock().missing = Some(what);
    }

    /// Reports the watches of a scope, and clears what [`Health::missing`] reported.
    pub fn scope(&self, name: &str, watched: Watched) {
        let mut state = self.lock();
        state.missing = None;
        state.scopes.insert(name.to_owned(), watched);
    }

    /// Whether the operator is ready, with one line of text for each thing that is missing. It is ready when no
    /// scope still reads its first lists and at least one scope works.
    #[must_use]
    pub fn state(&self) -> (bool, String) {
        let state = self.lock();
        if let Some(missing) = state.missing {
            return (false, format!("{missing}\n"));
        }
        let works =
            |watched: &Watched| matches!(watched, Watched::Whole | Watched::Lacking { works: true, .. });
        let is_ready =
            !state.scopes.values().any(|it| *it == Watched::Filling) && state.scopes.values().any(works);
        let mut text = if is_ready { "ok\n".to_owned() } else { String::new() };
        for (name, watched) in &state.scopes {
            let why = match watched {
                Watched::Whole => continue,
                Watched::Filling => "the watch caches are still filling",
                Watched::Lacking { why, .. } => why,
            };
            // writing to a String cannot fail
            let _ = writeln!(text, "{name}: {why}");
        }
        (is_ready, text)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lacking(works: bool) -> Watched {
        Watched::Lacking { why: "no such namespace".into(), works }
    }

    #[test]
    fn a_scope_that_lacks_something_is_named_and_holds_up_no_other() {
        let health = Health::default();
        assert_eq!(health.state(), (false, "starting\n".to_owned()));
        health.scope("ledger", Watched::Filling);
        health.scope("bank", lacking(false));
        let filling = "bank: no such namespace\nledger: the watch caches are still filling\n";
        assert_eq!(health.state(), (false, filling.to_owned()));
        health.scope("ledger", Watched::Whole);
        assert_eq!(health.state(), (true, "ok\nbank: no such namespace\n".to_owned()));
        health.scope("bank", Watched::Whole);
        assert_eq!(health.state(), (true, "ok\n".to_owned()));
        health.missing("the QuorumNode definition is not installed");
        assert!(!health.state().0);
    }

    #[test]
    fn where_nothing_was_ever_seen_nothing_is_ready() {
        let health = Health::default();
        health.scope("ledger", lacking(false));
        assert_eq!(health.state(), (false, "ledger: no such namespace\n".to_owned()));
        health.scope("ledger", lacking(true));
        assert_eq!(health.state(), (true, "ok\nledger: no such namespace\n".to_owned()));
    }
}
