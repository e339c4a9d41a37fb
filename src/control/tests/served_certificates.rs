//! Tests of the probes of served certificates: a certificate that is not the Secret's is reported.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use serde_json::json;

use super::{
    handshakes::data,
    world::{World, client, node, object, secret},
};
use crate::{
    cluster::{Fence, tls_probe::served_certificates::Port},
    model::secrets::tls::{self, Fingerprint},
    settings::Pods,
    testing::server::Server,
};

const MINUTE: Duration = Duration::from_secs(60);

/// Certificates that the ports serve.
#[derive(Clone, Default)]
enum Shown {
    /// The certificate in the Secret.
    #[default]
    Current,
    Frozen(Fingerprint),
    Nothing,
}

struct Looked {
    world: World,
    shown: Arc<Mutex<Shown>>,
    looks: Arc<AtomicUsize>,
}

fn held(server: &Server, port: &Port) -> Option<Fingerprint> {
    let name = format!("qn-{}-tls-{}", port.node, port.purpose.as_str());
    Some(tls::read_leaf(&data(&server.get(&secret(&name))?)).ok()?.fingerprint)
}

fn looked() -> Looked {
    let (mut world, shown, looks) =
        (World::new(), Arc::<Mutex<Shown>>::default(), Arc::new(AtomicUsize::new(0)));
    world.render_config.operator = Some(Pods {
        namespace: "quorum-system".into(),
        labels: [("app".to_owned(), "quorum-operator".to_owned())].into(),
    });
    let (server, showing, counted) = (Arc::clone(&world.server), Arc::clone(&shown), Arc::clone(&looks));
    world.dial = Arc::new(move |port| {
        counted.fetch_add(1, Ordering::Relaxed);
        let showing = showing.lock().expect("not poisoned").clone();
        let presented = match showing {
            Shown::Current => held(&server, &port),
            Shown::Frozen(fingerprint) => Some(fingerprint),
            Shown::Nothing => None,
        };
        Box::pin(std::future::ready(presented))
    });
    Looked { world, shown, looks }
}

impl Looked {
    fn show(&self, shown: Shown) {
        *self.shown.lock().expect("not poisoned") = shown;
    }

    fn certificates(&self) -> (String, String, String) {
        self.world.condition("alice", "CertificatesReady").expect("always there")
    }

    /// Value in the operator's metrics.
    fn series(&self) -> Option<String> {
        let text = self.world.metrics.text();
        let line = text
            .lines()
            .find(|line| line.starts_with("quorum_cert_served{") && line.contains("\"metrics\""))?;
        Some(line.rsplit(' ').next()?.to_owned())
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_served_is_looked_at_without_a_request_and_told_where_it_differs_until_it_does_not() {
    let mut looked = looked();
    looked.world.start();
    looked.world.server.put(&client("alice"));
    looked.world.rest().await;
    looked.world.assert_ready("alice");
    tokio::time::sleep(6 * MINUTE).await;
    assert_eq!(looked.series().as_deref(), Some("1"));
    let (calls, looks) = (looked.world.server.calls().len(), looked.looks.load(Ordering::Relaxed));
    tokio::time::sleep(60 * MINUTE).await;
    assert_eq!(looked.world.server.calls().len(), calls, "{:#?}", looked.world.recent());
    let looks = looked.looks.load(Ordering::Relaxed) - looks;
    assert!((10..=12).contains(&looks), "{looks} in an hour");

    let at = Port {
        namespace: String::new(),
        node: "alice".into(),
        purpose: crate::model::names::Purpose::Metrics,
        pod: String::new(),
        address: ([127, 0, 0, 1], 1).into(),
    };
    looked.show(Shown::Frozen(held(&looked.world.server, &at).expect("a certificate")));
    looked.world.server.edit(&node("alice"), "kubectl-annotate", |alice| {
        alice["metadata"]["annotations"]["quorum.security/renew-certs-at"] = json!("now");
    });
    tokio::time::sleep(5 * MINUTE).await;
    looked.world.start();
    tokio::time::sleep(4 * MINUTE).await;
    looked.world.assert_ready("alice");
    assert_eq!(looked.series().as_deref(), Some("0"));
    tokio::time::sleep(2 * MINUTE).await;
    let told = looked.certificates();
    assert_eq!((told.0.as_str(), told.1.as_str()), ("False", "ServedCertificateMismatch"), "{told:?}");
    assert!(told.2.contains("metrics (the client at port 9545)"), "{told:?}");

    // another replica that reaches no port reports the same
    looked.show(Shown::Nothing);
    let version = looked.world.server.version();
    looked.world.start();
    tokio::time::sleep(20 * MINUTE).await;
    assert_eq!(looked.certificates(), told);
    assert_eq!(looked.world.server.version(), version, "{:#?}", looked.world.recent());
    assert_eq!(looked.series(), None, "not known is neither");
    looked.show(Shown::Current);
    tokio::time::sleep(6 * MINUTE).await;
    looked.world.assert_ready("alice");
    assert_eq!(looked.series().as_deref(), Some("1"));
}

#[tokio::test(start_paused = true)]
async fn ports_that_nobody_reaches_are_no_alarm() {
    let mut looked = looked();
    looked.world.start();
    looked.world.server.put(&client("alice"));
    looked.world.rest().await;
    tokio::time::sleep(6 * MINUTE).await;
    assert_eq!(looked.series().as_deref(), Some("1"));
    looked.show(Shown::Nothing);
    tokio::time::sleep(60 * MINUTE).await;
    looked.world.assert_ready("alice");
    assert_eq!(looked.series(), None, "what was seen once is not seen now");
    assert!(looked.looks.load(Ordering::Relaxed) > 10);
}

#[tokio::test(start_paused = true)]
async fn a_standby_looks_at_nobody() {
    let mut looked = looked();
    looked.world.start();
    looked.world.server.put(&client("alice"));
    looked.world.rest().await;
    looked.world.stop();
    let looks = looked.looks.load(Ordering::Relaxed);
    let (_lease, fence) = Fence::new();
    let standby = looked.world.replica("standby", Arc::new(|| k8s_openapi::jiff::Timestamp::UNIX_EPOCH));
    let loops = standby.loops(&looked.world.scopes, &fence, std::future::pending());
    let loops: Vec<_> = loops.into_iter().map(tokio::spawn).collect();
    tokio::time::sleep(60 * MINUTE).await;
    assert_eq!(looked.looks.load(Ordering::Relaxed), looks);
    loops.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test(start_paused = true)]
async fn where_the_operators_pods_are_not_named_nothing_is_opened_and_nobody_looks() {
    for named in [true, false] {
        let mut looked = looked();
        if !named {
            looked.world.render_config.operator = None;
        }
        looked.world.start();
        looked.world.server.put(&client("alice"));
        looked.world.rest().await;
        tokio::time::sleep(6 * MINUTE).await;
        looked.world.assert_ready("alice");
        let policy = object("networking.k8s.io/v1", "networkpolicies", "alice-operator");
        assert_eq!(looked.world.server.get(&policy).is_some(), named);
        assert_eq!(looked.looks.load(Ordering::Relaxed) > 0, named);
    }
}
