//! Test world: a cluster in memory with the controller, on a paused clock that advances whenever nothing is left to do.

use std::{sync::Arc, time::Duration};

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::Client;
use serde_json::{Value, json};
use tokio::{sync::watch, task::JoinHandle, time::Instant};
use tower::Layer as _;

use crate::{
    cluster::{
        Fence, Throttle, chain_heads::Ask, jwks::fetch::Fetch, rollouts::USUAL,
        tls_probe::served_certificates::Dial, watch::caches::Scope,
    },
    control::{Clock, replica::Replica},
    serve::{Counted, Health, Metrics},
    settings::{Dns, RenderConfig, Users},
    testing::{
        server::{Call, Server, Target},
        specs,
    },
};

pub(super) use crate::testing::server::START;

pub(super) const NAMESPACE: &str = "ledger";

/// Time without changes after which the world is at rest.
pub(super) const QUIET: Duration = Duration::from_secs(80);
/// The same during the rotation of a CA, which waits for files to be reloaded, and checks once a minute.
pub(super) const ROTATED: Duration = Duration::from_secs(400);

pub(super) struct World {
    pub(super) server: Arc<Server>,
    /// Scopes that the operator watches.
    pub(super) scopes: Vec<Scope>,
    /// Metrics of the controller that was started last.
    pub(super) metrics: Arc<Metrics>,
    /// Readiness of the operator.
    pub(super) health: Arc<Health>,
    /// Maximum number of pods, of all nodes, that are replaced at once.
    pub(super) max_rollouts: u16,
    pub(super) render_config: RenderConfig,
    /// Reads what token issuers publish.
    pub(super) fetch: Fetch,
    /// Certificates that probes find.
    pub(super) dial: Dial,
    /// Chain state that probes find.
    pub(super) ask: Ask,
    began: Instant,
    /// How far the clock was put forward.
    ahead: SignedDuration,
    /// One task per scope.
    operator: Vec<JoinHandle<()>>,
    lease: watch::Sender<Option<Instant>>,
}

pub(super) fn object(group_version: &str, resource: &str, name: &str) -> Target {
    Target {
        group_version: group_version.into(),
        resource: resource.into(),
        namespace: NAMESPACE.into(),
        name: name.into(),
    }
}

pub(super) fn node(name: &str) -> Target {
    object("quorum.security/v1alpha1", "quorumnodes", name)
}

pub(super) fn secret(name: &str) -> Target {
    object("v1", "secrets", name)
}

/// A node with only a client.
pub(super) fn client(name: &str) -> Value {
    let mut node = specs::smallest(name);
    // filled in by the server
    node["spec"]["profile"] = json!("Production");
    node["spec"]["role"] = json!("Member");
    node["spec"]["client"]["storage"] = json!({"size": "20Gi"});
    node
}

/// A node with client, transaction manager and managed database.
pub(super) fn member(name: &str) -> Value {
    let mut node = client(name);
    node["spec"]["transactionManager"] = json!({
        "image": specs::image("tessera"), "version": "24.4.2",
        "keys": {"secretRef": {"name": format!("{name}-tm-keys")}},
        "database": {"managed": {"image": specs::image("postgres"), "version": "15"}},
    });
    node
}

impl World {
    /// A world with a genesis and the keys of one manager, without nodes.
    pub(super) fn new() -> Self {
        let server = Server::with_hosts();
        server.put(&genesis_in(NAMESPACE));
        server.put(&manager_keys("alice", [7; 32]));
        Self::on(server)
    }

    /// A world on an existing server, without an operator.
    pub(super) fn on(server: Arc<Server>) -> Self {
        let scopes = vec![Scope::Namespace(NAMESPACE.into())];
        Self {
            server,
            scopes,
            metrics: Arc::new(Metrics::new()),
            health: Arc::default(),
            max_rollouts: USUAL,
            render_config: render_config(),
            fetch: Arc::new(|_, _| Box::pin(std::future::ready(Err("it cannot be reached".into())))),
            dial: Arc::new(|_| Box::pin(std::future::ready(None))),
            ask: Arc::new(|_| Box::pin(std::future::ready(None))),
            began: Instant::now(),
            ahead: SignedDuration::ZERO,
            operator: vec![],
            lease: Fence::new().0,
        }
    }

    /// Two ready nodes of one network: a member `alice`, and `bob` with only a client.
    pub(super) async fn network() -> Self {
        let mut world = Self::new();
        world.start();
        world.server.put(&member("alice"));
        world.server.put(&client("bob"));
        world.rest().await;
        world.assert_ready("alice");
        world.assert_ready("bob");
        world
    }

    /// Starts the controller without any memory, as after a crash.
    pub(super) fn start(&mut self) {
        self.stop();
        let (lease, fence) = Fence::new();
        lease.send_replace(Some(Instant::now() + Duration::from_secs(365 * 86_400)));
        let (began, start) = (self.began, Timestamp::from_second(START).unwrap_or_default() + self.ahead);
        let clock: Clock =
            Arc::new(move || start + SignedDuration::try_from(began.elapsed()).unwrap_or_default());
        let replica = self.replica("operator", clock);
        let loops = replica.loops(&self.scopes, &fence, std::future::pending());
        self.operator.extend(loops.into_iter().map(tokio::spawn));
        self.lease = lease;
    }

