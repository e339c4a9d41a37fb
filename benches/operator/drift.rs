//! Measures drift repair as an observer sees it: from the moment a watch shows a change by another client until the
//! same watch shows the repair.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use futures::{StreamExt as _, TryStreamExt as _, stream::BoxStream};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, Client,
    api::{WatchEvent, WatchParams},
};
use serde_json::json;

use crate::cluster::{Call, send};

/// Pause between two changes.
const REST: Duration = Duration::from_millis(150);
const LIMIT: Duration = Duration::from_secs(60);

type Events = BoxStream<'static, kube::Result<WatchEvent<ConfigMap>>>;

/// Makes `count` changes one after another, each to the next ConfigMap, and returns the time to each repair in
/// milliseconds.
pub(crate) async fn repairs(
    admin: &Client,
    maps: &[(String, String)],
    count: usize,
) -> anyhow::Result<Vec<f64>> {
    let api = Api::<ConfigMap>::all(admin.clone());
    let mut took = Vec::new();
    let mut opened = Instant::now();
    let mut events = watch(&api).await?;
    for i in 0..count {
        // a watch lasts 290 s
        if opened.elapsed() > Duration::from_secs(200) {
            (opened, events) = (Instant::now(), watch(&api).await?);
        }
        let (namespace, name) = &maps[i % maps.len()];
        let before = Api::<ConfigMap>::namespaced(admin.clone(), namespace).get(name).await?;
        let (key, right) = before.data.into_iter().flatten().next().context("a ConfigMap without data")?;
        let wrong = format!("changed {i}");
        change(admin, namespace, name, &key, &wrong).await?;
        tokio::time::timeout(LIMIT, seen(&mut events, namespace, name, &key, &wrong)).await??;
        let from = Instant::now();
        tokio::time::timeout(LIMIT, seen(&mut events, namespace, name, &key, &right))
            .await
            .with_context(|| format!("{namespace}/{name} was not repaired in 60 s"))??;
        took.push(from.elapsed().as_secs_f64() * 1000.0);
        tokio::time::sleep(REST).await;
    }
    Ok(took)
}

/// Changes a field of the operator as another client.
pub(crate) async fn change(
    admin: &Client,
    namespace: &str,
    name: &str,
    key: &str,
    to: &str,
) -> anyhow::Result<()> {
    let uri = format!("/api/v1/namespaces/{namespace}/configmaps/{name}");
    send(admin, &Call::merge(&uri, &json!({"data": {key: to}}))).await.map(drop)
}

async fn watch(api: &Api<ConfigMap>) -> anyhow::Result<Events> {
    let version = api.list_metadata(&Default::default()).await?.metadata.resource_version.unwrap_or_default();
    Ok(api.watch(&WatchParams::default().timeout(290), &version).await?.boxed())
}

async fn seen(
    events: &mut Events,
    namespace: &str,
    name: &str,
    key: &str,
    value: &str,
) -> anyhow::Result<()> {
    while let Some(event) = events.try_next().await? {
        let (WatchEvent::Added(map) | WatchEvent::Modified(map)) = event else { continue };
        let here = map.metadata.namespace.as_deref() == Some(namespace)
            && map.metadata.name.as_deref() == Some(name);
        if here && map.data.as_ref().and_then(|data| data.get(key)).map(String::as_str) == Some(value) {
            return Ok(());
        }
    }
    anyhow::bail!("the observer's watch ended")
}
