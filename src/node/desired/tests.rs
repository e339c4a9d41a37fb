//! What the rendered objects must be like, whatever they are rendered from.

mod arguments;
mod certificates;
mod names;
mod ownership;
mod placement;
mod pods;
mod policies;
mod reach;
mod restricted;
mod sample;
mod services;
mod tessera;
mod workloads;
