//! What the server refuses, until it is told otherwise.

use std::{collections::BTreeSet, sync::Mutex};

use serde_json::{Value, json};

use super::{Call, Refusal, Server, lock, reason};

#[derive(Default)]
pub(super) struct Refusals {
    everything: Mutex<Option<u16>>,
    allowed: Mutex<Option<BTreeSet<String>>>,
    broken: Mutex<Option<(String, u16)>>,
    closed: Mutex<Option<String>>,
    garbled: Mutex<Option<(String, Value)>>,
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
        Some(Refusal::new(403, "Forbidden", format!("not allowed: {lacking}")))
    }

    fn broken(&self, call: &Call) -> Option<Refusal> {
        let broken = lock(&self.broken);
        let (_, code) = broken.as_ref().filter(|(requests, _)| call.to_string().starts_with(requests))?;
        Some(Refusal::new(*code, reason(*code), "broken on purpose"))
    }
}

impl Server {
    /// Refuses everything with this code, watches too, until told otherwise.
    pub fn refuse(&self, code: Option<u16>) {
        *lock(&self.refusals.everything) = code;
    }

    /// Forbids what is not among these permissions, written as [`Call::permissions`] has them. Watches that
    /// are open stay so.
    pub fn allow_only(&self, allowed: Option<BTreeSet<String>>) {
        *lock(&self.refusals.allowed) = allowed;
    }

    /// Forbids everything in a namespace.
    pub fn close(&self, namespace: Option<&str>) {
        *lock(&self.refusals.closed) = namespace.map(str::to_owned);
    }

    /// Answers requests that begin like this with a Secret whose `data` is of a wrong type, until told otherwise.
    pub fn garble(&self, requests: &str, data: Option<Value>) {
        *lock(&self.refusals.garbled) = data.map(|data| (requests.to_owned(), data));
    }

    /// Answers requests that begin like this, such as `apply services`, with a code until told otherwise.
    pub fn break_for(&self, requests: &str, code: Option<u16>) {
        *lock(&self.refusals.broken) = code.map(|code| (requests.to_owned(), code));
    }
}
