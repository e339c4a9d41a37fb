//! Counts the filters that a caller has installed in the client. The client holds memory for each filter until it has
//! not been polled for five minutes.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::caller_state::CallerState;
use crate::guard::rpc::decide::authorize::Ask;

/// Time after which the client drops a filter that is not polled.
const KEPT: Duration = Duration::from_secs(5 * 60);
/// Bytes of an answer after its id that are examined. A filter's id or an error text fits into them.
pub const SEEN: usize = 128;
/// Maximum length of a filter's id; the client's have 34 bytes.
const ID: usize = 64;

const INSTALL: [&str; 3] = ["eth_newBlockFilter", "eth_newFilter", "eth_newPendingTransactionFilter"];
const ASK: [&str; 2] = ["eth_getFilterChanges", "eth_getFilterLogs"];
const UNINSTALL: &str = "eth_uninstallFilter";

/// The filters of one caller.
#[derive(Debug, Default)]
pub struct Filters(Mutex<There>);

#[derive(Debug, Default)]
struct There {
    /// Filters being installed.
    coming: u32,
    /// Id of each filter, and when the client drops it.
    there: Vec<(Box<str>, Instant)>,
}

/// Waits for the answer to a call that may change the filters. If it is dropped without an answer to an installation,
/// the filter counts as installed.
#[derive(Debug)]
pub struct Watch {
    account: Arc<CallerState>,
    /// `None` for an installation; otherwise the id of the filter that the answer may show to be gone.
    gone: Option<Box<str>>,
    is_answered: bool,
}

impl Filters {
    fn there(&self) -> std::sync::MutexGuard<'_, There> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Checks a call before it is sent. Returns a watch if its answer may change the filters.
///
/// # Errors
/// If the call would install more than `most` filters.
pub fn before(account: &Arc<CallerState>, ask: &Ask, most: u32, now: Instant) -> Result<Option<Watch>, u32> {
    let method = ask.method.as_str();
    if !method.contains("ilter") {
        return Ok(None);
    }
    let watch = |gone| Ok(Some(Watch { account: account.clone(), gone, is_answered: false }));
    let mut filters = account.filters.there();
    if INSTALL.contains(&method) {
        filters.there.retain(|(_, until)| *until > now);
        if filters.there.len() as u64 + u64::from(filters.coming) >= u64::from(most) {
            return Err(most);
        }
        filters.coming += 1;
        return watch(None);
    }
    if method != UNINSTALL && !ASK.contains(&method) {
        return Ok(None);
    }
    let Some(id) = named(&ask.params) else { return Ok(None) };
    if method != UNINSTALL
        && let Some((_, until)) = filters.there.iter_mut().find(|(known, until)| *known == id && *until > now)
    {
        *until = now + KEPT;
    }
    watch(Some(id))
}

impl Watch {
    /// Evaluates the answer after its id.
    pub fn after(mut self, answer: &[u8], now: Instant) {
        self.is_answered = true;
        let result = answer.strip_prefix(b",\"result\":".as_slice()).unwrap_or_default();
        let mut filters = self.account.filters.there();
        match &self.gone {
            None => {
                filters.coming = filters.coming.saturating_sub(1);
                if let Some(id) = quoted(result) {
                    filters.there.push((id.into(), now + KEPT));
                }
            }
            // the filter was removed, or the client does not know it, for example after a restart
            Some(id)
                if result.starts_with(b"true") || result.starts_with(b"false") || says_not_found(answer) =>
            {
                filters.there.retain(|(known, _)| known != id);
            }
            Some(_) => {}
        }
    }

    /// Ends the watch of a call that was not sent.
    pub fn unasked(self) {
        self.after(b"", Instant::now());
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if !self.is_answered && self.gone.is_none() {
            let mut filters = self.account.filters.there();
            filters.coming = filters.coming.saturating_sub(1);
            filters.there.push(("".into(), Instant::now() + KEPT));
        }
    }
}

fn says_not_found(answer: &[u8]) -> bool {
    const WORDS: &[u8] = b"filter not found";
    answer.windows(WORDS.len()).any(|words| words == WORDS)
}

/// Returns the first string of params with escapes decoded.
fn named(params: &[u8]) -> Option<Box<str>> {
    let params: Vec<serde_json::Value> = serde_json::from_slice(params).ok()?;
    params.first()?.as_str().filter(|id| id.len() <= ID).map(Into::into)
}

fn quoted(text: &[u8]) -> Option<&str> {
    let text = text.strip_prefix(b"\"")?;
    let end = text.iter().take(ID).position(|byte| *byte == b'"')?;
    std::str::from_utf8(&text[..end]).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(method: &str, params: &str) -> Ask {
        Ask { id: None, method: method.into(), params: params.to_owned().into(), bytes: 0 }
    }

    fn wallet() -> Arc<CallerState> {
        Arc::new(CallerState::new("wallet"))
    }

    #[test]
    fn a_caller_has_so_many_and_one_that_is_gone_makes_room() {
        let (account, now) = (wallet(), Instant::now());
        let new = ask("eth_newBlockFilter", "[]");
        let asked = |ask: &Ask| before(&account, ask, 2, now).map(Option::unwrap);
        asked(&new).unwrap().after(b",\"result\":\"0x1\"}\n", now);
        let second = asked(&new).unwrap();
        assert_eq!(asked(&new).unwrap_err(), 2, "one exists, one is being installed");
        second.after(b",\"error\":{}}\n", now);
        asked(&new).unwrap().after(b",\"result\":\"0x2\"}\n", now);
        assert_eq!(asked(&new).unwrap_err(), 2);
        let gone = ask("eth_uninstallFilter", "[ \"0x1\"]");
        asked(&gone).unwrap().after(b",\"error\":{\"code\":-32000,\"message\":\"busy\"}}\n", now);
        assert_eq!(asked(&new).unwrap_err(), 2, "it still exists");
        asked(&gone).unwrap().after(b",\"result\":true}\n", now);
        asked(&new).unwrap().unasked();
        drop(asked(&new).unwrap());
        assert_eq!(asked(&new).unwrap_err(), 2, "that filter may exist");
        assert!(before(&account, &ask("eth_call", "[]"), 0, now).unwrap().is_none());
    }

    #[test]
    fn one_that_nobody_asks_for_is_gone_and_one_that_is_asked_for_is_not() {
        let (account, now) = (wallet(), Instant::now());
        let new = ask("eth_newFilter", "[{}]");
        for id in ["0xa", "0xb"] {
            let watch = before(&account, &new, 2, now).unwrap().unwrap();
            watch.after(format!(",\"result\":\"{id}\"}}").as_bytes(), now);
        }
        let later = now + KEPT - Duration::from_secs(1);
        // to the client an escaped id is the same
        let poll = before(&account, &ask("eth_getFilterChanges", "[\"\\u0030xa\"]"), 2, later).unwrap();
        poll.unwrap().after(b",\"result\":[]}\n", later);
        let still = later + Duration::from_secs(2);
        let one = before(&account, &new, 2, still).unwrap();
        assert!(one.is_some());
        assert_eq!(before(&account, &new, 2, still).unwrap_err(), 2);
        drop(one);
        let lost = b",\"error\":{\"code\":-32000,\"message\":\"filter not found\"}}\n";
        let poll = before(&account, &ask("eth_getFilterLogs", "[\"0xa\"]"), 2, still).unwrap().unwrap();
        poll.after(lost, still);
        assert!(before(&account, &new, 2, still).is_ok(), "the client has forgotten it");
    }
}
