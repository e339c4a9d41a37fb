//! State of the server: objects, resource versions, history and open watches.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use futures::channel::mpsc::UnboundedSender;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{
    Server, admission, life, lock, ownership,
    request::{Call, Target},
};

/// Error with which the server refuses a request.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// HTTP status.
    pub code: u16,
    /// Reason of the Status object.
    pub reason: &'static str,
    /// Message of the Status object.
    pub message: String,
}

impl Refusal {
    pub(super) fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self { code, reason, message: message.into() }
    }

    pub(super) fn status(&self) -> Value {
        json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": self.code,
            "reason": self.reason, "message": self.message})
    }
}

/// A change of an object.
#[derive(Clone, Debug)]
pub struct Change {
    /// Time of the change.
    pub at: Instant,
    /// `ADDED`, `MODIFIED` or `DELETED`.
    pub kind: &'static str,
    /// The changed object's address.
    pub target: Target,
    /// The object after the change, or its last state if it was deleted.
    pub object: Value,
}

pub(super) struct Watch {
    pub(super) call: Call,
    pub(super) events: UnboundedSender<String>,
}

/// A mutating admission webhook.
pub(super) type Webhook = Arc<dyn Fn(&Target, &mut Value) + Send + Sync>;

/// State of the server.
#[derive(Default)]
pub struct State {
    objects: BTreeMap<Target, Value>,
    /// Instant at which the first object was stored. It corresponds to [`START`](super::START).
    began: Option<Instant>,
    version: u64,
    uids: u64,
    pub(super) watches: Vec<Watch>,
    /// Watches that stay open and receive no events.
    pub(super) forgotten: Vec<Watch>,
    history: Vec<(u64, Change)>,
    /// Missing pods are not created.
    pub(super) no_new_pods: bool,
    /// New pods do not become ready by themselves.
    pub(super) slow: bool,
    /// Message that refuses larger claims.
    pub(super) no_growth: Option<&'static str>,
    /// Volumes do not grow.
    pub(super) held_volumes: bool,
    /// Watches cannot resume from versions before this one.
    pub(super) compacted: u64,
    /// Mutating admission webhook for every apply and update of an object.
    pub(super) webhook: Option<Webhook>,
}

fn finalizers(object: &Value) -> Vec<String> {
    let listed = object["metadata"]["finalizers"].as_array().into_iter().flatten();
    listed.filter_map(|entry| entry.as_str().map(str::to_owned)).collect()
}

impl Server {
    /// A server with the same objects and history and without recorded calls.
    #[must_use]
    pub fn copy(&self) -> Arc<Self> {
        let state = lock(&self.state);
        let mut objects = state.objects.clone();
        // the copy's clock starts again
        objects.values_mut().for_each(life::undate);
        let copy = State {
            objects,
            version: state.version,
            uids: state.uids,
            history: state.history.clone(),
            ..State::default()
        };
        Arc::new(Self { state: Mutex::new(copy), served: self.served.clone(), ..Self::default() })
    }
}

impl State {
    pub(super) fn get(&self, target: &Target) -> Option<&Value> {
        self.objects.get(target)
    }

    pub(super) fn of_kind<'a>(&'a self, resource: &'a str) -> impl Iterator<Item = (&'a Target, &'a Value)> {
        self.objects.iter().filter(move |(target, _)| target.resource == resource)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = (&Target, &Value)> {
        self.objects.iter()
    }

    pub(super) fn selected(&self, call: &Call) -> Vec<Value> {
        let chosen = self.objects.iter().filter(|(target, object)| selects(call, target, object));
        chosen.map(|(_, object)| object.clone()).collect()
    }

    pub(super) fn version(&self) -> u64 {
        self.version
    }

