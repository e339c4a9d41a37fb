//! Parses a request: verb, object and query.

use std::collections::HashMap;

use http::{Method, Uri};
use tokio::time::Instant;

/// Address of one object, or of all objects of a kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Target {
    /// Group and version, such as `apps/v1` or `v1`.
    pub group_version: String,
    /// Plural name, such as `statefulsets`.
    pub resource: String,
    /// Empty for cluster-scoped objects and for all namespaces.
    pub namespace: String,
    /// Empty for all objects.
    pub name: String,
}

/// A request as the server records it.
#[derive(Clone, Debug)]
pub struct Call {
    /// Name of the client.
    pub caller: String,
    /// When the server carried it out.
    pub at: Instant,
    /// `discover`, `read` (an OIDC document), `get`, `list`, `watch`, `create`, `apply`, `patch`, `update` or `delete`.
    pub verb: &'static str,
    /// Object or objects that it addresses.
    pub target: Target,
    /// `status`, `eviction` or empty.
    pub subresource: String,
    /// Query parameters.
    pub query: HashMap<String, String>,
    /// Whether the client asks for metadata only.
    pub metadata_only: bool,
}

impl Call {
    /// Parses a request.
    #[must_use]
    pub fn read(method: &Method, uri: &Uri, headers: &http::HeaderMap) -> Self {
        let query: HashMap<String, String> = uri
            .query()
            .unwrap_or_default()
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .map(|(key, value)| (key.to_owned(), decoded(value)))
            .collect();
        let (target, subresource) = match uri.path() {
            path if is_document(path) => {
                (Target { name: path.to_owned(), ..Target::default() }, String::new())
            }
            path => target(path),
        };
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let verb = match *method {
            Method::GET if query.get("watch").is_some_and(|watch| watch == "true") => "watch",
            Method::GET if target.name.starts_with('/') => "read",
            Method::GET if target.resource.is_empty() => "discover",
            Method::GET if target.name.is_empty() => "list",
            Method::GET => "get",
            Method::POST => "create",
            Method::PUT => "update",
            Method::DELETE => "delete",
            _ if header("content-type").contains("apply-patch") => "apply",
            _ => "patch",
        };
        let metadata_only = header("accept").contains("as=PartialObjectMetadata");
        Self { caller: String::new(), at: Instant::now(), verb, target, subresource, query, metadata_only }
    }

    /// Permissions that the request needs, as `VERB RESOURCE.GROUP`.
    #[must_use]
    pub fn permissions(&self) -> Vec<String> {
        let verbs: &[&str] = match self.verb {
            // an apply creates a missing object
            "apply" if self.subresource.is_empty() => &["patch", "create"],
            "apply" => &["patch"],
            // the client lists if the server cannot stream the initial list
            "watch" => &["list", "watch"],
            // every authenticated client may
            "discover" => &[],
            "read" => return vec![format!("get {}", self.target.name)],
            ref other => std::slice::from_ref(other),
        };
        let resource = match self.subresource.as_str() {
            "" => self.target.resource.clone(),
            part => format!("{}/{part}", self.target.resource),
        };
        let group = self.target.group_version.rsplit_once('/').map_or("", |(group, _)| group);
        verbs.iter().map(|verb| format!("{verb} {resource}.{group}")).collect()
    }

    /// Whether the request may change an object.
    #[must_use]
    pub fn is_write(&self) -> bool {
        !matches!(self.verb, "get" | "list" | "watch" | "discover" | "read")
    }
}

impl std::fmt::Display for Call {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.verb, self.target.resource)?;
        for part in [&self.target.name, &self.subresource] {
            if !part.is_empty() {
                write!(f, "/{part}")?;
            }
        }
        Ok(())
    }
}

fn is_document(path: &str) -> bool {
    path.starts_with("/.well-known/") || path.starts_with("/openid/")
}

fn target(path: &str) -> (Target, String) {
    let mut parts = path.split('/').skip(1);
    let group_version = match parts.next() {
        Some("api") => parts.next().unwrap_or_default().to_owned(),
        _ => format!("{}/{}", parts.next().unwrap_or_default(), parts.next().unwrap_or_default()),
    };
    let rest: Vec<&str> = parts.collect();
    let (namespace, rest) = match rest.as_slice() {
        ["namespaces", namespace, rest @ ..] if !rest.is_empty() => (*namespace, rest),
        rest => ("", rest),
    };
    let part = |i: usize| rest.get(i).copied().unwrap_or_default().to_owned();
    let target = Target { group_version, resource: part(0), namespace: namespace.into(), name: part(1) };
    (target, part(2))
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'%' => {
                let hex: Vec<u8> = rest.by_ref().take(2).collect();
                let number = std::str::from_utf8(&hex).ok().and_then(|hex| u8::from_str_radix(hex, 16).ok());
                bytes.push(number.unwrap_or(b'?'));
            }
            b'+' => bytes.push(b' '),
            other => bytes.push(other),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
