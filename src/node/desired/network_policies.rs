//! Network policies: first one that denies all traffic of all components, then one function per allowed flow.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::networking::v1::{
        IPBlock, NetworkPolicy, NetworkPolicyEgressRule, NetworkPolicyIngressRule, NetworkPolicyPeer,
        NetworkPolicyPort, NetworkPolicySpec,
    },
    apimachinery::pkg::{
        apis::meta::v1::{LabelSelector, LabelSelectorRequirement},
        util::intstr::IntOrString,
    },
};

use kube::api::ObjectMeta;

use super::{certificates::wanted, components};
use crate::{
    api::{
        parts::{PodTarget, Scraper, Source},
        rpc::Caller,
        transaction_manager::ExternalDatabase,
    },
    model::names::{self, Component},
    node::validate::{Database, Manager, Validated},
    settings::{Dns, Pods, RenderConfig},
};

pub(super) fn all(node: &Validated, render_config: &RenderConfig) -> Vec<NetworkPolicy> {
    let mut policies = vec![deny(node), peers(node)];
    policies.extend(node.spec.metrics.scrapers.iter().map(|scraper| scrape(node, scraper)));
    policies.extend(node.spec.rpc.callers.iter().map(|caller| call(node, caller)));
    policies.extend(render_config.operator.as_ref().map(|pods| served(node, pods)));
    if let Some(manager) = &node.manager {
        policies.extend([
            dns(node, &render_config.dns),
            client_to_manager(node),
            manager_from_client(node),
            managers(node, manager),
        ]);
        match &manager.database {
            Database::Managed(_) => policies.extend([manager_to_database(node), database_from_manager(node)]),
            Database::External(external, _) => policies.push(manager_to_external_database(node, external)),
        }
    }
    policies
}

/// Nothing gets in or out of any pod of the node unless another policy lets it.
fn deny(node: &Validated) -> NetworkPolicy {
    policy(node, "deny", node.names.all_pods(), Flow { ingress: Some(vec![]), egress: Some(vec![]) })
}

/// Clients of the network, and declared outside nodes, reach each other's P2P port.
fn peers(node: &Validated) -> NetworkPolicy {
    let network = NetworkPolicyPeer {
        pod_selector: Some(LabelSelector {
            match_labels: Some(BTreeMap::from([
                (names::NETWORK.into(), node.names.network.clone()),
                (names::COMPONENT.into(), Component::Client.as_str().into()),
            ])),
            ..LabelSelector::default()
        }),
        ..NetworkPolicyPeer::default()
    };
    let mut from = vec![network.clone()];
    from.extend(node.spec.peering.from.iter().map(source));
    let mut egress = vec![to(vec![network], &[names::P2P])];
    for endpoint in &node.peers.outside {
        let host = ipnet::IpNet::from(endpoint.ip()).to_string();
        egress.push(to(vec![range(&host)], &[endpoint.port().into()]));
    }
    egress.extend(node.spec.peering.to.iter().map(|pods| to_pods(pods, names::P2P)));
    let flow = Flow { ingress: Some(vec![from_(from, &[names::P2P])]), egress: Some(egress) };
    policy(node, "p2p", node.names.pods(Component::Client), flow)
}

/// A scraper reads the client's metrics.
fn scrape(node: &Validated, scraper: &Scraper) -> NetworkPolicy {
    let flow =
        Flow { ingress: Some(vec![from_(vec![source(&scraper.from)], &[names::METRICS])]), egress: None };
    // a dot, which no node name contains: `a-metrics-deny` would be the deny policy of a node `a-metrics`
    policy(node, &format!("metrics.{}", scraper.name), node.names.pods(Component::Client), flow)
}

/// A caller of JSON-RPC reaches the guard.
fn call(node: &Validated, caller: &Caller) -> NetworkPolicy {
    let from = caller.from.iter().map(source).collect();
    let flow = Flow { ingress: Some(vec![from_(from, &[names::RPC])]), egress: None };
    policy(node, &format!("rpc.{}", caller.name), node.names.pods(Component::Client), flow)
}

/// The operator's own pods probe served certificates and chain metrics.
fn served(node: &Validated, operator: &Pods) -> NetworkPolicy {
    let ports: Vec<_> = wanted(node).keys().filter_map(|purpose| Some(purpose.served()?.1)).collect();
    let from = pods_in(&operator.namespace, operator.labels.clone());
    let flow = Flow { ingress: Some(vec![from_(vec![from], &ports)]), egress: None };
    policy(node, "operator", node.names.all_pods(), flow)
}

