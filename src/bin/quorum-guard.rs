//! The `quorum-guard` command.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use quorum_operator::{
    core_dumps,
    guard::{init, logs, metrics, probe, rpc, shutdown},
};
use tracing::level_filters::LevelFilter;

/// Runs next to a GoQuorum client and its transaction manager: prepares their directories, authorizes callers of
/// JSON-RPC, exposes metrics over TLS, and answers the kubelet's probes.
#[derive(Parser)]
#[command(version)]
struct Cli {
    /// error, warn, info, debug, trace or off; the log is JSON lines on stderr
    #[arg(long, global = true, value_name = "LEVEL", default_value_t = LevelFilter::INFO)]
    log_level: LevelFilter,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Prepare a pod before its main process starts
    #[command(subcommand)]
    Init(Init),
    Metrics(Box<metrics::Args>),
    Probe(Box<probe::Args>),
    Rpc(Box<rpc::Args>),
}

#[derive(Subcommand)]
enum Init {
    Client(Box<init::client::Args>),
    Copy(init::copy::Args),
    Database(init::database::Args),
    ExternalDatabase(Box<init::external_database::Args>),
    Pod(init::single_pod::Args),
}

#[tokio::main]
async fn main() -> ExitCode {
    let undumped = core_dumps::refuse();
    let cli = Cli::parse();
    logs::start(cli.log_level);
    let outcome = match undumped {
        Ok(()) => run(cli.command).await,
        Err(error) => Err(error),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Init(command) => {
            let asked = shutdown::asked()?;
            tokio::select! {
                result = prepare(command) => result,
                () = asked => Err(anyhow::anyhow!("stopped by a signal before it finished; run it again")),
            }
        }
        Command::Metrics(args) => metrics::run(*args).await,
        Command::Probe(args) => probe::run(*args).await,
        Command::Rpc(args) => rpc::run(*args).await,
    }
}

async fn prepare(command: Init) -> anyhow::Result<()> {
    match command {
        Init::Client(args) => init::client::run(*args).await,
        Init::Copy(args) => init::copy::run(&args),
        Init::Pod(args) => init::single_pod::run(&args),
        Init::Database(args) => init::database::run(&args, &init::database::Programs::default()).await,
        Init::ExternalDatabase(args) => init::external_database::run(&args).await,
    }
}