    /// Stores an object if it differs from the stored one, and notifies watches.
    pub(super) fn store(&mut self, target: &Target, mut object: Value) -> Value {
        let before = self.objects.get(target);
        let began = *self.began.get_or_insert_with(Instant::now);
        if target.resource == "pods" {
            life::dated(before, &mut object, began.elapsed());
        }
        if before == Some(&object) {
            return object;
        }
        let kind = if before.is_some() { "MODIFIED" } else { "ADDED" };
        if before.is_none() {
            self.uids += 1;
            let metadata = &mut object["metadata"];
            metadata["name"] = json!(target.name);
            if !target.namespace.is_empty() {
                metadata["namespace"] = json!(target.namespace);
            }
            metadata["uid"] = json!(format!("uid-{}", self.uids));
            metadata["creationTimestamp"] = json!(format!(
                "2026-01-01T{:02}:{:02}:{:02}Z",
                self.uids / 3600,
                self.uids / 60 % 60,
                self.uids % 60
            ));
            metadata["generation"] = json!(1);
            if target.resource == "services" && object["spec"]["clusterIP"].is_null() {
                object["spec"]["clusterIP"] =
                    json!(format!("10.96.{}.{}", self.uids / 250, self.uids % 250 + 1));
            }
        } else if before.is_some_and(|before| before["spec"] != object["spec"]) {
            let generation = object["metadata"]["generation"].as_i64().unwrap_or(1);
            object["metadata"]["generation"] = json!(generation + 1);
        }
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        if object["metadata"]["deletionTimestamp"].is_string() && finalizers(&object).is_empty() {
            self.objects.remove(target);
            self.tell("DELETED", target, object.clone());
            return object;
        }
        self.objects.insert(target.clone(), object.clone());
        self.tell(kind, target, object.clone());
        object
    }

    fn tell(&mut self, kind: &'static str, target: &Target, object: Value) {
        self.watches.retain(|watch| {
            !selects(&watch.call, target, &object)
                || watch.events.unbounded_send(event(kind, shown(&watch.call, &object))).is_ok()
        });
        self.history
            .push((self.version, Change { at: Instant::now(), kind, target: target.clone(), object }));
    }

    /// All changes so far, in order.
    pub(super) fn changes(&self) -> Vec<Change> {
        self.history.iter().map(|(_, change)| change.clone()).collect()
    }

    /// Events after a version; `None` if that version has been compacted.
    pub(super) fn since(&self, version: u64, call: &Call) -> Option<Vec<String>> {
        if version < self.compacted {
            return None;
        }
        let later = self
            .history
            .iter()
            .filter(|(at, change)| *at > version && selects(call, &change.target, &change.object));
        Some(later.map(|(_, change)| event(change.kind, shown(call, &change.object))).collect())
    }

    pub(super) fn create(&mut self, target: &Target, manager: &str, object: Value) -> Result<Value, Refusal> {
        if self.objects.contains_key(target) {
            return Err(Refusal::new(
                409,
                "AlreadyExists",
                format!("{} {} already exists", target.resource, target.name),
            ));
        }
        let mut object = object;
        object["metadata"]["managedFields"] =
            json!([entry(manager, "Update", "", &ownership::fields(&object))]);
        Ok(self.store(target, object))
    }

