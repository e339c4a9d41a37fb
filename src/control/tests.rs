//! The whole controller against an API server in memory.

mod bank;
mod cert_manager;
mod certificates;
mod converge;
mod disruption;
mod drift;
mod fairness;
mod faults;
mod handshakes;
mod identity;
mod issuers;
mod leadership;
mod lifecycle;
mod metrics;
mod monitor;
mod peers;
mod permissions;
mod rotation;
mod safety;
mod secrecy;
mod served;
mod trouble;
mod volumes;
mod watches;
mod words;
mod world;
