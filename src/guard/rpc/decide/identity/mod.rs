//! Authenticates callers: maps a token or a certificate chain to a caller of the policy. Pure.
//!
//! It asks no server: keys, CAs and names come from the policy, and the time is an argument. The caller's entry decides
//! how a token is checked, so a token of the cluster counts as `oidc` only if the entry names the cluster's issuer. If
//! several callers fit, the first one counts.

mod certificate;
mod claims;
mod denied;
mod json;
mod keys;
mod recent;
mod token;
mod who;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;

use self::certificate::{Authority, Names};
use self::claims::Claims;
pub use self::claims::{LIFETIME, SERVICE_ACCOUNT_LIFETIME, SKEW};
pub use self::denied::Denied;
pub use self::keys::Signer;
use self::keys::VerifyingKey;
use self::recent::Recent;
use self::token::Token;
use crate::{
    guard::tls,
    protocol::policy::{Caller, Identity, Policy},
};

/// Identities of all callers, compiled from the policy.
pub struct Identities {
    audience: String,
    cluster: Option<String>,
    issuers: BTreeMap<String, Vec<VerifyingKey>>,
    /// In the order of the policy's callers.
    callers: Vec<Way>,
    recent: Mutex<Recent>,
}

/// An authenticated caller, and until when. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// Index into [`Policy::callers`].
    pub caller: usize,
    /// First second since 1970 in which the authentication no longer counts.
    pub until: u64,
    /// How the caller is known, as members of an audit record with a comma before each: `subject` (a token's `sub`, or
    /// the name in a certificate that the policy lists), and the ServiceAccount's `pod` or the certificate's `serial`.
    pub who: Arc<str>,
    /// The signer of its token; `None` for a certificate.
    pub signer: Option<Arc<Signer>>,
}

/// How a caller is authenticated.
enum Way {
    ServiceAccount { namespace: String, name: String },
    Certificate { authorities: Vec<Authority>, subjects: Vec<String> },
    Token { issuer: String, audience: String, subjects: Vec<String> },
}

impl Identities {
    /// Compiles the policy.
    ///
    /// # Errors
    /// Names the field and what to write instead.
    pub fn of(policy: &Policy) -> Result<Self, String> {
        if policy.audience.is_empty() {
            return Err("audience: empty: give the name of the Service".to_owned());
        }
        let mut issuers = BTreeMap::new();
        for issuer in &policy.issuers {
            let at = || format!("issuers.{}", issuer.issuer);
            let keys = keys::read(issuer).map_err(|wrong| format!("{}.keys{wrong}", at()))?;
            if issuer.issuer.is_empty() || issuers.insert(issuer.issuer.clone(), keys).is_some() {
                return Err(format!("{}: each issuer once, by its name", at()));
            }
        }
        let callers = policy.callers.iter().map(Way::of).collect::<Result<_, _>>()?;
        let (audience, cluster) = (policy.audience.clone(), policy.cluster.clone());
        Ok(Self { audience, cluster, issuers, callers, recent: Mutex::default() })
    }

    /// Returns the caller of a token at `now`, in seconds since 1970. The result holds until [`Known::until`].
    ///
    /// # Errors
    /// If no caller fits.
    pub fn of_token(&self, token: &str, now: u64) -> Result<Known, Denied> {
        let token = Token::read(token)?;
        let issuer = token.issuer().ok_or(Denied::Issuer)?;
        let keys = self.issuers.get(issuer).ok_or(Denied::Issuer)?;
        let mut named = keys.iter().filter(|key| key.signer.key.id == token.key).peekable();
        named.peek().ok_or(Denied::Key)?;
        let key = named.find(|key| key.name == token.algorithm).ok_or(Denied::Algorithm)?;
        if !key.verifies(token.signed, &token.signature) {
            return Err(Denied::Signature);
        }
        self.of_claims(&key.signer, &Claims::of(&token.claims)?, now)
    }

    /// Matches the claims of a token whose signature was verified.
    fn of_claims(&self, signer: &Arc<Signer>, claims: &Claims<'_>, now: u64) -> Result<Known, Denied> {
        let issuer = signer.issuer.as_str();
        let until = claims.until(now)?;
        let is_cluster = self.cluster.as_deref() == Some(issuer);
        let account = is_cluster.then(|| claims.account(&self.audience)).transpose();
        let mut denied = None;
        for (caller, way) in self.callers.iter().enumerate() {
            let fits = match way {
                Way::ServiceAccount { namespace, name } => account.clone().map(|account| {
                    account.is_some_and(|account| account.namespace == namespace && account.name == name)
                }),
                Way::Token { issuer: wanted, audience, subjects } if wanted == issuer => claims
                    .subject_for(audience)
                    .map(|subject| subjects.iter().any(|wanted| wanted == subject)),
                Way::Token { .. } | Way::Certificate { .. } => Ok(false),
            };
            match fits {
                Ok(true) => {
                    let who = claims.who(matches!(way, Way::ServiceAccount { .. }));
                    return Ok(Known { caller, until, who, signer: Some(signer.clone()) });
                }
                Ok(false) => {}
                Err(wrong) => denied = Some(denied.map_or(wrong.clone(), |denied: Denied| denied.or(wrong))),
            }
        }
        Err(denied.unwrap_or(Denied::Stranger))
    }

