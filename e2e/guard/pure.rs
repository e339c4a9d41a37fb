//! What the guard makes of a body, without its server: the calls that it understood and that are granted, written
//! anew.

use quorum_operator::guard::rpc::message::{self, Body, Call};
use quorum_operator::policy::{Limits, grants::Grants};

use crate::geth::Counts;

/// What is sent on.
#[derive(Default)]
pub(crate) struct Written {
    pub(crate) body: Vec<u8>,
    /// What was granted.
    pub(crate) granted: Counts,
}

/// Nothing, where nothing is granted.
pub(crate) fn written(body: &[u8], grants: &Grants) -> Option<Written> {
    let mut written = Written::default();
    let most = Limits::default().batch_calls as usize;
    let is_granted = |call: &Call<'_>| grants.allow(call.method);
    match message::read(body, most).ok()? {
        Body::Single(asked) => {
            let call = asked.ok().filter(is_granted)?;
            message::write(&call, &mut written.body);
            written.count(&call);
        }
        Body::Batch(asked) => {
            let calls: Vec<Call<'_>> = asked.into_iter().flatten().filter(is_granted).collect();
            message::write_batch(&calls, &mut written.body);
            calls.iter().for_each(|call| written.count(call));
        }
    }
    (!written.granted.is_empty()).then_some(written)
}

impl Written {
    fn count(&mut self, call: &Call<'_>) {
        *self.granted.entry(call.method.to_owned()).or_default() += 1;
    }
}
