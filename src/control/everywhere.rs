//! The caches of all scopes: who claims an identity must be known in every namespace before anything is started.

use tokio::{sync::watch, time::timeout};

use crate::cluster::{Caches, fence::REQUEST};

pub(super) struct Everywhere {
    pub(super) caches: Vec<Caches>,
    /// How many of them are filled, as far as they may be.
    filled: watch::Sender<usize>,
}

impl Everywhere {
    pub(super) fn new(caches: Vec<Caches>) -> Self {
        Self { caches, filled: watch::Sender::new(0) }
    }

    /// Waits for all of them; to be called once for each. A store wakes only the last one that waits for it, so
    /// that each is waited for by its own scope alone.
    pub(super) async fn filled(&self, own: &Caches) {
        let refused = tokio::select! {
            () = own.filled() => false,
            () = own.forbidden.heard() => true,
        };
        if refused {
            // a namespace that may not be read in full holds up no other; who lives there is mostly known still
            let _ = timeout(REQUEST, own.nodes.wait_until_ready()).await;
        }
        self.filled.send_modify(|count| *count += 1);
        own.filled().await;
        // the sender is ours
        let _ = self.filled.subscribe().wait_for(|count| *count >= self.caches.len()).await;
    }
}
