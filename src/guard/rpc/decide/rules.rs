//! A compiled policy: identities, grants and state of the callers. Pure.

use std::sync::Arc;

use super::identity::{Identities, Known};
use crate::{
    guard::rpc::limits::caller_state::CallerState,
    protocol::policy::{Caller, Policy, grants::Grants},
};

/// A compiled policy.
pub struct Rules {
    /// The policy as in the file.
    pub policy: Policy,
    /// Identities of the callers.
    pub identities: Identities,
    grants: Vec<Grants>,
    accounts: Vec<Arc<CallerState>>,
}

impl Rules {
    /// Compiles a policy. Callers that the old rules have as well retain their state.
    ///
    /// # Errors
    /// Names the field, its value and what to write instead.
    pub fn of(policy: Policy, before: Option<&Rules>) -> Result<Self, String> {
        let grants = policy.callers.iter().map(|caller| {
            caller.grants().map_err(|wrong| format!("callers.{}.methods: {wrong}", caller.name))
        });
        let grants = grants.collect::<Result<_, _>>()?;
        let accounts = policy.callers.iter().map(|caller| {
            let known = before.and_then(|rules| rules.position(&caller.name).map(|at| rules.account(at)));
            known.cloned().unwrap_or_else(|| Arc::new(CallerState::new(&caller.name)))
        });
        let (accounts, identities) = (accounts.collect(), Identities::of(&policy)?);
        Ok(Self { policy, identities, grants, accounts })
    }

    /// Whether a caller may call a method.
    #[must_use]
    pub fn allows(&self, caller: usize, method: &str) -> bool {
        self.grants.get(caller).is_some_and(|grants| grants.allow(method))
    }

    /// Returns the index of a caller that the old rules authenticated, if these rules would still authenticate it in
    /// the same way.
    fn same(&self, before: &Rules, known: &Known) -> Option<usize> {
        if std::ptr::eq(self, before) {
            return Some(known.caller);
        }
        let then = before.caller(known.caller);
        let now = self.position(&then.name).filter(|at| self.caller(*at).identity == then.identity);
        now.filter(|_| self.identities.still_take(&before.identities, known))
    }

    /// Whether a caller that the old rules authenticated would still be authenticated in the same way.
    #[must_use]
    pub fn still_knows(&self, before: &Rules, known: &Known) -> bool {
        self.same(before, known).is_some()
    }

    /// Whether a caller that the old rules authenticated may still call a method.
    #[must_use]
    pub fn still_allows(&self, before: &Rules, known: &Known, method: &str) -> bool {
        self.same(before, known).is_some_and(|at| self.allows(at, method))
    }

    /// Returns the index of a caller by its name.
    #[must_use]
    pub fn position(&self, name: &str) -> Option<usize> {
        self.policy.callers.iter().position(|caller| caller.name == name)
    }

    /// Returns the state of a caller.
    #[must_use]
    pub fn account(&self, caller: usize) -> &Arc<CallerState> {
        &self.accounts[caller]
    }

    /// Returns the policy's entry of a caller.
    #[must_use]
    pub fn caller(&self, caller: usize) -> &Caller {
        &self.policy.callers[caller]
    }

    /// Returns the state of every caller.
    #[must_use]
    pub fn accounts(&self) -> &[Arc<CallerState>] {
        &self.accounts
    }

    /// Whether the policy lists a request's `Host`. Ignores case, a port and a trailing dot.
    #[must_use]
    pub fn serves(&self, host: &str) -> bool {
        let name = match host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
            _ => host,
        };
        let name = name.strip_suffix('.').unwrap_or(name);
        self.policy.hosts.iter().any(|served| served.eq_ignore_ascii_case(name))
    }

    /// Whether any caller may call from a page of this origin. A preflight does not say which caller it is for.
    #[must_use]
    pub fn has_origin(&self, origin: &str) -> bool {
        self.policy.callers.iter().any(|caller| caller.origins.iter().any(|one| one == origin))
    }

    /// Whether the entry of a caller that the old rules authenticated is unchanged, so that its WebSockets may stay
    /// open.
    #[must_use]
    pub fn keeps(&self, before: &Rules, known: &Known) -> bool {
        self.same(before, known).is_some_and(|at| {
            let (now, then) = (self.caller(at), before.caller(known.caller));
            let has_grants = now.methods == then.methods && now.private_state == then.private_state;
            has_grants && now.origins == then.origins
        })
    }
}
