//! The `quorum-operator` command.

use std::io::Write as _;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use quorum_operator::{api, control, core_dumps, logs, settings::Settings};

/// Runs GoQuorum nodes on Kubernetes and keeps their security checklist satisfied.
#[derive(Parser)]
#[command(version, arg_required_else_help = true)]
struct Command {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Run the controller, inside a cluster or with the current kubeconfig.
    Run(Box<Settings>),
    /// Print the custom resource definitions as YAML, for `kubectl apply --server-side -f -`.
    Crds,
}

/// Blocking threads, which generate RSA keys. Each thread retains some memory.
const SLOW: usize = 2;

fn main() -> anyhow::Result<()> {
    core_dumps::refuse()?;
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime.enable_all().max_blocking_threads(SLOW).build()?.block_on(run())
}

async fn run() -> anyhow::Result<()> {
    match Command::parse().verb {
        Verb::Run(settings) => {
            let lines = logs::lines(&settings.log, std::io::stderr)?;
            tracing::subscriber::set_global_default(lines).context("the log")?;
            control::run(*settings).await
        }
        Verb::Crds => print_definitions(),
    }
}

fn print_definitions() -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    for definition in api::definitions() {
        writeln!(out, "---\n{}", api::yaml(&definition)?.trim_end())?;
    }
    Ok(())
}
