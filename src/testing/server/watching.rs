//! Watches and their faults.

use futures::{StreamExt as _, channel::mpsc, stream};
use serde_json::json;

use super::{
    Frames, Server, frames, lock, reason,
    request::Call,
    state::{self, Refusal},
};

/// Behaviour of a server that cannot stream lists (`sendInitialEvents`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Streaming {
    /// It refuses the request with this code.
    Refused(u16),
    /// It serves an ordinary watch, which never marks the end of the initial list.
    Ignored,
}

/// Behaviour of watches whose connection is dead without having been closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Silence {
    /// Open watches send nothing more and never end; new watches work.
    Open,
    /// New watches get no answer either.
    Unanswered,
}

/// How the server answers watches.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ways {
    streaming: Option<Streaming>,
    silent: bool,
}

impl Server {
    /// Ends every watch. With `compact`, no watch can resume from its last version.
    pub fn end_watches(&self, compact: bool) {
        let mut state = lock(&self.state);
        state.watches.clear();
        if compact {
            state.compacted = state.version();
        }
    }

    /// Like [`Self::end_watches`] with `compact`, for one kind only.
    pub fn end_watches_of(&self, resource: &str) {
        let mut state = lock(&self.state);
        state.watches.retain(|watch| watch.call.target.resource != resource);
        state.compacted = state.version();
    }

    /// Makes streamed lists fail in this way, or work again.
    pub fn stream_lists(&self, otherwise: Option<Streaming>) {
        lock(&self.watching).streaming = otherwise;
    }

    /// Stops sending events to open watches without ending them. With [`Silence::Unanswered`], new watches hang too,
    /// until [`Self::speak`].
    pub fn fall_silent(&self, silence: Silence) {
        let mut state = lock(&self.state);
        let open = std::mem::take(&mut state.watches);
        state.forgotten.extend(open);
        lock(&self.watching).silent = silence == Silence::Unanswered;
    }

    /// Like [`Self::fall_silent`] with [`Silence::Open`], for one kind only.
    pub fn fall_silent_of(&self, resource: &str) {
        let mut state = lock(&self.state);
        let (silent, open) = std::mem::take(&mut state.watches)
            .into_iter()
            .partition::<Vec<_>, _>(|watch| watch.call.target.resource == resource);
        state.watches = open;
        state.forgotten.extend(silent);
    }

    /// Answers new watches again.
    pub fn speak(&self) {
        lock(&self.watching).silent = false;
    }

    pub(super) async fn watch(&self, call: &Call) -> Result<Frames, Refusal> {
        let ways = *lock(&self.watching);
        if ways.silent {
            return std::future::pending().await;
        }
        let initial = call.query.get("sendInitialEvents").is_some_and(|send| send == "true");
        if let (true, Some(Streaming::Refused(code))) = (initial, ways.streaming) {
            return Err(Refusal::new(code, reason(code), "sendInitialEvents is forbidden"));
        }
        let mut state = lock(&self.state);
        let from = call.query.get("resourceVersion").and_then(|version| version.parse().ok()).unwrap_or(0);
        let first: Vec<String> = if initial {
            let objects = state.selected(call);
            let bookmark = json!({"apiVersion": call.target.group_version, "kind": "Bookmark", "metadata": {
                "resourceVersion": state.version().to_string(), "annotations": {"k8s.io/initial-events-end": "true"}}});
            let added = objects.iter().map(|object| state::event("ADDED", state::shown(call, object)));
            let end = state::event("BOOKMARK", state::shown(call, &bookmark));
            let has_end = ways.streaming != Some(Streaming::Ignored);
            added.chain(has_end.then_some(end)).collect()
        } else {
            match state.since(from, call) {
                Some(events) => events,
                None => {
                    let gone = Refusal::new(410, "Expired", "too old resource version").status();
                    return Ok(frames(stream::iter([state::event("ERROR", gone)])));
                }
            }
        };
        let (events, later) = mpsc::unbounded();
        state.watches.push(state::Watch { call: call.clone(), events });
        Ok(frames(stream::iter(first).chain(later)))
    }
}
