//! `quorum-guard init copy`: copies this executable to where another image can run it.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use tracing::info;

use super::single_pod::Only;

/// Copies this executable, so that a container of another image can run it from a shared volume.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// File to create, mode 0555. Its directory must exist
    #[arg(long, value_name = "FILE")]
    pub to: PathBuf,

    /// A passwd file. The copy in --accounts-to gives its account `postgres` the user and group of this process
    #[arg(long, value_name = "FILE", requires = "accounts_to")]
    pub accounts: Option<PathBuf>,

    /// File for the changed passwd file, mode 0444
    #[arg(long, value_name = "FILE", requires = "accounts")]
    pub accounts_to: Option<PathBuf>,

    /// The only pod that may start
    #[command(flatten)]
    pub only: Only,
}

/// Copies the running executable and, if asked, the passwd file.
pub fn run(args: &Args) -> Result<()> {
    args.only.check()?;
    if let (Some(from), Some(to)) = (&args.accounts, &args.accounts_to) {
        accounts(from, to)?;
    }
    copy(Path::new("/proc/self/exe"), &args.to)
}

/// Writes an account for the user that PostgreSQL runs as. PostgreSQL requires one, and the operator does not know the
/// user if the platform assigns it.
fn accounts(from: &Path, to: &Path) -> Result<()> {
    let passwd = fs::read_to_string(from).with_context(|| format!("--accounts {}", from.display()))?;
    let place = || format!("--accounts-to {}", to.display());
    let (user, group) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    // a file from an earlier run is read-only
    let mut new = to.as_os_str().to_owned();
    new.push(".new");
    let _ = fs::remove_file(&new);
    fs::write(&new, renumbered(&passwd, (user, group))).with_context(place)?;
    fs::set_permissions(&new, Permissions::from_mode(0o444)).with_context(place)?;
    fs::rename(&new, to).with_context(place)?;
    info!(to = %to.display(), user, group, "wrote the account of this user");
    Ok(())
}

/// Returns the passwd file with this user and group for `postgres`; other lines stay as they are.
fn renumbered(passwd: &str, (user, group): (u32, u32)) -> String {
    let line = |line: &str| match line.splitn(5, ':').collect::<Vec<_>>().as_slice() {
        ["postgres", password, _, _, rest] => format!("postgres:{password}:{user}:{group}:{rest}\n"),
        _ => format!("{line}\n"),
    };
    passwd.lines().map(line).collect()
}

/// Copies to a temporary name and renames, so that `to` never holds a partial executable.
fn copy(from: &Path, to: &Path) -> Result<()> {
    let place = || format!("--to {}", to.display());
    if to.is_dir() {
        bail!("--to {}: that is a directory; name the file to create in it", to.display());
    }
    if !super::parent(to).is_dir() {
        bail!("--to {}: its directory does not exist; mount a volume at it", to.display());
    }
    let mut new = to.as_os_str().to_owned();
    new.push(".new");
    let _ = fs::remove_file(&new);
    let mut source = File::open(from).with_context(|| from.display().to_string())?;
    let mut target =
        OpenOptions::new().write(true).create_new(true).mode(0o500).open(&new).with_context(place)?;
    let bytes = io::copy(&mut source, &mut target).with_context(place)?;
    target.set_permissions(Permissions::from_mode(0o555)).with_context(place)?;
    target.sync_all().with_context(place)?;
    // an executable that is open for writing cannot run
    drop(target);
    fs::rename(&new, to).with_context(place)?;
    info!(to = %to.display(), bytes, "copied this executable");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(to: PathBuf) -> Args {
        Args { to, accounts: None, accounts_to: None, only: Only::default() }
    }

    #[test]
    fn postgresql_gets_an_account_of_the_user_that_runs_and_keeps_what_its_comment_says() {
        let passwd =
            "root:x:0:0::/:/bin/false\npostgres:x:65532:65532:system-identifier=77:/data:/bin/false\n";
        assert_eq!(
            renumbered(passwd, (1_000_650_000, 0)),
            "root:x:0:0::/:/bin/false\npostgres:x:1000650000:0:system-identifier=77:/data:/bin/false\n"
        );
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("from"), passwd).unwrap();
        for _ in 0..2 {
            let told =
                Args { accounts: Some(at("from")), accounts_to: Some(at("passwd")), ..args(at("guard")) };
            run(&told).unwrap();
            let own = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
            assert_eq!(fs::read_to_string(at("passwd")).unwrap(), renumbered(passwd, own));
            assert_eq!(fs::metadata(at("passwd")).unwrap().permissions().mode() & 0o7777, 0o444);
        }
        let nowhere = Args { accounts: Some(at("none")), accounts_to: Some(at("x")), ..args(at("guard")) };
        assert!(run(&nowhere).unwrap_err().to_string().contains("--accounts "));
    }

    #[test]
    fn the_copy_is_the_same_executable_and_a_repeat_replaces_it() {
        let dir = tempfile::tempdir().unwrap();
        let to = dir.path().join("quorum-guard");
        for _ in 0..2 {
            run(&args(to.clone())).unwrap();
            assert_eq!(fs::metadata(&to).unwrap().permissions().mode() & 0o7777, 0o555);
            assert!(fs::read(&to).unwrap() == fs::read("/proc/self/exe").unwrap(), "the bytes differ");
            assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        }
    }

    #[test]
    fn a_directory_is_refused_with_the_way_out() {
        let dir = tempfile::tempdir().unwrap();
        let error = run(&args(dir.path().to_owned())).unwrap_err().to_string();
        assert!(error.contains("--to") && error.contains("name the file"), "{error}");
        let error = run(&args("/nowhere/quorum-guard".into())).unwrap_err().to_string();
        assert!(error.contains("mount a volume"), "{error}");
    }
}
