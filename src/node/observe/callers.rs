//! What callers of JSON-RPC refer to: authorities in ConfigMaps, and the keys of those who issue tokens.

use std::collections::BTreeMap;

use super::Sources;
use crate::{
    api::QuorumNode,
    cluster::facts::{self, Question},
    node::observed::ObservedCallers,
};

pub(super) async fn callers(
    sources: Sources<'_>,
    namespace: &str,
    node: &QuorumNode,
) -> anyhow::Result<ObservedCallers> {
    let mut authorities = BTreeMap::new();
    for caller in &node.spec.rpc.callers {
        if let Some(at) = caller.identity.authority() {
            let question = Question::Authorities(at.key.clone());
            let found = facts::authorities(sources.config_map(namespace, at, question).await?);
            authorities.insert(caller.name.clone(), found);
        }
    }
    Ok(ObservedCallers { authorities, ..ObservedCallers::default() })
}
