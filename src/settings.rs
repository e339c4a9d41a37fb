//! Flags and environment of `quorum-operator run`, read once.

use std::{
    collections::BTreeMap,
    hash::{BuildHasher as _, RandomState},
};

use anyhow::{Context as _, ensure};
use clap::Args;

/// What the operator is told at start.
#[derive(Args, Clone, Debug)]
pub struct Settings {
    /// Namespaces to watch, separated by commas. Left out, every namespace is watched, which needs a
    /// ClusterRole.
    #[arg(long, env = "WATCH_NAMESPACES", value_delimiter = ',')]
    pub watch_namespaces: Vec<String>,

    /// Image of quorum-guard, which runs beside every client, transaction manager and database.
    #[arg(long, env = "GUARD_IMAGE")]
    pub guard_image: String,

    /// Namespace of the cluster's DNS pods, to which node pods may speak on port 53.
    #[arg(long, env = "DNS_NAMESPACE", default_value = "kube-system")]
    pub dns_namespace: String,

    /// Labels of the DNS pods, as `key=value,key=value`. Empty where DNS is not in pods.
    #[arg(long, env = "DNS_POD_LABELS", default_value = "k8s-app=kube-dns")]
    pub dns_pod_labels: String,

    /// Addresses of DNS outside the pod network, as ranges separated by commas: a node-local cache, or a
    /// server of the hosts.
    #[arg(long, env = "DNS_CIDRS", value_delimiter = ',')]
    pub dns_cidrs: Vec<String>,

    /// Labels of the operator's own pods, as `key=value,key=value`. Node pods then let these in at the ports
    /// that serve TLS, and the leader looks which certificates are served. Empty, nothing is opened and nobody
    /// looks.
    #[arg(long, env = "OPERATOR_POD_LABELS", default_value = "")]
    pub operator_pod_labels: String,

    /// Address of the server for the operator's own metrics and probes.
    #[arg(long, env = "LISTEN", default_value = "0.0.0.0:8080")]
    pub listen: std::net::SocketAddr,

    /// Namespace of the operator itself, which holds its lease.
    #[arg(long, env = "POD_NAMESPACE", default_value = "quorum-system")]
    pub namespace: String,

    /// Name of this replica in the lease, which no other one may have. Left out, it is the host's, with something
    /// random after it.
    #[arg(long, env = "POD_NAME")]
    pub identity: Option<String>,

    /// Nodes that are worked on at the same time.
    #[arg(long, env = "CONCURRENCY", default_value_t = 8)]
    pub concurrency: u16,

    /// Filter of the log, as `info` or `quorum_operator=debug,info`.
    #[arg(long, env = "LOG", default_value = "info")]
    pub log: String,
}

/// What the rendered objects depend on besides the node: the cluster's surroundings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Surroundings {
    /// Image of quorum-guard.
    pub guard_image: String,
    /// Where DNS answers.
    pub dns: Dns,
    /// The operator's own pods, which look at what is served; `None` where none may.
    pub operator: Option<Pods>,
}

/// Pods of a namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pods {
    /// Where they are.
    pub namespace: String,
    /// What they carry; not empty.
    pub labels: BTreeMap<String, String>,
}

/// Where DNS answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dns {
    /// Namespace of its pods.
    pub namespace: String,
    /// Labels of its pods; empty where it has none.
    pub pod_labels: BTreeMap<String, String>,
    /// Ranges it has outside the pod network.
    pub cidrs: Vec<String>,
}

impl Settings {
    /// The name of this replica in the lease; another one at each call where none was given.
    #[must_use]
    pub fn identity(&self) -> String {
        // a lease whose holder has no name is free
        self.identity.clone().filter(|given| !given.is_empty()).unwrap_or_else(unique)
    }

    /// The part that objects are rendered from.
    ///
    /// # Errors
    /// Where DNS is neither in pods nor at an address, or a label or range cannot be read.
    pub fn surroundings(&self) -> anyhow::Result<Surroundings> {
        let pod_labels = labels("--dns-pod-labels", &self.dns_pod_labels)?;
        let own = labels("--operator-pod-labels", &self.operator_pod_labels)?;
        let cidrs: Vec<String> = self.dns_cidrs.iter().filter(|cidr| !cidr.is_empty()).cloned().collect();
        for cidr in &cidrs {
            cidr.parse::<ipnet::IpNet>()
                .with_context(|| format!("--dns-cidrs: {cidr:?} is not a range such as 10.0.0.10/32"))?;
        }
        ensure!(
            !pod_labels.is_empty() || !cidrs.is_empty(),
            "--dns-pod-labels and --dns-cidrs are both empty: say where DNS answers, or no pod could resolve a name"
        );
        let dns = Dns { namespace: self.dns_namespace.clone(), pod_labels, cidrs };
        let operator = (!own.is_empty()).then(|| Pods { namespace: self.namespace.clone(), labels: own });
        Ok(Surroundings { guard_image: self.guard_image.clone(), dns, operator })
    }
}

/// A name that no other process has, on this host or another.
fn unique() -> String {
    let random = RandomState::new().hash_one(std::process::id());
    format!("{}_{random:016x}", rustix::system::uname().nodename().to_string_lossy())
}

fn labels(flag: &str, text: &str) -> anyhow::Result<BTreeMap<String, String>> {
    let pairs = text.split(',').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            pair.split_once('=')
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .with_context(|| format!("{flag}: {pair:?} is not of the form key=value"))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Command {
        #[command(flatten)]
        settings: Settings,
    }

    fn named(identity: Option<&str>) -> String {
        let read = Command::parse_from(["run", "--guard-image", "guard"]).settings;
        Settings { identity: identity.map(str::to_owned), ..read }.identity()
    }

    /// Two that share a name would both take the lease for their own.
    #[test]
    fn replicas_that_are_given_no_name_have_different_ones() {
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        for none in [None, Some("")] {
            let (one, other) = (named(none), named(none));
            assert_ne!(one, other);
            assert!(one.starts_with(&host) && one.len() > host.len() + 16, "{one}");
        }
        assert_eq!(named(Some("quorum-operator-7d9f-x2x4z")), "quorum-operator-7d9f-x2x4z");
    }
}
