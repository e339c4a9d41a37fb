//! Replica of the operator: runs the program as a process and restarts it whenever it ends.

use std::{
    fs::File,
    process::Stdio,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::process::Command;

pub(crate) struct Replica {
    pid: Arc<Mutex<Option<u32>>>,
}

pub(crate) struct Start<'a> {
    pub(crate) name: &'a str,
    pub(crate) watched: &'a str,
    pub(crate) lease_namespace: &'a str,
    pub(crate) proxy: u16,
    pub(crate) folder: &'a str,
}

impl Replica {
    pub(crate) fn start(start: &Start<'_>) -> anyhow::Result<Self> {
        let Start { name, watched, lease_namespace, proxy, folder } = start;
        let config = format!("{folder}/{name}.kubeconfig");
        std::fs::write(
            &config,
            format!(
                "{{apiVersion: v1, kind: Config, current-context: p, contexts: [{{name: p, context: {{cluster: p, user: p}}}}], \
                 users: [{{name: p, user: {{}}}}], clusters: [{{name: p, cluster: {{server: \"http://127.0.0.1:{proxy}\"}}}}]}}"
            ),
        )?;
        let log = File::create(format!("{folder}/{name}.log"))?;
        let environment = [
            ("KUBECONFIG", config),
            ("WATCH_NAMESPACES", (*watched).into()),
            ("POD_NAMESPACE", (*lease_namespace).into()),
            ("POD_NAME", (*name).into()),
            ("GUARD_IMAGE", quorum_operator::testing::specs::image("quorum-guard")),
            ("LISTEN", "127.0.0.1:0".into()),
            ("LOG", "quorum_operator=debug,info".into()),
        ];
        let pid = Arc::new(Mutex::new(None));
        let running = Arc::clone(&pid);
        tokio::spawn(async move {
            loop {
                let Ok(log) = log.try_clone() else { return };
                let mut command = Command::new(env!("CARGO_BIN_EXE_quorum-operator"));
                command.arg("run").envs(environment.clone()).stderr(log).stdout(Stdio::null());
                let Ok(mut child) = command.kill_on_drop(true).spawn() else { return };
                *running.lock().expect("no panic under it") = child.id();
                let _ = child.wait().await;
                *running.lock().expect("no panic under it") = None;
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        });
        Ok(Self { pid })
    }

    /// Sends `KILL`, `STOP` or `CONT` to the process.
    pub(crate) async fn signal(&self, signal: &str) {
        let pid = *self.pid.lock().expect("no panic under it");
        if let Some(pid) = pid {
            let _ = Command::new("kill").args([format!("-{signal}"), pid.to_string()]).status().await;
        }
    }
}
