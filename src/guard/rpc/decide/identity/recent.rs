//! Cache of verified certificate chains, so that a caller that reconnects often is verified only once. Belongs to one
//! policy and is dropped with it.

use std::collections::VecDeque;

use rustls::pki_types::CertificateDer;

use super::Known;

/// Maximum number of chains.
const CHAINS: usize = 32;
/// Maximum size of a cached chain in bytes.
const BYTES: usize = 4096;

/// Verified chains, the most recent last.
#[derive(Default)]
pub(super) struct Recent(VecDeque<Seen>);

struct Seen {
    chain: Vec<CertificateDer<'static>>,
    /// When the chain was verified, in seconds since 1970. It does not count before this time.
    since: u64,
    known: Known,
}

impl Recent {
    /// Returns the caller of a chain, if exactly this chain was verified and still counts.
    pub(super) fn of(&self, chain: &[CertificateDer<'_>], now: u64) -> Option<Known> {
        let seen = self.0.iter().rev().find(|seen| seen.chain == chain)?;
        (seen.since..seen.known.until).contains(&now).then(|| seen.known.clone())
    }

    /// Stores a chain that was verified at `now`.
    pub(super) fn add(&mut self, chain: &[CertificateDer<'_>], now: u64, known: &Known) {
        if chain.iter().map(|certificate| certificate.len()).sum::<usize>() > BYTES {
            return;
        }
        self.0.retain(|seen| seen.chain != chain);
        if self.0.len() == CHAINS {
            self.0.pop_front();
        }
        let chain = chain.iter().map(|certificate| certificate.clone().into_owned()).collect();
        self.0.push_back(Seen { chain, since: now, known: known.clone() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(byte: u8, bytes: usize) -> Vec<CertificateDer<'static>> {
        vec![CertificateDer::from(vec![byte; bytes]), CertificateDer::from(vec![0; 9])]
    }

    fn known(caller: usize) -> Known {
        Known { caller, until: 20, who: "".into(), signer: None }
    }

    #[test]
    fn a_chain_counts_from_when_it_was_verified_until_it_ends_and_no_other_does() {
        let mut recent = Recent::default();
        recent.add(&chain(1, 10), 10, &known(7));
        let of = |chain: &[CertificateDer<'_>], now| recent.of(chain, now).map(|known| known.caller);
        assert_eq!([9, 10, 19, 20].map(|now| of(&chain(1, 10), now)), [None, Some(7), Some(7), None]);
        assert_eq!(of(&chain(2, 10), 10), None);
        assert_eq!(of(&chain(1, 10)[..1], 10), None, "without the other certificate");
        assert_eq!(of(&[], 10), None);
    }

    #[test]
    fn few_are_remembered_and_none_that_is_large() {
        let mut recent = Recent::default();
        recent.add(&chain(0, BYTES - 8), 10, &known(0));
        assert_eq!(recent.0.len(), 0);
        recent.add(&chain(0, BYTES - 9), 10, &known(0));
        assert_eq!(recent.0.len(), 1);
        for byte in 1..=40 {
            recent.add(&chain(byte, 10), 10, &known(byte.into()));
            recent.add(&chain(byte, 10), 11, &known(byte.into()));
        }
        assert_eq!(recent.0.len(), CHAINS);
        assert!(recent.of(&chain(8, 10), 11).is_none() && recent.of(&chain(9, 10), 11).is_some());
    }
}
