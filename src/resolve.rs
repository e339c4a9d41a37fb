//! Names to addresses. The programs are static and have no name service switch, so this reads `/etc/resolv.conf`
//! itself and never calls getaddrinfo.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ResolverConfig, ResolverOpts};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::system_conf::parse_resolv_conf;

/// Where names are asked for.
#[derive(Clone, Debug)]
pub struct Resolver {
    conf: PathBuf,
    /// Another one than the file can name, for tests.
    port: Option<u16>,
}

impl Default for Resolver {
    fn default() -> Self {
        Self { conf: Path::new("/etc/resolv.conf").to_owned(), port: None }
    }
}

impl Resolver {
    /// Another file and port.
    #[cfg(test)]
    pub(crate) fn at(conf: PathBuf, port: u16) -> Self {
        Self { conf, port: Some(port) }
    }

    /// All addresses of a host, at least one.
    ///
    /// The file is read at each call and nothing is cached: a name that appears a second later is found then,
    /// and not after the authority's negative time to live.
    ///
    /// # Errors
    /// Why there is none, with the host in it.
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
        // The C library knows either a domain or a search list, and the parser has put either into the latter.
        let (_, search, mut servers) = config.into_parts();
        if let Some(port) = self.port {
            servers.iter_mut().flat_map(|server| &mut server.connections).for_each(|one| one.port = port);
        }
        Ok((ResolverConfig::from_parts(None, search, servers), options))
    }
}
