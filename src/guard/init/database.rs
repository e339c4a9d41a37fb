//! `quorum-guard init database`: creates a PostgreSQL data directory with one role and one database, completely or not
//! at all.

use std::ffi::OsString;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, anyhow, bail};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWriteExt, BufReader};
use tokio::process::Command;
use tracing::info;

use super::{database_directory as directory, single_pod::Only, termination_message};
use crate::protocol::database::{Report, SystemIdentifier, Verdict, expected_in_accounts};

/// Creates PostgreSQL's data directory inside its own image, with one role that may log in and one database that it
/// owns. An existing data directory stays as it is. After a crash there is either no data directory or a complete
/// one.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The data directory. It must be a subdirectory of the claim: it is created next to its place and renamed
    #[arg(long, value_name = "DIR")]
    pub pgdata: PathBuf,

    /// Role to create: a-z, 0-9 and '_', at most 63 characters
    #[arg(long, value_name = "NAME", value_parser = name)]
    pub role: String,

    /// Database to create, owned by the role: a-z, 0-9 and '_', at most 63 characters
    #[arg(long, value_name = "NAME", value_parser = name)]
    pub database: String,

    /// The passwd file of this container. A comment `system-identifier=N` in it names the only database that may be
    /// here
    #[arg(long, value_name = "FILE", default_value = "/etc/passwd")]
    pub accounts: PathBuf,

    /// Where the report goes
    #[command(flatten)]
    pub report: termination_message::To,

    /// The only pod that may start
    #[command(flatten)]
    pub only: Only,
}

/// Parses a name that needs no quoting and that PostgreSQL does not reserve.
fn name(text: &str) -> Result<String, String> {
    let wanted = "write ^[a-z_][a-z0-9_]{0,62}$, for example tessera";
    let starts = text.starts_with(|first: char| first.is_ascii_lowercase() || first == '_');
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    if !starts || text.len() > 63 || !text.bytes().all(plain) {
        return Err(format!("not a plain name; {wanted}"));
    }
    let kept = ["postgres", "template0", "template1", "public", "none"];
    if kept.contains(&text) || text.starts_with("pg_") {
        return Err(format!("PostgreSQL reserves that name; {wanted}"));
    }
    Ok(text.to_owned())
}

/// The PostgreSQL programs to run.
pub struct Programs {
    initdb: OsString,
    postgres: OsString,
}

impl Default for Programs {
    fn default() -> Programs {
        Programs { initdb: "initdb".into(), postgres: "postgres".into() }
    }
}

/// Creates the database if the directory is empty, and reports the database to the operator. Changes nothing in a
/// directory with another database than expected, or one that the image cannot read.
pub async fn run(args: &Args, programs: &Programs) -> Result<()> {
    args.only.check()?;
    let pgdata = args.pgdata.as_path();
    let expected = expected(&args.accounts)?;
    let (report, judged) = match (directory::major(pgdata)?, expected) {
        (Some(major), _) => check(pgdata, major, expected, programs).await?,
        (None, Some(expected)) => {
            let why = anyhow!(
                "--pgdata {}: it is empty, but the database with system identifier {expected} is expected: restore \
                 its volume, or have the operator accept its loss, as the node's condition Stalled says",
                pgdata.display(),
            );
            (Report::new(Verdict::Replaced, None), Err(why))
        }
        (None, None) => {
            make(args, programs).await?;
            let major_version = directory::major(pgdata)?;
            let made = Report::new(Verdict::InUse, Some(directory::identifier(pgdata)?));
            (Report { major_version, image_major_version: major_version, ..made }, Ok(()))
        }
    };
    termination_message::write(&args.report.termination_log, &report)?;
    judged
}

/// Creates the data directory under another name and renames it when it is complete.
async fn make(args: &Args, programs: &Programs) -> Result<()> {
    let pgdata = args.pgdata.as_path();
    let new = beside(pgdata)?;
    match fs::symlink_metadata(&new) {
        Ok(found) => {
            info!(dir = %new.display(), "removing the directory of an interrupted run");
            let removed = if found.is_dir() { fs::remove_dir_all(&new) } else { fs::remove_file(&new) };
            removed.with_context(|| new.display().to_string())?;
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error).with_context(|| new.display().to_string()),
    }
    info!(dir = %new.display(), "creating a data directory");
    initdb(&new, programs).await?;
    info!(role = args.role, database = args.database, "creating role and database");
    fill(&new, args, programs).await?;
    super::sync_dir(&new)?;
    fs::rename(&new, pgdata).with_context(|| format!("--pgdata {}", pgdata.display()))?;
    super::sync_dir(super::parent(pgdata))?;
    info!(dir = %pgdata.display(), "the database is ready");
    Ok(())
}

/// Returns the system identifier that the operator expects here; `None` if it accepts any.
fn expected(accounts: &Path) -> Result<Option<SystemIdentifier>> {
    let place = || format!("--accounts {}", accounts.display());
    let text = match fs::read_to_string(accounts) {
        Ok(text) => text,
        // initdb reports a user without an account
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(place),
    };
    expected_in_accounts(&text).map_err(|why| anyhow!(why)).with_context(place)
}

