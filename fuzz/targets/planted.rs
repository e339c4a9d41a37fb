//! A fault planted on purpose, a letter away from the only seed: what is found stops the run, and the way there shows
//! whether coverage is counted. Without both a silent run would prove nothing.
#![no_main]

use libfuzzer_sys::fuzz_target;
use quorum_operator::guard::rpc::message::{self, Body};

fuzz_target!(|body: &[u8]| {
    if let Ok(Body::Single(Ok(call))) = message::read(body, 1) {
        assert!(!call.method.contains('@'), "planted");
    }
});
