//! The programs that run beside the GoQuorum client and its transaction manager.
//!
//! | module | kind | content |
//! | --- | --- | --- |
//! | `dial` | i/o | resolves names without the C library and opens TCP connections |
//! | `fault` | pure | why a connection failed: a general reason for health ports, a detail for the log |
//! | `flags` | pure | types and parsers of flag values |
//! | `health` | i/o | `/livez` and `/readyz` for the kubelet |
//! | `https` | i/o | one GET over mutual TLS |
//! | `init` | i/o | `quorum-guard init`: client, copy, database, external-database, pod |
//! | `logs` | i/o | JSON lines on stderr |
//! | `metrics` | i/o | `quorum-guard metrics`; pure: `peer_connections`, `readiness`, `sanitize`, `series` |
//! | `probe` | i/o | `quorum-guard probe` |
//! | `reload` | i/o | reloads a server's certificates when they change |
//! | `rpc` | i/o | `quorum-guard rpc`, the guard of the client's JSON-RPC; pure: `decide` |
//! | `server` | i/o | HTTP server with one request per connection and a limit on every step |
//! | `shutdown` | i/o | SIGTERM and SIGINT |
//! | `tls` | i/o | TLS configurations from certificate files |

pub mod dial;
pub mod fault;
pub mod flags;
pub mod health;
pub mod https;
pub mod init;
pub mod logs;
pub mod metrics;
pub mod probe;
pub mod reload;
pub mod rpc;
pub mod server;
pub mod shutdown;
pub mod tls;

#[cfg(test)]
mod dependency_tests;
#[cfg(test)]
mod testing;
