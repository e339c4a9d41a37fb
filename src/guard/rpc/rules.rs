//! The policy as it is gone by. Pure.

use std::sync::Arc;

use super::account::Account;
use super::identity::Identities;
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
        self.policy.hosts.iter().any(|served| served.eq_ignore_ascii_case(name))
    }

    /// Whether somebody may call from a page of this origin; a preflight does not say who.
    #[must_use]
    pub fn has_origin(&self, origin: &str) -> bool {
        self.policy.callers.iter().any(|caller| caller.origins.iter().any(|one| one == origin))
    }

    /// Whether a caller is what it was: what it has open may stay open.
    #[must_use]
    pub fn keeps(&self, caller: &Caller) -> bool {
        self.position(&caller.name).is_some_and(|at| {
            let now = self.caller(at);
            let has_grants_of = now.methods == caller.methods && now.private_state == caller.private_state;
            now.identity == caller.identity && has_grants_of && now.origins == caller.origins
        })
    }
}
