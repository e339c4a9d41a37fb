//! Why a caller was not authenticated. Pure.

use std::fmt;

/// Why a caller was not authenticated. The text says only what the caller needs to correct: it never quotes what was
/// sent, and does not reveal which callers, accounts, issuers or CAs exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Denied {
    /// Neither a token nor a certificate.
    Nothing,
    /// Not a token, or one that could be read in two ways. Holds what is expected.
    Malformed(&'static str),
    /// No keys of the issuer are known.
    Issuer,
    /// The issuer has no known key with this id.
    Key,
    /// Another algorithm than that of the key.
    Algorithm,
    /// Not signed by the named key.
    Signature,
    /// Expired this many seconds ago.
    Expired(u64),
    /// Valid in this many seconds.
    Early(u64),
    /// Lifetime and maximum lifetime in seconds.
    Lifetime(u64, u64),
    /// Made for another audience. Holds the expected audience for a token of the cluster.
    Audience(Option<String>),
    /// A token of a ServiceAccount that is not bound to a pod.
    Unbound,
    /// No CA of a caller signed the certificate.
    Untrusted,
    /// The certificate or its CA is not valid now.
    Outdated,
    /// Valid, but no entry names the holder.
    Stranger,
}

impl Denied {
    /// All results of [`Denied::reason`].
    pub const REASONS: [&'static str; 14] = [
        "no_credentials",
        "token_malformed",
        "token_issuer",
        "token_key",
        "token_algorithm",
        "token_signature",
        "token_expired",
        "token_not_yet_valid",
        "token_lifetime",
        "token_audience",
        "token_without_pod",
        "certificate_untrusted",
        "certificate_expired",
        "no_caller",
    ];

    /// The reason for audit records and metrics. The caller sees only the text of [`fmt::Display`].
    #[must_use]
    pub fn reason(&self) -> &'static str {
        Self::REASONS[self.step()]
    }

    /// Returns whichever of two failed authentications got further.
    pub(super) fn or(self, other: Self) -> Self {
        if other.step() > self.step() { other } else { self }
    }

    /// How far the authentication got, as an index into the reasons.
    fn step(&self) -> usize {
        match self {
            Self::Nothing => 0,
            Self::Malformed(_) => 1,
            Self::Issuer => 2,
            Self::Key => 3,
            Self::Algorithm => 4,
            Self::Signature => 5,
            Self::Expired(_) => 6,
            Self::Early(_) => 7,
            Self::Lifetime(..) => 8,
            Self::Audience(_) => 9,
            Self::Unbound => 10,
            Self::Untrusted => 11,
            Self::Outdated => 12,
            Self::Stranger => 13,
        }
    }
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str(
                "no credentials: send \"Authorization: Bearer TOKEN\" or connect with a client certificate",
            ),
            Self::Malformed(wanted) => write!(f, "the token cannot be read: it needs {wanted}"),
            // one text, because different ones would reveal which issuers are trusted
            Self::Issuer | Self::Key | Self::Algorithm | Self::Signature => f.write_str(
                "the token is not verified by a key that is known here: check its iss, kid, alg and signature",
            ),
            Self::Expired(ago) => {
                write!(f, "the token expired {ago} s ago: read it anew from its file for each request")
            }
            Self::Early(by) => write!(f, "the token is valid in {by} s only: check the clocks"),
            Self::Lifetime(lasts, most) => {
                write!(f, "the token lasts {lasts} s and may last {most} s: ask for a shorter one")
            }
            Self::Audience(Some(wanted)) => {
                write!(f, "the token is for another audience: project one with audience {wanted}")
            }
            Self::Audience(None) => f.write_str("the token is for another audience"),
            Self::Unbound => {
                f.write_str("the token is not bound to a pod: use a projected volume of the pod that calls")
            }
            Self::Untrusted => f.write_str(
                "the certificate is not verified by an authority that is known here: check its issuer, its \
                 intermediates and that it is for client authentication",
            ),
            Self::Outdated => f.write_str("the certificate or its authority is not valid at this time"),
            Self::Stranger => f.write_str("the credentials are valid, but nobody who may call has them"),
        }
    }
}