    /// Forced server-side apply.
    pub(super) fn apply(
        &mut self,
        (target, subresource): (&Target, &str),
        manager: &str,
        config: &Value,
    ) -> Result<Value, Refusal> {
        let live = self.objects.get(target).cloned();
        if live.is_none() && !subresource.is_empty() {
            return Err(not_found(target));
        }
        let mut merged = live.clone().unwrap_or_else(|| json!({"metadata": {}}));
        let mut entries = merged["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
        let is_own = |entry: &Value| {
            entry["manager"] == manager
                && entry["operation"] == "Apply"
                && entry["subresource"].as_str().unwrap_or_default() == subresource
        };
        let own = entries.iter().position(is_own).map(|at| entries.remove(at));
        let new = ownership::fields(config);
        let old = own.map(|own| ownership::decode(&own["fieldsV1"])).unwrap_or_default();
        for entry in &mut entries {
            let mut theirs = ownership::decode(&entry["fieldsV1"]);
            theirs.retain(|path| {
                !new.contains(path) || ownership::get(&merged, path) == ownership::get(config, path)
            });
            entry["fieldsV1"] = ownership::encode(&theirs);
        }
        entries.retain(|entry| entry["fieldsV1"] != json!({}));
        let others: Vec<_> = entries.iter().map(|entry| ownership::decode(&entry["fieldsV1"])).collect();
        for path in old.difference(&new).filter(|path| !others.iter().any(|other| other.contains(*path))) {
            ownership::remove(&mut merged, path);
        }
        let metadata = merged["metadata"].clone();
        ownership::merge(&mut merged, config, "");
        for kept in ["uid", "resourceVersion", "creationTimestamp", "generation"] {
            if !metadata[kept].is_null() {
                merged["metadata"][kept] = metadata[kept].clone();
            }
        }
        if let Some(webhook) = self.webhook.clone().filter(|_| subresource.is_empty()) {
            webhook(target, &mut merged);
        }
        if let Some(live) = &live {
            admission::admit(&target.resource, live, &merged, self.no_growth)?;
        }
        entries.push(entry(manager, "Apply", subresource, &new));
        entries.sort_by_key(ToString::to_string);
        merged["metadata"]["managedFields"] = Value::Array(entries);
        Ok(self.store(target, merged))
    }

    /// Update by a client that does not use apply: `manager` becomes the owner of the fields that it changes.
    pub(super) fn update(&mut self, target: &Target, manager: &str, object: Value) -> Result<Value, Refusal> {
        let live = self.objects.get(target).cloned().ok_or_else(|| not_found(target))?;
        let mut object = object;
        if let Some(webhook) = self.webhook.clone() {
            webhook(target, &mut object);
        }
        admission::admit(&target.resource, &live, &object, self.no_growth)?;
        let seen = &object["metadata"]["resourceVersion"];
        if !seen.is_null() && *seen != live["metadata"]["resourceVersion"] {
            return Err(Refusal::new(409, "Conflict", "the object has been modified"));
        }
        let changed: std::collections::BTreeSet<_> = ownership::fields(&object)
            .into_iter()
            .filter(|path| {
                path[0] != "f:status" && ownership::get(&live, path) != ownership::get(&object, path)
            })
            .collect();
        let mut entries = live["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
        for entry in &mut entries {
            let mut theirs = ownership::decode(&entry["fieldsV1"]);
            theirs.retain(|path| !changed.contains(path) && ownership::get(&object, path).is_some());
            entry["fieldsV1"] = ownership::encode(&theirs);
        }
        entries.retain(|entry| entry["fieldsV1"] != json!({}));
        if !changed.is_empty() {
            entries.push(entry(manager, "Update", "", &changed));
        }
        object["metadata"]["managedFields"] = Value::Array(entries);
        Ok(self.store(target, object))
    }

    pub(super) fn delete(&mut self, target: &Target, options: &Value) -> Result<Value, Refusal> {
        let mut object = self.objects.get(target).cloned().ok_or_else(|| not_found(target))?;
        for (name, wanted) in options["preconditions"].as_object().into_iter().flatten() {
            if !wanted.is_null() && object["metadata"][name] != *wanted {
                return Err(Refusal::new(409, "Conflict", format!("{name} is not {wanted}")));
            }
        }
        match options["propagationPolicy"].as_str() {
            Some("Foreground") => add_finalizer(&mut object, "foregroundDeletion"),
            Some("Orphan") => add_finalizer(&mut object, "orphan"),
            _ => {}
        }
        if object["metadata"]["deletionTimestamp"].is_null() {
            object["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:01Z");
        }
        Ok(self.store(target, object))
    }
}

fn add_finalizer(object: &mut Value, name: &str) {
    let mut listed = finalizers(object);
    if !listed.iter().any(|entry| entry == name) {
        listed.push(name.to_owned());
        object["metadata"]["finalizers"] = json!(listed);
    }
}

fn entry(
    manager: &str,
    operation: &str,
    subresource: &str,
    fields: &std::collections::BTreeSet<ownership::Path>,
) -> Value {
    let mut entry = json!({"manager": manager, "operation": operation, "apiVersion": "v1", "fieldsType": "FieldsV1",
        "fieldsV1": ownership::encode(fields)});
    if !subresource.is_empty() {
        entry["subresource"] = json!(subresource);
    }
    entry
}

pub(super) fn not_found(target: &Target) -> Refusal {
    Refusal::new(404, "NotFound", format!("{} {} not found", target.resource, target.name))
}

/// Whether an object matches one term of a field selector.
fn has(object: &Value, term: &str) -> bool {
    let Some((path, value)) = term.split_once('=') else { return false };
    path.split('.').fold(object, |object, name| &object[name]) == value
}

fn selects(call: &Call, target: &Target, object: &Value) -> bool {
    let wanted = &call.target;
    target.group_version == wanted.group_version
        && target.resource == wanted.resource
        && (wanted.namespace.is_empty() || wanted.namespace == target.namespace)
        && call
            .query
            .get("fieldSelector")
            .is_none_or(|selector| selector.split(',').all(|term| has(object, term)))
        && call.query.get("labelSelector").is_none_or(|selector| {
            selector.split(',').all(|term| {
                let labels = &object["metadata"]["labels"];
                match term.split_once('=') {
                    Some((key, value)) => labels[key] == value,
                    None => !labels[term].is_null(),
                }
            })
        })
}

/// The object in the form that the client asked for: whole, or metadata only.
pub(super) fn shown(call: &Call, object: &Value) -> Value {
    if !call.metadata_only {
        return object.clone();
    }
    json!({"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": object["metadata"]})
}

pub(super) fn event(kind: &str, object: Value) -> String {
    format!("{}\n", json!({"type": kind, "object": object}))
}
