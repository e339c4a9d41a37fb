//! Authorizes the calls of a body: decides for each, in order, whether the guard forwards it or answers it itself.
//! Pure.

use std::borrow::Cow;

use hyper::body::Bytes;

use super::{
    message::{self, Asked, Body, Call},
    rejection::Rejection,
    rules::Rules,
};

/// A rejected call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused<'a> {
    /// The caller's id, if it could be read.
    pub id: Option<&'a str>,
    /// The method, if it could be read.
    pub method: Option<&'a str>,
    /// Whether the call has no id, so that it gets no answer.
    pub is_notification: bool,
    /// Length of the call's own text.
    pub bytes: usize,
    /// Why it is rejected.
    pub why: Rejection,
}

/// A call with its verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict<'a> {
    /// The guard forwards it.
    Allowed(Call<'a>),
    /// The guard rejects it.
    Refused(Refused<'a>),
}

impl<'a> Refused<'a> {
    fn of(call: &Call<'a>, why: Rejection) -> Self {
        let Call { id, method, bytes, .. } = *call;
        Self { id, method: Some(method), is_notification: id.is_none(), bytes, why }
    }
}

/// An authorized body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Authorized<'a> {
    /// The verdicts, in the order of the calls.
    pub calls: Vec<Verdict<'a>>,
    /// Whether the body is a batch.
    pub is_batch: bool,
}

/// Authorizes the calls of a body.
///
/// # Errors
/// If the body as a whole is rejected.
pub fn authorize<'a>(rules: &Rules, caller: usize, body: &'a [u8]) -> Result<Authorized<'a>, Rejection> {
    let most = rules.policy.limits.batch_calls;
    let body = message::read(body, most as usize).map_err(|refused| match refused {
        message::Refused::Syntax(fault) => Rejection::syntax(fault),
        message::Refused::Empty => Rejection::batch_empty(),
        message::Refused::TooMany => Rejection::batch_too_long(most),
    })?;
    let verdict = |asked: Asked<'a>| match asked {
        Ok(call) if rules.allows(caller, call.method) => Verdict::Allowed(call),
        Ok(call) => Verdict::Refused(Refused::of(&call, Rejection::not_granted())),
        Err(invalid) => Verdict::Refused(Refused {
            id: invalid.id,
            method: None,
            is_notification: false,
            bytes: invalid.bytes,
            why: Rejection::invalid(&invalid),
        }),
    };
    Ok(match body {
        Body::Single(asked) => Authorized { calls: vec![verdict(asked)], is_batch: false },
        Body::Batch(calls) => Authorized { calls: calls.into_iter().map(verdict).collect(), is_batch: true },
    })
}

impl<'a> Authorized<'a> {
    /// Rejects those allowed calls for which `why` returns a rejection.
    pub fn refuse(&mut self, mut why: impl FnMut(&Call<'a>) -> Option<Rejection>) {
        for verdict in &mut self.calls {
            if let Verdict::Allowed(call) = verdict
                && let Some(why) = why(call)
            {
                *verdict = Verdict::Refused(Refused::of(call, why));
            }
        }
    }

    /// Number of calls.
    #[must_use]
    pub fn number(&self) -> u32 {
        u32::try_from(self.calls.len()).unwrap_or(u32::MAX)
    }

    /// The rejected calls.
    pub fn refused(&self) -> impl Iterator<Item = &Refused<'a>> {
        self.calls.iter().filter_map(|verdict| match verdict {
            Verdict::Refused(refused) => Some(refused),
            Verdict::Allowed(_) => None,
        })
    }

    /// Returns what to do for each call, as slices of the body.
    #[must_use]
    pub fn plan(&self, body: &Bytes) -> Vec<Slot> {
        let part = |text: &str| body.slice_ref(text.as_bytes());
        let id = |id: &str| match message::given_back(id) {
            Cow::Borrowed(id) => body.slice_ref(id.as_bytes()),
            Cow::Owned(id) => id.into(),
        };
        let slot = |verdict: &Verdict<'_>| match verdict {
            Verdict::Allowed(call) => Slot::Ask(Ask {
                id: call.id.map(id),
                method: call.method.to_owned(),
                params: call.params.map(part).unwrap_or_default(),
                bytes: call.bytes as u64,
            }),
            Verdict::Refused(refused) if refused.is_notification => Slot::Silent,
            Verdict::Refused(refused) => Slot::Answer(refused.why.text(refused.id)),
        };
        self.calls.iter().map(slot).collect()
    }
}

/// Bytes held for a call until it is answered, besides its own.
pub const SLOT: usize = 256;

/// What to do for a call.
#[derive(Debug)]
pub enum Slot {
    /// Send it to the client.
    Ask(Ask),
    /// Answer it with this error.
    Answer(Vec<u8>),
    /// Send no answer.
    Silent,
}

impl Slot {
    /// The method to send to the client; empty if the call is not sent.
    #[must_use]
    pub fn method(&self) -> &str {
        if let Self::Ask(ask) = self { &ask.method } else { "" }
    }
}

/// A call to send to the client.
#[derive(Debug)]
pub struct Ask {
    /// The caller's id; `None` for a notification.
    pub id: Option<Bytes>,
    /// The method: letters, digits, `_` and `@`.
    pub method: String,
    /// The params; empty if there are none.
    pub params: Bytes,
    /// Length of the call's own text, alone or in a batch.
    pub bytes: u64,
}
