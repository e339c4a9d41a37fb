//! Test CA with ECDSA P-256 certificates for the peers and their callers.

use std::{fs, path::Path, sync::Arc};

use anyhow::Context as _;
use quorum_operator::guard::tls;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::{
    ClientConfig,
    client::Resumption,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};

/// Certificate and key in PEM.
pub(crate) struct Pair {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

/// Certificates of the peers and of their callers.
pub(crate) struct Pki {
    pub(crate) authority: String,
    server: Pair,
    /// Certificate of the caller that the policy allows.
    pub(crate) caller: Pair,
    /// Certificate of the same CA with another name.
    stranger: Pair,
    /// Certificate of another CA with the caller's name.
    forger: Pair,
}

struct Authority {
    certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> anyhow::Result<Self> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(vec![])?;
        params.distinguished_name.push(DnType::CommonName, "bench authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let certificate = params.self_signed(&key)?.pem();
        Ok(Self { certificate, issuer: Issuer::new(params, key) })
    }

    /// Signs a certificate with `name` as common name and as DNS name, since not every peer can check both.
    fn sign(&self, name: &str, usage: ExtendedKeyUsagePurpose) -> anyhow::Result<Pair> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(vec![name.to_owned()])?;
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![usage];
        Ok(Pair { certificate: params.signed_by(&key, &self.issuer)?.pem(), key: key.serialize_pem() })
    }
}

impl Pki {
    pub(crate) fn new() -> anyhow::Result<Self> {
        use ExtendedKeyUsagePurpose::{ClientAuth, ServerAuth};
        let (ours, other) = (Authority::new()?, Authority::new()?);
        Ok(Self {
            server: ours.sign("localhost", ServerAuth)?,
            caller: ours.sign("bench", ClientAuth)?,
            stranger: ours.sign("stranger", ClientAuth)?,
            forger: other.sign("bench", ClientAuth)?,
            authority: ours.certificate,
        })
    }

    /// Writes the CA and the server's and caller's pairs to a folder, for the peers and for oha.
    pub(crate) fn write(&self, folder: &Path) -> anyhow::Result<()> {
        let put = |name: &str, text: &str| {
            let path = folder.join(name);
            fs::write(&path, text).with_context(|| path.display().to_string())
        };
        put("ca.crt", &self.authority)?;
        put("tls.crt", &self.server.certificate)?;
        put("tls.key", &self.server.key)?;
        put("both.pem", &format!("{}{}", self.server.certificate, self.server.key))?;
        put("caller.crt", &self.caller.certificate)?;
        put("caller.key", &self.caller.key)
    }

    /// TLS configuration of the allowed caller.
    pub(crate) fn dials(&self) -> anyhow::Result<Arc<ClientConfig>> {
        self.config(Some(&self.caller))
    }

    /// TLS configurations of callers that the policy does not know.
    pub(crate) fn others(&self) -> anyhow::Result<[(&'static str, Arc<ClientConfig>); 3]> {
        Ok([
            ("no certificate", self.config(None)?),
            ("another name", self.config(Some(&self.stranger))?),
            ("another authority", self.config(Some(&self.forger))?),
        ])
    }

    /// TLS 1.3 without resumption, so that every connection makes a full handshake.
    fn config(&self, pair: Option<&Pair>) -> anyhow::Result<Arc<ClientConfig>> {
        let builder = ClientConfig::builder_with_provider(tls::provider())
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_root_certificates(tls::authorities(self.authority.as_bytes())?);
        let mut config = match pair {
            Some(pair) => {
                let der = rcgen::KeyPair::from_pem(&pair.key)?.serialize_der();
                let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(der));
                builder.with_client_auth_cert(tls::certificates(pair.certificate.as_bytes())?, key)?
            }
            None => builder.with_no_client_auth(),
        };
        config.resumption = Resumption::disabled();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}
