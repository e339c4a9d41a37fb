//! Runs the examples of `docs/calling.md` with another address and other paths.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use tokio::process::Command;

use crate::guard_process::Place;

/// Name of each example on the page, and text that it prints for the chain with ID 1337.
const PRINT: [(&str, &str); 6] = [
    ("curl", "\"result\":\"0x539\""),
    ("web3", "1337n"),
    ("ethers", "1337n"),
    ("viem", "1337"),
    ("python", "1337"),
    ("socket", "0x"),
];

/// Code block after the marker with this name.
fn example<'a>(page: &'a str, name: &str) -> Option<&'a str> {
    let rest = page.split_once(&format!("<!-- run: {name} -->\n```"))?.1;
    Some(rest.split_once('\n')?.1.split_once("\n```")?.0)
}

pub(crate) async fn run(home: &Path, place: &Place) -> anyhow::Result<()> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/calling.md");
    let page = std::fs::read_to_string(page)?;
    ensure!(page.matches("<!-- run: ").count() == PRINT.len(), "each example of the page is run");
    for (name, wanted) in PRINT {
        let text = example(&page, name).with_context(|| format!("docs/calling.md has no example {name}"))?;
        let at = place.home();
        let text = text
            .replace("alice-rpc.ledger.svc:8545", &format!("localhost:{}", place.at.port()))
            .replace("/token/token", &at.join("token").display().to_string())
            .replace("/ca/ca.crt", &at.join("tls.crt").display().to_string());
        let (program, file) = match name {
            "curl" => (PathBuf::from("sh"), "example.sh"),
            "python" => (home.join("venv/bin/python"), "example.py"),
            _ => (PathBuf::from("node"), "example.mjs"),
        };
        std::fs::write(home.join(file), text)?;
        let done = Command::new(program)
            .arg(file)
            .current_dir(home)
            .env("NODE_EXTRA_CA_CERTS", at.join("tls.crt"))
            .output()
            .await?;
        let said = String::from_utf8_lossy(&done.stdout);
        let complained = String::from_utf8_lossy(&done.stderr);
        ensure!(done.status.success() && said.contains(wanted), "{name}: {said}{complained}");
        println!("example {name}: {}", said.trim());
    }
    Ok(())
}
