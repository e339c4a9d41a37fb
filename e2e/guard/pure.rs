//! What the guard makes of a body, without its server: the calls that it understood and that are granted, written
//! anew.

use quorum_operator::guard::rpc::message::{self, Body, Call};
use quorum_operator::policy::{Limits, grants::Grants};

use crate::geth::Counts;

/// What is sent on.
#[derive(Default)]
pub(crate) struct Written {
    /// Of each call, in their order.
    pub(crate) bodies: Vec<Vec<u8>>,
    /// What was granted.
    pub(crate) granted: Counts,
}

/// Nothing, where nothing is granted.
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
