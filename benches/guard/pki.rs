//! One authority and what it signs, of ECDSA P-256, as every peer has them on disk.

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

/// Certificate and key, PEM.
pub(crate) struct Pair {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

/// Everything that callers and peers have.
pub(crate) struct Pki {
    pub(crate) authority: String,
    server: Pair,
    /// The caller of the policy.
    pub(crate) caller: Pair,
    /// Of the same authority, with another name.
    stranger: Pair,
    /// The caller's name, of another authority.
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

    /// With its name as common name and as DNS name, since not every peer can look at either.
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

    /// Writes the server's side to a folder, and the caller's for a generator that is not ours.
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

    /// How the caller dials.
    pub(crate) fn dials(&self) -> anyhow::Result<Arc<ClientConfig>> {
        self.config(Some(&self.caller))
    }

    /// How others dial, who are nobody to the policy.
    pub(crate) fn others(&self) -> anyhow::Result<[(&'static str, Arc<ClientConfig>); 3]> {
        Ok([
            ("no certificate", self.config(None)?),
            ("another name", self.config(Some(&self.stranger))?),
            ("another authority", self.config(Some(&self.forger))?),
        ])
    }

    /// TLS 1.3 and nothing resumed, so that every connection has a whole handshake.
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
