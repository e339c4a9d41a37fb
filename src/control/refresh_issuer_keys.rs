//! Refreshes the keys of token issuers while this replica leads, and triggers the nodes that use keys that changed.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use futures::{StreamExt as _, channel::mpsc::UnboundedSender, stream};
use kube::{ResourceExt as _, runtime::reflector::ObjectRef};
use tokio::time::Instant;

use super::{ReconcileReason, ScopeContext, work_queue::Change};
use crate::{
    api::rpc::Caller,
    cluster::{
        jwks::{Signer, fetch},
        secret_facts::{self, Question},
        watch::caches::{DecodedNode, find},
    },
    model::lookup::Found,
    protocol::policy,
};

/// Number of issuers that are read at the same time.
const AT_ONCE: usize = 4;

/// Runs forever.
pub(super) async fn ask(context: &ScopeContext, wake: &UnboundedSender<ReconcileReason>) {
    loop {
        let wanted = wanted(context).await;
        let asked: BTreeSet<Signer> = wanted.keys().cloned().collect();
        for gone in context.keys.keep(&asked) {
            context.metrics.forget_issuer(gone.name());
        }
        let due = context.keys.due(&asked, Instant::now());
        let mut answers = stream::iter(due)
            .map(|signer| async { (signer.clone(), answer(context, signer).await) })
            .buffer_unordered(AT_ONCE);
        while let Some((signer, answer)) = answers.next().await {
            match &answer {
                Ok(_) => context.metrics.issuer(signer.name(), (context.clock)()),
                // log each error once, not each time it repeats
                Err(why) if context.keys.failure(&signer).as_ref() == Some(why) => {}
                Err(why) => tracing::warn!(issuer = signer.name(), why, "keys of an issuer cannot be read"),
            }
            if context.keys.heard(signer.clone(), answer, Instant::now()) {
                for node in wanted.get(&signer).into_iter().flatten() {
                    let _ = wake.unbounded_send(ReconcileReason::Changed(node.clone(), Change::Other));
                }
            }
        }
        context.keys.wait().await;
    }
}

async fn answer(context: &ScopeContext, signer: Signer) -> Result<policy::Issuer, String> {
    match signer {
        Signer::Cluster => fetch::cluster(&context.client).await,
        Signer::Issuer { url, authorities } => (context.fetch)(url, authorities).await,
    }
}

/// Issuers whose keys are needed, with the nodes that need them.
async fn wanted(context: &ScopeContext) -> BTreeMap<Signer, HashSet<ObjectRef<DecodedNode>>> {
    let mut wanted = BTreeMap::<_, HashSet<_>>::new();
    for node in context.caches.nodes.state() {
        let Ok(valid) = &node.0 else { continue };
        for caller in &valid.spec.rpc.callers {
            let namespace = valid.namespace().unwrap_or_default();
            let authorities = authorities(context, &namespace, caller).await;
            if let Some(signer) = Signer::of(&caller.identity, authorities.as_ref()) {
                wanted.entry(signer).or_default().insert(ObjectRef::from_obj(&*node));
            }
        }
    }
    wanted
}

/// CA certificates for an issuer's own certificate, if the spec references some and they can be read.
async fn authorities(context: &ScopeContext, namespace: &str, caller: &Caller) -> Option<String> {
    let at = caller.identity.oidc.as_ref()?.authority.as_ref()?;
    let live = find(&context.caches.config_maps, namespace, &at.name)?;
    let question = Question::Authorities(at.key.clone());
    let fact = context.facts.config_map(&context.client, &live, question).await.ok()?;
    match secret_facts::authorities(fact) {
        Found::Present(authorities) => Some(authorities),
        Found::Missing | Found::Invalid(_) => None,
    }
}
