//! SIGTERM and SIGINT. As process 1 of a container the default action of both is to ignore them.

use std::future::Future;

use tokio::signal::unix::{SignalKind, signal};

/// Done when the process is asked to end. The handlers are in place when this returns, not at the first poll.
pub fn asked() -> std::io::Result<impl Future<Output = ()>> {
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
    })
}
