//! Whether PostgreSQL completes TLS and authentication, over a connection that we open ourselves.

use std::error::Error as _;
use std::fs;
use std::path::PathBuf;

use tokio_postgres::config::SslMode;
use tokio_postgres::error::SqlState;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{Config, Error};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::guard::fault::{Fault, Kind};
use crate::guard::flags::HostPort;
use crate::guard::names::Names;
use crate::guard::tls;

/// How the user proves who it is.
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
        /// The file that holds it.
        file: PathBuf,
    },
}

/// One database to log in to.
#[derive(Clone, Debug)]
pub struct Database {
    /// Where it is; the host is what its certificate must name.
    pub at: HostPort,
    /// Its name.
    pub name: String,
    /// Who logs in.
    pub user: String,
    /// Whom to trust.
    pub ca: PathBuf,
    /// How to log in.
    pub login: Login,
}

impl Database {
    /// Logs in and out. The caller bounds the time.
    pub async fn check(&self, names: &Names) -> Result<(), Fault> {
        let files = |error: anyhow::Error| Fault::new(Kind::Files, format!("{error:#}"));
        let mut config = Config::new();
        // `Require` only means that plain text is refused; what verifies is the TLS configuration.
        config
            .user(&self.user)
            .dbname(&self.name)
            .application_name("quorum-guard")
            .ssl_mode(SslMode::Require);
        let client = match &self.login {
            Login::Certificate { cert, key } => tls::client(&self.ca, Some((cert, key))),
            Login::Password { file } => {
                let password = fs::read(file)
                    .map_err(|error| Fault::new(Kind::Files, format!("{}: {error}", file.display())))?;
                config.password(without_line_end(&password));
                tls::client(&self.ca, None)
            }
        };
        let mut tls = MakeRustlsConnect::new(client.map_err(files)?);
        let connect = MakeTlsConnect::<tokio::net::TcpStream>::make_tls_connect(&mut tls, &self.at.host)
            .map_err(|error| Fault::new(Kind::Tls, error))?;
        let stream = names.dial(&self.at).await?;
        let (client, connection) =
            config.connect_raw(stream, connect).await.map_err(|error| fault(&error))?;
        // The connection says goodbye once nobody can ask it anything more.
        drop(client);
        let _ = connection.await;
        Ok(())
    }
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
    // The library keeps its kinds to itself; its words are what is left to tell them apart.
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
