//! Runs GoQuorum nodes on Kubernetes so that their security checklist holds, keeps it so, and proves it.
//!
//! Every file is pure (decides: no clock, no environment, no client, nothing awaited) or i/o (acts). A test
//! reads the pure ones and refuses anything else; `PURE` in `house/purity.rs` is the list.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`api`] | what users write and read back; pure |
//! | [`node`] | the pass over one node, a file per stage; `observe`, `issue` and `apply` are i/o, the rest is pure |
//! | [`cluster`] | watch caches, contents of Secrets, writes; i/o, but for `fields` |
//! | [`control`] | what keeps the passes going; i/o, but for `related` |
//! | [`database`] | which PostgreSQL a node has: what guard and operator tell each other of it; pure |
//! | [`connections`] | a client's connections to its peers: what guard and operator tell each other of them; pure |
//! | [`figures`] | a client's figures of its chain: what guard and operator tell each other of them; pure |
//! | [`nodekey`] | a node key as geth reads it, and whose it is; pure |
//! | [`policy`] | who may call what: the file between operator and guard; pure |
//! | [`listen`] | listeners at addresses of both families; i/o |
//! | [`resolve`] | names to addresses; i/o |
//! | [`serve`] | the operator's probes and metrics; i/o |
//! | [`settings`] | flags and environment, read once |
//! | [`logs`] | the operator's log; i/o |
//! | [`dumps`] | no core dumps; i/o |
//! | [`guard`] | the programs beside the client: `init`, `metrics`, `probe`; i/o |

#[cfg(feature = "operator")]
pub mod api;
#[cfg(feature = "operator")]
pub mod cluster;
#[cfg(any(feature = "operator", feature = "guard"))]
pub mod connections;
#[cfg(feature = "operator")]
pub mod control;
pub mod database;
pub mod dumps;
#[cfg(any(feature = "operator", feature = "guard"))]
pub mod figures;
#[cfg(feature = "guard")]
pub mod guard;
#[cfg(test)]
mod house;
#[cfg(any(feature = "operator", feature = "guard"))]
pub mod listen;
#[cfg(feature = "operator")]
pub mod logs;
#[cfg(feature = "operator")]
pub mod node;
#[cfg(any(feature = "operator", feature = "guard"))]
pub mod nodekey;
pub mod policy;
#[cfg(any(feature = "operator", feature = "guard"))]
pub mod resolve;
#[cfg(feature = "operator")]
pub mod serve;
#[cfg(feature = "operator")]
pub mod settings;
#[cfg(all(feature = "operator", any(test, feature = "e2e")))]
pub mod testing;
