//! Client certificates: verifies them against a CA and reads their names. Pure.

use std::sync::Arc;

use rustls::pki_types::{CertificateDer, TrustAnchor, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{CertificateError, Error, RootCertStore};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::parse_x509_certificate;

use super::denied::Denied;
use super::who;
use crate::guard::tls;

/// A CA of one caller.
pub(super) struct Authority {
    anchor: TrustAnchor<'static>,
    verifier: Arc<dyn ClientCertVerifier>,
    /// First and last second of its validity. The verifier checks the validity of all other certificates, but not of
    /// the CA's.
    valid: (u64, u64),
}

/// Parses the CAs of a PEM text, at least one.
pub(super) fn authorities(pem: &str) -> Result<Vec<Authority>, String> {
    let certificates = tls::certificates(pem.as_bytes()).map_err(|error| error.to_string())?;
    let authorities: Option<_> = certificates.into_iter().map(Authority::of).collect();
    authorities.ok_or_else(|| "holds a certificate that cannot serve as a CA".to_owned())
}

impl Authority {
    fn of(certificate: CertificateDer<'static>) -> Option<Self> {
        let (_, parsed) = parse_x509_certificate(&certificate).ok()?;
        let valid = validity(&parsed);
        let mut roots = RootCertStore::empty();
        roots.add(certificate.clone()).ok()?;
        let anchor = roots.roots.first()?.clone();
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), tls::provider());
        Some(Self { anchor, verifier: verifier.build().ok()?, valid })
    }

    pub(super) fn anchor(&self) -> TrustAnchor<'static> {
        self.anchor.clone()
    }

    /// Verifies a certificate. Returns the first second in which the chain no longer counts, as far as is known now.
    pub(super) fn vouches(
        &self,
        own: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<u64, Denied> {
        let (begins, ends) = self.valid;
        self.verifier.verify_client_cert(own, others, now).map_err(|error| match error {
            Error::InvalidCertificate(
                CertificateError::Expired
                | CertificateError::ExpiredContext { .. }
                | CertificateError::NotValidYet
                | CertificateError::NotValidYetContext { .. },
            ) => Denied::Outdated,
            _ => Denied::Untrusted,
        })?;
        let now = now.as_secs();
        if now < begins || now > ends {
            return Err(Denied::Outdated);
        }
        // an expired one was not needed; a superfluous valid one can only shorten the result
        let shown = [own].into_iter().chain(others).filter_map(|certificate| {
            let (_, parsed) = parse_x509_certificate(certificate).ok()?;
            Some(validity(&parsed).1).filter(|ends| *ends >= now)
        });
        Ok(shown.fold(ends, u64::min).saturating_add(1))
    }
}

/// Returns the first and last second of its validity. Times before 1970 become 0.
fn validity(certificate: &X509Certificate<'_>) -> (u64, u64) {
    let validity = certificate.validity();
    let second = |time: i64| u64::try_from(time).unwrap_or_default();
    (second(validity.not_before.timestamp()), second(validity.not_after.timestamp()))
}

/// Whether a text is a valid subject.
pub(super) fn is_subject(text: &str) -> bool {
    text.split_once(':').is_some_and(|(kind, name)| ["dns", "uri", "cn"].contains(&kind) && !name.is_empty())
}

/// The names of a certificate, compared byte by byte: case matters, a wildcard is only a name, and each kind of name is
/// separate.
pub(super) struct Names {
    names: Vec<String>,
    /// Serial number in hexadecimal digits.
    serial: String,
}

impl Names {
    /// Reads the names; `None` if they are ambiguous or invalid.
    pub(super) fn of(certificate: &CertificateDer<'_>) -> Option<Self> {
        let (rest, certificate) = parse_x509_certificate(certificate).ok()?;
        let alternative = certificate.subject_alternative_name().ok()?;
        let mut names = Vec::new();
        for name in alternative.iter().flat_map(|names| &names.value.general_names) {
            match name {
                GeneralName::DNSName(name) => names.push(format!("dns:{name}")),
                GeneralName::URI(name) => names.push(format!("uri:{name}")),
                GeneralName::Invalid(..) => return None,
                _ => {}
            }
        }
        let mut common = certificate.subject().iter_common_name();
        if let (Some(only), None) = (common.next(), common.next())
            && let Ok(name) = only.as_str()
        {
            names.push(format!("cn:{name}"));
        }
        let serial = certificate.raw_serial().iter().map(|byte| format!("{byte:02x}")).collect();
        rest.is_empty().then_some(Self { names, serial })
    }

    /// Returns the audit record's members for one of the names and the serial number.
    pub(super) fn who(&self, subject: &str) -> Arc<str> {
        who::members(&[("subject", subject), ("serial", &self.serial)])
    }

    pub(super) fn has(&self, subject: &str) -> bool {
        self.names.iter().any(|name| name == subject)
    }
}
