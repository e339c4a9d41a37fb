//! Writes the status of a node, and debounces updates that change only messages.

use std::time::Duration;

use kube::ResourceExt as _;
use tokio::time::Instant;

use super::{Context, REQUEUE_SOON, status};
use crate::api::{QuorumNode, QuorumNodeStatus};

/// Whether a status was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StatusWrite {
    /// It was written.
    Done,
    /// It is due after this wait, unless more than messages differ by then.
    Debounced(Duration),
    /// It does not differ.
    Unchanged,
}

/// Writes the status if it differs. If only messages differ, the write waits: for the next reconcile if this one has
/// `written` something, which triggers it, or else for a few seconds.
pub(super) async fn write(
    context: Context<'_>,
    node: &QuorumNode,
    status: &QuorumNodeStatus,
    written: bool,
) -> anyhow::Result<StatusWrite> {
    let which = (node.namespace().unwrap_or_default(), node.name_any());
    let words = match &node.status {
        Some(before) if before == status => {
            context.status_debounce.said(&which);
            return Ok(StatusWrite::Unchanged);
        }
        before => before.as_ref().is_some_and(|before| status::are_words(before, status)),
    };
    let wait = if words { context.status_debounce.wait(which.clone(), Instant::now()) } else { None };
    match wait {
        // the event of a write can be lost
        None if words && written => Ok(StatusWrite::Debounced(REQUEUE_SOON)),
        Some(wait) => Ok(StatusWrite::Debounced(wait.max(REQUEUE_SOON))),
        None => {
            context.writer.status(&node.metadata, status).await?;
            context.status_debounce.said(&which);
            Ok(StatusWrite::Done)
        }
    }
}
