//! Cache of issuer keys: the keys last read from each issuer of caller tokens.

pub mod fetch;
pub mod parse;

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

use crate::{api::rpc::Identity, model::lookup::Found, protocol::policy};

/// Interval between two reads of an issuer's keys.
const EVERY: Duration = Duration::from_secs(300);

/// Interval between two attempts while an issuer has no known keys.
const AGAIN: Duration = Duration::from_secs(10);

/// Issuer of tokens.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Signer {
    /// The Kubernetes cluster, for tokens of its ServiceAccounts.
    Cluster,
    /// An OpenID Connect issuer. Keys read from it count only for callers that trust the same CAs.
    Issuer {
        /// Its URL.
        url: String,
        /// CA certificates for the issuer's own TLS certificate, as PEM; `None` means the public CAs.
        authorities: Option<String>,
    },
}

impl Signer {
    /// Issuer whose tokens prove `identity`; `None` if no token does, or if the CAs that it names are not known yet.
    #[must_use]
    pub fn of(identity: &Identity, authorities: Option<&String>) -> Option<Self> {
        if identity.service_account.is_some() {
            return Some(Self::Cluster);
        }
        let oidc = identity.oidc.as_ref()?;
        let known = oidc.authority.is_none() || authorities.is_some();
        known.then(|| Self::Issuer { url: oidc.issuer.clone(), authorities: authorities.cloned() })
    }

    /// Name in logs and metrics.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Cluster => "cluster",
            Self::Issuer { url, .. } => url,
        }
    }
}

struct Known {
    /// Result of the last successful read, of any age.
    issuer: Option<policy::Issuer>,
    /// Error of the last read, if it failed.
    failed: Option<String>,
    due: Instant,
}

/// Known keys of all issuers.
#[derive(Default)]
pub struct IssuerKeys {
    known: Mutex<HashMap<Signer, Known>>,
    wanted: Notify,
}

impl IssuerKeys {
    /// Keys last read from an issuer. An issuer without any result is read at once.
    #[must_use]
    pub fn of(&self, signer: &Signer) -> Found<policy::Issuer> {
        match self.lock().get(signer) {
            Some(Known { issuer: Some(issuer), .. }) => Found::Present(issuer.clone()),
            Some(Known { failed: Some(why), .. }) => Found::Invalid(why.clone()),
            _ => {
                self.wanted.notify_one();
                Found::Missing
            }
        }
    }

    /// Issuers among `asked` whose next read is due.
    #[must_use]
    pub fn due(&self, asked: &BTreeSet<Signer>, now: Instant) -> Vec<Signer> {
        let known = self.lock();
        let is_due = |signer: &&Signer| known.get(*signer).is_none_or(|known| known.due <= now);
        asked.iter().filter(is_due).cloned().collect()
    }

    /// Error of the last read of an issuer, if it failed.
    #[must_use]
    pub fn failure(&self, signer: &Signer) -> Option<String> {
        self.lock().get(signer)?.failed.clone()
    }

    /// Stores the answer of an issuer. If the read failed, the keys read before stay. Returns whether the result
    /// changed.
    pub fn heard(&self, signer: Signer, answer: Result<policy::Issuer, String>, now: Instant) -> bool {
        let mut known = self.lock();
        let before = known.remove(&signer);
        let was = before.as_ref().map(|before| (before.issuer.clone(), before.failed.clone()));
        let (issuer, failed) = match answer {
            Ok(issuer) => (Some(issuer), None),
            Err(why) => (before.and_then(|before| before.issuer), Some(why)),
        };
        let wait = if issuer.is_some() { EVERY } else { AGAIN };
        let is_news = match &was {
            Some((Some(was), _)) => issuer.as_ref() != Some(was),
            was => issuer.is_some() || was.as_ref().is_none_or(|(_, before)| *before != failed),
        };
        known.insert(signer, Known { issuer, failed, due: now + wait });
        is_news
    }

