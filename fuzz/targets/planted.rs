//! Planted fault, one letter away from the only seed. A run that finds it, with growing coverage, shows that the fuzzer
//! works and that runs without findings mean something.
#![no_main]

use libfuzzer_sys::fuzz_target;
use quorum_operator::guard::rpc::decide::message::{self, Body};

fuzz_target!(|body: &[u8]| {
    if let Ok(Body::Single(Ok(call))) = message::read(body, 1) {
        assert!(!call.method.contains('@'), "planted");
    }
});
