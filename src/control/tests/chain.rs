//! Tests of the chain state: probed, reported, and waited for.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use serde_json::json;
use tokio::time::Instant;

use super::{
    disruption::validator,
    handshakes::data,
    safety,
    world::{World, node, object, secret},
};
use crate::{
    model::secrets::tls,
    protocol::chain_metrics::Figures,
    settings::Pods,
    testing::{server::Server, specs},
};

const NAMES: [&str; 4] = ["val-a", "val-b", "val-c", "val-d"];
const MINUTE: Duration = Duration::from_secs(60);

/// State that the network's clients report.
#[derive(Default)]
struct Says {
    /// Block at which the chain stands still; without one it advances by a block per second.
    stands: Option<u64>,
    /// How many blocks a pod is behind the others, by uid.
    behind: BTreeMap<String, u64>,
    /// Number of peers of a pod, by uid, if it is not three.
    peers: BTreeMap<String, u32>,
    /// Pods that do not answer.
    silent: Vec<String>,
}

struct Network {
    world: World,
    says: Arc<Mutex<Says>>,
    asked: Arc<AtomicUsize>,
}

impl Network {
    fn new() -> Self {
        let mut world = World::new();
        world.render_config.operator = Some(Pods {
            namespace: "quorum-system".into(),
            labels: [("app".to_owned(), "quorum-operator".to_owned())].into(),
        });
        let (says, asked) = (Arc::<Mutex<Says>>::default(), Arc::<AtomicUsize>::default());
        let (server, saying, counted, began) =
            (Arc::clone(&world.server), Arc::clone(&says), Arc::clone(&asked), Instant::now());
        world.ask = Arc::new(move |place| {
            counted.fetch_add(1, Ordering::Relaxed);
            let says = saying.lock().unwrap_or_else(PoisonError::into_inner);
            let head = says.stands.unwrap_or(1000 + began.elapsed().as_secs());
            let head = head - says.behind.get(&place.pod).copied().unwrap_or_default();
            let peers = says.peers.get(&place.pod).copied().unwrap_or(3);
            let held =
                data(&server.get(&secret(&format!("qn-{}-tls-metrics", place.node))).unwrap_or_default());
            let shown = tls::read_leaf(&held).ok().filter(|_| !says.silent.contains(&place.pod));
            let answer = shown.map(|leaf| (leaf.fingerprint, Figures { head, peers, age: 0 }.into()));
            Box::pin(std::future::ready(answer))
        });
        Self { world, says, asked }
    }

    /// Four ready validators whose chain was seen to advance.
    async fn four() -> Self {
        let mut network = Self::new();
        network.world.start();
        for name in NAMES {
            network.world.server.put(&validator(name));
        }
        network.world.rest().await;
        NAMES.into_iter().for_each(|name| network.world.assert_ready(name));
        assert_eq!(network.told(), each("True", "Advancing"));
        network
    }

