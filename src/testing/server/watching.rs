//! Watches, and what goes wrong with them.

use futures::{StreamExt as _, channel::mpsc, stream};
use serde_json::json;

use super::{
    Frames, Server, frames, lock, reason,
    request::Call,
    state::{self, Refusal},
};

/// What a server does that cannot stream lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Streaming {
    /// It refuses with this code.
    Refused(u16),
    /// It takes the request for an ordinary watch, which never tells where the list ends.
    Ignored,
}

/// What becomes of watches on a connection that nobody holds at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Silence {
    /// Those that are open tell nothing more and never end; new ones work.
    Open,
    /// New ones are not even answered.
    Unanswered,
}

/// How watches are answered.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ways {
    streaming: Option<Streaming>,
    silent: bool,
}

impl Server {
    /// Ends every watch; with `compact`, none can go on from where it was.
    pub fn end_watches(&self, compact: bool) {
        let mut state = lock(&self.state);
        state.watches.clear();
        if compact {
            state.compacted = state.version();
        }
    }

    /// As [`Self::end_watches`] with `compact`, of one kind alone.
    pub fn end_watches_of(&self, resource: &str) {
        let mut state = lock(&self.state);
        state.watches.retain(|watch| watch.call.target.resource != resource);
        state.compacted = state.version();
    }

    /// Unlearns to stream lists, or learns it again.
    pub fn stream_lists(&self, otherwise: Option<Streaming>) {
        lock(&self.watching).streaming = otherwise;
    }

    /// Forgets every open watch without ending it. With [`Silence::Unanswered`] new ones hang too, until
    /// [`Self::speak`].
    pub fn fall_silent(&self, silence: Silence) {
        let mut state = lock(&self.state);
        let open = std::mem::take(&mut state.watches);
        state.forgotten.extend(open);
        lock(&self.watching).silent = silence == Silence::Unanswered;
    }

    /// As [`Self::fall_silent`] with [`Silence::Open`], of one kind alone.
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
