//! Access to the cluster: separate users and raw requests.

use std::{collections::HashMap, path::Path};

use anyhow::Context as _;
use k8s_openapi::api::{authentication::v1::TokenRequest, core::v1::ServiceAccount};
use kube::{
    Api, Client, Config,
    api::PostParams,
    client::ClientBuilder,
    config::{AuthInfo, KubeConfigOptions, Kubeconfig},
};
use serde_json::{Value, json};

/// Namespace of the operator's lease and of all service accounts.
pub(crate) const SYSTEM: &str = "bench-system";

/// Content types of requests.
pub(crate) const APPLY: &str = "application/apply-patch+yaml";
pub(crate) const MERGE: &str = "application/merge-patch+json";
pub(crate) const JSON: &str = "application/json";

/// Accept header for answers with metadata only, as the operator asks.
const METADATA: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";

/// A raw request.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) method: &'static str,
    pub(crate) uri: String,
    pub(crate) content_type: &'static str,
    pub(crate) body: String,
}

impl Call {
    pub(crate) fn apply(uri: &str, body: &Value) -> Self {
        let uri = format!("{uri}?fieldManager=bench&force=true");
        Self { method: "PATCH", uri, content_type: APPLY, body: body.to_string() }
    }

    pub(crate) fn merge(uri: &str, body: &Value) -> Self {
        let uri = format!("{uri}?fieldManager=bench");
        Self { method: "PATCH", uri, content_type: MERGE, body: body.to_string() }
    }
}

pub(crate) async fn send(client: &Client, call: &Call) -> anyhow::Result<String> {
    let request = http::Request::builder()
        .method(call.method)
        .uri(&call.uri)
        .header("content-type", call.content_type)
        .header("accept", METADATA)
        .body(call.body.clone().into_bytes())?;
    client.request_text(request).await.with_context(|| format!("{} {}", call.method, call.uri))
}

/// Sends all requests, `at_a_time` concurrently, and stops at the first error.
pub(crate) async fn send_all(client: &Client, calls: Vec<Call>, at_a_time: usize) -> anyhow::Result<()> {
    use futures::{StreamExt as _, TryStreamExt as _};
    futures::stream::iter(calls)
        .map(|call| async move { send(client, &call).await.map(drop) })
        .buffer_unordered(at_a_time)
        .try_collect::<()>()
        .await
}

/// A user whose requests are counted, and its kubeconfig.
#[derive(Clone)]
pub(crate) struct User {
    pub(crate) name: &'static str,
    pub(crate) kubeconfig: std::path::PathBuf,
}

impl User {
    /// Creates a service account and a kubeconfig with a token for it.
    pub(crate) async fn make(admin: &Client, name: &'static str, folder: &Path) -> anyhow::Result<Self> {
        let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}});
        let uri = format!("/api/v1/namespaces/{SYSTEM}/serviceaccounts/{name}");
        send(admin, &Call::apply(&uri, &account)).await?;
        let asked: TokenRequest =
            serde_json::from_value(json!({"spec": {"audiences": [], "expirationSeconds": 86400}}))?;
        let granted = Api::<ServiceAccount>::namespaced(admin.clone(), SYSTEM)
            .create_token_request(name, &PostParams::default(), &asked)
            .await
            .context("token")?;
        let token = granted.status.context("no token was granted")?.token;
        let mut config = Kubeconfig::read().context("kubeconfig")?;
        let named = config.contexts.first().and_then(|named| named.context.as_ref()?.user.clone());
        for auth in &mut config.auth_infos {
            if Some(&auth.name) == named.as_ref() {
                auth.auth_info = Some(AuthInfo { token: Some(token.clone().into()), ..AuthInfo::default() });
            }
        }
        let kubeconfig = folder.join(format!("{name}.kubeconfig"));
        let mut text = serde_json::to_value(&config)?;
        reveal(&mut text, &token);
        std::fs::write(&kubeconfig, text.to_string())?;
        Ok(Self { name, kubeconfig })
    }

    /// A client without automatic retries, like the operator's.
    pub(crate) async fn client(&self) -> anyhow::Result<Client> {
        let kubeconfig = Kubeconfig::read_from(&self.kubeconfig)?;
        let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
        config.default_retry = false;
        Ok(ClientBuilder::try_from(config)?.build())
    }
}

/// Writes the token into a serialized kubeconfig, since serialization omits or masks it.
fn reveal(config: &mut Value, token: &str) {
    for user in config["users"].as_array_mut().into_iter().flatten() {
        user["user"] = json!({"token": token});
    }
}

/// Grants the operator's permissions to every service account of [`SYSTEM`].
pub(crate) async fn grant(admin: &Client) -> anyhow::Result<()> {
    let everyone = json!([{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group",
        "name": format!("system:serviceaccounts:{SYSTEM}")}]);
    let rbac = "/apis/rbac.authorization.k8s.io/v1";
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SYSTEM}});
    send(admin, &Call::apply(&format!("/api/v1/namespaces/{SYSTEM}"), &namespace)).await?;
    for role in ["quorum-operator", "quorum-operator-namespaced"] {
        let binding = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
            "metadata": {"name": format!("bench-{role}")}, "subjects": everyone,
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        });
        send(admin, &Call::apply(&format!("{rbac}/clusterrolebindings/bench-{role}"), &binding)).await?;
    }
    let rules = json!([{"apiGroups": ["coordination.k8s.io"], "resources": ["leases"],
        "verbs": ["get", "create", "update"]}]);
    let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
        "metadata": {"name": "lease"}, "rules": rules});
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
        "metadata": {"name": "lease"}, "subjects": everyone,
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "lease"},
    });
    send(admin, &Call::apply(&format!("{rbac}/namespaces/{SYSTEM}/roles/lease"), &role)).await?;
    send(admin, &Call::apply(&format!("{rbac}/namespaces/{SYSTEM}/rolebindings/lease"), &binding)).await?;
    Ok(())
}

/// Uid and resource version of each node, by namespace and name.
pub(crate) type Nodes = HashMap<(String, String), (String, String)>;

pub(crate) async fn nodes(admin: &Client, namespaces: &[String]) -> anyhow::Result<Nodes> {
    let mut nodes = Nodes::new();
    for namespace in namespaces {
        let uri = format!("/apis/quorum.security/v1alpha1/namespaces/{namespace}/quorumnodes");
        let list: Value =
            serde_json::from_str(&admin.request_text(http::Request::get(uri).body(vec![])?).await?)?;
        for item in list["items"].as_array().into_iter().flatten() {
            let field = |name: &str| item["metadata"][name].as_str().unwrap_or_default().to_owned();
            nodes.insert((namespace.clone(), field("name")), (field("uid"), field("resourceVersion")));
        }
    }
    Ok(nodes)
}
