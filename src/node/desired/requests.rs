//! Certificate requests for cert-manager: one Certificate for each purpose that others see.

use kube::api::ObjectMeta;

use super::certificates::{Authority, Wanted, wanted};
use crate::{
    api::tls,
    model::{
        secrets::tls::{KeyAlgorithm, LeafRequest, Usage},
        third_party::{Certificate, CertificateSpec, IssuerRef, PrivateKey},
    },
    node::validate::Validated,
};

pub(super) fn all(node: &Validated) -> Vec<Certificate> {
    let Some(through) = &node.spec.tls.cert_manager else { return Vec::new() };
    let requested = wanted(node).into_iter().filter(|(_, wanted)| wanted.authority == Authority::Requested);
    let certificate = |(purpose, Wanted { request, .. })| {
        let name = node.names.requested(purpose);
        let metadata = node.names.meta(name.clone(), node.names.labels(), &node.owner);
        certificate(metadata, name, &request, &through.issuer_ref)
    };
    requested.map(certificate).collect()
}

/// A Certificate without a common name: issuers that check it require it among the DNS names, and no client here uses
/// it.
fn certificate(
    metadata: ObjectMeta,
    secret_name: String,
    request: &LeafRequest,
    issuer: &tls::IssuerRef,
) -> Certificate {
    let (algorithm, size) = match request.algorithm {
        KeyAlgorithm::EcdsaP256 => ("ECDSA", 256),
        KeyAlgorithm::Rsa2048 => ("RSA", 2048),
    };
    let spec = CertificateSpec {
        secret_name,
        issuer_ref: IssuerRef {
            name: issuer.name.clone(),
            kind: issuer.kind.clone(),
            group: issuer.group.clone(),
        },
        dns_names: request.dns_names.clone(),
        usages: usages(request),
        private_key: PrivateKey {
            algorithm: algorithm.into(),
            size,
            encoding: "PKCS8".into(),
            rotation_policy: "Always".into(),
        },
        duration: duration(request.validity.duration.as_hours()),
        renew_before: duration(request.validity.renew_before.as_hours()),
    };
    Certificate { metadata, spec, status: None }
}

/// A duration in Go's format, so that a client that reads the object and writes it back changes nothing.
fn duration(hours: i64) -> String {
    format!("{hours}h0m0s")
}

fn usages(request: &LeafRequest) -> Vec<String> {
    let mut usages = vec!["digital signature"];
    if request.algorithm == KeyAlgorithm::Rsa2048 {
        usages.push("key encipherment");
    }
    usages.extend(match request.usage {
        Usage::Server => &["server auth"][..],
        Usage::Client => &["client auth"],
        Usage::Both => &["server auth", "client auth"],
    });
    usages.into_iter().map(str::to_owned).collect()
}
