//! Describes why a pod's containers do not serve.

use k8s_openapi::api::core::v1::{ContainerStateTerminated, ContainerStatus, PodStatus};

use super::database::INITIALISE;
use crate::{
    model::{
        names,
        redact::{last_words, quoted},
    },
    protocol::database::Report,
};

/// Describes the first container, in start order, that waits with a reason, exited with an error, or is not ready.
#[must_use]
pub fn trouble(status: &PodStatus) -> Option<String> {
    let containers = status.init_container_statuses.iter().chain(&status.container_statuses).flatten();
    containers.filter_map(of_container).next()
}

fn of_container(container: &ContainerStatus) -> Option<String> {
    let state = container.state.as_ref()?;
    let ended = state.terminated.as_ref().or_else(|| container.last_state.as_ref()?.terminated.as_ref());
    let exit = ended.filter(|ended| ended.exit_code != 0).map(|ended| exit(&container.name, ended));
    if let Some(waiting) = &state.waiting {
        let reason = waiting.reason.clone().unwrap_or_default();
        if matches!(reason.as_str(), "PodInitializing" | "ContainerCreating" | "") {
            return exit;
        }
        if IMAGE.contains(&reason.as_str()) {
            return Some(unpulled(container, waiting.message.as_deref().unwrap_or(&reason)));
        }
        let ended = exit.map(|exit| format!(", {exit}")).unwrap_or_default();
        return Some(format!("container {} waits: {reason}{ended}", container.name));
    }
    (state.terminated.is_some() || !container.ready && state.running.is_some()).then_some(())?;
    match (&state.running, exit) {
        (Some(_), exit) if container.restart_count > 0 => exit,
        (Some(_), _) if container.started == Some(true) => {
            Some(format!("container {} is not ready", container.name))
        }
        (Some(_), _) => None,
        (None, exit) => exit,
    }
}

/// Waiting reasons of a container whose image the kubelet cannot get. The kubelet alternates between some of them.
const IMAGE: [&str; 7] = [
    "ErrImagePull",
    "ImagePullBackOff",
    "InvalidImageName",
    "ErrImageNeverPull",
    "ImageInspectError",
    "RegistryUnavailable",
    "SignatureValidationFailed",
];

/// Describes a container whose image cannot be pulled, with the registry's answer. The kubelet's message repeats the
/// image several times.
fn unpulled(container: &ContainerStatus, message: &str) -> String {
    let (name, image) = (&container.name, &container.image);
    let answer = message.rsplit_once("desc = ").map_or(message, |(_, answer)| answer);
    // this token is no secret's name, although a colon follows it
    let answer = &answer.replace(" token: ", " token, ");
    let answer = if image.is_empty() { answer.to_owned() } else { answer.replace(image.as_str(), "it") };
    format!("container {name} waits: image {image} cannot be pulled: \"{}\"", quoted(&answer))
}

/// Describes the first container that was restarted after it ran out of memory.
#[must_use]
pub fn killed(status: &PodStatus) -> Option<String> {
    let containers = status.init_container_statuses.iter().chain(&status.container_statuses).flatten();
    let ended = |container: &ContainerStatus| {
        let ended = container.last_state.as_ref()?.terminated.clone()?;
        is_killed(&ended).then(|| {
            let at = ended.finished_at.map(|time| format!(" at {}", time.0)).unwrap_or_default();
            format!("{}{at}{}", out_of_memory(&container.name), raise(&container.name))
        })
    };
    containers.filter_map(ended).next()
}

fn is_killed(ended: &ContainerStateTerminated) -> bool {
    ended.reason.as_deref() == Some("OOMKilled")
}

fn out_of_memory(container: &str) -> String {
    format!("container {container} ran out of memory and was killed")
}

/// Names the field that gives a container more memory.
fn raise(container: &str) -> String {
    let field = match container {
        "client" | "genesis" => "client.resources.memory",
        names::GUARD => "rpc.resources.memory",
        "tm" => "transactionManager.resources.memory",
        "postgres" | INITIALISE => "transactionManager.database.managed.resources.memory",
        "metrics" | "probe" => return format!(": raise spec.sidecars.{container}.memory"),
        _ => return String::new(),
    };
    format!(": raise spec.{field}")
}

