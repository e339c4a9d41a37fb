//! Readiness of the client, derived from its own metrics.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::sanitize::Page;
use crate::guard::health::FRESH;

/// The last two samples.
#[derive(Clone, Debug, Default)]
pub struct Samples {
    last: Option<(Instant, Arc<Page>)>,
    before: Option<Arc<Page>>,
}

impl Samples {
    /// Adds a sample.
    pub fn push(&mut self, at: Instant, page: Arc<Page>) {
        self.before = self.last.take().map(|(_, page)| page);
        self.last = Some((at, page));
    }

    /// Returns the last sample and its age.
    pub fn last(&self, now: Instant) -> Option<(Duration, &Page)> {
        self.last.as_ref().map(|(at, page)| (now.saturating_duration_since(*at), &**page))
    }

    /// Succeeds if the client is ready; the error says what is missing. A chain that makes no progress counts as ready:
    /// the operator reports it in a condition.
    pub fn verdict(&self, now: Instant, min_peers: u32) -> Result<(), String> {
        let Some((at, page)) = &self.last else {
            return Err("no sample of the client's metrics yet".to_owned());
        };
        if now.saturating_duration_since(*at) > FRESH {
            return Err(format!("no sample of the client's metrics for {} s", FRESH.as_secs()));
        }
        if page.head.is_none() {
            return Err("chain_head_block is missing".to_owned());
        }
        match page.peers {
            None => return Err("p2p_peers is missing".to_owned()),
            Some(peers) if peers >= f64::from(min_peers) => {}
            Some(peers) => return Err(format!("p2p_peers is {peers}, {min_peers} needed")),
        }
        match &self.before {
            None => Err("only one sample of the client's metrics yet".to_owned()),
            Some(before) if before.text == page.text => Err("the client's metrics stand still".to_owned()),
            Some(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guard::metrics::sanitize;
    use std::time::Duration;

    fn verdict(texts: &[&str], age: u64, min_peers: u32) -> Result<(), String> {
        let (mut samples, begun) = (Samples::default(), Instant::now());
        for text in texts {
            samples.push(begun, Arc::new(sanitize::page(text.as_bytes())));
        }
        samples.verdict(begun + Duration::from_secs(age), min_peers)
    }

    #[test]
    fn two_samples_that_differ_are_ready_at_block_zero() {
        let (one, two) = ("chain_head_block 0\np2p_peers 0\nup 1", "chain_head_block 0\np2p_peers 0\nup 2");
        assert_eq!(verdict(&[one, two], 20, 0), Ok(()));
        assert_eq!(verdict(&[two, one, two], 0, 0), Ok(()));
    }

    #[test]
    fn each_thing_missing_is_named() {
        let page = |peers: u32, up: u32| format!("chain_head_block 9\np2p_peers {peers}\nup {up}");
        let (one, two) = (page(2, 1), page(2, 2));
        for (texts, age, min_peers, missing) in [
            (vec![], 0, 0, "no sample of the client's metrics yet"),
            (vec![one.as_str()], 0, 0, "only one sample of the client's metrics yet"),
            (vec![&one, &one], 0, 0, "the client's metrics stand still"),
            (vec![&one, &two], 21, 0, "no sample of the client's metrics for 20 s"),
            (vec![&one, &two], 0, 3, "p2p_peers is 2, 3 needed"),
            (vec!["a 1", "p2p_peers 5"], 0, 0, "chain_head_block is missing"),
            (vec!["a 1", "chain_head_block 5"], 0, 0, "p2p_peers is missing"),
            (vec!["a 1", "chain_head_block 5\np2p_peers NaN"], 0, 0, "p2p_peers is NaN, 0 needed"),
        ] {
            assert_eq!(verdict(&texts, age, min_peers), Err(missing.to_owned()));
        }
    }
}
