//! Why nobody is known. Pure.

use std::fmt;

/// Why nobody is known, in what it tells the one who asks no more than it needs to be right next time: it never
/// quotes what was sent, nor says which callers, accounts, issuers or authorities there are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Denied {
    /// Neither a token nor a certificate.
    Nothing,
    /// It is no token, or not one that can be read in one way only.
    Malformed(&'static str),
    /// Of an issuer of whom there are no keys.
    Issuer,
    /// Signed with a key that the issuer does not have, as far as is known.
    Key,
    /// Signed in another way than its key is used.
    Algorithm,
    /// Not signed by the key that it names.
    Signature,
    /// It has ended, so many seconds ago.
    Expired(u64),
    /// It begins in so many seconds.
    Early(u64),
    /// It lasts longer than any may, in seconds: what it lasts, and what it may.
    Lifetime(u64, u64),
    /// Made for somebody else; who it would have to be made for, where the cluster issued it.
    Audience(Option<String>),
    /// Of an account, but of no pod.
    Unbound,
    /// A certificate that nobody vouches for.
    Untrusted,
    /// A certificate that is not valid now, or whose authority is not.
    Outdated,
    /// All is right with it, but it is no caller's.
    Stranger,
}

impl Denied {
    /// Everything that [`Denied::reason`] says.
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

    /// In one word, for the audit record and metrics. Whoever is refused is not told more than [`fmt::Display`]
    /// says.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        Self::REASONS[self.step()]
    }

    /// Of two ways in, the one that came further.
    pub(super) fn or(self, other: Self) -> Self {
        if other.step() > self.step() { other } else { self }
    }

    /// How far it came, which is its place in the list of reasons.
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
            // one text, for the difference would tell who is trusted
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
