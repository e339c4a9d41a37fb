//! Checks that PostgreSQL completes TLS and authentication, and reads its system identifier, over a connection that
//! [`Dns`] opens.

use std::error::Error as _;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use tokio_postgres::config::SslMode;
use tokio_postgres::error::SqlState;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{Config, Error, SimpleQueryMessage};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::{
    guard::{
        dial::Dns,
        fault::{Fault, Kind},
        flags::HostPort,
        tls,
    },
    protocol::database::{SystemIdentifier, expected_in_file},
};

/// How the user authenticates.
#[derive(Clone, Debug)]
pub enum Login {
    /// A certificate and its key.
    Certificate {
        /// PEM.
        cert: PathBuf,
        /// PEM.
        key: PathBuf,
    },
    /// A password.
    Password {
        /// The file with the password.
        file: PathBuf,
    },
    /// The password in the transaction manager's configuration.
    Configuration {
        /// The manager's configuration, JSON.
        file: PathBuf,
        /// The password, read once like the manager does.
        read: Arc<OnceLock<Password>>,
    },
}

/// A password. `Debug` hides it.
pub struct Password(String);

impl fmt::Debug for Password {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("(withheld)")
    }
}

/// A database to log in to.
#[derive(Clone, Debug)]
pub struct Database {
    /// Where to dial. The database's certificate must name this host.
    pub at: HostPort,
    /// Name of the database.
    pub name: String,
    /// The user who logs in.
    pub user: String,
    /// File of CAs that the database's certificate is verified against.
    pub ca: PathBuf,
    /// How to log in.
    pub login: Login,
    /// File with the system identifier that the database must have.
    pub expected: Option<PathBuf>,
}

impl Database {
    /// Logs in and out, and compares the system identifier if one is expected. The caller sets the deadline.
    pub async fn check(&self, dns: &Dns) -> Result<(), Fault> {
        let Some(expected) = self.expected()? else { return self.visit(dns, None).await.map(drop) };
        let found = self.identifier(dns).await?;
        if found == expected {
            return Ok(());
        }
        let detail = format!("its system identifier is {found}, and {expected} is expected");
        Err(Fault::new(Kind::Replaced, detail))
    }

    /// Returns the expected system identifier, if there is one.
    pub fn expected(&self) -> Result<Option<SystemIdentifier>, Fault> {
        let Some(file) = &self.expected else { return Ok(None) };
        expected_in_file(&text(file)?).map_err(|why| unusable(file, why))
    }

    /// Queries the system identifier. PostgreSQL returns it to every role unless that was revoked.
    pub async fn identifier(&self, dns: &Dns) -> Result<SystemIdentifier, Fault> {
        let answer = self.visit(dns, Some("SELECT system_identifier FROM pg_control_system()")).await?;
        // PostgreSQL shows the unsigned number as a signed one
        let number = answer.as_deref().and_then(|text| text.parse::<i64>().ok());
        let number = number.ok_or_else(|| Fault::new(Kind::Closed, "it returns no system identifier"))?;
        Ok(SystemIdentifier(number.cast_unsigned()))
    }

    /// Logs in, runs a query, if there is one, and logs out. Returns the first value of the first row.
    async fn visit(&self, dns: &Dns, question: Option<&str>) -> Result<Option<String>, Fault> {
        let mut config = Config::new();
        // `Require` only rejects plain text. The TLS configuration verifies the certificate.
        config
            .user(&self.user)
            .dbname(&self.name)
            .application_name("quorum-guard")
            .ssl_mode(SslMode::Require);
        let client = match &self.login {
            Login::Certificate { cert, key } => tls::client(&self.ca, Some((cert, key))),
            Login::Password { file } => {
                let password = fs::read(file).map_err(|error| unusable(file, error))?;
                config.password(without_line_end(&password));
                tls::client(&self.ca, None)
            }
            Login::Configuration { file, read } => {
                let password = match read.get() {
                    Some(password) => password,
                    None => {
                        let password = configured(file)?;
                        read.get_or_init(|| password)
                    }
                };
                config.password(&password.0);
                tls::client(&self.ca, None)
            }
        };
        let client = client.map_err(|error| Fault::new(Kind::Files, format!("{error:#}")))?;
        let mut tls = MakeRustlsConnect::new(client);
        let connect = MakeTlsConnect::<tokio::net::TcpStream>::make_tls_connect(&mut tls, &self.at.host)
            .map_err(|error| Fault::new(Kind::Tls, error))?;
        let stream = dns.dial(&self.at).await?;
        let (client, connection) =
            config.connect_raw(stream, connect).await.map_err(|error| fault(&error))?;
        let ask = async move {
            let Some(question) = question else { return Ok(None) };
            let rows = client.simple_query(question).await?;
            let row = rows.iter().find_map(|row| match row {
                SimpleQueryMessage::Row(row) => row.try_get(0).ok().flatten(),
                _ => None,
            });
            Ok(row.map(str::to_owned))
            // dropping `client` here makes the connection end orderly
        };
        let (answer, _) = tokio::join!(ask, connection);
        answer.map_err(|error: Error| fault(&error))
    }
}

fn unusable(file: &Path, why: impl fmt::Display) -> Fault {
    Fault::new(Kind::Files, format!("{}: {why}", file.display()))
}

fn text(file: &Path) -> Result<String, Fault> {
    fs::read_to_string(file).map_err(|error| unusable(file, error))
}

/// Reads the password from the transaction manager's configuration. Does not repeat the JSON parser's error, which
/// could quote the file.
fn configured(file: &Path) -> Result<Password, Fault> {
    let configuration: Option<serde_json::Value> = serde_json::from_str(&text(file)?).ok();
    let password = configuration.as_ref().and_then(|all| all["jdbc"]["password"].as_str());
    let password = password.ok_or_else(|| unusable(file, "not a configuration with jdbc.password"))?;
    Ok(Password(password.to_owned()))
}

fn without_line_end(password: &[u8]) -> &[u8] {
    let password = password.strip_suffix(b"\n").unwrap_or(password);
    password.strip_suffix(b"\r").unwrap_or(password)
}

fn fault(error: &Error) -> Fault {
    if let Some(told) = error.as_db_error() {
        let code = told.code();
        let kind = match *code {
            SqlState::INVALID_PASSWORD
            | SqlState::INVALID_AUTHORIZATION_SPECIFICATION
            | SqlState::INSUFFICIENT_PRIVILEGE => Kind::Authentication,
            SqlState::INVALID_CATALOG_NAME => Kind::NoDatabase,
            SqlState::CANNOT_CONNECT_NOW | SqlState::TOO_MANY_CONNECTIONS => Kind::Starting,
            _ => Kind::Closed,
        };
        return Fault::new(kind, format!("{} {}", code.code(), told.message()));
    }
    let cause = error.source();
    let found = cause.map_or_else(|| Fault::new(Kind::Closed, error), Fault::of);
    // The library does not expose the kind of an error, so its text decides.
    match error.to_string().as_str() {
        words if words.starts_with("error performing TLS handshake") => Fault { kind: Kind::Tls, ..found },
        words if words.starts_with("authentication error") || words.starts_with("invalid configuration") => {
            Fault { kind: Kind::Authentication, ..found }
        }
        _ => found,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_end_is_no_part_of_a_password() {
        for (text, password) in [("a b\n", "a b"), ("a\r\n", "a"), ("a\n\n", "a\n"), ("a", "a"), ("", "")] {
            assert_eq!(without_line_end(text.as_bytes()), password.as_bytes());
        }
    }
}
