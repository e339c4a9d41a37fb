//! Flags that name a database, for whoever logs in to it.

use std::path::PathBuf;

use super::database::{Database, Login};
use crate::guard::flags::HostPort;

/// One database, or none.
#[derive(clap::Args, Debug)]
pub struct Flags {
    /// The transaction manager's PostgreSQL
    #[arg(long, value_name = "HOST:PORT", requires_all = ["database_name", "database_user", "database_ca", "login"])]
    pub database: Option<HostPort>,

    /// The database in it
    #[arg(long, value_name = "NAME", requires = "database")]
    pub database_name: Option<String>,

    /// Who logs in
    #[arg(long, value_name = "NAME", requires = "database")]
    pub database_user: Option<String>,

    /// Authorities of PostgreSQL's certificate, PEM; name and chain are verified in full
    #[arg(long, value_name = "FILE", requires = "database")]
    pub database_ca: Option<PathBuf>,

    /// The user's certificate, PEM
    #[arg(long, value_name = "FILE", group = "login", requires_all = ["database", "database_key"])]
    pub database_cert: Option<PathBuf>,

    /// Its private key, PEM
    #[arg(long, value_name = "FILE", requires = "database_cert",
          conflicts_with_all = ["database_password_file", "database_config"])]
    pub database_key: Option<PathBuf>,

    /// Holds the user's password; one line end at its end is not part of it
    #[arg(long, value_name = "FILE", group = "login", requires = "database")]
    pub database_password_file: Option<PathBuf>,

    /// The transaction manager's configuration, whose jdbc.password is the user's password. It is read once, as the
    /// manager reads it
    #[arg(long, value_name = "FILE", group = "login", requires = "database")]
    pub database_config: Option<PathBuf>,

    /// Holds the system identifier that the database must have; any will do where the file is empty
    #[arg(long, value_name = "FILE", requires = "database")]
    pub database_expected: Option<PathBuf>,
}

impl Flags {
    /// What they name.
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
