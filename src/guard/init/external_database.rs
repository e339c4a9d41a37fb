//! `quorum-guard init external-database`: waits for a database that exists, and refuses another than the expected one.

use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{info, warn};

use super::{report, wait::Pace};
use crate::database::{Report, SystemIdentifier, Verdict};
use crate::guard::fault::{Fault, Kind};
use crate::guard::names::Names;
use crate::guard::probe::{database::Database, flags::Flags};

/// Waits until an external database lets its user in, and tells the operator which one it is. Fails where another
/// one is expected, so that nothing is written into it.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The database to wait for
    #[command(flatten)]
    pub database: Flags,

    /// How long to wait for the database
    #[arg(long, value_name = "SECONDS", default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub wait_timeout_seconds: u64,

    /// Where it tells what it found
    #[command(flatten)]
    pub report: report::To,
}

/// Waits, and judges what answers.
pub async fn run(args: &Args) -> Result<()> {
    let database = args.database.database().context("--database: name the database to look at")?;
    let pace = Pace::within(Duration::from_secs(args.wait_timeout_seconds));
    let (expected, found) = identify(&database, &Names::default(), pace).await?;
    let verdict = match (expected, found) {
        (Some(expected), Some(found)) if expected != found => Verdict::Replaced,
        (_, Some(_)) => Verdict::InUse,
        (_, None) => {
            warn!(
                "the database does not tell its system identifier, so nobody can see when another one takes its \
                 place; GRANT EXECUTE ON FUNCTION pg_control_system() TO its user"
            );
            return Ok(());
        }
    };
    report::write(&args.report.termination_log, &Report::new(verdict, found))?;
    match (expected, found) {
        (Some(expected), Some(found)) if verdict == Verdict::Replaced => Err(anyhow!(
            "--database {}: its system identifier is {found}, and {expected} is expected: name the database of \
             {expected}, or have the operator accept its loss, as the node's condition Stalled says",
            database.at,
        )),
        _ => Ok(()),
    }
}

/// Which database is expected, and which answers; `None` where it does not tell and none is expected.
async fn identify(
    database: &Database,
    names: &Names,
    pace: Pace,
) -> Result<(Option<SystemIdentifier>, Option<SystemIdentifier>)> {
    let end = Instant::now() + pace.timeout;
    let mut next_line = Instant::now() + pace.line;
    info!(database = %database.at, seconds = pace.timeout.as_secs(), "waiting for the database");
    loop {
        let started = Instant::now();
        let why = match timeout(pace.attempt, attempt(database, names)).await {
            Ok(Ok(known)) => return Ok(known),
            Ok(Err(fault)) => fault,
            Err(_) => Fault::new(Kind::TimedOut, format!("no answer in {} s", pace.attempt.as_secs())),
        };
        let now = Instant::now();
        if now + pace.every >= end {
            bail!(
                "{} did not let {} in within {} s; last: {why}. See that it runs, that this pod may reach it, and \
                 that it admits the user",
                database.at,
                database.user,
                pace.timeout.as_secs(),
            );
        }
        if now >= next_line {
            next_line = now + pace.line;
            info!(database = %database.at, missing = %why, "still waiting for the database");
        }
        sleep_until(started + pace.every).await;
    }
}

/// A user who may not ask is no obstacle where no database is expected.
async fn attempt(
    database: &Database,
    names: &Names,
) -> Result<(Option<SystemIdentifier>, Option<SystemIdentifier>), Fault> {
    let expected = database.expected()?;
    match database.identifier(names).await {
        Ok(found) => Ok((expected, Some(found))),
        Err(fault) if expected.is_none() && matches!(fault.kind, Kind::Authentication | Kind::Closed) => {
            database.check(names).await?;
            Ok((None, None))
        }
        Err(fault) => Err(fault),
    }
}

#[cfg(test)]
#[path = "external_database_tests.rs"]
mod tests;
