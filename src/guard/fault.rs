//! Why a connection to a peer failed: a general reason that a health port may show, and a detail for the log only.

use std::error::Error;
use std::fmt;
use std::io;

/// The general reason, safe to show to any reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// DNS has no address for the name, or did not answer.
    Unresolved,
    /// Nothing listens at the address.
    Refused,
    /// No answer in time.
    TimedOut,
    /// One side did not accept the other's certificate, or the peer does not speak TLS.
    Tls,
    /// The peer completed TLS and rejected the user.
    Authentication,
    /// An HTTP answer other than 200.
    Status(u16),
    /// The peer answered that it is still starting.
    Starting,
    /// The named database does not exist.
    NoDatabase,
    /// The database is not the one that is expected.
    Replaced,
    /// The peer closed the connection or spoke another protocol.
    Closed,
    /// The program's own certificate, key, certificate authority (CA) or password file cannot be used.
    Files,
}

impl fmt::Display for Kind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Kind::Unresolved => out.write_str("name does not resolve"),
            Kind::Refused => out.write_str("connection refused"),
            Kind::TimedOut => out.write_str("timed out"),
            Kind::Tls => out.write_str("TLS refused"),
            Kind::Authentication => out.write_str("authentication refused"),
            Kind::Status(code) => write!(out, "status {code}"),
            Kind::Starting => out.write_str("not ready yet"),
            Kind::NoDatabase => out.write_str("database missing"),
            Kind::Replaced => out.write_str("another database than expected"),
            Kind::Closed => out.write_str("connection closed"),
            Kind::Files => out.write_str("own files unusable"),
        }
    }
}

/// A reason with a detail for the log. The detail never contains file contents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The general reason.
    pub kind: Kind,
    /// Names, addresses and error texts; empty if the kind says everything.
    pub detail: String,
}

impl Fault {
    /// Creates a fault with a detail.
    pub fn new(kind: Kind, detail: impl fmt::Display) -> Fault {
        Fault { kind, detail: detail.to_string() }
    }

    /// Finds the reason inside the error of a connection.
    ///
    /// With TLS 1.3 the peer checks our certificate after our side of the handshake is complete. Its rejection then
    /// arrives as a failed read, wrapped in the error of the code that was reading.
    pub fn of(error: &(dyn Error + 'static)) -> Fault {
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(error) = error.downcast_ref::<rustls::Error>() {
                return Fault::new(Kind::Tls, error);
            }
            if let Some(error) = error.downcast_ref::<io::Error>() {
                // `source()` of an io::Error skips the error that it wraps.
                if let Some(inner) = error.get_ref() {
                    next = Some(inner);
                    continue;
                }
                match error.kind() {
                    io::ErrorKind::ConnectionRefused => return Fault::new(Kind::Refused, ""),
                    io::ErrorKind::TimedOut => return Fault::new(Kind::TimedOut, ""),
                    _ => return Fault::new(Kind::Closed, error),
                }
            }
            next = error.source();
        }
        Fault::new(Kind::Closed, error)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.detail.as_str() {
            "" => write!(out, "{}", self.kind),
            detail => write!(out, "{} ({detail})", self.kind),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tls_refusal_is_found_under_two_wrappers() {
        let alert = rustls::Error::AlertReceived(rustls::AlertDescription::BadCertificate);
        let wrapped = io::Error::other(io::Error::new(io::ErrorKind::InvalidData, alert));
        assert_eq!(Fault::of(&wrapped).kind, Kind::Tls);
    }

    #[test]
    fn a_refused_connection_is_not_called_closed() {
        assert_eq!(Fault::of(&io::Error::from(io::ErrorKind::ConnectionRefused)).kind, Kind::Refused);
        assert_eq!(Fault::of(&io::Error::from(io::ErrorKind::ConnectionReset)).kind, Kind::Closed);
    }

    #[test]
    fn the_general_words_hold_no_detail() {
        let fault = Fault::new(Kind::Tls, "certificate of alice-tm");
        assert_eq!(fault.kind.to_string(), "TLS refused");
        assert_eq!(fault.to_string(), "TLS refused (certificate of alice-tm)");
    }
}