/// Client and transaction manager resolve the names they dial; a client without manager dials none.
fn dns(node: &Validated, dns: &Dns) -> NetworkPolicy {
    let mut servers: Vec<_> = dns.cidrs.iter().map(|cidr| range(cidr)).collect();
    if !dns.pod_labels.is_empty() {
        servers.push(pods_in(&dns.namespace, dns.pod_labels.clone()));
    }
    let at = |protocol| dns.ports.iter().map(move |number| port(protocol, (*number).into()));
    let ports = at("UDP").chain(at("TCP")).collect();
    let rule = NetworkPolicyEgressRule { to: Some(servers), ports: Some(ports) };
    let selector = LabelSelector {
        match_labels: Some(BTreeMap::from([(names::NODE.into(), node.names.node.clone())])),
        match_expressions: Some(vec![LabelSelectorRequirement {
            key: names::COMPONENT.into(),
            operator: "In".into(),
            values: Some(vec![
                Component::Client.as_str().into(),
                Component::TransactionManager.as_str().into(),
            ]),
        }]),
    };
    policy(node, "dns", selector, Flow { ingress: None, egress: Some(vec![rule]) })
}

/// The client calls its own transaction manager.
fn client_to_manager(node: &Validated) -> NetworkPolicy {
    let manager = own(node, Component::TransactionManager);
    let flow = Flow { ingress: None, egress: Some(vec![to(vec![manager], &[names::CLIENT_TO_MANAGER])]) };
    policy(node, "client-to-tm", node.names.pods(Component::Client), flow)
}

/// A transaction manager is called by its own client: access to that port gives access to the private data.
fn manager_from_client(node: &Validated) -> NetworkPolicy {
    let client = own(node, Component::Client);
    let flow = Flow { ingress: Some(vec![from_(vec![client], &[names::CLIENT_TO_MANAGER])]), egress: None };
    policy(node, "tm-from-client", node.names.pods(Component::TransactionManager), flow)
}

/// Transaction managers of the network, and declared outside ones, speak with each other.
fn managers(node: &Validated, manager: &Manager) -> NetworkPolicy {
    let network = NetworkPolicyPeer {
        pod_selector: Some(LabelSelector {
            match_labels: Some(BTreeMap::from([
                (names::NETWORK.into(), node.names.network.clone()),
                (names::COMPONENT.into(), Component::TransactionManager.as_str().into()),
            ])),
            ..LabelSelector::default()
        }),
        ..NetworkPolicyPeer::default()
    };
    let mut from = vec![network.clone()];
    let mut egress = vec![to(vec![network], &[names::MANAGER_TO_MANAGER])];
    for peer in &manager.spec.peers {
        from.extend(peer.cidrs.iter().map(|cidr| range(cidr)));
        from.extend(peer.pods.iter().map(target));
        let port = peer.url.trim_end_matches('/').rsplit_once(':').and_then(|(_, port)| port.parse().ok());
        egress.extend(outside(&peer.cidrs, peer.pods.as_ref(), port.unwrap_or(names::MANAGER_TO_MANAGER)));
    }
    let flow = Flow { ingress: Some(vec![from_(from, &[names::MANAGER_TO_MANAGER])]), egress: Some(egress) };
    policy(node, "tm-peers", node.names.pods(Component::TransactionManager), flow)
}

/// The transaction manager uses its own database.
fn manager_to_database(node: &Validated) -> NetworkPolicy {
    let database = own(node, Component::Database);
    let flow = Flow { ingress: None, egress: Some(vec![to(vec![database], &[names::POSTGRES])]) };
    policy(node, "tm-to-db", node.names.pods(Component::TransactionManager), flow)
}

/// A database is used by its own transaction manager.
fn database_from_manager(node: &Validated) -> NetworkPolicy {
    let manager = own(node, Component::TransactionManager);
    let flow = Flow { ingress: Some(vec![from_(vec![manager], &[names::POSTGRES])]), egress: None };
    policy(node, "db-from-tm", node.names.pods(Component::Database), flow)
}

/// The transaction manager uses an external database.
fn manager_to_external_database(node: &Validated, database: &ExternalDatabase) -> NetworkPolicy {
    let egress = outside(&database.cidrs, database.pods.as_ref(), database.port);
    let flow = Flow { ingress: None, egress: Some(egress) };
    policy(node, "tm-to-db", node.names.pods(Component::TransactionManager), flow)
}

