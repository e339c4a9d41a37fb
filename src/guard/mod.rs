//! The programs that run beside the client and its transaction manager.
//!
//! | module | kind | what it is |
//! | --- | --- | --- |
//! | `fault` | pure | why a peer could not be reached, in words for everyone and in words for the log |
//! | `flags` | pure | values of flags, parsed once |
//! | `health` | i/o | `/livez` and `/readyz` for the kubelet |
//! | `https` | i/o | one GET over mutual TLS |
//! | `init` | i/o | `quorum-guard init`: client, copy, database, external-database, pod |
//! | `logs` | i/o | JSON lines on stderr |
//! | `metrics` | i/o | `quorum-guard metrics`; pure: `peers`, `sanitize`, `series`, `ready` |
//! | `names` | i/o | names to addresses without the C library, and dialling |
//! | `probe` | i/o | `quorum-guard probe` |
//! | `reload` | i/o | a server's certificates, read again when they change |
//! | `rpc` | pure | JSON-RPC: who asks (`identity`), and what is asked, read strictly and written anew |
//! | `server` | i/o | one request per connection, every step bounded |
//! | `stop` | i/o | SIGTERM |
//! | `tls` | i/o | certificate files to TLS configurations |

pub mod fault;
pub mod flags;
pub mod health;
pub mod https;
pub mod init;
pub mod logs;
pub mod metrics;
pub mod names;
pub mod probe;
pub mod reload;
pub mod rpc;
pub mod server;
pub mod stop;
pub mod tls;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tree;
