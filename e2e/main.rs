//! The suite that needs a real cluster: what only servers, kubelets, a policy engine and a client can show.
//!
//! `make e2e` brings the cluster up, installs the operator and runs this. By hand: `KUBECONFIG` and the
//! variables of `images.env` in the environment, then `cargo test --features e2e --test e2e`. Tests whose
//! names begin with `bed` change the cluster itself and run one at a time.

mod additions;
mod audit;
mod bed;
mod callers;
mod deletion;
mod drain;
mod flows;
mod grow;
mod issuers;
mod join;
mod keeps_running;
mod keys;
mod kubectl;
mod losses;
mod managers;
mod network;
mod organisations;
mod partners;
mod payloads;
mod placement;
mod pods;
mod profile;
mod record;
mod rollouts;
mod rotation;
mod rules;
mod served;
mod spine;
mod webhooks;
