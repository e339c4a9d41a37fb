//! Tests of the report about missing peers, and that it costs nothing while no peer is missing.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::{
    handshakes::data,
    safety,
    world::{World, client, node, secret},
};
use crate::{
    model::secrets::tls,
    protocol::{
        chain_metrics::{Figures, Said},
        peer_connections::{Connections, ShortId, Suspect, Trial},
    },
    settings::Pods,
};

const MINUTE: Duration = Duration::from_secs(60);

/// Clients that lack their only peer: since when, which peer, and the result of a connection trial.
type Lacking = BTreeMap<String, (Instant, ShortId, Trial)>;

struct Network {
    world: World,
    lacking: Arc<Mutex<Lacking>>,
}

impl Network {
    /// Two nodes that are each other's peers, ready and connected.
    async fn two() -> Self {
        let mut world = World::new();
        world.render_config.operator = Some(Pods {
            namespace: "quorum-system".into(),
            labels: [("app".to_owned(), "quorum-operator".to_owned())].into(),
        });
        let lacking = Arc::<Mutex<Lacking>>::default();
        let (server, lacks) = (Arc::clone(&world.server), Arc::clone(&lacking));
        world.ask = Arc::new(move |place| {
            let lacks = lacks.lock().unwrap_or_else(PoisonError::into_inner);
            let mut connections = Connections { listed: 1, ..Connections::default() };
            if let Some((since, id, trial)) = lacks.get(&place.node) {
                connections.missing = 1;
                connections.seconds = u32::try_from(since.elapsed().as_secs()).unwrap_or(u32::MAX);
                connections.suspects = vec![Suspect { id: *id, trial: *trial }];
            }
            let figures = Figures { head: 0, peers: 1, age: 0 };
            let said = Said { figures, connections: Some(connections) };
            let held =
                data(&server.get(&secret(&format!("qn-{}-tls-metrics", place.node))).unwrap_or_default());
            let answer = tls::read_leaf(&held).ok().map(|leaf| (leaf.fingerprint, said));
            Box::pin(std::future::ready(answer))
        });
        world.start();
        world.server.put(&client("alice"));
        world.server.put(&client("bob"));
        world.rest().await;
        let network = Self { world, lacking };
        for name in ["alice", "bob"] {
            network.world.assert_ready(name);
            assert_eq!(network.told(name).0, "True");
        }
        network
    }

    fn told(&self, name: &str) -> (String, String, String) {
        self.world.condition(name, "PeersConnected").expect("it has a peer")
    }

    /// From now on `alice` lacks `bob`.
    fn lose(&self, trial: Trial) {
        let bob = self.world.server.get(&node("bob")).expect("bob");
        let key = bob["status"]["identity"]["publicKey"].as_str().expect("a key");
        let lost = (Instant::now(), ShortId::of(key).expect("an id"), trial);
        self.lacking.lock().unwrap_or_else(PoisonError::into_inner).insert("alice".into(), lost);
    }

    fn find(&self) {
        self.lacking.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn calls(&self) -> usize {
        self.world.server.calls().len()
    }

    fn series(&self) -> Vec<String> {
        let text = self.world.metrics.text();
        let lines = text.lines().filter_map(|line| line.strip_prefix("quorum_peers_connected{"));
        let mut series: Vec<_> = lines.map(str::to_owned).collect();
        series.sort();
        series
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_is_missing_is_named_after_two_minutes_and_one_that_is_back_before_costs_nothing() {
    let mut network = Network::two().await;
    let calls = network.calls();
    tokio::time::sleep(60 * MINUTE).await;
    // for as long as the replacement of a pod takes
    network.lose(Trial::Refused);
    tokio::time::sleep(Duration::from_secs(110)).await;
    network.find();
    tokio::time::sleep(10 * MINUTE).await;
    assert_eq!(network.calls(), calls, "{:#?}", network.world.recent());

    network.lose(Trial::TimedOut);
    tokio::time::sleep(Duration::from_secs(115)).await;
    assert_eq!(network.told("alice").0, "True");
    tokio::time::sleep(Duration::from_secs(45)).await;
    let (status, reason, message) = network.told("alice");
    assert_eq!((status.as_str(), reason.as_str()), ("False", "PeerUnreachable"));
    let enode = network.world.server.get(&node("bob")).expect("bob")["status"]["enode"].to_string();
    let (_, place) = enode.split_once('@').expect("an address");
    let place = place.split_once('?').expect("a port").0;
    assert!(message.contains("Unreachable peers: bob, ") && message.contains(place), "{message}");
    assert_eq!(network.told("bob").0, "True");
    for name in ["alice", "bob"] {
        network.world.assert_ready(name);
    }
    let values: Vec<_> = network.series().iter().map(|line| line.ends_with(" 1")).collect();
    assert_eq!(values, [false, true], "{:?}", network.series());

    // it is reported once, also with a new leader
    let (version, told) = (network.world.server.version(), network.told("alice"));
    tokio::time::sleep(30 * MINUTE).await;
    network.world.start();
    tokio::time::sleep(30 * MINUTE).await;
    assert_eq!(network.world.server.version(), version, "{:#?}", network.world.recent());
    assert_eq!(network.told("alice"), told);

    network.lose(Trial::Reached);
    tokio::time::sleep(4 * MINUTE).await;
    assert_eq!(network.told("alice").1, "PeerNotConnected");
    network.find();
    tokio::time::sleep(MINUTE).await;
    assert_eq!(network.told("alice").1, "Connected");
    safety::assert_safe(&network.world.server);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_loses_its_last_peer_has_nothing_to_tell_of_any() {
    let mut network = Network::two().await;
    network.world.server.delete(&node("bob"), &serde_json::json!({}));
    network.world.rest().await;
    tokio::time::sleep(6 * MINUTE).await;
    network.world.assert_ready("alice");
    assert_eq!(network.world.condition("alice", "PeersConnected"), None);
    assert!(network.series().is_empty(), "{:?}", network.series());
}
