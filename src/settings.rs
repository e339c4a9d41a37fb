//! Flags and environment variables of `quorum-operator run`, read once.

use std::{
    collections::BTreeMap,
    hash::{BuildHasher as _, RandomState},
};

use anyhow::{Context as _, ensure};
use clap::{Args, ValueEnum};

use crate::cluster::rollouts::USUAL;

/// Settings of the operator.
#[derive(Args, Clone, Debug)]
pub struct Settings {
    /// Namespaces to watch, separated by commas. By default the operator watches all namespaces, which needs a
    /// ClusterRole.
    #[arg(long, env = "WATCH_NAMESPACES", value_delimiter = ',')]
    pub watch_namespaces: Vec<String>,

    /// Image of quorum-guard, which runs next to every client, transaction manager and database.
    #[arg(long, env = "GUARD_IMAGE")]
    pub guard_image: String,

    /// Namespace of the cluster's DNS pods. Node pods may connect to them at `--dns-ports`.
    #[arg(long, env = "DNS_NAMESPACE", default_value = "kube-system")]
    pub dns_namespace: String,

    /// Labels of the DNS pods, as `key=value,key=value`. Empty if DNS does not run in pods.
    #[arg(long, env = "DNS_POD_LABELS", default_value = "k8s-app=kube-dns")]
    pub dns_pod_labels: String,

    /// Addresses of DNS outside the pod network, as ranges separated by commas: a node-local cache, or a server of
    /// the hosts.
    #[arg(long, env = "DNS_CIDRS", value_delimiter = ',')]
    pub dns_cidrs: Vec<String>,

    /// Ports on which DNS listens, UDP and TCP, separated by commas. For DNS in pods, the ports of the pods, not of
    /// their Service: 5353 on OpenShift.
    #[arg(long, env = "DNS_PORTS", value_delimiter = ',', default_value = "53", value_parser = clap::value_parser!(u16).range(1..))]
    pub dns_ports: Vec<u16>,

    /// Domain of the cluster. Certificates contain the names of Services, `SERVICE.NAMESPACE.svc`, with and without
    /// it.
    #[arg(long, env = "CLUSTER_DOMAIN", default_value = "cluster.local")]
    pub cluster_domain: String,

    /// What decides as which user the pods of nodes run: with `fixed` they request user, group and volume group
    /// 65532; with `platform` they request none, for clusters that assign users by namespace, such as OpenShift.
    #[arg(long, env = "POD_USERS", default_value = "fixed", value_enum)]
    pub pod_users: Users,

    /// Labels of the operator's own pods, as `key=value,key=value`. Network policies then admit them at the TLS
    /// ports of node pods, and the leader checks served certificates, chains and peers. If empty, the policies stay
    /// closed and nothing is checked.
    #[arg(long, env = "OPERATOR_POD_LABELS", default_value = "")]
    pub operator_pod_labels: String,

    /// Address on which the operator serves its own metrics and probes.
    #[arg(long, env = "LISTEN", default_value = "[::]:8080")]
    pub listen: std::net::SocketAddr,

    /// Namespace of the operator itself, and of its lease.
    #[arg(long, env = "POD_NAMESPACE", default_value = "quorum-system")]
    pub namespace: String,

    /// Name of this replica in the lease, unique among replicas. Default: the host name and a random suffix.
    #[arg(long, env = "POD_NAME")]
    pub identity: Option<String>,

    /// Maximum number of nodes that are reconciled at the same time.
    #[arg(long, env = "CONCURRENCY", default_value_t = 8)]
    pub concurrency: u16,

    /// Maximum number of serving pods that are being replaced, over all networks. A replacement is done when the
    /// new pod has been ready for its network's `spec.rollout.minReadySeconds`.
    #[arg(long, env = "MAX_ROLLOUTS", default_value_t = USUAL, value_parser = clap::value_parser!(u16).range(1..))]
    pub max_rollouts: u16,

    /// Filter of the log, such as `info` or `quorum_operator=debug,info`.
    #[arg(long, env = "LOG", default_value = "info")]
    pub log: String,
}

/// Settings that rendered objects depend on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RenderConfig {
    /// Image of quorum-guard.
    pub guard_image: String,
    /// How pods reach DNS.
    pub dns: Dns,
    /// Domain of the cluster.
    pub domain: String,
    /// What decides as which user pods run.
    pub users: Users,
    /// The operator's own pods, which probe node pods; `None` disables probing.
    pub operator: Option<Pods>,
}

/// What decides as which user the pods of nodes run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Users {
    /// The pods request a fixed user.
    #[default]
    Fixed,
    /// The cluster assigns a user from the namespace's range and rejects any other.
    Platform,
}

/// Pods of a namespace, by label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pods {
    /// Namespace of the pods.
    pub namespace: String,
    /// Labels of the pods; not empty.
    pub labels: BTreeMap<String, String>,
}

