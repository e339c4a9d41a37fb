//! The `quorum-guard` command.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use quorum_operator::{
    dumps,
    guard::{init, logs, metrics, probe, rpc, stop},
};
use tracing::level_filters::LevelFilter;

/// Runs beside a GoQuorum client and its transaction manager: prepares their directories, lets named callers
/// call JSON-RPC, exposes metrics over TLS, and answers the kubelet.
#[derive(Parser)]
#[command(version)]
struct Cli {
    /// error, warn, info, debug, trace or off; lines are JSON, on stderr
    #[arg(long, global = true, value_name = "LEVEL", default_value_t = LevelFilter::INFO)]
    log_level: LevelFilter,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Prepare a pod before its main process starts, without a shell
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
    Pod(init::only::Args),
}

#[tokio::main]
async fn main() -> ExitCode {
    let undumped = dumps::refuse();
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
            let asked = stop::asked()?;
            tokio::select! {
                result = prepare(command) => result,
                () = asked => Err(anyhow::anyhow!("asked to end before it was done; run it again")),
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
        Init::Pod(args) => init::only::run(&args),
        Init::Database(args) => init::database::run(&args, &init::database::Programs::default()).await,
        Init::ExternalDatabase(args) => init::external_database::run(&args).await,
    }
}
