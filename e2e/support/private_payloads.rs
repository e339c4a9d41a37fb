//! Private payloads: sends one through a manager from its client's pod, with the client's certificate, and reads it
//! from another manager.

use serde_json::{Value, json};

use crate::support::{
    kubectl::{self, variable},
    pods,
};

/// A node with a manager.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Member {
    pub(crate) namespace: &'static str,
    pub(crate) name: &'static str,
    /// Name of its client's pod.
    pub(crate) client: &'static str,
}

impl Member {
    /// Public key of its manager.
    fn key(self) -> String {
        let secret = kubectl::get(&["-n", self.namespace, "secret", &format!("{}-tm-keys", self.name)]);
        plain(secret["data"]["tm.pub"].as_str().expect("a public key"))
    }

    /// Sends a request from its client to its manager. Returns status and body.
    fn asked(self, path: &str, body: Option<&Value>) -> (String, String) {
        let mounts = json!([{"name": "tls-tm", "mountPath": "/tls", "readOnly": true}]);
        let more = json!({"args": ["wait"], "volumeMounts": mounts});
        pods::enter(self.namespace, self.client, "sender", &variable("DIALER_IMAGE"), more);
        let url = format!("https://{}-tm.{}.svc:9101{path}", self.name, self.namespace);
        let body = body.map(ToString::to_string);
        let mut command = vec!["/dialer", if body.is_some() { "post" } else { "https" }, &url];
        command.extend(body.as_deref());
        command.extend(["-ca", "/tls/ca.crt", "-cert", "/tls/tls.crt", "-key", "/tls/tls.key"]);
        let from = pods::From { namespace: self.namespace, pod: self.client, container: "sender" };
        let (said, _) = pods::exec(from, &command);
        match said.strip_prefix("# status ").and_then(|said| said.split_once('\n')) {
            Some((status, body)) => (status.to_owned(), body.trim().to_owned()),
            None => (String::new(), said),
        }
    }

    /// Sends a payload through its manager to another member. Returns the hash.
    fn send(self, payload: &str, to: Member) -> Result<String, String> {
        let sent = json!({"payload": coded(payload), "to": [to.key()]});
        let (status, body) = self.asked("/send", Some(&sent));
        let answer: Value = serde_json::from_str(&body).unwrap_or_default();
        match answer["key"].as_str() {
            Some(hash) if status == "201" => Ok(hash.to_owned()),
            _ => Err(format!("{status} {body}")),
        }
    }

    /// Reads the payload with this hash from its manager.
    fn receive(self, hash: &str) -> Result<String, String> {
        let path = hash.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
        let (status, body) = self.asked(&format!("/transaction/{path}"), None);
        let answer: Value = serde_json::from_str(&body).unwrap_or_default();
        answer["payload"].as_str().map(plain).ok_or(format!("{status} {body}"))
    }
}

/// Sends a new payload and checks that the other manager has it.
pub(crate) fn goes(from: Member, to: Member, payload: &str) -> Result<(), String> {
    let hash = from.send(payload, to)?;
    match to.receive(&hash)? {
        received if received == payload => Ok(()),
        received => Err(format!("{payload} became {received}")),
    }
}

fn base64(arguments: &[&str], input: &str) -> String {
    let script = format!("printf %s \"$0\" | base64 {}", arguments.join(" "));
    let output = std::process::Command::new("bash").args(["-c", &script, input]).output().expect("base64");
    String::from_utf8(output.stdout).expect("text")
}

fn coded(text: &str) -> String {
    base64(&["-w0"], text)
}

fn plain(coded: &str) -> String {
    base64(&["-d"], coded)
}
