//! Kinds of payloads, by transport and axis.

use crate::{hostile_bodies, hostile_frames, hostile_http2, hostile_requests, rng::Rng};

/// A payload, by transport.
pub(crate) enum Sent {
    Body(Vec<u8>),
    Request(hostile_requests::Request),
    Frames(hostile_frames::Frames),
    Streams(Vec<hostile_http2::Part>),
}

/// Generator of payloads of one kind.
#[derive(Clone, Copy)]
pub(crate) enum Make {
    Body(hostile_bodies::Body),
    Request(fn(&mut Rng) -> hostile_requests::Request),
    Frames(fn(&mut Rng) -> hostile_frames::Frames),
    Streams(fn(&mut Rng) -> Vec<hostile_http2::Part>),
}

impl Make {
    pub(crate) fn make(self, rng: &mut Rng) -> Sent {
        match self {
            Self::Body(make) => Sent::Body(make(rng)),
            Self::Request(make) => Sent::Request(make(rng)),
            Self::Frames(make) => Sent::Frames(make(rng)),
            Self::Streams(make) => Sent::Streams(make(rng)),
        }
    }
}

/// All kinds, with their names in the table.
pub(crate) fn all() -> Vec<(&'static str, Make)> {
    let bodies = hostile_bodies::AXES.map(|(name, make)| (name, Make::Body(make)));
    let requests = hostile_requests::AXES.map(|(name, make)| (name, Make::Request(make)));
    let frames = hostile_frames::AXES.map(|(name, make)| (name, Make::Frames(make)));
    let streams = hostile_http2::AXES.map(|(name, make)| (name, Make::Streams(make)));
    bodies.into_iter().chain(requests).chain(frames).chain(streams).collect()
}