/// Rules of one policy. `None` leaves a direction to the other policies; an empty list closes it.
struct Flow {
    ingress: Option<Vec<NetworkPolicyIngressRule>>,
    egress: Option<Vec<NetworkPolicyEgressRule>>,
}

fn policy(node: &Validated, flow: &str, pods: LabelSelector, rules: Flow) -> NetworkPolicy {
    let directions = [("Ingress", rules.ingress.is_some()), ("Egress", rules.egress.is_some())];
    let policy_types = directions.into_iter().filter(|(_, there)| *there).map(|(name, _)| name.to_owned());
    NetworkPolicy {
        metadata: ObjectMeta {
            // a deletion that starts with owned objects must not delete this policy before the pods
            finalizers: Some(vec![names::CLEANUP.into()]),
            ..node.names.meta(node.names.policy(flow), node.names.labels(), &node.owner)
        },
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(pods),
            policy_types: Some(policy_types.collect()),
            // the server drops an empty list, which means the same as none
            ingress: rules.ingress.filter(|rules| !rules.is_empty()),
            egress: rules.egress.filter(|rules| !rules.is_empty()),
        }),
    }
}

fn from_(from: Vec<NetworkPolicyPeer>, ports: &[i32]) -> NetworkPolicyIngressRule {
    NetworkPolicyIngressRule { from: Some(from), ports: Some(tcp(ports)) }
}

fn to(to: Vec<NetworkPolicyPeer>, ports: &[i32]) -> NetworkPolicyEgressRule {
    NetworkPolicyEgressRule { to: Some(to), ports: Some(tcp(ports)) }
}

/// Egress to external systems: to their addresses at `port`, and to their pods at the pods' port. Without either there
/// is no rule, since a rule without peers allows all traffic.
fn outside(cidrs: &[String], pods: Option<&PodTarget>, port: i32) -> Vec<NetworkPolicyEgressRule> {
    let ranges: Vec<_> = cidrs.iter().map(|cidr| range(cidr)).collect();
    let at_addresses = (!ranges.is_empty()).then(|| to(ranges, &[port]));
    at_addresses.into_iter().chain(pods.map(|pods| to_pods(pods, port))).collect()
}

/// Egress to pods behind a Service that is called at `port`.
fn to_pods(pods: &PodTarget, port: i32) -> NetworkPolicyEgressRule {
    to(vec![target(pods)], &[pods.port.unwrap_or(port)])
}

fn target(pods: &PodTarget) -> NetworkPolicyPeer {
    pods_in(&pods.namespace, pods.pod_labels.clone())
}

fn tcp(ports: &[i32]) -> Vec<NetworkPolicyPort> {
    ports.iter().map(|number| port("TCP", *number)).collect()
}

/// A port with its number, always: a rule without ports allows every port.
fn port(protocol: &str, number: i32) -> NetworkPolicyPort {
    NetworkPolicyPort {
        protocol: Some(protocol.into()),
        port: Some(IntOrString::Int(number)),
        end_port: None,
    }
}

fn own(node: &Validated, component: Component) -> NetworkPolicyPeer {
    debug_assert!(components(node).contains(&component), "a flow to a part that is not there");
    NetworkPolicyPeer { pod_selector: Some(node.names.pods(component)), ..NetworkPolicyPeer::default() }
}

/// Pods of a namespace. Both selectors are in one item, so both must match.
fn pods_in(namespace: &str, labels: BTreeMap<String, String>) -> NetworkPolicyPeer {
    NetworkPolicyPeer {
        namespace_selector: Some(LabelSelector {
            match_labels: Some(BTreeMap::from([("kubernetes.io/metadata.name".into(), namespace.into())])),
            ..LabelSelector::default()
        }),
        pod_selector: Some(LabelSelector { match_labels: Some(labels), ..LabelSelector::default() }),
        ip_block: None,
    }
}

fn range(cidr: &str) -> NetworkPolicyPeer {
    NetworkPolicyPeer {
        ip_block: Some(IPBlock { cidr: cidr.into(), except: None }),
        ..NetworkPolicyPeer::default()
    }
}

fn source(source: &Source) -> NetworkPolicyPeer {
    match (&source.cidr, &source.namespace) {
        (Some(cidr), _) => range(cidr),
        (None, namespace) => {
            pods_in(namespace.as_deref().unwrap_or_default(), source.pod_labels.clone().unwrap_or_default())
        }
    }
}
