//! The policy as it is gone by. Pure.

use std::sync::Arc;

use super::account::Account;
use super::identity::{Identities, Known};
use crate::policy::grants::Grants;
use crate::policy::{Caller, Policy};

/// A policy, compiled.
pub struct Rules {
    /// As the file has it.
    pub policy: Policy,
    /// Who may be known.
    pub identities: Identities,
    grants: Vec<Grants>,
    accounts: Vec<Arc<Account>>,
}

impl Rules {
    /// Compiles a policy. What is counted of its callers goes on where it stood.
    ///
    /// # Errors
    /// Names the field, its value and what would be right.
    pub fn of(policy: Policy, before: Option<&Rules>) -> Result<Self, String> {
        let grants = policy.callers.iter().map(|caller| {
            caller.grants().map_err(|wrong| format!("callers.{}.methods: {wrong}", caller.name))
        });
        let grants = grants.collect::<Result<_, _>>()?;
        let accounts = policy.callers.iter().map(|caller| {
            let known = before.and_then(|rules| rules.position(&caller.name).map(|at| rules.account(at)));
            known.cloned().unwrap_or_else(|| Arc::new(Account::new(&caller.name)))
        });
        let (accounts, identities) = (accounts.collect(), Identities::of(&policy)?);
        Ok(Self { policy, identities, grants, accounts })
    }

    /// Whether a caller may call a method.
    #[must_use]
    pub fn allows(&self, caller: usize, method: &str) -> bool {
        self.grants.get(caller).is_some_and(|grants| grants.allow(method))
    }

    /// Where a caller stands that other rules knew, if it is still known in the same way, by what it has shown.
    fn same(&self, before: &Rules, known: &Known) -> Option<usize> {
        if std::ptr::eq(self, before) {
            return Some(known.caller);
        }
        let then = before.caller(known.caller);
        let now = self.position(&then.name).filter(|at| self.caller(*at).identity == then.identity);
        now.filter(|_| self.identities.still_take(&before.identities, known))
    }

    /// Whether a caller that other rules knew is still known in the same way.
    #[must_use]
    pub fn still_knows(&self, before: &Rules, known: &Known) -> bool {
        self.same(before, known).is_some()
    }

    /// Whether a caller that other rules knew may still call a method.
    #[must_use]
    pub fn still_allows(&self, before: &Rules, known: &Known, method: &str) -> bool {
        self.same(before, known).is_some_and(|at| self.allows(at, method))
    }

    /// Where a caller stands, by its name.
    #[must_use]
    pub fn position(&self, name: &str) -> Option<usize> {
        self.policy.callers.iter().position(|caller| caller.name == name)
    }

    /// What is counted of a caller.
    #[must_use]
    pub fn account(&self, caller: usize) -> &Arc<Account> {
        &self.accounts[caller]
    }

    /// A caller, as the file has it.
    #[must_use]
    pub fn caller(&self, caller: usize) -> &Caller {
        &self.policy.callers[caller]
    }

    /// What is counted of each.
    #[must_use]
    pub fn accounts(&self) -> &[Arc<Account>] {
        &self.accounts
    }

    /// Whether a request's `Host` is served: a name of the list in any case, with or without a port.
    #[must_use]
    pub fn serves(&self, host: &str) -> bool {
        let name = match host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
            _ => host,
        };
        let name = name.strip_suffix('.').unwrap_or(name);
        self.policy.hosts.iter().any(|served| served.eq_ignore_ascii_case(name))
    }

    /// Whether somebody may call from a page of this origin; a preflight does not say who.
    #[must_use]
    pub fn has_origin(&self, origin: &str) -> bool {
        self.policy.callers.iter().any(|caller| caller.origins.iter().any(|one| one == origin))
    }

    /// Whether a caller that other rules knew is what it was: what it has open may stay open.
    #[must_use]
    pub fn keeps(&self, before: &Rules, known: &Known) -> bool {
        self.same(before, known).is_some_and(|at| {
            let (now, then) = (self.caller(at), before.caller(known.caller));
            let has_grants = now.methods == then.methods && now.private_state == then.private_state;
            has_grants && now.origins == then.origins
        })
    }
}
