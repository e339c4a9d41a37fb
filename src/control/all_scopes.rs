//! Caches of all scopes. A node may start only when the identity claims in every watched namespace are known.

use tokio::{sync::watch, time::timeout};

use crate::cluster::{Caches, write::fence::REQUEST};

pub(super) struct Everywhere {
    pub(super) caches: Vec<Caches>,
    /// Number of caches that are filled as far as permissions allow.
    filled: watch::Sender<usize>,
}

impl Everywhere {
    pub(super) fn new(caches: Vec<Caches>) -> Self {
        Self { caches, filled: watch::Sender::new(0) }
    }

    /// Waits until all caches are filled. Each scope calls it once with its own caches, since a store wakes only its
    /// last waiter.
    pub(super) async fn filled(&self, own: &Caches) {
        let refused = tokio::select! {
            () = own.filled() => false,
            () = own.forbidden.heard() => true,
        };
        if refused {
            // a namespace with a forbidden watch must not delay the others; its nodes can mostly still be read
            let _ = timeout(REQUEST, own.nodes.wait_until_ready()).await;
        }
        self.filled.send_modify(|count| *count += 1);
        own.filled().await;
        // cannot fail: `self` holds the sender
        let _ = self.filled.subscribe().wait_for(|count| *count >= self.caches.len()).await;
    }
}
