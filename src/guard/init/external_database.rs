//! `quorum-guard init external-database`: waits for an existing database and rejects any other than the expected one.

use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{info, warn};

use super::{termination_message, wait::Pace};
use crate::{
    guard::{
        dial::Dns,
        fault::{Fault, Kind},
        probe::{database::Database, flags::Flags},
    },
    protocol::database::{Report, SystemIdentifier, Verdict},
};

/// Waits until an external database admits its user, and reports to the operator which database it is. Fails if
/// another one is expected, so that nothing is written into it.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The database to wait for
    #[command(flatten)]
    pub database: Flags,

    /// Seconds to wait for the database before this command fails
    #[arg(long, value_name = "SECONDS", default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub wait_timeout_seconds: u64,

    /// Where the report goes
    #[command(flatten)]
    pub report: termination_message::To,
}

/// Waits for the database, reports its identifier and checks it.
pub async fn run(args: &Args) -> Result<()> {
    let database = args.database.database().context("--database: name the database to look at")?;
    let pace = Pace::within(Duration::from_secs(args.wait_timeout_seconds));
    let (expected, found) = identify(&database, &Dns::default(), pace).await?;
    let verdict = match (expected, found) {
        (Some(expected), Some(found)) if expected != found => Verdict::Replaced,
        (_, Some(_)) => Verdict::InUse,
        (_, None) => {
            warn!(
                "the database does not return its system identifier, so the operator cannot detect that another one \
                 takes its place; GRANT EXECUTE ON FUNCTION pg_control_system() TO its user"
            );
            return Ok(());
        }
    };
    termination_message::write(&args.report.termination_log, &Report::new(verdict, found))?;
    match (expected, found) {
        (Some(expected), Some(found)) if verdict == Verdict::Replaced => Err(anyhow!(
            "--database {}: its system identifier is {found}, and {expected} is expected: name the database of \
             {expected}, or have the operator accept its loss, as the node's condition Stalled says",
            database.at,
        )),
        _ => Ok(()),
    }
}

/// Returns the expected and the found identifier. The found one is `None` if the database does not return it and none
/// is expected.
async fn identify(
    database: &Database,
    dns: &Dns,
    pace: Pace,
) -> Result<(Option<SystemIdentifier>, Option<SystemIdentifier>)> {
    let end = Instant::now() + pace.timeout;
    let mut next_line = Instant::now() + pace.line;
    info!(database = %database.at, seconds = pace.timeout.as_secs(), "waiting for the database");
    loop {
        let started = Instant::now();
        let why = match timeout(pace.attempt, attempt(database, dns)).await {
            Ok(Ok(known)) => return Ok(known),
            Ok(Err(fault)) => fault,
            Err(_) => Fault::new(Kind::TimedOut, format!("no answer in {} s", pace.attempt.as_secs())),
        };
        let now = Instant::now();
        if now + pace.every >= end {
            bail!(
                "{} did not accept a login of {} within {} s; last: {why}. Check that it runs, that this pod may \
                 reach it, and that it admits the user",
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

/// Makes one attempt. Ignores that the user may not read the identifier if none is expected.
async fn attempt(
    database: &Database,
    dns: &Dns,
) -> Result<(Option<SystemIdentifier>, Option<SystemIdentifier>), Fault> {
    let expected = database.expected()?;
    match database.identifier(dns).await {
        Ok(found) => Ok((expected, Some(found))),
        Err(fault) if expected.is_none() && matches!(fault.kind, Kind::Authentication | Kind::Closed) => {
            database.check(dns).await?;
            Ok((None, None))
        }
        Err(fault) => Err(fault),
    }
}

#[cfg(test)]
#[path = "external_database_tests.rs"]
mod tests;
