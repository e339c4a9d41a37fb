//! `quorum-guard init database`: a PostgreSQL data directory with one role and one database, or none at all.

use std::ffi::OsString;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWriteExt, BufReader};
use tokio::process::Command;
use tracing::info;

use super::only::Only;

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

/// Does what is missing.
pub async fn run(args: &Args, programs: &Programs) -> Result<()> {
    args.only.check()?;
    let pgdata = args.pgdata.as_path();
    if made(pgdata)? {
        return Ok(());
    }
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

/// Whether the directory is there already. The rename comes last, so what is there is whole.
fn made(pgdata: &Path) -> Result<bool> {
    match fs::read_to_string(pgdata.join("PG_VERSION")) {
        Ok(version) => {
            info!(dir = %pgdata.display(), version = version.trim(), "the database is there already");
            Ok(true)
        }
        Err(error) if error.kind() == ErrorKind::NotFound => match fs::read_dir(pgdata) {
            // An empty directory is what a rename may replace.
            Ok(entries) => match entries.count() {
                0 => Ok(false),
                _ => bail!(
                    "--pgdata {}: it holds files and no PG_VERSION, so it is no data directory; name another, or \
                     move what is there away",
                    pgdata.display(),
                ),
            },
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error).with_context(|| format!("--pgdata {}", pgdata.display())),
        },
        Err(error) => Err(error).with_context(|| {
            let file = pgdata.join("PG_VERSION");
            format!("--pgdata: {} cannot be read; the claim must belong to this user", file.display())
        }),
    }
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
