//! Suite for a real cluster: tests that need API servers, kubelets, a policy engine and a client.
//!
//! `make e2e` starts the cluster, installs the operator and runs the suite. To run it by hand, set `KUBECONFIG` and
//! the variables of `images.env`, then run `cargo test --features e2e --test e2e`. Tests whose names begin with
//! `alone` change the cluster itself and run one at a time.

mod additions;
mod allowed_flows;
mod audit;
mod availability;
mod ca_rotation;
mod callers;
mod cluster_tests;
mod data_loss;
mod deletion;
mod drain;
mod happy_path;
mod issuers;
mod keys;
mod managers;
mod new_member;
mod organisations;
mod placement;
mod private_transactions;
mod profile;
mod rollouts;
mod rules;
mod served_certificates;
mod support;
mod volume_growth;
mod webhooks;
