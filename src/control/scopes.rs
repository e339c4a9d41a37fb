//! Says for each scope what of it cannot be watched: a namespace that is not there, or whose role is not bound.

use std::time::Duration;

use k8s_openapi::api::core::v1::Namespace;
use kube::Api;
use tokio::{sync::watch, time::Instant};

use super::Context;
use crate::{
    cluster::{caches::Scope, write::timely},
    serve::Watched,
};

/// How often it is seen whether something may not be watched.
const LOOK: Duration = Duration::from_secs(10);

/// How often a namespace is asked for in which something is missing, or no node is seen.
const ASK: Duration = Duration::from_secs(60);

/// Never ends. `filled` tells when everything was seen for the first time.
pub(super) async fn tell(context: &Context, mut filled: watch::Receiver<bool>) {
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
            // it is told once
            changed = filled.changed(), if !is_filled => if changed.is_err() { return },
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

async fn look(context: &Context, is_filled: bool, asked: &mut Option<(Instant, bool)>) -> Watched {
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
            let why = "there is no such namespace: create it, or take it off --watch-namespaces".to_owned();
            return Watched::Lacking { why, works: is_filled };
        }
    }
    match refused {
        Some(said) => {
            let why = format!("{said}: bind the role there, see config/rbac");
            Watched::Lacking { why, works: is_filled }
        }
        None if is_filled => Watched::Whole,
        None => Watched::Filling,
    }
}

/// Read live: namespaces are not watched. What cannot be read may be there.
async fn is_there(context: &Context, name: &str) -> bool {
    let api = Api::<Namespace>::all(context.client.clone());
    !matches!(timely(api.get_metadata_opt(name)).await, Ok(Ok(None)))
}
