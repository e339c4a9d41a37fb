//! Tests of the user that pods run as: the operator's, or one that the platform assigns.

use super::{
    sample::{self, alone, managed},
    world,
};
use crate::{
    model::names::Component,
    node::desired::{Live, desired},
    settings::{RenderConfig, Users},
};

fn assigned() -> crate::node::desired::Desired {
    let render_config = RenderConfig { users: Users::Platform, ..world::render_config() };
    let node = alone(&managed());
    desired(&node, &sample::issued(&node), &render_config, &Live::default())
}

#[test]
fn where_the_platform_assigns_users_no_pod_asks_for_one_and_all_else_stays_restricted() {
    let workloads = assigned().workloads;
    assert_eq!(workloads.len(), 3);
    for workload in &workloads {
        let pod = sample::pod(workload);
        let left = super::restricted::violations(pod);
        assert_eq!(left, ["pod runAsUser", "pod runAsGroup", "pod fsGroup"], "{:?}", workload.metadata.name);
        let ids = |context: &k8s_openapi::api::core::v1::SecurityContext| {
            (context.run_as_user, context.run_as_group)
        };
        for container in sample::containers(pod) {
            assert_eq!(
                container.security_context.as_ref().map(ids),
                Some((None, None)),
                "{}",
                container.name
            );
        }
    }
}

/// PostgreSQL requires an account for its user, and only the pod knows which user that is.
#[test]
fn the_databases_account_is_written_in_the_pod_before_it_is_mounted() {
    let desired = assigned();
    let workload = sample::workload(&desired, Component::Database).expect("a database");
    let pod = sample::pod(workload);
    let (context, others) =
        pod.init_containers.as_deref().and_then(<[_]>::split_first).expect("init containers");
    let args = context.args.clone().unwrap_or_default();
    for flag in ["--accounts=/etc/postgresql/passwd", "--accounts-to=/tools/passwd"] {
        assert!(args.iter().any(|argument| argument == flag), "{args:?}");
    }
    for container in others.iter().chain(&pod.containers) {
        let mounts = container.volume_mounts.as_deref().unwrap_or_default();
        let passwd = mounts.iter().find(|mount| mount.mount_path == "/etc/passwd").expect("an account");
        assert_eq!(
            (passwd.name.as_str(), passwd.sub_path.as_deref()),
            ("tools", Some("passwd")),
            "{}",
            container.name
        );
        assert_eq!(passwd.read_only, Some(true));
    }
}
