//! Asks those who issue tokens for their keys, while this replica leads. Whoever waits for them is woken.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use futures::{StreamExt as _, channel::mpsc::UnboundedSender, stream};
use kube::{ResourceExt as _, runtime::reflector::ObjectRef};
use tokio::time::Instant;

use super::{Context, Wake, turns::News};
use crate::{
    api::rpc::Caller,
    cluster::{
        caches::{Guarded, find},
        facts::{self, Question},
        keys::{Signer, fetch},
    },
    node::observed::Found,
    policy,
};

/// How many are asked at the same time.
const AT_ONCE: usize = 4;

/// Never ends.
pub(super) async fn ask(context: &Context, wake: &UnboundedSender<Wake>) {
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
                // one line for each trouble, and not for each time
                Err(why) if context.keys.failure(&signer).as_ref() == Some(why) => {}
                Err(why) => tracing::warn!(issuer = signer.name(), why, "keys of an issuer cannot be read"),
            }
            if context.keys.heard(signer.clone(), answer, Instant::now()) {
                for node in wanted.get(&signer).into_iter().flatten() {
                    let _ = wake.unbounded_send(Wake::News(node.clone(), News::Other));
                }
            }
        }
        context.keys.wait().await;
    }
}

async fn answer(context: &Context, signer: Signer) -> Result<policy::Issuer, String> {
    match signer {
        Signer::Cluster => fetch::cluster(&context.client).await,
        Signer::Issuer { url, authorities } => (context.fetch)(url, authorities).await,
    }
}

/// Whose keys are needed, and by which nodes.
async fn wanted(context: &Context) -> BTreeMap<Signer, HashSet<ObjectRef<Guarded>>> {
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

/// What an issuer's own certificate is to be signed by, where that is said and can be read.
async fn authorities(context: &Context, namespace: &str, caller: &Caller) -> Option<String> {
    let at = caller.identity.oidc.as_ref()?.authority.as_ref()?;
    let live = find(&context.caches.config_maps, namespace, &at.name)?;
    let question = Question::Authorities(at.key.clone());
    let fact = context.facts.config_map(&context.client, &live, question).await.ok()?;
    match facts::authorities(fact) {
        Found::Is(authorities) => Some(authorities),
        Found::Missing | Found::Unusable(_) => None,
    }
}
