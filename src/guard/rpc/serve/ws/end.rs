//! Close codes and reasons of a caller's WebSocket. Pure.

/// Close code (RFC 6455 section 7.4) and reason.
pub(super) struct End(pub(super) u16, pub(super) &'static str);

const NORMAL: u16 = 1000;
const AWAY: u16 = 1001;
const POLICY: u16 = 1008;
const TOO_LARGE: u16 = 1009;
const AGAIN: u16 = 1013;

pub(super) const LEFT: End = End(NORMAL, "");
pub(super) const CLIENT_FAILED: End = End(AGAIN, "the client gave no proper answer: connect again");
pub(super) const ANSWER_TOO_LARGE: End =
    End(TOO_LARGE, "an answer has more bytes than spec.rpc.limits.answerBytes");
pub(super) const IDENTITY_ENDED: End = End(POLICY, "the identity has ended: connect again with a new one");
pub(super) const POLICY_CHANGED: End = End(POLICY, "what this caller may do has changed: connect again");
pub(super) const SLOW: End = End(POLICY, "what was answered was not read in time");
pub(super) const SLOW_MESSAGE: End = End(POLICY, "a message did not arrive in time");
pub(super) const BUSY: End = End(AGAIN, "too much is being asked at once: connect again");
pub(super) const TOLD_ENDED: End =
    End(AGAIN, "what subscriptions tell was not read in time, or the client has ended them");
pub(super) const SILENT: End = End(POLICY, "no answer to a ping");
pub(super) const ENDING: End = End(AWAY, "the guard ends: connect again");
