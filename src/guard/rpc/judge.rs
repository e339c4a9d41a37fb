//! What of a body is passed on, and what is answered here. Pure.

use super::message::{self, Asked, Body, Call};
use super::refusal::Refusal;
use super::rules::Rules;

/// A call and what becomes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused<'a> {
    /// The caller's id, where it could be read.
    pub id: Option<&'a str>,
    /// The method, where it could be read.
    pub method: Option<&'a str>,
    /// Whether nobody waits for an answer.
    pub is_notification: bool,
    /// As [`size`] has it; 0 where it could not be read.
    pub bytes: usize,
    /// Why.
    pub why: Refusal,
}

impl<'a> Refused<'a> {
    fn of(call: &Call<'a>, why: Refusal) -> Self {
        let (id, method) = (call.id, Some(call.method));
        Self { id, method, is_notification: id.is_none(), bytes: size(call), why }
    }
}

/// Bytes of a call's method and params.
#[must_use]
pub fn size(call: &Call<'_>) -> usize {
    call.method.len() + call.params.map_or(0, str::len)
}

/// What becomes of a body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Judged<'a> {
    /// What is passed on, in its order.
    pub allowed: Vec<Call<'a>>,
    /// What is not.
    pub refused: Vec<Refused<'a>>,
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
    let mut judged = Judged { is_batch: matches!(body, Body::Batch(_)), ..Judged::default() };
    match body {
        Body::Single(asked) => judged.add(rules, caller, asked),
        Body::Batch(calls) => calls.into_iter().for_each(|asked| judged.add(rules, caller, asked)),
    }
    Ok(judged)
}

impl<'a> Judged<'a> {
    fn add(&mut self, rules: &Rules, caller: usize, asked: Asked<'a>) {
        match asked {
            Ok(call) if rules.allows(caller, call.method) => self.allowed.push(call),
            Ok(call) => self.refused.push(Refused::of(&call, Refusal::not_granted())),
            Err(invalid) => self.refused.push(Refused {
                id: invalid.id,
                method: None,
                is_notification: false,
                bytes: 0,
                why: Refusal::invalid(invalid.wanted),
            }),
        }
    }

    /// Refuses what may be called and may not be now.
    pub fn refuse(&mut self, mut why: impl FnMut(&Call<'a>) -> Option<Refusal>) {
        let refused = &mut self.refused;
        self.allowed.retain(|call| match why(call) {
            None => true,
            Some(why) => {
                refused.push(Refused::of(call, why));
                false
            }
        });
    }

    /// How many calls there are.
    #[must_use]
    pub fn calls(&self) -> u32 {
        u32::try_from(self.allowed.len() + self.refused.len()).unwrap_or(u32::MAX)
    }

    /// What is passed on, written anew.
    #[must_use]
    pub fn written(&self) -> Vec<u8> {
        let sizes = self.allowed.iter().map(|call| 64 + size(call));
        let mut body = Vec::with_capacity(sizes.sum());
        match (&self.allowed[..], self.is_batch) {
            ([call], false) => message::write(call, &mut body),
            (calls, _) => message::write_batch(calls, &mut body),
        }
        body
    }

    /// The error objects of what is refused, with commas between them.
    #[must_use]
    pub fn errors(&self) -> Vec<u8> {
        let mut errors = Vec::new();
        for refused in self.refused.iter().filter(|refused| !refused.is_notification) {
            if !errors.is_empty() {
                errors.push(b',');
            }
            refused.why.object(refused.id, &mut errors);
        }
        errors
    }

    /// The whole answer where nothing is passed on; empty where nobody waits for one.
    #[must_use]
    pub fn answer(&self) -> Vec<u8> {
        let errors = self.errors();
        if self.is_batch && !errors.is_empty() { [b"[", &errors[..], b"]"].concat() } else { errors }
    }
}