/// Checks an existing data directory.
async fn check(
    pgdata: &Path,
    major: u32,
    expected: Option<SystemIdentifier>,
    programs: &Programs,
) -> Result<(Report, Result<()>)> {
    let found = directory::identifier(pgdata)?;
    let image = image_major(programs).await?;
    let report = |verdict| Report {
        major_version: Some(major),
        image_major_version: Some(image),
        ..Report::new(verdict, Some(found))
    };
    if let Some(expected) = expected.filter(|expected| *expected != found) {
        let why = anyhow!(
            "--pgdata {}: it holds the database with system identifier {found}, and {expected} is expected: restore \
             the volume of {expected}, or have the operator accept its loss, as the node's condition Stalled says",
            pgdata.display(),
        );
        return Ok((report(Verdict::Replaced), Err(why)));
    }
    if major != image {
        let why = anyhow!(
            "--pgdata {}: PostgreSQL {major} made it, and this image's PostgreSQL {image} cannot read it: use an \
             image of {major}; to change the major version, dump the database and restore it into a new one",
            pgdata.display(),
        );
        return Ok((report(Verdict::OtherMajor), Err(why)));
    }
    info!(dir = %pgdata.display(), version = major, "the database exists");
    Ok((report(Verdict::InUse), Ok(())))
}

async fn image_major(programs: &Programs) -> Result<u32> {
    let output = command(&programs.postgres).arg("--version").stdin(Stdio::null()).output().await;
    let output = output.with_context(|| not_started(&programs.postgres))?;
    let printed = String::from_utf8_lossy(&output.stdout);
    directory::major_of_program(&printed).with_context(|| {
        format!("{} --version does not print a version of PostgreSQL", programs.postgres.display())
    })
}

/// Returns `<pgdata>.new`, which is in the same file system.
fn beside(pgdata: &Path) -> Result<PathBuf> {
    let Some(name) = pgdata.file_name() else {
        bail!("--pgdata {}: name a subdirectory of the claim, for example /data/pgdata", pgdata.display());
    };
    if !super::parent(pgdata).is_dir() {
        bail!("--pgdata {}: its parent does not exist; mount the claim at it", pgdata.display());
    }
    let mut name = name.to_owned();
    name.push(".new");
    Ok(pgdata.with_file_name(name))
}

/// Builds a child process that is killed with this one and prints English, because its errors are parsed.
fn command(program: &OsString) -> Command {
    let mut command = Command::new(program);
    command.kill_on_drop(true).env("LC_ALL", "C").env_remove("LANGUAGE").env_remove("PGDATA");
    command
}

fn not_started(program: &OsString) -> String {
    format!("{} could not be started; it must be on PATH, as in PostgreSQL's image", program.display())
}

async fn initdb(new: &Path, programs: &Programs) -> Result<()> {
    let status = command(&programs.initdb)
        .arg("-D")
        .arg(new)
        .args(["-U", "postgres", "-E", "UTF8", "--no-locale", "--auth-local=reject", "--auth-host=reject"])
        .stdin(Stdio::null())
        .status()
        .await
        .with_context(|| not_started(&programs.initdb))?;
    if !status.success() {
        bail!("initdb failed ({status}); see its output above");
    }
    Ok(())
}

/// Returns one statement per line, as single-user mode requires. The names contain nothing that needs escaping.
fn statements(role: &str, database: &str) -> String {
    [
        format!("CREATE ROLE \"{role}\" LOGIN"),
        format!("CREATE DATABASE \"{database}\" OWNER \"{role}\""),
        "REVOKE CONNECT ON DATABASE postgres FROM PUBLIC".to_owned(),
        "REVOKE CONNECT ON DATABASE template1 FROM PUBLIC".to_owned(),
        format!("REVOKE CONNECT ON DATABASE \"{database}\" FROM PUBLIC"),
        format!("SELECT pg_get_userbyid(datdba) AS owner FROM pg_database WHERE datname = '{database}'"),
    ]
    .map(|statement| statement + "\n")
    .concat()
}

/// Creates role and database in single-user mode. It continues after an error and then exits with 0, so its output is
/// checked for errors, and the last statement must show the owner.
async fn fill(new: &Path, args: &Args, programs: &Programs) -> Result<()> {
    let mut child = command(&programs.postgres)
        .args(["--single", "-D"])
        .arg(new)
        .arg("postgres")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| not_started(&programs.postgres))?;
    let (Some(mut stdin), Some(stdout), Some(stderr)) =
        (child.stdin.take(), child.stdout.take(), child.stderr.take())
    else {
        bail!("postgres has no standard streams");
    };
    let feed = async {
        let fed = stdin.write_all(statements(&args.role, &args.database).as_bytes()).await;
        drop(stdin);
        fed
    };
    let owner = format!("owner = \"{}\"", args.role);
    let (fed, owned, errors) =
        tokio::join!(feed, passed_on(stdout, |line| line.contains(&owner)), passed_on(stderr, is_error));
    let status = child.wait().await.context("postgres --single")?;
    if errors? {
        bail!("postgres --single reported an error; see its output above");
    }
    if !status.success() {
        bail!("postgres --single failed ({status}); see its output above");
    }
    fed.context("postgres --single did not read its statements")?;
    if !owned? {
        bail!("postgres --single did not say that {} owns {}", args.role, args.database);
    }
    Ok(())
}

fn is_error(line: &str) -> bool {
    ["ERROR:", "FATAL:", "PANIC:"].iter().any(|word| line.contains(word))
}

/// Copies a child's lines to stderr. Returns whether `wanted` holds for one of them.
async fn passed_on(stream: impl AsyncRead + Unpin, wanted: impl Fn(&str) -> bool) -> Result<bool> {
    let mut lines = BufReader::new(stream).split(b'\n');
    let mut found = false;
    while let Some(line) = lines.next_segment().await? {
        let line = String::from_utf8_lossy(&line);
        found |= wanted(&line);
        eprintln!("{line}");
    }
    Ok(found)
}

#[cfg(test)]
#[path = "database_tests.rs"]
mod tests;
