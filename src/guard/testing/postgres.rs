//! A real PostgreSQL for tests. Its programs reject root, so under root they run as the user `postgres`.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::Authority;
use crate::{
    guard::{
        flags::HostPort,
        probe::database::{Database, Login},
    },
    protocol::database::SystemIdentifier,
};

/// Paths of the programs, and how to run them.
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

    /// A directory for scripts that the database's user may run.
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

    /// A line of shell script that executes this program.
    pub(crate) fn exec(&self, program: &str) -> String {
        format!("exec {} \"$@\"", self.words(program).join(" "))
    }

    pub(crate) fn command(&self, program: &str) -> Command {
        let words = self.words(program);
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).env("LC_ALL", "C").current_dir("/");
        command
    }

    /// Returns what single-user mode prints for these lines.
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

/// A real server with TLS that requires a certificate or a password.
pub(crate) struct Server {
    child: Child,
    pub(crate) port: u16,
    dir: tempfile::TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    pub(crate) fn start(postgres: &Postgres, authority: &Authority) -> Server {
        let dir = postgres.dir();
        let data = dir.path().join("data");
        let made = postgres
            .command("initdb")
            .args(["-U", "postgres", "-E", "UTF8", "--no-locale", "--no-sync", "-D"])
            .arg(&data)
            .stdout(Stdio::null())
            .status();
        assert!(made.unwrap().success());
        postgres.single(
            &data,
            "CREATE ROLE \"alice_tm\" LOGIN\nCREATE ROLE \"bob_tm\" LOGIN PASSWORD 'pa ss'\n\
             CREATE ROLE \"carol_tm\" LOGIN PASSWORD 'canary/right+password=5e3c9f'\n\
             CREATE ROLE \"dave_tm\" LOGIN PASSWORD 'canary/right+password=5e3c9f'\n\
             CREATE DATABASE \"alice_data\" OWNER \"alice_tm\"\n",
        );
        authority.server("db.ledger.svc").write(dir.path());
        fs::write(dir.path().join("ca.crt"), &authority.cert).unwrap();
        fs::write(
            dir.path().join("hba"),
            "hostssl all alice_tm all cert\nhostssl all bob_tm,carol_tm all scram-sha-256\n\
             hostssl all dave_tm all password\n",
        )
        .unwrap();
        fs::set_permissions(dir.path().join("tls.key"), fs::Permissions::from_mode(0o600)).unwrap();
        postgres.own(dir.path());
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let place = |name: &str| dir.path().join(name).display().to_string();
        let mut command = postgres.command("postgres");
        command.arg("-D").arg(&data).arg("-p").arg(port.to_string());
        for setting in [
            "listen_addresses=127.0.0.1".to_owned(),
            "unix_socket_directories=".to_owned(),
            "fsync=off".to_owned(),
            "ssl=on".to_owned(),
            format!("ssl_cert_file={}", place("tls.crt")),
            format!("ssl_key_file={}", place("tls.key")),
            format!("ssl_ca_file={}", place("ca.crt")),
            format!("hba_file={}", place("hba")),
        ] {
            command.arg("-c").arg(setting);
        }
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        Server { child, port, dir }
    }

    /// Returns the system identifier as `pg_controldata` prints it.
    pub(crate) fn identifier(&self, postgres: &Postgres) -> SystemIdentifier {
        let data = self.dir.path().join("data");
        let output = postgres.command("pg_controldata").arg("-D").arg(data).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("Database system identifier:"));
        line.unwrap().trim().parse().unwrap()
    }

    /// The database `alice_data` as the user `alice_tm`.
    pub(crate) fn database(&self, ca: PathBuf, login: Login) -> Database {
        Database {
            at: HostPort { host: "127.0.0.1".into(), port: self.port },
            name: "alice_data".into(),
            user: "alice_tm".into(),
            ca,
            login,
            expected: None,
        }
    }
}
