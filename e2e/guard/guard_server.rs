//! Running guard in front of the client, which a caller with a token reaches over TLS.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::{
    geth::{Counts, Geth},
    guard_process::{HOST, Place},
    hostile_requests,
    payload_kinds::Sent,
    wire::{self, Who},
};

/// A running guard, which ends on drop.
pub(crate) struct Guard {
    place: Place,
    /// The caller of the policy.
    pub(crate) caller: Who,
    audit: File,
}

impl Guard {
    pub(crate) async fn start(program: &Path, geth: &Geth) -> anyhow::Result<Self> {
        let place = Place::start(program, geth.http, geth.socket).await?;
        let caller = Who { host: HOST.into(), bearer: Some(place.tokens[0].clone()) };
        let audit = File::open(place.home().join("audit"))?;
        Ok(Self { place, caller, audit })
    }

    /// Opens a connection for one protocol.
    pub(crate) async fn connect(&self, protocol: &str) -> anyhow::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(self.place.certificate.clone())?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
        let stream = TcpStream::connect(self.place.at).await?;
        stream.set_nodelay(true)?;
        let name = ServerName::try_from(HOST)?;
        Ok(TlsConnector::from(Arc::new(config)).connect(name, stream).await?)
    }

    /// Sends a payload and ignores the answer.
    pub(crate) async fn send(&self, sent: &Sent, who: &Who) -> anyhow::Result<()> {
        match sent {
            Sent::Body(body) => {
                let request = who.signed(&hostile_requests::post(body));
                wire::exchange(&mut self.connect("http/1.1").await?, &request).await;
            }
            Sent::Request(pieces) => {
                wire::exchange(&mut self.connect("http/1.1").await?, &who.signed(pieces)).await;
            }
            Sent::Frames(frames) => {
                wire::socket(&mut self.connect("http/1.1").await?, who, frames).await?;
            }
            Sent::Streams(parts) => wire::streams(&mut self.connect("h2").await?, who, parts).await,
        }
        Ok(())
    }

    /// Checks that a granted call is answered. Otherwise later checks would prove nothing.
    pub(crate) async fn answers(&self) -> anyhow::Result<()> {
        let call = br#"{"jsonrpc":"2.0","id":1,"method":"eth_chainId"}"#;
        let request = self.caller.signed(&hostile_requests::post(call));
        let answer = wire::exchange(&mut self.connect("http/1.1").await?, &request).await;
        let answer = String::from_utf8_lossy(&answer);
        ensure!(answer.contains(r#""result":"0x539""#), "a granted call was answered {answer:?}");
        Ok(())
    }

    /// Calls recorded as forwarded since the last call of this function.
    pub(crate) fn passed(&mut self) -> anyhow::Result<Counts> {
        let mut records = String::new();
        let from = self.audit.stream_position()?;
        self.audit.read_to_string(&mut records)?;
        // leave an incomplete line for the next call
        let whole = records.rfind('\n').map_or(0, |end| end + 1);
        self.audit.seek(SeekFrom::Start(from + whole as u64))?;
        let mut passed = Counts::new();
        for line in records[..whole].lines() {
            let record: Value = serde_json::from_str(line).with_context(|| format!("a record: {line}"))?;
            if record["verdict"] == "allowed" {
                let method = record["method"].as_str().context("a record without its method")?;
                *passed.entry(method.to_owned()).or_default() += 1;
            }
        }
        Ok(passed)
    }
}