    fn say(&self, change: impl FnOnce(&mut Says)) {
        change(&mut self.says.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn told(&self) -> [(String, String); 4] {
        NAMES.map(|name| {
            let (status, reason, _) = self.world.condition(name, "ChainAdvancing").expect("always there");
            (status, reason)
        })
    }

    fn pods(&self) -> [String; 4] {
        NAMES.map(|name| uid(&self.world.server, name))
    }

    /// Sets another image for all of them.
    fn patch(&self, image: &str) {
        for name in NAMES {
            self.world.server.edit(&node(name), "kubectl-edit", |node| {
                node["spec"]["client"]["image"] = json!(specs::image(image));
            });
        }
    }

    /// Values of a metric.
    fn series(&self, metric: &str) -> Vec<String> {
        let text = self.world.metrics.text();
        let lines = text.lines().filter(|line| line.starts_with(&format!("{metric}{{")));
        lines.filter_map(|line| Some(line.rsplit(' ').next()?.to_owned())).collect()
    }
}

/// Asserts this status and reason for every validator.
fn each(status: &str, reason: &str) -> [(String, String); 4] {
    NAMES.map(|_| (status.to_owned(), reason.to_owned()))
}

fn uid(server: &Server, name: &str) -> String {
    let pod = server.get(&object("v1", "pods", &format!("{name}-client-0"))).unwrap_or_default();
    pod["metadata"]["uid"].as_str().unwrap_or_default().to_owned()
}

/// Number of pods that were replaced.
fn replaced(before: &[String; 4], after: &[String; 4]) -> usize {
    before.iter().zip(after).filter(|(before, after)| before != after).count()
}

#[tokio::test(start_paused = true)]
async fn a_chain_that_stands_is_told_while_every_node_is_ready_and_no_block_costs_a_request() {
    let mut network = Network::four().await;
    let (calls, asked) = (network.world.server.calls().len(), network.asked.load(Ordering::Relaxed));
    tokio::time::sleep(60 * MINUTE).await;
    assert_eq!(network.world.server.calls().len(), calls, "{:#?}", network.world.recent());
    let asked = network.asked.load(Ordering::Relaxed) - asked;
    assert!((440..=500).contains(&asked), "{asked} in an hour, of four clients");
    assert_eq!(network.series("quorum_chain_advancing"), ["1"; 4]);

    network.say(|says| says.stands = Some(460_000));
    tokio::time::sleep(3 * MINUTE).await;
    assert_eq!(network.told(), each("False", "HeadStalled"));
    for name in NAMES {
        network.world.assert_ready(name);
        let (_, _, message) = network.world.condition(name, "ChainAdvancing").expect("told");
        assert!(message.starts_with("no new block after block 460000 since 2027-01-15T"), "{message}");
    }
    assert_eq!(network.series("quorum_chain_advancing"), ["0"; 4]);
    assert_eq!(network.series("quorum_chain_head"), ["460000"; 4]);
    // nothing is written again, and another replica reports the same
    let (version, message) =
        (network.world.server.version(), network.world.condition("val-b", "ChainAdvancing").expect("told"));
    tokio::time::sleep(30 * MINUTE).await;
    network.world.start();
    tokio::time::sleep(30 * MINUTE).await;
    assert_eq!(network.world.server.version(), version, "{:#?}", network.world.recent());
    assert_eq!(network.world.condition("val-b", "ChainAdvancing"), Some(message));

    network.say(|says| says.stands = Some(460_001));
    tokio::time::sleep(MINUTE).await;
    assert_eq!(network.told(), each("True", "Advancing"));
    safety::assert_safe(&network.world.server);
}

#[tokio::test(start_paused = true)]
async fn a_chain_at_its_first_block_and_one_that_nobody_reaches_are_not_known() {
    for (silent, reason) in [(false, "AtGenesis"), (true, "NotObserved")] {
        let mut network = Network::new();
        network.say(|says| says.stands = Some(0));
        network.world.start();
        network.world.server.put(&validator("val-a"));
        network.world.rest().await;
        if silent {
            network.say(|says| says.silent = vec![uid(&network.world.server, "val-a")]);
        }
        tokio::time::sleep(10 * MINUTE).await;
        network.world.assert_ready("val-a");
        let told = network.world.condition("val-a", "ChainAdvancing").expect("always there");
        assert_eq!((told.0.as_str(), told.1.as_str()), ("Unknown", reason));
        assert!(network.series("quorum_chain_advancing").is_empty(), "not known is neither");
        assert_eq!(network.series("quorum_chain_head").len(), usize::from(!silent));
    }
}

#[tokio::test(start_paused = true)]
async fn the_next_validators_turn_comes_when_the_one_before_it_has_caught_up_and_has_its_peers() {
    let network = Network::four().await;
    let before = network.pods();
    // every new pod has lost its volume
    let known = before.clone();
    let (says, server) = (Arc::clone(&network.says), Arc::clone(&network.world.server));
    let emptied = tokio::spawn(async move {
        loop {
            for pod in NAMES.map(|name| uid(&server, name)) {
                if !pod.is_empty() && !known.contains(&pod) {
                    let mut says = says.lock().unwrap_or_else(PoisonError::into_inner);
                    says.behind.entry(pod.clone()).or_insert(900);
                    says.peers.entry(pod).or_insert(1);
                }
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    network.patch("goquorum-next");
    for turn in 1..=4 {
        tokio::time::sleep(9 * MINUTE).await;
        let pods = network.pods();
        assert_eq!(replaced(&before, &pods), turn, "one is behind: {:#?}", network.world.recent());
        let newest = pods[turn - 1].clone();
        let (_, _, message) = network.world.condition(NAMES[turn - 1], "ChainAdvancing").expect("told");
        assert!(message.contains("has not caught up"), "{message}");
        network.say(|says| says.behind.extend([(newest.clone(), 2)]));
        tokio::time::sleep(MINUTE / 2).await;
        assert_eq!(replaced(&before, &network.pods()), turn, "it has not found its peers again");
        network.say(|says| says.peers.extend([(newest, 3)]));
        NAMES.into_iter().for_each(|name| network.world.assert_ready(name));
    }
    emptied.abort();
    safety::assert_safe(&network.world.server);
}

#[tokio::test(start_paused = true)]
async fn while_the_chain_stands_no_pod_that_serves_is_replaced_and_one_that_does_not_is() {
    let network = Network::four().await;
    network.say(|says| says.stands = Some(460_000));
    tokio::time::sleep(3 * MINUTE).await;
    let before = network.pods();
    network.patch("goquorum-next");
    tokio::time::sleep(60 * MINUTE).await;
    assert_eq!(network.pods(), before, "{:#?}", network.world.recent());
    let pod = object("v1", "pods", "val-c-client-0");
    network.world.server.edit(&pod, "kubelet", |pod| {
        pod["status"]["conditions"] = json!([{"type": "Ready", "status": "False"}]);
    });
    tokio::time::sleep(10 * MINUTE).await;
    let after = network.pods();
    let is_new = [0, 1, 2, 3].map(|at| before[at] != after[at]);
    assert_eq!(is_new, [false, false, true, false]);
    network.say(|says| says.stands = None);
    tokio::time::sleep(20 * MINUTE).await;
    assert_eq!(replaced(&before, &network.pods()), 4);
    safety::assert_safe(&network.world.server);
}

#[tokio::test(start_paused = true)]
async fn where_no_figures_come_validators_are_replaced_as_ever() {
    let network = Network::four().await;
    let before = network.pods();
    let everybody = before.to_vec();
    network.say(|says| says.silent = everybody);
    tokio::time::sleep(3 * MINUTE).await;
    assert_eq!(network.told(), each("Unknown", "NotObserved"));
    network.patch("goquorum-next");
    tokio::time::sleep(20 * MINUTE).await;
    assert_eq!(replaced(&before, &network.pods()), 4, "{:#?}", network.world.recent());
}
