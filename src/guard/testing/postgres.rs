//! A real PostgreSQL. Its programs refuse root, so under root they run as the user `postgres`.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where the programs are, and how to run them.
pub(crate) struct Postgres {
    bin: PathBuf,
    scripts: tempfile::TempDir,
    root: bool,
}

impl Postgres {
    pub(crate) fn find() -> Postgres {
        let debian = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
        let path = std::env::var_os("PATH").unwrap_or_default();
        let bin = debian
            .map(|version| version.path().join("bin"))
            .chain(std::env::split_paths(&path))
            .find(|dir| dir.join("initdb").exists() && dir.join("postgres").exists())
            .expect("install postgresql for this test, or leave it out with `-- --skip real_postgres`");
        let scripts = tempfile::tempdir().unwrap();
        let root = fs::metadata("/proc/self").unwrap().uid() == 0;
        Postgres { bin, scripts, root }
    }

    /// Where scripts for this database may be put.
    pub(crate) fn scripts(&self) -> &Path {
        self.scripts.path()
    }

    /// A directory that the database's user owns.
    pub(crate) fn dir(&self) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).unwrap();
        self.own(dir.path());
        dir
    }

    pub(crate) fn own(&self, path: &Path) {
        if self.root {
            assert!(Command::new("chown").args(["-R", "postgres:"]).arg(path).status().unwrap().success());
        }
    }

    fn words(&self, program: &str) -> Vec<String> {
        let program = self.bin.join(program).to_str().unwrap().to_owned();
        let user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"].map(str::to_owned);
        if self.root { user.into_iter().chain([program]).collect() } else { vec![program] }
    }

    /// A line of shell that becomes this program.
    pub(crate) fn exec(&self, program: &str) -> String {
        format!("exec {} \"$@\"", self.words(program).join(" "))
    }

    pub(crate) fn command(&self, program: &str) -> Command {
        let words = self.words(program);
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).env("LC_ALL", "C").current_dir("/");
        command
    }

    /// What single-user mode prints for these lines.
    pub(crate) fn single(&self, pgdata: &Path, lines: &str) -> String {
        let mut child = self
            .command("postgres")
            .args(["--single", "-D"])
            .arg(pgdata)
            .arg("postgres")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
        String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()
    }
}
