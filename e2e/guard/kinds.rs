//! Kinds of payloads.

use crate::dice::Dice;
use crate::{bodies, frames, http2, requests};

/// How a payload travels.
pub(crate) enum Sent {
    Body(Vec<u8>),
    Request(requests::Request),
    Frames(frames::Frames),
    Streams(Vec<http2::Part>),
}

/// Makes payloads of one kind.
#[derive(Clone, Copy)]
pub(crate) enum Make {
    Body(bodies::Body),
    Request(fn(&mut Dice) -> requests::Request),
    Frames(fn(&mut Dice) -> frames::Frames),
    Streams(fn(&mut Dice) -> Vec<http2::Part>),
}

impl Make {
    pub(crate) fn make(self, dice: &mut Dice) -> Sent {
        match self {
            Self::Body(make) => Sent::Body(make(dice)),
            Self::Request(make) => Sent::Request(make(dice)),
            Self::Frames(make) => Sent::Frames(make(dice)),
            Self::Streams(make) => Sent::Streams(make(dice)),
        }
    }
}

/// Each by its name in the table.
pub(crate) fn all() -> Vec<(&'static str, Make)> {
    let bodies = bodies::AXES.map(|(name, make)| (name, Make::Body(make)));
    let requests = requests::AXES.map(|(name, make)| (name, Make::Request(make)));
    let frames = frames::AXES.map(|(name, make)| (name, Make::Frames(make)));
    let streams = http2::AXES.map(|(name, make)| (name, Make::Streams(make)));
    bodies.into_iter().chain(requests).chain(frames).chain(streams).collect()
}
