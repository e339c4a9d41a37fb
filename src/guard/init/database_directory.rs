//! Reads versions and the system identifier of a PostgreSQL data directory and program.

use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::protocol::database::SystemIdentifier;

/// Returns the major version that created the directory, or `None` if there is none yet. `init database` creates a
/// directory by a rename, so an existing one is complete.
pub(super) fn major(pgdata: &Path) -> Result<Option<u32>> {
    let file = pgdata.join("PG_VERSION");
    match fs::read_to_string(&file) {
        Ok(version) => {
            let major = version.trim().parse();
            let wanted = || {
                format!(
                    "--pgdata: {} does not hold a major version, such as 15; restore the volume",
                    file.display()
                )
            };
            major.map(Some).with_context(wanted)
        }
        Err(error) if error.kind() == ErrorKind::NotFound => match fs::read_dir(pgdata) {
            // A rename may replace an empty directory.
            Ok(entries) => match entries.count() {
                0 => Ok(None),
                _ => bail!(
                    "--pgdata {}: it holds files and no PG_VERSION, so it is no data directory; name another, or \
                     move the files away",
                    pgdata.display(),
                ),
            },
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("--pgdata {}", pgdata.display())),
        },
        Err(error) => Err(error).with_context(|| {
            format!("--pgdata: {} cannot be read; the claim must belong to this user", file.display())
        }),
    }
}

/// Returns the system identifier: the first field of `global/pg_control`, in this machine's byte order.
pub(super) fn identifier(pgdata: &Path) -> Result<SystemIdentifier> {
    let file = pgdata.join("global/pg_control");
    let mut bytes = [0; 8];
    File::open(&file)
        .and_then(|mut open| open.read_exact(&mut bytes))
        .with_context(|| format!("--pgdata: {} cannot be read; restore the volume", file.display()))?;
    match u64::from_ne_bytes(bytes) {
        0 => bail!("--pgdata: {} holds no system identifier; restore the volume", file.display()),
        identifier => Ok(SystemIdentifier(identifier)),
    }
}

/// Parses the major version in the output of `postgres --version`, such as `postgres (PostgreSQL) 15.18 (Debian ...)`.
pub(super) fn major_of_program(printed: &str) -> Option<u32> {
    let version = printed.split_once("(PostgreSQL)")?.1.trim_start();
    version.split(|letter: char| !letter.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_major_version_of_the_program_is_what_it_prints() {
        for (printed, major) in [
            ("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n", Some(15)),
            ("postgres (PostgreSQL) 17rc1\n", Some(17)),
            ("postgres (PostgreSQL) devel", None),
            ("", None),
        ] {
            assert_eq!(major_of_program(printed), major, "{printed}");
        }
    }

    #[test]
    fn a_damaged_directory_is_named() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("global")).unwrap();
        fs::write(dir.path().join("PG_VERSION"), "fifteen\n").unwrap();
        assert!(format!("{:#}", major(dir.path()).unwrap_err()).contains("PG_VERSION does not hold"));
        for content in [&b"1234567"[..], &[0; 16]] {
            fs::write(dir.path().join("global/pg_control"), content).unwrap();
            let error = format!("{:#}", identifier(dir.path()).unwrap_err());
            assert!(error.contains("global/pg_control") && error.contains("restore the volume"), "{error}");
        }
    }
}
