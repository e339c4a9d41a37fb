//! `quorum-guard init database`: a PostgreSQL data directory with one role and one database, or none at all.

use std::ffi::OsString;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, anyhow, bail};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWriteExt, BufReader};
use tokio::process::Command;
use tracing::info;

use super::{database_directory as directory, only::Only, report};
use crate::database::{Report, SystemIdentifier, Verdict, expected_in_accounts};

/// Makes PostgreSQL's data directory inside its own image, with one role that may log in and one database that
/// it owns. What is there already is left as it is; a crash leaves either nothing or all of it.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The data directory: a subdirectory of the claim, so that it can be made beside its place and renamed
    #[arg(long, value_name = "DIR")]
    pub pgdata: PathBuf,

    /// The role to create: a-z, 0-9 and '_', at most 63 characters
    #[arg(long, value_name = "NAME", value_parser = name)]
    pub role: String,

    /// The database to create, owned by the role: a-z, 0-9 and '_', at most 63 characters
    #[arg(long, value_name = "NAME", value_parser = name)]
    pub database: String,

    /// The accounts of this container; a comment `system-identifier=N` names the one database that may be here
    #[arg(long, value_name = "FILE", default_value = "/etc/passwd")]
    pub accounts: PathBuf,

    /// Where it tells what it found
    #[command(flatten)]
    pub report: report::To,

    /// The one pod that may start
    #[command(flatten)]
    pub only: Only,
}

/// A name that needs no quoting, and that PostgreSQL does not keep for itself.
fn name(text: &str) -> Result<String, String> {
    let wanted = "write ^[a-z_][a-z0-9_]{0,62}$, for example tessera";
    let starts = text.starts_with(|first: char| first.is_ascii_lowercase() || first == '_');
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    if !starts || text.len() > 63 || !text.bytes().all(plain) {
        return Err(format!("not a plain name; {wanted}"));
    }
    let kept = ["postgres", "template0", "template1", "public", "none"];
    if kept.contains(&text) || text.starts_with("pg_") {
        return Err(format!("PostgreSQL keeps that name for itself; {wanted}"));
    }
    Ok(text.to_owned())
}

/// The programs of PostgreSQL.
pub struct Programs {
    initdb: OsString,
    postgres: OsString,
}

impl Default for Programs {
    fn default() -> Programs {
        Programs { initdb: "initdb".into(), postgres: "postgres".into() }
    }
}

/// Does what is missing, and tells the operator which database is there then. Where another one is expected, or
/// the image cannot read it, what was found is left as it is.
pub async fn run(args: &Args, programs: &Programs) -> Result<()> {
    args.only.check()?;
    let pgdata = args.pgdata.as_path();
    let expected = expected(&args.accounts)?;
    let (report, judged) = match (directory::major(pgdata)?, expected) {
        (Some(major), _) => judge(pgdata, major, expected, programs).await?,
        (None, Some(expected)) => {
            let why = anyhow!(
                "--pgdata {}: it is empty, and the database with system identifier {expected} is expected: restore \
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
    report::write(&args.report.termination_log, &report)?;
    judged
}

/// All or nothing.
async fn make(args: &Args, programs: &Programs) -> Result<()> {
    let pgdata = args.pgdata.as_path();
    let new = beside(pgdata)?;
    match fs::symlink_metadata(&new) {
        Ok(found) => {
            info!(dir = %new.display(), "removing what an interrupted run left");
            let removed = if found.is_dir() { fs::remove_dir_all(&new) } else { fs::remove_file(&new) };
            removed.with_context(|| new.display().to_string())?;
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error).with_context(|| new.display().to_string()),
    }
    info!(dir = %new.display(), "making a data directory");
    initdb(&new, programs).await?;
    info!(role = args.role, database = args.database, "creating role and database");
    fill(&new, args, programs).await?;
    super::sync_dir(&new)?;
    fs::rename(&new, pgdata).with_context(|| format!("--pgdata {}", pgdata.display()))?;
    super::sync_dir(super::parent(pgdata))?;
    info!(dir = %pgdata.display(), "the database is ready");
    Ok(())
}

/// The database that the operator expects here; none where any will do.
fn expected(accounts: &Path) -> Result<Option<SystemIdentifier>> {
    let place = || format!("--accounts {}", accounts.display());
    let text = match fs::read_to_string(accounts) {
        Ok(text) => text,
        // initdb tells whoever has no account so
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(place),
    };
    expected_in_accounts(&text).map_err(|why| anyhow!(why)).with_context(place)
}

/// Judges a data directory that is there already.
async fn judge(
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
            "--pgdata {}: PostgreSQL {major} made it, and this image holds PostgreSQL {image}, which cannot read it: \
             take an image of {major}; to change the major version, dump the database and restore it into a new one",
            pgdata.display(),
        );
        return Ok((report(Verdict::OtherMajor), Err(why)));
    }
    info!(dir = %pgdata.display(), version = major, "the database is there already");
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

/// `<pgdata>.new`, in the same file system.
fn beside(pgdata: &Path) -> Result<PathBuf> {
    let Some(name) = pgdata.file_name() else {
        bail!("--pgdata {}: name a subdirectory of the claim, for example /data/pgdata", pgdata.display());
    };
    if !super::parent(pgdata).is_dir() {
        bail!("--pgdata {}: its parent is not there; mount the claim at it", pgdata.display());
    }
    let mut name = name.to_owned();
    name.push(".new");
    Ok(pgdata.with_file_name(name))
}

/// A child that ends with us and speaks English, as its errors are read.
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
        bail!("initdb failed ({status}); its own words are above");
    }
    Ok(())
}

/// One statement a line, as single-user mode wants it. The names hold nothing that needs escaping.
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

/// Single-user mode goes on after an error and then ends well, so its words are judged too, and the last
/// statement must show the owner.
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
        bail!("postgres --single reported an error; its own words are above");
    }
    if !status.success() {
        bail!("postgres --single failed ({status}); its own words are above");
    }
    fed.context("postgres --single did not take its statements")?;
    if !owned? {
        bail!("postgres --single did not say that {} owns {}", args.role, args.database);
    }
    Ok(())
}

fn is_error(line: &str) -> bool {
    ["ERROR:", "FATAL:", "PANIC:"].iter().any(|word| line.contains(word))
}

/// Copies a child's lines to stderr; true if one of them was looked for.
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