    /// Returns the caller of a certificate chain, the caller's own certificate first. The handshake accepts the CAs of
    /// every caller, so this verifies the chain again, against the CAs of one caller at a time. A chain verified lately
    /// is taken from a cache.
    ///
    /// # Errors
    /// If no caller fits.
    pub fn of_certificates(&self, chain: &[CertificateDer<'_>], now: UnixTime) -> Result<Known, Denied> {
        let recent = || self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = recent().of(chain, now.as_secs()) {
            return Ok(known);
        }
        let known = self.verified(chain, now)?;
        recent().add(chain, now.as_secs(), &known);
        Ok(known)
    }

    fn verified(&self, chain: &[CertificateDer<'_>], now: UnixTime) -> Result<Known, Denied> {
        let (own, others) = chain.split_first().ok_or(Denied::Nothing)?;
        let names = Names::of(own).ok_or(Denied::Untrusted)?;
        let mut denied = Denied::Untrusted;
        for (caller, way) in self.callers.iter().enumerate() {
            let Way::Certificate { authorities, subjects } = way else { continue };
            for authority in authorities {
                match authority.vouches(own, others, now) {
                    Ok(until) => match subjects.iter().find(|subject| names.has(subject)) {
                        Some(subject) => {
                            return Ok(Known { caller, until, who: names.who(subject), signer: None });
                        }
                        None => denied = Denied::Stranger,
                    },
                    Err(wrong) => denied = denied.or(wrong),
                }
            }
        }
        Err(denied)
    }

    /// Whether a caller with an unchanged entry would still be authenticated by what it showed to the earlier
    /// identities: the issuer still has the key that signed its token, and for a ServiceAccount the cluster and
    /// audience are unchanged. The CAs of a certificate are part of the entry.
    #[must_use]
    pub fn still_take(&self, before: &Self, known: &Known) -> bool {
        let Some(signer) = &known.signer else { return true };
        let keys = self.issuers.get(&signer.issuer);
        let has_key = keys.is_some_and(|keys| keys.iter().any(|key| key.signer == *signer));
        let is_account = matches!(before.callers.get(known.caller), Some(Way::ServiceAccount { .. }));
        has_key && (!is_account || self.audience == before.audience && self.cluster == before.cluster)
    }

    /// Returns a verifier that requests a certificate, accepts connections without one, and sends no CA names; `None`
    /// if no caller uses certificates.
    ///
    /// # Errors
    /// If the CAs cannot be used.
    pub fn client_verifier(&self) -> Result<Option<Arc<dyn ClientCertVerifier>>, String> {
        let mut roots = RootCertStore::empty();
        for way in &self.callers {
            let Way::Certificate { authorities, .. } = way else { continue };
            roots.roots.extend(authorities.iter().map(Authority::anchor));
        }
        if roots.is_empty() {
            return Ok(None);
        }
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), tls::provider())
            .allow_unauthenticated()
            .clear_root_hint_subjects()
            .build()
            .map(Some)
            .map_err(|error| format!("callers: {error}"))
    }
}

impl Way {
    fn of(caller: &Caller) -> Result<Self, String> {
        let wrong =
            |field: &str, remedy: &str| Err(format!("callers.{}.identity.{field}: {remedy}", caller.name));
        match &caller.identity {
            Identity::ServiceAccount { namespace, name } => {
                if namespace.is_empty() || name.is_empty() {
                    return wrong("serviceAccount", "give namespace and name");
                }
                Ok(Self::ServiceAccount { namespace: namespace.clone(), name: name.clone() })
            }
            Identity::ClientCertificate { authority, subjects } => {
                let authorities = match certificate::authorities(authority) {
                    Ok(authorities) => authorities,
                    Err(error) => return wrong("clientCertificate.authority", &error),
                };
                if subjects.is_empty() || !subjects.iter().all(|subject| certificate::is_subject(subject)) {
                    return wrong("clientCertificate.subjects", "give dns:NAME, uri:URI or cn:NAME");
                }
                Ok(Self::Certificate { authorities, subjects: subjects.clone() })
            }
            Identity::Oidc { issuer, audience, subjects } => {
                if [issuer, audience].into_iter().chain(subjects).any(String::is_empty) || subjects.is_empty()
                {
                    return wrong("oidc", "give issuer, audience and subjects");
                }
                Ok(Self::Token {
                    issuer: issuer.clone(),
                    audience: audience.clone(),
                    subjects: subjects.clone(),
                })
            }
        }
    }
}

#[cfg(test)]
mod tests;