    /// A replica of the operator with this name, not started.
    pub(super) fn replica(&self, identity: &str, clock: Clock) -> Replica {
        let counted = Counted(Arc::clone(&self.metrics));
        let transport = || counted.layer(self.server.transport(identity));
        let client = || Client::new(Throttle::default().layer(transport()), "default");
        Replica {
            client: client(),
            lease: client(),
            identity: identity.into(),
            namespace: "quorum-system".into(),
            render_config: self.render_config.clone(),
            fetch: Arc::clone(&self.fetch),
            dial: Arc::clone(&self.dial),
            ask: Arc::clone(&self.ask),
            metrics: Arc::clone(&self.metrics),
            health: Arc::clone(&self.health),
            concurrency: 8,
            max_rollouts: self.max_rollouts,
            clock,
        }
    }

    /// Starts the controller again after this many days without one.
    pub(super) fn start_days_later(&mut self, days: i64) {
        self.ahead += SignedDuration::from_hours(24 * days);
        self.start();
    }

    pub(super) fn stop(&mut self) {
        for work in self.operator.drain(..) {
            work.abort();
        }
    }

    /// Waits until nothing has changed for a while. Restarts the controller whenever a planned fault crashes it.
    pub(super) async fn rest(&mut self) {
        self.rest_after(QUIET).await;
    }

    /// Waits until nothing has changed for this long.
    pub(super) async fn rest_after(&mut self, quiet_for: Duration) {
        let round = Duration::from_secs(40);
        let mut quiet = Duration::ZERO;
        let mut version = self.server.version();
        while quiet < quiet_for {
            let died = tokio::select! {
                () = self.server.crashed.notified() => true,
                () = tokio::time::sleep(round) => false,
            };
            if died {
                self.start();
            }
            quiet = if self.server.version() == version && !died { quiet + round } else { Duration::ZERO };
            version = self.server.version();
            assert!(self.began.elapsed() < Duration::from_secs(86_400), "no rest: {:#?}", self.recent());
        }
    }

    /// The last requests, for the message of a failed test.
    pub(super) fn recent(&self) -> Vec<String> {
        let calls = self.server.calls();
        calls.iter().rev().take(40).map(ToString::to_string).collect()
    }

    /// Status, reason and message of a condition of a node.
    pub(super) fn condition(&self, name: &str, kind: &str) -> Option<(String, String, String)> {
        let node = self.server.get(&node(name))?;
        let found =
            node["status"]["conditions"].as_array()?.iter().find(|found| found["type"] == kind)?.clone();
        let field = |name: &str| found[name].as_str().unwrap_or_default().to_owned();
        Some((field("status"), field("reason"), field("message")))
    }

    /// Fails with the node's conditions if it is not ready.
    pub(super) fn assert_ready(&self, name: &str) {
        let ready = self.condition(name, "Ready").map(|found| found.0);
        let status = self.server.get(&node(name)).map(|node| node["status"].clone());
        assert_eq!(ready.as_deref(), Some("True"), "{name}: {status:#?}\n{:#?}", self.recent());
    }

    /// The requests from `deed` until the world is at rest again.
    pub(super) async fn calls_of(&mut self, deed: impl FnOnce(&Server)) -> Vec<Call> {
        let before = self.server.calls().len();
        deed(&self.server);
        self.rest().await;
        self.server.calls().split_off(before)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop();
    }
}

pub(super) fn render_config() -> RenderConfig {
    RenderConfig {
        guard_image: specs::image("quorum-guard"),
        dns: Dns {
            namespace: "kube-system".into(),
            pod_labels: [("k8s-app".to_owned(), "kube-dns".to_owned())].into(),
            cidrs: vec![],
            ports: vec![53],
        },
        domain: "cluster.local".into(),
        users: Users::Fixed,
        operator: None,
    }
}

/// The Secret with a manager's key pair.
pub(super) fn manager_keys(node: &str, private: [u8; 32]) -> Value {
    use aws_lc_rs::agreement::{PrivateKey, X25519};
    let key = PrivateKey::from_private_key(&X25519, &private).expect("32 bytes");
    let public = base64(key.compute_public_key().expect("a point").as_ref());
    let private = json!({"type": "unlocked", "data": {"bytes": base64(&private)}}).to_string();
    json!({"apiVersion": "v1", "kind": "Secret",
        "metadata": {"name": format!("{node}-tm-keys"), "namespace": NAMESPACE},
        "data": {"tm.key": base64(private.as_bytes()), "tm.pub": base64(public.as_bytes())}})
}

pub(super) fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// The network's genesis in a namespace.
pub(super) fn genesis_in(namespace: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "acme-genesis", "namespace": namespace},
        "data": {"genesis.json": genesis()}})
}

fn genesis() -> String {
    json!({
        "config": {"chainId": 1337, "isQuorum": true, "qbft": {"policy": 0, "epoch": 30000, "blockperiodseconds": 1, "requesttimeoutseconds": 10}},
        "nonce": "0x0", "timestamp": "0x0", "gasLimit": "0x2fefd800", "difficulty": "0x1",
        "mixHash": "0x63746963616c2062797a616e74696e65206661756c7420746f6c6572616e6365",
        "coinbase": "0x0000000000000000000000000000000000000000",
        "extraData": "0xf83aa00000000000000000000000000000000000000000000000000000000000000000d594f39fd6e51aad88f6f4ce6ab8827279cfffb92266c080c0",
        "alloc": {},
    })
    .to_string()
}
