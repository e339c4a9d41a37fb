//! The guard's handling of bodies, without its server: reads a body and rewrites its granted calls.

use quorum_operator::{
    guard::rpc::decide::message::{self, Body, Call},
    protocol::policy::{Limits, grants::Grants},
};

use crate::geth::Counts;

/// Rewritten calls.
#[derive(Default)]
pub(crate) struct Written {
    /// Rewritten body of each call, in order.
    pub(crate) bodies: Vec<Vec<u8>>,
    /// Number of granted calls by method.
    pub(crate) granted: Counts,
}

/// Rewrites the granted calls of a body; `None` if there are none.
pub(crate) fn written(body: &[u8], grants: &Grants) -> Option<Written> {
    let mut written = Written::default();
    let most = Limits::default().batch_calls as usize;
    let is_granted = |call: &Call<'_>| grants.allow(call.method);
    let calls = match message::read(body, most).ok()? {
        Body::Single(asked) => vec![asked],
        Body::Batch(asked) => asked,
    };
    calls.into_iter().flatten().filter(is_granted).for_each(|call| written.add(&call));
    (!written.granted.is_empty()).then_some(written)
}

impl Written {
    fn add(&mut self, call: &Call<'_>) {
        let mut body = Vec::new();
        message::write(call, &mut body);
        self.bodies.push(body);
        *self.granted.entry(call.method.to_owned()).or_default() += 1;
    }
}
