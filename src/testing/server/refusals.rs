//! Standing refusals and delays, which last until a test lifts them.

use std::{collections::BTreeSet, sync::Mutex, time::Duration};

use serde_json::{Value, json};

use super::{Call, Refusal, Server, lock, reason};

#[derive(Default)]
pub(super) struct Refusals {
    everything: Mutex<Option<u16>>,
    allowed: Mutex<Option<BTreeSet<String>>>,
    broken: Mutex<Option<(String, u16)>>,
    closed: Mutex<Option<String>>,
    garbled: Mutex<Option<(String, Value)>>,
    delayed: Mutex<Option<Delayed>>,
}

/// Requests that the server delays.
#[derive(Clone, Debug)]
pub struct Delayed {
    /// Name of the client.
    pub caller: String,
    /// Prefix of the requests, such as `update leases`.
    pub requests: String,
    /// Length of the delay.
    pub by: Duration,
}

impl Delayed {
    /// Delays requests of `caller` that begin with `requests`.
    #[must_use]
    pub fn of(caller: &str, requests: &str, milliseconds: u64) -> Self {
        let by = Duration::from_millis(milliseconds);
        Self { caller: caller.into(), requests: requests.into(), by }
    }
}

impl Refusals {
    pub(super) fn of(&self, call: &Call) -> Option<Refusal> {
        self.everything()
            .or_else(|| self.forbidden(call))
            .or_else(|| self.closed(call))
            .or_else(|| self.broken(call))
    }

    pub(super) fn garbled(&self, call: &Call) -> Option<Value> {
        let garbled = lock(&self.garbled);
        let (_, data) = garbled.as_ref().filter(|(requests, _)| call.to_string().starts_with(requests))?;
        Some(json!({"kind": "Secret", "apiVersion": "v1", "metadata": {}, "data": data}))
    }

    pub(super) fn delay(&self, call: &Call) -> Option<Duration> {
        let delayed = lock(&self.delayed);
        let concerns = |delayed: &&Delayed| {
            delayed.caller == call.caller && call.to_string().starts_with(&delayed.requests)
        };
        delayed.as_ref().filter(concerns).map(|delayed| delayed.by)
    }

    fn everything(&self) -> Option<Refusal> {
        lock(&self.everything).map(|code| Refusal::new(code, reason(code), "everything is refused"))
    }

    fn closed(&self, call: &Call) -> Option<Refusal> {
        let closed = lock(&self.closed);
        let closed = closed.as_ref().filter(|namespace| **namespace == call.target.namespace)?;
        Some(Refusal::new(403, "Forbidden", format!("{call} in {closed}")))
    }

    fn forbidden(&self, call: &Call) -> Option<Refusal> {
        let allowed = lock(&self.allowed);
        let allowed = allowed.as_ref()?;
        let lacking = call.permissions().into_iter().find(|needed| !allowed.contains(needed))?;
        let verb = lacking.split(' ').next().unwrap_or_default();
        Some(Refusal::new(403, "Forbidden", format!("User \"x\" cannot {verb} resource \"{lacking}\"")))
    }

    fn broken(&self, call: &Call) -> Option<Refusal> {
        let broken = lock(&self.broken);
        let concerns = |broken: &&(String, u16)| {
            let whole = call.to_string();
            whole.starts_with(&broken.0) || format!("{} {whole}", call.caller).starts_with(&broken.0)
        };
        let (_, code) = broken.as_ref().filter(concerns)?;
        Some(Refusal::new(*code, reason(*code), "broken on purpose"))
    }
}

impl Server {
    /// Refuses every request with this code, including new watches, until called with `None`.
    pub fn refuse(&self, code: Option<u16>) {
        *lock(&self.refusals.everything) = code;
    }

    /// Forbids requests that need other permissions than these, written as in [`Call::permissions`]. Open watches
    /// stay open.
    pub fn allow_only(&self, allowed: Option<BTreeSet<String>>) {
        *lock(&self.refusals.allowed) = allowed;
    }

    /// Forbids every request in a namespace.
    pub fn close(&self, namespace: Option<&str>) {
        *lock(&self.refusals.closed) = namespace.map(str::to_owned);
    }

    /// Answers requests that begin with `requests` with a Secret with this `data`, which may be of a wrong type.
    pub fn garble(&self, requests: &str, data: Option<Value>) {
        *lock(&self.refusals.garbled) = data.map(|data| (requests.to_owned(), data));
    }

    /// Delays some requests.
    pub fn delay(&self, delayed: Option<Delayed>) {
        *lock(&self.refusals.delayed) = delayed;
    }

    /// Refuses requests that begin with `requests`, such as `apply services` or `CALLER apply services`, with this
    /// code until called with `None`.
    pub fn break_for(&self, requests: &str, code: Option<u16>) {
        *lock(&self.refusals.broken) = code.map(|code| (requests.to_owned(), code));
    }
}