    /// Forgets the issuers that are not in `asked`, and returns them.
    pub fn keep(&self, asked: &BTreeSet<Signer>) -> Vec<Signer> {
        let mut known = self.lock();
        let gone: Vec<_> = known.keys().filter(|signer| !asked.contains(*signer)).cloned().collect();
        known.retain(|signer, _| asked.contains(signer));
        gone
    }

    /// Waits until a read is due, or until an issuer without any result is requested.
    pub async fn wait(&self) {
        let next = self.lock().values().map(|known| known.due).min();
        let next = next.unwrap_or_else(|| Instant::now() + EVERY);
        tokio::select! {
            () = tokio::time::sleep_until(next) => {}
            () = self.wanted.notified() => {}
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Signer, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn issuer(key: &str) -> policy::Issuer {
        let public = policy::Public::Ec { x: String::new(), y: String::new() };
        let key = policy::Key { id: key.into(), algorithm: policy::Algorithm::ES256, public };
        policy::Issuer { issuer: "https://id.example".into(), keys: vec![key] }
    }

    fn refused() -> Result<policy::Issuer, String> {
        Err("it cannot be reached".into())
    }

    #[tokio::test(start_paused = true)]
    async fn an_issuer_is_asked_every_ten_seconds_until_it_answers_and_every_five_minutes_then() {
        let (keys, began) = (IssuerKeys::default(), Instant::now());
        let asked = BTreeSet::from([Signer::Cluster]);
        let due = |after: u64| keys.due(&asked, began + Duration::from_secs(after)).len();
        assert_eq!(due(0), 1);
        assert_eq!(keys.of(&Signer::Cluster), Found::Missing);
        assert!(keys.heard(Signer::Cluster, refused(), began), "why it is not known");
        assert_eq!(keys.of(&Signer::Cluster), Found::Invalid("it cannot be reached".into()));
        assert_eq!((due(9), due(10)), (0, 1));
        assert!(!keys.heard(Signer::Cluster, refused(), began), "it was refused before");
        assert!(keys.heard(Signer::Cluster, Ok(issuer("a")), began));
        assert_eq!((due(299), due(300)), (0, 1));
        assert!(!keys.heard(Signer::Cluster, Ok(issuer("a")), began), "the same");
        assert!(keys.heard(Signer::Cluster, Ok(issuer("b")), began), "it has changed its keys");
    }

    #[test]
    fn what_was_read_stands_while_it_cannot_be_read_again() {
        let (keys, now) = (IssuerKeys::default(), Instant::now());
        assert!(keys.heard(Signer::Cluster, Ok(issuer("a")), now));
        assert!(!keys.heard(Signer::Cluster, refused(), now), "no news to any node");
        assert_eq!(keys.of(&Signer::Cluster), Found::Present(issuer("a")));
        assert!(keys.due(&[Signer::Cluster].into(), now + AGAIN).is_empty());
        assert_eq!(keys.keep(&BTreeSet::new()), [Signer::Cluster]);
        assert_eq!(keys.of(&Signer::Cluster), Found::Missing);
    }

    /// Each namespace chooses the CAs that it trusts.
    #[test]
    fn what_one_authority_vouches_for_says_nothing_to_those_who_trust_another() {
        let keys = IssuerKeys::default();
        let signer = |authorities: Option<&str>| Signer::Issuer {
            url: "https://id.example".into(),
            authorities: authorities.map(str::to_owned),
        };
        keys.heard(signer(Some("mine")), Ok(issuer("a")), Instant::now());
        for other in [signer(None), signer(Some("yours")), Signer::Cluster] {
            assert_eq!(keys.of(&other), Found::Missing, "{other:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_asks_for_somebody_unknown_waits_for_no_round() {
        let (keys, began) = (IssuerKeys::default(), Instant::now());
        let _ = keys.of(&Signer::Cluster);
        keys.wait().await;
        assert_eq!(began.elapsed(), Duration::ZERO);
        keys.heard(Signer::Cluster, refused(), Instant::now());
        let _ = keys.of(&Signer::Cluster);
        keys.wait().await;
        assert_eq!(began.elapsed(), AGAIN, "one that does not answer is not asked the more for it");
    }
}
