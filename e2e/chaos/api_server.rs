//! Administrator's client of the API server: JSON requests by path.

use anyhow::Context as _;
use http::{Method, Request};
use kube::Client;
use serde_json::Value;

#[derive(Clone)]
pub(crate) struct ApiServer(Client);

/// Path of an object, or of a list if `name` is empty.
pub(crate) fn path(resource: &str, namespace: &str, name: &str) -> String {
    let api = match resource {
        "statefulsets" => "apis/apps/v1",
        "networkpolicies" => "apis/networking.k8s.io/v1",
        "poddisruptionbudgets" => "apis/policy/v1",
        "quorumnodes" => "apis/quorum.security/v1alpha1",
        "leases" => "apis/coordination.k8s.io/v1",
        _ => "api/v1",
    };
    let within = if namespace.is_empty() { String::new() } else { format!("namespaces/{namespace}/") };
    format!("/{api}/{within}{resource}/{name}").trim_end_matches('/').to_owned()
}

pub(crate) fn is_missing(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref::<kube::Error>(), Some(kube::Error::Api(status)) if status.code == 404)
}

impl ApiServer {
    pub(crate) async fn new() -> anyhow::Result<Self> {
        Ok(Self(client(None).await?))
    }

    pub(crate) async fn call(&self, method: Method, path: &str, body: &Value) -> anyhow::Result<Value> {
        let kind = if method == Method::PATCH { "application/merge-patch+json" } else { "application/json" };
        let body = if body.is_null() { vec![] } else { serde_json::to_vec(body)? };
        let request = Request::builder().method(&method).uri(path).header("content-type", kind).body(body)?;
        let answer = tokio::time::timeout(std::time::Duration::from_secs(10), self.0.request(request));
        answer.await.context("no answer in 10 s")?.with_context(|| format!("{method} {path}"))
    }

    pub(crate) async fn get(&self, path: &str) -> anyhow::Result<Value> {
        self.call(Method::GET, path, &Value::Null).await
    }

    /// Like [`Self::get`], `None` if the object does not exist.
    pub(crate) async fn find(&self, path: &str) -> anyhow::Result<Option<Value>> {
        match self.get(path).await {
            Ok(found) => Ok(Some(found)),
            Err(error) if is_missing(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(crate) async fn list(&self, path: &str) -> anyhow::Result<Vec<Value>> {
        Ok(self.get(path).await?["items"].as_array().cloned().unwrap_or_default())
    }

    pub(crate) async fn patch(&self, path: &str, change: &Value) -> anyhow::Result<()> {
        self.call(Method::PATCH, path, change).await.map(drop)
    }

    pub(crate) async fn create(&self, path: &str, object: &Value) -> anyhow::Result<()> {
        self.call(Method::POST, path, object).await.map(drop)
    }

    /// Deletes an object. Succeeds if it does not exist.
    pub(crate) async fn delete(&self, path: &str, options: &Value) -> anyhow::Result<()> {
        match self.call(Method::DELETE, path, options).await {
            Err(error) if !is_missing(&error) => Err(error),
            _ => Ok(()),
        }
    }
}

/// A client without retries that impersonates `who`.
pub(crate) async fn client(who: Option<&str>) -> anyhow::Result<Client> {
    let mut config = kube::Config::infer().await.context("KUBECONFIG: make chaos sets it")?;
    config.default_retry = false;
    config.auth_info.impersonate = who.map(str::to_owned);
    Ok(Client::try_from(config)?)
}
