//! Memory at rest, and memory of an idle connection.

use std::{thread, time::Duration};

use anyhow::ensure;

use crate::{
    caller::{Caller, Dial, post},
    peer::{Kind, Peer},
    report::Report,
    setup::Setup,
    verdicts,
};

/// Time for threads to start and for allocators to return memory.
const SETTLES: Duration = Duration::from_secs(3);

/// Goals: the guard's memory at rest in MB, and the ratio of its memory per connection to that of nginx.
const AT_REST: f64 = 8.0;
const OVER_NGINX: f64 = 1.0;

pub(crate) fn measure(
    kinds: &[Kind],
    setup: &Setup,
    count: usize,
    report: &mut Report,
) -> anyhow::Result<()> {
    let name = |kind: Kind| format!("idle connection, {}", kind.name());
    for kind in kinds {
        let (rest, connection) = one(*kind, setup, count)?;
        let goal = (*kind == Kind::Guard).then_some(AT_REST);
        report.row(&format!("memory at rest, {}", kind.name()), (rest / 1e6, "MB"), goal, "");
        let note = format!("of {count}, each asked once");
        report.row(&name(*kind), (connection / 1e3, "kB"), None, note);
    }
    if [Kind::Guard, Kind::Nginx].iter().all(|kind| kinds.contains(kind)) {
        let ratio = report.value(&name(Kind::Guard)) / report.value(&name(Kind::Nginx));
        report.row("idle connection, guard over nginx+Lua", (ratio, "x"), Some(OVER_NGINX), "");
    }
    Ok(())
}

/// Bytes at rest, and bytes for each connection. Ten connections open and close first, so that one-time allocations
/// do not count.
fn one(kind: Kind, setup: &Setup, count: usize) -> anyhow::Result<(f64, f64)> {
    let peer = Peer::start(kind, setup)?;
    thread::sleep(SETTLES);
    let rest = peer.memory()?;
    let dial = Dial { port: peer.port, config: setup.pki.dials()? };
    let request = post(&verdicts::small());
    let open = |count: usize| -> anyhow::Result<Vec<Caller>> {
        let asked = |mut caller: Caller| -> anyhow::Result<Caller> {
            ensure!(caller.ask(&request)?.is_result(), "{}: not answered", kind.name());
            Ok(caller)
        };
        (0..count).map(|_| asked(dial.connect()?)).collect()
    };
    open(10)?.into_iter().for_each(Caller::close);
    thread::sleep(SETTLES);
    let before = peer.memory()?;
    let connections = open(count)?;
    thread::sleep(SETTLES);
    let bytes = (peer.memory()? - before) / count as f64;
    connections.into_iter().for_each(Caller::close);
    Ok((rest, bytes))
}
