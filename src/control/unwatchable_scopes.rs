//! Reports for each scope what cannot be watched: its namespace does not exist, or the operator's role is not bound.

use std::time::Duration;

use k8s_openapi::api::core::v1::Namespace;
use kube::Api;
use tokio::{sync::watch, time::Instant};

use super::ScopeContext;
use crate::{
    cluster::{watch::caches::Scope, write::timely},
    serve::Watched,
};

/// Interval of checks for forbidden watches.
const LOOK: Duration = Duration::from_secs(10);

/// Interval of reads of a namespace with a forbidden watch, or without nodes.
const ASK: Duration = Duration::from_secs(60);

/// Runs forever. `filled` becomes true when the caches are filled for the first time.
pub(super) async fn tell(context: &ScopeContext, mut filled: watch::Receiver<bool>) {
    let name = match &context.scope {
        Scope::Namespace(name) => name.as_str(),
        Scope::All => "all namespaces",
    };
    let (mut asked, mut said) = (None, Watched::Filling);
    loop {
        let is_filled = *filled.borrow_and_update();
        let now = look(context, is_filled, &mut asked).await;
        if let Watched::Lacking { why, .. } = &now
            && now != said
        {
            tracing::warn!(scope = name, why, "not everything can be watched");
        }
        context.health.scope(name, now.clone());
        said = now;
        tokio::select! {
            // it becomes true only once
            changed = filled.changed(), if !is_filled => if changed.is_err() { return },
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

async fn look(context: &ScopeContext, is_filled: bool, asked: &mut Option<(Instant, bool)>) -> Watched {
    let refused = context.caches.forbidden.now().into_iter().next();
    if let Scope::Namespace(name) = &context.scope
        && (refused.is_some() || is_filled && context.caches.nodes.state().is_empty())
    {
        let (at, there) = match *asked {
            Some(known) if known.0.elapsed() < ASK => known,
            _ => (Instant::now(), is_there(context, name).await),
        };
        *asked = Some((at, there));
        if !there {
            let why =
                "the namespace does not exist: create it, or remove it from --watch-namespaces".to_owned();
            return Watched::Lacking { why, works: is_filled };
        }
    }
    match refused {
        Some(said) => {
            let why = format!("{said}: bind the operator's role, see config/rbac");
            Watched::Lacking { why, works: is_filled }
        }
        None if is_filled => Watched::Whole,
        None => Watched::Filling,
    }
}

/// Whether a namespace exists. Read live, since namespaces are not watched. If it cannot be read, it may exist.
async fn is_there(context: &ScopeContext, name: &str) -> bool {
    let api = Api::<Namespace>::all(context.client.clone());
    !matches!(timely(api.get_metadata_opt(name)).await, Ok(Ok(None)))
}
