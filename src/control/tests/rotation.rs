//! Tests of CA rotation, from the Secret to the last pod that trusts the new CA.

use std::collections::BTreeSet;

use serde_json::json;

use super::{
    handshakes::{assert_no_handshake_fails, data},
    world::{ROTATED, World, node, secret},
};
use crate::{
    model::secrets::tls::{self, LeafFacts},
    testing::server::Server,
};

const NETWORK: &str = "qnet-acme-ca";

/// Requests the rotation of this CA.
pub(super) fn rotate(server: &Server, authority: &str) {
    server.edit(&secret(authority), "kubectl-annotate", |secret| {
        secret["metadata"]["annotations"]["quorum.security/rotate"] = json!("2031");
    });
}

fn ask(server: &Server) {
    rotate(server, NETWORK);
    rotate(server, "qn-alice-ca");
}

fn leaves(server: &Server) -> Vec<(String, LeafFacts)> {
    let secrets = server.objects().into_iter().filter(|(target, _)| target.name.contains("-tls-"));
    secrets
        .map(|(target, secret)| (target.name, tls::read_leaf(&data(&secret)).expect("a certificate")))
        .collect()
}

fn authority(server: &Server, name: &str) -> tls::AuthorityFacts {
    tls::read_authority(&data(&server.get(&secret(name)).expect("an authority"))).expect("readable")
}

#[tokio::test(start_paused = true)]
async fn an_authority_is_followed_by_the_next_and_no_handshake_fails() {
    let mut world = World::network().await;
    ask(&world.server);
    world.rest_after(ROTATED).await;
    world.assert_ready("alice");
    world.assert_ready("bob");
    assert_no_handshake_fails(&world.server);
    let own = authority(&world.server, "qn-alice-ca-2");
    let network = authority(&world.server, "qnet-acme-ca-2");
    let next = BTreeSet::from([own.fingerprint, network.fingerprint]);
    for (name, leaf) in leaves(&world.server) {
        assert!(next.contains(&leaf.authority) && leaf.trusted == [leaf.authority.clone()].into(), "{name}");
    }
    // the old CA still exists, and nothing more is done
    assert!(world.server.get(&secret(NETWORK)).is_some());
    let version = world.server.version();
    world.start();
    world.rest_after(ROTATED).await;
    assert_eq!(world.server.version(), version, "{:#?}", world.recent());
    assert!(world.server.get(&secret("qnet-acme-ca-3")).is_none());
}

#[tokio::test(start_paused = true)]
async fn a_node_whose_keys_go_with_it_leaves_no_generation_of_its_authority() {
    let mut world = World::network().await;
    ask(&world.server);
    world.rest().await;
    assert!(world.server.get(&secret("qn-alice-ca-2")).is_some());
    world.server.edit(&node("alice"), "kubectl-edit", |alice| {
        alice["spec"]["deletionPolicy"] = json!({"keys": "Delete"});
    });
    world.server.delete(&node("alice"), &json!({"propagationPolicy": "Background"}));
    world.rest().await;
    for (kept, name) in [(false, "qn-alice-ca"), (false, "qn-alice-ca-2"), (true, "qnet-acme-ca-2")] {
        assert_eq!(world.server.get(&secret(name)).is_some(), kept, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn scrapers_are_told_of_the_next_authority_before_it_signs() {
    let mut world = World::network().await;
    ask(&world.server);
    world.rest_after(ROTATED).await;
    let mut known = String::new();
    for change in world.server.changes() {
        if change.target.resource == "configmaps" && change.target.name == NETWORK {
            known = change.object["data"]["ca.crt"].as_str().unwrap_or_default().to_owned();
        }
        if change.target.resource == "secrets" && change.target.name == "qn-bob-tls-metrics" {
            let leaf = tls::read_leaf(&data(&change.object)).expect("a certificate");
            let by = [NETWORK, "qnet-acme-ca-2"].map(|name| authority(&world.server, name));
            let by = by.into_iter().find(|one| one.fingerprint == leaf.authority).expect("one of the two");
            assert!(known.is_empty() || known.contains(&by.certificate_pem));
        }
    }
    assert_eq!(known.matches("BEGIN").count(), 2, "both, until the first has ended");
}

#[tokio::test(start_paused = true)]
async fn an_authority_that_ended_while_no_operator_ran_is_replaced_without_a_person() {
    let mut world = World::network().await;
    world.stop();
    world.start_days_later(3660);
    world.rest_after(ROTATED).await;
    world.assert_ready("alice");
    world.assert_ready("bob");
    let next = authority(&world.server, "qnet-acme-ca-2");
    for (name, leaf) in leaves(&world.server).into_iter().filter(|(name, _)| name.ends_with("-metrics")) {
        assert_eq!(leaf.authority, next.fingerprint, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_year_before_its_end_an_authority_is_followed_without_anyone_asking() {
    let mut world = World::network().await;
    world.start_days_later(3286);
    world.rest_after(ROTATED).await;
    let (first, next) = (authority(&world.server, NETWORK), authority(&world.server, "qnet-acme-ca-2"));
    let signer = |world: &World| {
        let leaves = leaves(&world.server).into_iter();
        leaves
            .filter(|(name, _)| name.ends_with("-metrics"))
            .map(|(_, leaf)| leaf.authority)
            .collect::<Vec<_>>()
    };
    assert!(signer(&world).iter().all(|by| *by == first.fingerprint), "made known, and no more");
    world.start_days_later(31);
    world.rest_after(ROTATED).await;
    assert!(signer(&world).iter().all(|by| *by == next.fingerprint));
    world.assert_ready("alice");
    assert_no_handshake_fails(&world.server);
}
