//! Claims of a verified token. Pure.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::denied::Denied;
use super::who;

/// Tolerance for clocks in seconds: an expiry counts later, a start earlier.
pub const SKEW: u64 = 30;

/// Maximum lifetime in seconds of a ServiceAccount's token. The API server requests 3607 s for the default volume of a
/// pod; a projected volume has 3600 s by default.
pub const SERVICE_ACCOUNT_LIFETIME: u64 = 3607;

/// Maximum lifetime in seconds of any other token.
pub const LIFETIME: u64 = 24 * 60 * 60;

/// The claims of a token.
pub(super) struct Claims<'a> {
    all: &'a Map<String, Value>,
    audiences: Vec<&'a str>,
    expires: u64,
    issued: u64,
    begins: u64,
}

/// The ServiceAccount of a pod.
#[derive(Clone, Copy)]
pub(super) struct ServiceAccount<'a> {
    pub(super) namespace: &'a str,
    pub(super) name: &'a str,
}

impl<'a> Claims<'a> {
    pub(super) fn of(all: &'a Map<String, Value>) -> Result<Self, Denied> {
        let audiences = match all.get("aud") {
            None => Some(Vec::new()),
            Some(Value::String(one)) => Some(vec![one.as_str()]),
            Some(Value::Array(several)) => several.iter().map(Value::as_str).collect(),
            Some(_) => None,
        };
        let audiences = audiences.ok_or(Denied::Malformed("aud that is a string or several"))?;
        let second = |name: &str| all.get(name).map(|second| second.as_u64().ok_or(()));
        let (Some(Ok(expires)), Some(Ok(issued)), Ok(begins)) =
            (second("exp"), second("iat"), second("nbf").transpose())
        else {
            return Err(Denied::Malformed("exp and iat, and nbf if any, as whole seconds since 1970"));
        };
        if expires <= issued {
            return Err(Denied::Malformed("exp after iat"));
        }
        Ok(Self { all, audiences, expires, issued, begins: begins.unwrap_or(issued).max(issued) })
    }

    /// Returns the first second after the token's validity. Fails outside the validity.
    pub(super) fn until(&self, now: u64) -> Result<u64, Denied> {
        let until = self.expires.saturating_add(SKEW);
        if now >= until {
            return Err(Denied::Expired(now - self.expires));
        }
        match self.begins.checked_sub(now) {
            Some(by) if by > SKEW => Err(Denied::Early(by)),
            _ => Ok(until),
        }
    }

    /// Returns the ServiceAccount of a cluster token. Checks the members that the API server writes for a pod's token.
    pub(super) fn account(&self, audience: &str) -> Result<ServiceAccount<'a>, Denied> {
        self.lasts_at_most(SERVICE_ACCOUNT_LIFETIME)?;
        if !self.audiences.contains(&audience) {
            return Err(Denied::Audience(Some(audience.to_owned())));
        }
        let own = self.all.get("kubernetes.io").ok_or(Denied::Unbound)?;
        let text = |path: &str| own.pointer(path)?.as_str().filter(|text| !text.is_empty());
        if text("/pod/name").is_none() || text("/pod/uid").is_none() {
            return Err(Denied::Unbound);
        }
        let (Some(namespace), Some(name)) = (text("/namespace"), text("/serviceaccount/name")) else {
            return Err(Denied::Malformed("the namespace and the name of its account"));
        };
        if self.subject()? != format!("system:serviceaccount:{namespace}:{name}") {
            return Err(Denied::Malformed("a sub that is its account"));
        }
        Ok(ServiceAccount { namespace, name })
    }

    /// Returns the subject if the token is for this audience.
    pub(super) fn subject_for(&self, audience: &str) -> Result<&'a str, Denied> {
        self.lasts_at_most(LIFETIME)?;
        if self.audiences.contains(&audience) { self.subject() } else { Err(Denied::Audience(None)) }
    }

    /// Returns the audit record's members: the subject, and for a ServiceAccount the pod.
    pub(super) fn who(&self, is_account: bool) -> Arc<str> {
        let pod = self.all.get("kubernetes.io").and_then(|own| own.pointer("/pod/name")?.as_str());
        match (self.subject().unwrap_or_default(), pod.filter(|_| is_account)) {
            (subject, Some(pod)) => who::members(&[("subject", subject), ("pod", pod)]),
            (subject, None) => who::members(&[("subject", subject)]),
        }
    }

    fn subject(&self) -> Result<&'a str, Denied> {
        self.all.get("sub").and_then(Value::as_str).ok_or(Denied::Malformed("a sub that is a string"))
    }

    fn lasts_at_most(&self, most: u64) -> Result<(), Denied> {
        let lasts = self.expires - self.issued;
        if lasts > most { Err(Denied::Lifetime(lasts, most)) } else { Ok(()) }
    }
}