/// How pods reach DNS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dns {
    /// Namespace of the DNS pods.
    pub namespace: String,
    /// Labels of the DNS pods; empty if DNS does not run in pods.
    pub pod_labels: BTreeMap<String, String>,
    /// Address ranges of DNS outside the pod network.
    pub cidrs: Vec<String>,
    /// Ports on which DNS listens; not empty.
    pub ports: Vec<u16>,
}

impl Settings {
    /// Name of this replica in the lease. Without a configured name, each call returns a new unique one.
    #[must_use]
    pub fn identity(&self) -> String {
        // a lease with an empty holder counts as free
        self.identity.clone().filter(|given| !given.is_empty()).unwrap_or_else(unique)
    }

    /// Returns the settings that rendered objects depend on.
    ///
    /// # Errors
    /// If DNS has neither pods nor an address, or a label, a range or the cluster's domain is malformed.
    pub fn render_config(&self) -> anyhow::Result<RenderConfig> {
        let pod_labels = labels("--dns-pod-labels", &self.dns_pod_labels)?;
        let own = labels("--operator-pod-labels", &self.operator_pod_labels)?;
        let cidrs: Vec<String> = self.dns_cidrs.iter().filter(|cidr| !cidr.is_empty()).cloned().collect();
        for cidr in &cidrs {
            cidr.parse::<ipnet::IpNet>()
                .with_context(|| format!("--dns-cidrs: {cidr:?} is not a range such as 10.0.0.10/32"))?;
        }
        ensure!(
            !pod_labels.is_empty() || !cidrs.is_empty(),
            "--dns-pod-labels and --dns-cidrs are both empty: set one of them, otherwise no pod can resolve a name"
        );
        let domain = self.cluster_domain.clone();
        ensure!(
            is_domain(&domain),
            "--cluster-domain: {domain:?} is not a domain such as cluster.local, in lower case and without a dot at its ends"
        );
        let ports = self.dns_ports.clone();
        let dns = Dns { namespace: self.dns_namespace.clone(), pod_labels, cidrs, ports };
        let operator = (!own.is_empty()).then(|| Pods { namespace: self.namespace.clone(), labels: own });
        let users = self.pod_users;
        Ok(RenderConfig { guard_image: self.guard_image.clone(), dns, domain, users, operator })
    }
}

/// A name that is unique among processes and hosts.
fn unique() -> String {
    let random = RandomState::new().hash_one(std::process::id());
    format!("{}_{random:016x}", rustix::system::uname().nodename().to_string_lossy())
}

fn is_domain(text: &str) -> bool {
    let is_label = |label: &str| {
        let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        (1..=63).contains(&label.len())
            && label.bytes().all(inner)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.len() <= 200 && text.split('.').all(is_label)
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

    fn read(arguments: &[&str]) -> Result<RenderConfig, String> {
        let all = [&["run", "--guard-image", "guard"], arguments].concat();
        let settings = Command::try_parse_from(all).map_err(|error| error.to_string())?.settings;
        settings.render_config().map_err(|error| error.to_string())
    }

    #[test]
    fn dns_listens_and_services_are_called_as_in_most_clusters_unless_it_is_said() {
        let usual = read(&[]).expect("defaults");
        assert_eq!((usual.dns.ports, usual.domain.as_str()), (vec![53], "cluster.local"));
        assert_eq!(usual.users, Users::Fixed);
        assert_eq!(read(&["--pod-users", "platform"]).expect("settings").users, Users::Platform);
        assert!(read(&["--pod-users", "65533"]).expect_err("refused").contains("platform"));
        let told = read(&["--dns-ports", "53,5353", "--cluster-domain", "corp.example"]).expect("settings");
        assert_eq!((told.dns.ports, told.domain.as_str()), (vec![53, 5353], "corp.example"));
    }

    #[test]
    fn what_is_no_port_or_no_domain_is_refused_at_start() {
        for ports in ["", "0", "65536", "dns", "53,"] {
            let said = read(&["--dns-ports", ports]).expect_err(ports);
            assert!(said.contains("--dns-ports"), "{ports}: {said}");
        }
        for domain in ["", ".", "cluster.local.", ".cluster.local", "Cluster.Local", "a..b", "-a.b", "a_b"] {
            let said = read(&[&format!("--cluster-domain={domain}")]).expect_err(domain);
            assert!(said.contains("--cluster-domain"), "{domain}: {said}");
        }
    }

    #[test]
    fn probes_and_metrics_of_the_operator_are_open_in_both_families() {
        let listen = Command::parse_from(["run", "--guard-image", "guard"]).settings.listen;
        assert_eq!(listen.to_string(), "[::]:8080");
    }

    /// Two replicas with the same name would both consider the lease theirs.
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
