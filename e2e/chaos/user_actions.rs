//! Actions of users and of other clients in a namespace. Wanted actions happen in both namespaces, with faults and
//! without. Damage and additions happen only in the namespace with faults; the calm one shows the wanted state.

use std::time::Duration;

use http::Method;
use quorum_operator::testing::specs;
use serde_json::{Value, json};

use crate::{
    api_server::{ApiServer, is_missing, path},
    process_faults,
    rng::Rng,
};

pub(crate) const MEMBER: &str = "mia";
pub(crate) const NODES: [&str; 5] = ["va", "vb", "vc", "vd", MEMBER];

#[derive(Clone, Copy, Debug)]
pub(crate) enum UserAction {
    NewImage(&'static str, u64),
    NewImages(u64),
    Tune(&'static str, u64),
    Annotate(&'static str, u64),
    Recreate(&'static str),
    LoseCertificate(&'static str),
    LoseKey(&'static str),
    OpenPolicy(&'static str),
    EditConfig(&'static str),
    DropService(&'static str),
    EditWorkload(&'static str),
    EndPod(&'static str),
    AddRules(&'static str),
    AddToWorkload(&'static str),
    AddAddress(&'static str),
    AddKeys(&'static str),
    FreezeConfig(&'static str),
    DropPolicy(&'static str),
}

impl UserAction {
    /// Whether its effect must last.
    pub(crate) fn is_wanted(self) -> bool {
        use UserAction::{Annotate, NewImage, NewImages, Recreate, Tune};
        matches!(self, NewImage(..) | NewImages(_) | Tune(..) | Annotate(..) | Recreate(_))
    }

    /// Names of the operator's objects that it changes.
    pub(crate) fn touched(self) -> Vec<String> {
        use UserAction::{
            AddAddress, AddKeys, AddRules, AddToWorkload, DropPolicy, DropService, EditConfig, EditWorkload,
            FreezeConfig, LoseCertificate, LoseKey, OpenPolicy,
        };
        match self {
            LoseCertificate(node) => vec![format!("qn-{node}-tls-metrics")],
            LoseKey(node) => vec![format!("qn-{node}-nodekey")],
            OpenPolicy(node) | DropPolicy(node) => vec![format!("{node}-deny")],
            EditConfig(node) | FreezeConfig(node) => vec![format!("qn-{node}-peers")],
            AddKeys(node) => vec![format!("qn-{node}-peers"), format!("qn-{node}-tls-metrics")],
            DropService(node) | AddAddress(node) | AddRules(node) => vec![format!("{node}-p2p")],
            EditWorkload(node) | AddToWorkload(node) => vec![format!("{node}-client")],
            _ => vec![],
        }
    }
}

pub(crate) fn deal(rng: &mut Rng) -> UserAction {
    let node = rng.one_of(&NODES);
    match rng.below(20) {
        0 | 1 => UserAction::NewImage(node, rng.below(1 << 40)),
        2 => UserAction::Tune(node, 11 + rng.below(80)),
        3 => UserAction::Annotate(node, rng.below(1000)),
        4 => UserAction::Recreate(node),
        5 => UserAction::LoseCertificate(node),
        6 => UserAction::LoseKey(node),
        7 => UserAction::OpenPolicy(node),
        8 => UserAction::EditConfig(node),
        9 => UserAction::DropService(node),
        10 | 11 => UserAction::NewImages(rng.below(1 << 40)),
        12 => UserAction::EditWorkload(node),
        13 => UserAction::AddRules(node),
        14 => UserAction::AddToWorkload(node),
        15 => UserAction::AddAddress(node),
        16 => UserAction::AddKeys(node),
        17 => UserAction::FreezeConfig(node),
        18 => UserAction::DropPolicy(node),
        _ => UserAction::EndPod(node),
    }
}

/// A node as the test creates it.
pub(crate) fn node(name: &str, namespace: &str) -> Value {
    let mut node = specs::smallest(name);
    node["metadata"]["namespace"] = json!(namespace);
    node["spec"]["consensus"]["validators"] = json!(4);
    node["spec"]["rollout"] = json!({"minReadySeconds": 1});
    if name == MEMBER {
        node["spec"]["transactionManager"] = json!({
            "image": specs::image("tessera"), "version": "24.4.2",
            "keys": {"secretRef": {"name": "mia-tm-keys"}},
            "database": {"managed": {"image": specs::image("postgres"), "version": "15"}},
        });
    } else {
        node["spec"]["role"] = json!("Validator");
    }
    node
}

/// Objects that a user provides: genesis and the manager's keys.
pub(crate) fn belongings(namespace: &str) -> [(&'static str, Value); 2] {
    use base64::Engine as _;
    let base64 = |bytes: &[u8]| base64::engine::general_purpose::STANDARD.encode(bytes);
    let key = aws_lc_rs::agreement::PrivateKey::from_private_key(&aws_lc_rs::agreement::X25519, &[7; 32])
        .expect("32 bytes");
    let private = json!({"type": "unlocked", "data": {"bytes": base64(&[7; 32])}}).to_string();
    let public = base64(key.compute_public_key().expect("a point").as_ref());
    let genesis = json!({
        "config": {"chainId": 1337, "isQuorum": true,
            "qbft": {"policy": 0, "epoch": 30000, "blockperiodseconds": 1, "requesttimeoutseconds": 10}},
        "nonce": "0x0", "timestamp": "0x0", "gasLimit": "0x2fefd800", "difficulty": "0x1",
        "mixHash": "0x63746963616c2062797a616e74696e65206661756c7420746f6c6572616e6365",
        "coinbase": "0x0000000000000000000000000000000000000000",
        "extraData": "0xf83aa00000000000000000000000000000000000000000000000000000000000000000d594f39fd6e51aad88f6f4ce6ab8827279cfffb92266c080c0",
        "alloc": {},
    });
    let metadata = |name: &str| json!({"name": name, "namespace": namespace});
    [
        (
            "configmaps",
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata("acme-genesis"),
                "data": {"genesis.json": genesis.to_string()}}),
        ),
        (
            "secrets",
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata("mia-tm-keys"),
                "stringData": {"tm.key": private, "tm.pub": public}}),
        ),
    ]
}

/// Retries a request until the API server answers, for at most 420 s.
async fn insist<T, F: Future<Output = anyhow::Result<T>>>(mut ask: impl FnMut() -> F) -> anyhow::Result<T> {
    let end = tokio::time::Instant::now() + Duration::from_secs(420);
    loop {
        match ask().await {
            Err(error) if !is_missing(&error) && tokio::time::Instant::now() < end => {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            done => return done,
        }
    }
}

/// Performs an action. It does nothing if its object is missing, which holds for both namespaces alike, since both are
/// at rest when a round begins.
pub(crate) async fn do_it(api_server: &ApiServer, namespace: &str, action: UserAction) -> anyhow::Result<()> {
    let object = |resource: &str, name: String| path(resource, namespace, &name);
    let own = |name: &str| object("quorumnodes", name.to_owned());
    let change = async |path: String, change: Value| {
        let (path, change) = (path.as_str(), &change);
        match insist(|| async move { api_server.patch(path, change).await }).await {
            Err(error) if !is_missing(&error) => Err(error),
            _ => Ok(()),
        }
    };
    let find = async |path: String| {
        let path = path.as_str();
        insist(|| async move { api_server.find(path).await }).await
    };
    let remove = async |path: String| {
        let path = path.as_str();
        insist(|| async move { api_server.delete(path, &Value::Null).await }).await
    };
    match action {
        UserAction::NewImage(node, number) => {
            let image = format!("registry.example/goquorum@sha256:{number:064x}");
            change(own(node), json!({"spec": {"client": {"image": image}}})).await
        }
        UserAction::NewImages(number) => {
            let image = format!("registry.example/goquorum@sha256:{number:064x}");
            for node in NODES {
                change(own(node), json!({"spec": {"client": {"image": image}}})).await?;
            }
            Ok(())
        }
        UserAction::Tune(node, peers) => {
            change(own(node), json!({"spec": {"client": {"tunables": {"maxPeers": peers}}}})).await
        }
        UserAction::Annotate(node, number) => {
            change(own(node), json!({"metadata": {"annotations": {"chaos/number": number.to_string()}}}))
                .await
        }
        UserAction::Recreate(name) => {
            let Some(mut found) = find(own(name)).await? else { return Ok(()) };
            let uid = found["metadata"]["uid"].clone();
            remove(own(name)).await?;
            // no replica can remove the finalizer while the API server is down
            let limit = Duration::from_secs(process_faults::LONGEST + 300);
            let end = tokio::time::Instant::now() + limit;
            while find(own(name)).await?.is_some_and(|live| live["metadata"]["uid"] == uid) {
                anyhow::ensure!(
                    tokio::time::Instant::now() < end,
                    "{namespace}/{name} is not gone after {} s",
                    limit.as_secs()
                );
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
            found["metadata"] = json!({"name": name, "namespace": namespace});
            found["status"] = Value::Null;
            let list = path("quorumnodes", namespace, "");
            insist(|| async {
                match api_server.find(&own(name)).await? {
                    Some(_) => Ok(()),
                    None => api_server.create(&list, &found).await,
                }
            })
            .await
        }
        UserAction::LoseCertificate(node) => {
            remove(object("secrets", format!("qn-{node}-tls-metrics"))).await
        }
        UserAction::LoseKey(node) => {
            let key = object("secrets", format!("qn-{node}-nodekey"));
            let Some(mut found) = find(key.clone()).await? else { return Ok(()) };
            remove(key.clone()).await?;
            // also remove the finalizer, which retains the Secret
            change(key.clone(), json!({"metadata": {"finalizers": null}})).await?;
            tokio::time::sleep(Duration::from_secs(4)).await;
            for of_the_server in ["uid", "resourceVersion", "creationTimestamp", "managedFields"] {
                found["metadata"][of_the_server] = Value::Null;
            }
            let list = path("secrets", namespace, "");
            insist(|| async {
                match api_server.call(Method::GET, &key, &Value::Null).await {
                    Ok(live) => anyhow::ensure!(live["data"] == found["data"], "another key was made"),
                    Err(_) => api_server.create(&list, &found).await?,
                }
                Ok(())
            })
            .await
        }
        UserAction::OpenPolicy(node) => {
            let open = json!({"spec": {"ingress": [{}], "egress": [{}]}});
            change(object("networkpolicies", format!("{node}-deny")), open).await
        }
        UserAction::EditConfig(node) => {
            let other = json!({"data": {"static-nodes.json": "[]"}});
            change(object("configmaps", format!("qn-{node}-peers")), other).await
        }
        UserAction::DropService(node) => remove(object("services", format!("{node}-p2p"))).await,
        UserAction::EditWorkload(node) => {
            let other = json!({"metadata": {"labels": {"quorum.security/role": "Other"}}, "spec": {"replicas": 1,
                "template": {"spec": {"automountServiceAccountToken": true}}}});
            change(object("statefulsets", format!("{node}-client")), other).await
        }
        UserAction::EndPod(node) => remove(object("pods", format!("{node}-client-0"))).await,
        UserAction::AddRules(node) => {
            let more =
                json!({"spec": {"policyTypes": ["Ingress", "Egress"], "ingress": [{}], "egress": [{}]}});
            change(object("networkpolicies", format!("{node}-p2p")), more).await
        }
        UserAction::AddToWorkload(node) => {
            let more = json!({"spec": {"minReadySeconds": 7, "template": {
                "metadata": {"annotations": {"chaos/added": "yes"}},
                "spec": {"shareProcessNamespace": true, "priorityClassName": "system-node-critical"}}}});
            change(object("statefulsets", format!("{node}-client")), more).await
        }
        UserAction::AddAddress(node) => {
            let more = json!({"spec": {"externalIPs": ["192.0.2.7"], "sessionAffinity": "ClientIP"}});
            change(object("services", format!("{node}-p2p")), more).await
        }
        UserAction::AddKeys(node) => {
            let more = json!({"data": {"added": "YWRkZWQ="}});
            change(object("configmaps", format!("qn-{node}-peers")), more.clone()).await?;
            change(object("secrets", format!("qn-{node}-tls-metrics")), more).await
        }
        UserAction::FreezeConfig(node) => {
            let frozen = json!({"immutable": true, "data": {"static-nodes.json": "[]"}});
            change(object("configmaps", format!("qn-{node}-peers")), frozen).await
        }
        UserAction::DropPolicy(node) => {
            let open = json!({"spec": {"ingress": [{}], "egress": [{}]}});
            change(object("networkpolicies", format!("{node}-deny")), open).await?;
            remove(object("networkpolicies", format!("{node}-deny"))).await
        }
    }
}
