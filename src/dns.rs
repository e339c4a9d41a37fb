//! DNS resolver. The programs are static and have no name service switch, so it reads `/etc/resolv.conf` itself and
//! never calls getaddrinfo.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ResolverConfig, ResolverOpts};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::system_conf::parse_resolv_conf;

/// A DNS resolver that follows a `resolv.conf`.
#[derive(Clone, Debug)]
pub struct Resolver {
    conf: PathBuf,
    /// Port of the servers, for tests: the file cannot name one.
    port: Option<u16>,
}

impl Default for Resolver {
    fn default() -> Self {
        Self { conf: Path::new("/etc/resolv.conf").to_owned(), port: None }
    }
}

impl Resolver {
    /// A resolver with another file and port.
    #[cfg(test)]
    pub(crate) fn at(conf: PathBuf, port: u16) -> Self {
        Self { conf, port: Some(port) }
    }

    /// Resolves a host to all of its addresses, at least one.
    ///
    /// It reads the file at each call and caches nothing: a name that appears a second later is found then, without
    /// waiting for the zone's negative TTL.
    ///
    /// # Errors
    /// The cause, with the host name.
    pub async fn resolve(&self, host: &str) -> Result<Vec<IpAddr>, String> {
        if let Ok(address) = host.parse() {
            return Ok(vec![address]);
        }
        let unresolved = |why: String| format!("{host}: {why}");
        let (config, options) = self.config().await.map_err(&unresolved)?;
        let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        *builder.options_mut() = options;
        let resolver = builder.build().map_err(|error| unresolved(error.to_string()))?;
        let found = resolver.lookup_ip(host).await.map_err(|error| unresolved(error.to_string()))?;
        let found: Vec<IpAddr> = found.iter().collect();
        if found.is_empty() { Err(unresolved("no address".to_owned())) } else { Ok(found) }
    }

    async fn config(&self) -> Result<(ResolverConfig, ResolverOpts), String> {
        let failed = |why: String| format!("{}: {why}", self.conf.display());
        let text = tokio::fs::read(&self.conf).await.map_err(|error| failed(error.to_string()))?;
        let (config, mut options) = parse_resolv_conf(text).map_err(|error| failed(error.to_string()))?;
        options.cache_size = 0;
        // the C library uses either a domain or a search list, and the parser stores both as the search list
        let (_, search, mut servers) = config.into_parts();
        if let Some(port) = self.port {
            servers.iter_mut().flat_map(|server| &mut server.connections).for_each(|one| one.port = port);
        }
        Ok((ResolverConfig::from_parts(None, search, servers), options))
    }
}
