//! Raw client, the baseline of every ratio: it replays recorded writes and does nothing else.

use std::collections::{BTreeMap, HashMap};

use anyhow::Context as _;
use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, Client,
    api::{WatchEvent, WatchParams},
};
use serde_json::Value;

use crate::{
    audit::{Entry, Of},
    cluster::{APPLY, Call, JSON, MERGE, Nodes, send},
    fleet::Fleet,
};

/// The final version of each object that the operator wrote for a set of nodes: the minimum of writes for the same
/// result. Finalizers come first, then objects in the order of their first write.
pub(crate) struct Recording {
    fleet: Fleet,
    nodes: Nodes,
    writes: Vec<Write>,
}

struct Write {
    of: Of,
    merge: bool,
    verb: String,
    uri: String,
    body: String,
}

impl Recording {
    pub(crate) fn of(entries: &[&Entry], fleet: &Fleet, nodes: Nodes) -> anyhow::Result<Self> {
        let mut places = BTreeMap::new();
        let mut writes: Vec<Write> = Vec::new();
        for entry in entries.iter().filter(|entry| is_recorded(entry)) {
            let body = entry.body.clone().context("the audit policy keeps no bodies of this user")?;
            let write = Write {
                of: entry.of.clone(),
                merge: entry.is_merge(),
                verb: entry.verb.clone(),
                uri: entry.uri.clone(),
                body,
            };
            match places.get(&entry.target()) {
                Some(place) => {
                    let place: &usize = place;
                    writes[*place] = write;
                }
                None => {
                    places.insert(entry.target(), writes.len());
                    writes.push(write);
                }
            }
        }
        // finalizers go first, since a concurrent status write changes the resource version that their patch requires
        writes.sort_by_key(|write| !write.merge);
        Ok(Self { fleet: fleet.clone(), nodes, writes })
    }

    pub(crate) fn len(&self) -> usize {
        self.writes.len()
    }

    /// The same writes for another set of the same size, whose nodes exist.
    pub(crate) fn calls(&self, fleet: &Fleet, nodes: &Nodes) -> anyhow::Result<Vec<Call>> {
        let there = |namespace: &str| namespace.replace(&self.fleet.prefix(), &fleet.prefix());
        let uids: HashMap<&str, &str> = self
            .nodes
            .iter()
            .filter_map(|((namespace, name), (uid, _))| {
                let other = nodes.get(&(there(namespace), name.clone()))?;
                Some((uid.as_str(), other.0.as_str()))
            })
            .collect();
        self.writes
            .iter()
            .map(|write| {
                let mut body: Value = serde_json::from_str(&there(&write.body))?;
                replace(&mut body, &uids);
                if write.merge {
                    let node = (there(&write.of.namespace), write.of.name.clone());
                    let (_, version) = nodes.get(&node).context("a node is missing")?;
                    body["metadata"]["resourceVersion"] = version.as_str().into();
                }
                let (method, content_type) = match (write.verb.as_str(), write.merge) {
                    ("create", _) => ("POST", JSON),
                    (_, true) => ("PATCH", MERGE),
                    (_, false) => ("PATCH", APPLY),
                };
                Ok(Call { method, uri: there(&write.uri), content_type, body: body.to_string() })
            })
            .collect()
    }

    /// Expected content of each ConfigMap of a set, for [`keep_right`].
    pub(crate) fn config_maps(&self, fleet: &Fleet, nodes: &Nodes) -> anyhow::Result<Right> {
        let calls = self.calls(fleet, nodes)?;
        let maps = self.writes.iter().zip(calls).filter(|(write, _)| write.of.resource == "configmaps");
        maps.map(|(write, call)| {
            let namespace = write.of.namespace.replace(&self.fleet.prefix(), &fleet.prefix());
            let map: ConfigMap = serde_json::from_str(&call.body)?;
            Ok(((namespace, write.of.name.clone()), (map.data.unwrap_or_default(), call)))
        })
        .collect()
    }
}

/// Expected data of each ConfigMap and the write that restores it, by namespace and name.
pub(crate) type Right = HashMap<(String, String), (BTreeMap<String, String>, Call)>;

/// Whether to record a request: a successful write of anything but an event.
pub(crate) fn is_recorded(entry: &Entry) -> bool {
    entry.is_work() && (200..300).contains(&entry.code) && entry.of.resource != "events"
}

fn replace(body: &mut Value, uids: &HashMap<&str, &str>) {
    match body {
        Value::String(text) => {
            if let Some(other) = uids.get(text.as_str()) {
                *text = (*other).to_owned();
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| replace(item, uids)),
        Value::Object(members) => members.values_mut().for_each(|member| replace(member, uids)),
        _ => {}
    }
}

/// Bare loop: restores each ConfigMap as soon as its data differs.
pub(crate) async fn keep_right(client: Client, right: Right) -> anyhow::Result<()> {
    let api = Api::<ConfigMap>::all(client.clone());
    let version = api.list_metadata(&Default::default()).await?.metadata.resource_version.unwrap_or_default();
    let mut events = api.watch(&WatchParams::default(), &version).await?.boxed();
    while let Some(event) = events.try_next().await? {
        let WatchEvent::Modified(map) = event else { continue };
        let place = (map.metadata.namespace.unwrap_or_default(), map.metadata.name.unwrap_or_default());
        if let Some((data, call)) = right.get(&place)
            && map.data.as_ref() != Some(data)
        {
            send(&client, call).await?;
        }
    }
    anyhow::bail!("the bare loop's watch ended")
}
