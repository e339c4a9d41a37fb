//! Reads a pod's report about its database: the termination message of the init container that checks it.

use k8s_openapi::api::core::v1::{ContainerStateTerminated, ContainerStatus, PodStatus};

use crate::{
    node::decide::database::{EXTERNAL_DATABASE, INITIALISE},
    protocol::database::Report,
};

/// The last report. The kubelet restarts a failed init container, so its previous termination counts too.
pub(super) fn report(status: &PodStatus) -> Option<Report> {
    let looks =
        |container: &&ContainerStatus| [INITIALISE, EXTERNAL_DATABASE].contains(&container.name.as_str());
    let container = status.init_container_statuses.iter().flatten().find(looks)?;
    let ended: Option<&ContainerStateTerminated> = [&container.state, &container.last_state]
        .into_iter()
        .find_map(|state| state.as_ref()?.terminated.as_ref());
    Report::read(ended?.message.as_ref()?)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::protocol::database::{SystemIdentifier, Verdict};

    fn read(container: Value) -> Option<Report> {
        let mut containers = json!([{"name": "tools", "image": "", "imageID": "", "ready": true, "restartCount": 0,
            "state": {"terminated": {"exitCode": 0, "message": "another's"}}}, container]);
        for (key, value) in [
            ("image", json!("")),
            ("imageID", json!("")),
            ("ready", json!(false)),
            ("restartCount", json!(1)),
        ] {
            containers[1][key] = value;
        }
        let status = json!({"initContainerStatuses": containers});
        report(&serde_json::from_value(status).expect("a status"))
    }

    #[test]
    fn the_last_message_of_the_container_that_looks_is_read() {
        let told = Report::new(Verdict::InUse, Some(SystemIdentifier(77)));
        let ended = json!({"terminated": {"exitCode": 0, "message": told.to_string()}});
        for name in ["initialise", "external-database"] {
            assert_eq!(read(json!({"name": name, "state": ended})), Some(told.clone()));
        }
        let waits = json!({"waiting": {"reason": "CrashLoopBackOff"}});
        let again = json!({"name": "initialise", "state": waits, "lastState": ended});
        assert_eq!(read(again), Some(told), "before it is started again");
        assert_eq!(read(json!({"name": "initialise", "state": {"running": {}}})), None);
        assert_eq!(read(json!({"name": "other", "state": ended})), None);
    }

    #[test]
    fn a_newer_end_that_says_nothing_hides_what_was_said_before() {
        let told = Report::new(Verdict::InUse, Some(SystemIdentifier(77)));
        let ended = json!({"terminated": {"exitCode": 0, "message": told.to_string()}});
        let silent = json!({"terminated": {"exitCode": 1}});
        assert_eq!(read(json!({"name": "initialise", "state": silent, "lastState": ended})), None);
    }
}