/// Describes how a container exited: geth's exit codes, and the last message.
fn exit(container: &str, ended: &ContainerStateTerminated) -> String {
    if is_killed(ended) {
        return format!("{}{}", out_of_memory(container), raise(container));
    }
    let code = ended.exit_code;
    let message = last_message(ended);
    let quoted = message.as_ref().map(|message| format!(", message: \"{message}\"")).unwrap_or_default();
    let log = match &message {
        Some(_) => String::new(),
        None => format!(", see the log of the container {container}"),
    };
    match (container, code) {
        ("client", 112) => {
            format!("geth exited with code 112, because it lost its transaction manager{quoted}")
        }
        ("client", 1) => format!("geth exited with code 1: fatal configuration error{log}{quoted}"),
        ("genesis", code) => format!(
            "geth init exited with code {code}. Either geth rejects the genesis, or `config` of the genesis changes at a block that the chain has already passed, or the volume contains a different chain{}; restore the original genesis",
            if message.is_some() { quoted } else { "; see the log of the container genesis".into() }
        ),
        _ => format!("{container} exited with code {code}{log}{quoted}"),
    }
}

/// The last message of a container; `None` for a report of the database, which the operator evaluates elsewhere.
fn last_message(ended: &ContainerStateTerminated) -> Option<String> {
    let message = ended.message.as_deref().filter(|message| Report::read(message).is_none())?;
    last_words(message)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// The trouble of a pod with an init container that succeeded, and this container.
    fn of(container: Value) -> Option<String> {
        let mut containers =
            json!([{"name": "prepare", "state": {"terminated": {"exitCode": 0}}}, container]);
        for container in containers.as_array_mut().into_iter().flatten() {
            for (key, value) in [("image", json!("x")), ("imageID", json!("")), ("ready", json!(false))] {
                container[key] = value;
            }
            if container["restartCount"].is_null() {
                container["restartCount"] = json!(0);
            }
        }
        trouble(&serde_json::from_value(json!({"initContainerStatuses": containers})).expect("a status"))
    }

    fn ended(code: i32, message: &str) -> Value {
        json!({"terminated": {"exitCode": code, "message": message}})
    }

    #[test]
    fn a_container_that_ended_badly_is_quoted() {
        let refused = "INFO [11-30] x\nFatal: invalid genesis file: missing chain configuration\n";
        for (name, code, begin) in [
            ("genesis", 1, "geth init exited with code 1. Either geth rejects the genesis"),
            ("client", 1, "geth exited with code 1: fatal configuration error"),
            ("client", 112, "geth exited with code 112, because it lost its transaction manager"),
            ("tm", 2, "tm exited with code 2"),
        ] {
            let said = of(json!({"name": name, "state": ended(code, refused)})).expect("trouble");
            assert!(said.starts_with(begin), "{said}");
            let quote = "message: \"Fatal: invalid genesis file: missing chain configuration\"";
            assert!(said.contains(quote) && !said.contains("log"), "{said}");
            let silent = of(json!({"name": name, "state": ended(code, "")})).expect("trouble");
            assert!(silent.starts_with(begin) && !silent.contains("message"), "{silent}");
            assert_eq!(silent.contains("log"), code != 112, "{silent}");
        }
    }

    #[test]
    fn what_waits_to_be_started_again_is_quoted_too() {
        let state = json!({"waiting": {"reason": "CrashLoopBackOff"}});
        let last = ended(2, "Fatal: no such chain");
        let waits = json!({"name": "client", "state": state, "lastState": last, "restartCount": 3});
        assert_eq!(
            of(waits).as_deref(),
            Some(
                "container client waits: CrashLoopBackOff, client exited with code 2, message: \"Fatal: no such chain\""
            )
        );
        let again = json!({"name": "tm", "state": {"running": {}}, "lastState": last, "restartCount": 3});
        assert_eq!(of(again).as_deref(), Some("tm exited with code 2, message: \"Fatal: no such chain\""));
        assert_eq!(of(json!({"name": "tm", "state": ended(0, "Fatal: not at all")})), None);
    }

    #[test]
    fn what_was_killed_for_memory_says_which_field_to_raise() {
        let ended = json!({"terminated": {"exitCode": 137, "reason": "OOMKilled", "message": "Fatal: not it",
            "finishedAt": "2026-11-30T10:00:00Z"}});
        for (name, field) in [
            ("client", ": raise spec.client.resources.memory"),
            ("guard", ": raise spec.rpc.resources.memory"),
            ("tm", ": raise spec.transactionManager.resources.memory"),
            ("postgres", ": raise spec.transactionManager.database.managed.resources.memory"),
            ("metrics", ": raise spec.sidecars.metrics.memory"),
            ("other", ""),
        ] {
            let said = of(json!({"name": name, "state": ended}));
            assert_eq!(said, Some(format!("container {name} ran out of memory and was killed{field}")));
            let again = json!({"containerStatuses": [{"name": name, "image": "", "imageID": "", "restartCount": 1,
                "ready": true, "state": {"running": {}}, "lastState": ended}]});
            let again: PodStatus = serde_json::from_value(again).expect("a status");
            let expected =
                format!("container {name} ran out of memory and was killed at 2026-11-30T10:00:00Z{field}");
            assert_eq!((trouble(&again), killed(&again)), (None, Some(expected)), "while it runs again");
        }
        let other = json!({"containerStatuses": [{"name": "tm", "image": "", "imageID": "", "restartCount": 1,
            "ready": true, "lastState": {"terminated": {"exitCode": 137, "reason": "Error"}}}]});
        assert_eq!(killed(&serde_json::from_value(other).expect("a status")), None);
    }

    #[test]
    fn an_image_that_cannot_be_pulled_is_named_with_the_registrys_answer_once() {
        let digest = "5e".repeat(32);
        let image = format!("registry.example/tessera@sha256:{digest}");
        let answer = format!(
            "rpc error: code = Unknown desc = failed to resolve reference \"{image}\": 401 Unauthorized"
        );
        let mut messages = Vec::new();
        for (reason, message) in [
            ("ErrImagePull", answer.clone()),
            ("ImagePullBackOff", format!("Back-off pulling image \"{image}\": ErrImagePull: {answer}")),
        ] {
            let state = json!({"waiting": {"reason": reason, "message": message}});
            let container = json!([{"name": "tm", "image": image, "imageID": "", "restartCount": 0, "ready": false, "state": state}]);
            let status = json!({"containerStatuses": container});
            messages.extend(trouble(&serde_json::from_value(status).expect("a status")));
        }
        let expected = format!(
            "container tm waits: image {image} cannot be pulled: \"failed to resolve reference 'it': 401 Unauthorized\""
        );
        assert_eq!(messages, [expected.clone(), expected], "for both reasons");
    }

    #[test]
    fn why_a_registry_gives_no_token_is_told() {
        let answer = "failed to authorize: failed to fetch anonymous token: unexpected status: 403 Forbidden";
        let state = json!({"waiting": {"reason": "ErrImagePull", "message": answer}});
        let container = json!([{"name": "tm", "image": "it:1", "imageID": "", "restartCount": 0, "ready": false, "state": state}]);
        let status = serde_json::from_value(json!({"containerStatuses": container})).expect("a status");
        let message = trouble(&status).expect("it waits");
        assert!(message.contains("403 Forbidden"), "{message}");
    }

    #[test]
    fn a_report_of_the_database_is_not_quoted() {
        let report = r#"{"verdict":"replaced"}"#;
        let ended = json!({"name": "initialise", "state": ended(1, report)});
        assert_eq!(
            of(ended).as_deref(),
            Some("initialise exited with code 1, see the log of the container initialise")
        );
    }
}
