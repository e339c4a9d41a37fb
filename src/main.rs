//! The `quorum-operator` command.

use std::io::Write as _;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use quorum_operator::{api, control, settings::Settings};
use tracing_subscriber::EnvFilter;

/// Runs GoQuorum nodes on Kubernetes so that their security checklist holds.
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

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    match Command::parse().verb {
        Verb::Run(settings) => {
            log(&settings.log)?;
            control::run(*settings).await
        }
        Verb::Crds => print_definitions(),
    }
}

/// An answer that does not decode is logged whole by the client library, and may be a Secret: never shown.
fn log(filter: &str) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(filter)
        .with_context(|| format!("--log {filter:?}: write it as info or quorum_operator=debug,info"))?
        .add_directive("kube_client::client=error".parse().context("a fixed filter")?);
    tracing_subscriber::fmt()
        .json()
        .with_current_span(false)
        .with_span_list(false)
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
    Ok(())
}

fn print_definitions() -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    for definition in api::definitions() {
        writeln!(out, "---\n{}", api::yaml(&definition)?.trim_end())?;
    }
    Ok(())
}
