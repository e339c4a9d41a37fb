//! Flags that name a database and how to log in to it.

use std::path::PathBuf;

use super::database::{Database, Login};
use crate::guard::flags::HostPort;

/// A database, or none.
#[derive(clap::Args, Debug)]
pub struct Flags {
    /// Address of the transaction manager's PostgreSQL
    #[arg(long, value_name = "HOST:PORT", requires_all = ["database_name", "database_user", "database_ca", "login"])]
    pub database: Option<HostPort>,

    /// Name of the database
    #[arg(long, value_name = "NAME", requires = "database")]
    pub database_name: Option<String>,

    /// Role to log in as
    #[arg(long, value_name = "NAME", requires = "database")]
    pub database_user: Option<String>,

    /// CAs of PostgreSQL's certificate, PEM. Host name and chain are verified in full
    #[arg(long, value_name = "FILE", requires = "database")]
    pub database_ca: Option<PathBuf>,

    /// Client certificate of the role, PEM
    #[arg(long, value_name = "FILE", group = "login", requires_all = ["database", "database_key"])]
    pub database_cert: Option<PathBuf>,

    /// Private key of the client certificate, PEM
    #[arg(long, value_name = "FILE", requires = "database_cert",
          conflicts_with_all = ["database_password_file", "database_config"])]
    pub database_key: Option<PathBuf>,

    /// File with the role's password. One trailing line end is ignored
    #[arg(long, value_name = "FILE", group = "login", requires = "database")]
    pub database_password_file: Option<PathBuf>,

    /// The transaction manager's configuration, whose jdbc.password is the role's password. It is read once, as the
    /// transaction manager does
    #[arg(long, value_name = "FILE", group = "login", requires = "database")]
    pub database_config: Option<PathBuf>,

    /// File with the system identifier that the database must have. If the file is empty, any database is accepted
    #[arg(long, value_name = "FILE", requires = "database")]
    pub database_expected: Option<PathBuf>,
}

impl Flags {
    /// Returns the database that the flags name, if they name one.
    pub fn database(&self) -> Option<Database> {
        let login = match (&self.database_cert, &self.database_key) {
            (Some(cert), Some(key)) => Login::Certificate { cert: cert.clone(), key: key.clone() },
            _ => match (&self.database_config, &self.database_password_file) {
                (Some(file), _) => Login::Configuration { file: file.clone(), read: Default::default() },
                (_, Some(file)) => Login::Password { file: file.clone() },
                _ => return None,
            },
        };
        Some(Database {
            at: self.database.clone()?,
            name: self.database_name.clone()?,
            user: self.database_user.clone()?,
            ca: self.database_ca.clone()?,
            login,
            expected: self.database_expected.clone(),
        })
    }
}
