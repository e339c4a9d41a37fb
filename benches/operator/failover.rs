//! Measures failover between two replicas: how long a change waits after the leader ends.

use std::{path::Path, time::Duration};

use anyhow::Context as _;
use k8s_openapi::jiff::Timestamp;
use kube::Client;

use crate::{audit::Audit, cluster::User, drift, fleet::Fleet, process::Operator};

/// How the leader ends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// It receives SIGTERM.
    Graceful,
    /// It is killed.
    Crash,
}

/// Environment of the replicas.
pub(crate) struct Replicas<'a> {
    pub(crate) admin: &'a Client,
    pub(crate) program: &'a Path,
    pub(crate) folder: &'a Path,
    pub(crate) fleet: &'a Fleet,
    pub(crate) users: [&'a User; 2],
}

impl Replicas<'_> {
    /// Ends the leader `times` times and returns the seconds until the first write of the standby for each.
    pub(crate) async fn lead_changes(
        &self,
        audit: &mut Audit,
        end: End,
        times: usize,
    ) -> anyhow::Result<Vec<f64>> {
        let mut took = Vec::new();
        let mut leader = 0;
        let mut leads = self.start(leader)?;
        leads.leads().await?;
        for time in 0..times {
            let mut standby = self.start(1 - leader)?;
            standby.ready().await?;
            // end the leader at a different point of the standby's polling interval each time
            tokio::time::sleep(Duration::from_millis(3000 + 430 * time as u64)).await;
            let from = Timestamp::now();
            match end {
                End::Graceful => leads.stop().await?,
                End::Crash => leads.kill().await?,
            }
            let maps = self.fleet.config_maps();
            let (namespace, name) = &maps[time % maps.len()];
            drift::change(self.admin, namespace, name, "static-nodes.json", "changed while nobody led")
                .await?;
            let first = self.first_write(audit, self.users[1 - leader].name, from).await?;
            took.push(first.duration_since(from).as_secs_f64());
            (leads, leader) = (standby, 1 - leader);
        }
        leads.stop().await?;
        Ok(took)
    }

    fn start(&self, replica: usize) -> anyhow::Result<Operator> {
        Operator::start(self.program, self.users[replica], &self.fleet.namespaces(), self.folder)
    }

    async fn first_write(&self, audit: &mut Audit, user: &str, from: Timestamp) -> anyhow::Result<Timestamp> {
        let looked = async {
            loop {
                let entries = audit.since(user, from)?;
                let first = entries.iter().filter(|entry| entry.is_work()).map(|entry| entry.received).min();
                if let Some(first) = first {
                    return anyhow::Ok(first);
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(90), looked).await.context("nobody took over in 90 s")?
    }
}
