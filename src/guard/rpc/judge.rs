//! What of a body is passed on, and what is answered here, in the order of the calls. Pure.

use std::borrow::Cow;

use hyper::body::Bytes;

use super::message::{self, Asked, Body, Call};
use super::refusal::Refusal;
use super::rules::Rules;

/// A call that is not passed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused<'a> {
    /// The caller's id, where it could be read.
    pub id: Option<&'a str>,
    /// The method, where it could be read.
    pub method: Option<&'a str>,
    /// Whether nobody waits for an answer.
    pub is_notification: bool,
    /// Of its own text.
    pub bytes: usize,
    /// Why.
    pub why: Refusal,
}

/// A call and what becomes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict<'a> {
    /// It is passed on.
    Allowed(Call<'a>),
    /// It is not.
    Refused(Refused<'a>),
}

impl<'a> Refused<'a> {
    fn of(call: &Call<'a>, why: Refusal) -> Self {
        let Call { id, method, bytes, .. } = *call;
        Self { id, method: Some(method), is_notification: id.is_none(), bytes, why }
    }
}

/// What becomes of a body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Judged<'a> {
    /// Of each call.
    pub calls: Vec<Verdict<'a>>,
    /// Whether it was a batch.
    pub is_batch: bool,
}

/// Judges what a caller asks.
///
/// # Errors
/// Where nothing of the body can be judged.
pub fn judge<'a>(rules: &Rules, caller: usize, body: &'a [u8]) -> Result<Judged<'a>, Refusal> {
    let most = rules.policy.limits.batch_calls;
    let body = message::read(body, most as usize).map_err(|refused| match refused {
        message::Refused::Syntax(fault) => Refusal::syntax(fault),
        message::Refused::Empty => Refusal::batch_empty(),
        message::Refused::TooMany => Refusal::batch_too_long(most),
    })?;
    let verdict = |asked: Asked<'a>| match asked {
        Ok(call) if rules.allows(caller, call.method) => Verdict::Allowed(call),
        Ok(call) => Verdict::Refused(Refused::of(&call, Refusal::not_granted())),
        Err(invalid) => Verdict::Refused(Refused {
            id: invalid.id,
            method: None,
            is_notification: false,
            bytes: invalid.bytes,
            why: Refusal::invalid(&invalid),
        }),
    };
    Ok(match body {
        Body::Single(asked) => Judged { calls: vec![verdict(asked)], is_batch: false },
        Body::Batch(calls) => Judged { calls: calls.into_iter().map(verdict).collect(), is_batch: true },
    })
}

impl<'a> Judged<'a> {
    /// Refuses what may be called and may not be now.
    pub fn refuse(&mut self, mut why: impl FnMut(&Call<'a>) -> Option<Refusal>) {
        for verdict in &mut self.calls {
            if let Verdict::Allowed(call) = verdict
                && let Some(why) = why(call)
            {
                *verdict = Verdict::Refused(Refused::of(call, why));
            }
        }
    }

    /// How many calls there are.
    #[must_use]
    pub fn number(&self) -> u32 {
        u32::try_from(self.calls.len()).unwrap_or(u32::MAX)
    }

    /// What of it is refused.
    pub fn refused(&self) -> impl Iterator<Item = &Refused<'a>> {
        self.calls.iter().filter_map(|verdict| match verdict {
            Verdict::Refused(refused) => Some(refused),
            Verdict::Allowed(_) => None,
        })
    }

    /// What is to be done, in parts of the body that was judged.
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

/// Bytes that a call takes until it is answered, besides its own.
pub const SLOT: usize = 256;

/// What is done for a call.
#[derive(Debug)]
pub enum Slot {
    /// The client is asked.
    Ask(Ask),
    /// It is answered with this.
    Answer(Vec<u8>),
    /// Nobody waits for an answer.
    Silent,
}

impl Slot {
    /// What the client is asked; empty where it is not.
    #[must_use]
    pub fn method(&self) -> &str {
        if let Self::Ask(ask) = self { &ask.method } else { "" }
    }
}

/// What the client is asked.
#[derive(Debug)]
pub struct Ask {
    /// The caller's id; a notification has none.
    pub id: Option<Bytes>,
    /// Letters, digits, `_` and `@`.
    pub method: String,
    /// Empty where there are none.
    pub params: Bytes,
    /// Of its own text, alone or in a batch.
    pub bytes: u64,
}
