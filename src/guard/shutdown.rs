//! Waits for SIGTERM or SIGINT. The kernel ignores both for process 1 of a container unless it has handlers.

use std::future::Future;

use tokio::signal::unix::{SignalKind, signal};

/// Returns a future that completes when the process receives SIGTERM or SIGINT. Installs the handlers before it
/// returns, not at the first poll.
pub fn asked() -> std::io::Result<impl Future<Output = ()>> {
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
    })
}
