//! Fuzzes JSON-RPC messages: an accepted body is JSON, and a rewritten call means to any other decoder what the guard
//! authorized.
#![no_main]

mod lenient;
mod members;

use libfuzzer_sys::fuzz_target;
use quorum_operator::{
    guard::rpc::decide::{
        json::DEPTH,
        message::{self, Body, Call, Refused},
    },
    protocol::policy::grants,
};
use serde_json::{Value, value::RawValue};

/// Maximum number of calls in a batch.
const MOST: usize = 8;

fuzz_target!(|body: &[u8]| {
    match message::read(body, MOST) {
        Ok(Body::Single(asked)) => {
            is_json(body);
            if let Ok(call) = asked {
                single(&call);
            }
        }
        Ok(Body::Batch(asked)) => {
            is_json(body);
            assert!((1..=MOST).contains(&asked.len()));
            asked.into_iter().flatten().for_each(|call| single(&call));
        }
        Err(Refused::Syntax(fault)) => {
            assert!(fault.at <= body.len(), "{fault}");
            if serde_json::from_slice::<Value>(body).is_ok() {
                // `DEPTH` limits the levels of a member's value, without the call itself
                assert!(levels(body) > DEPTH + 1, "{fault}: refused, and is JSON");
            }
        }
        Err(Refused::Empty | Refused::TooMany) => {}
    }
});

fn is_json(body: &[u8]) {
    serde_json::from_slice::<&RawValue>(body).expect("what was read is JSON");
    // `Value` also decodes strings, and refuses numbers out of range, which are valid JSON
    if let Err(error) = serde_json::from_slice::<Value>(body) {
        assert!(error.to_string().contains("out of range"), "{error}");
    }
}

/// Nesting depth of a JSON text, including duplicate members, which `Value` drops.
fn levels(text: &[u8]) -> u32 {
    let (mut depth, mut most, mut is_string, mut is_escaped) = (0, 0, false, false);
    for byte in text {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = true,
            b'"' => is_string = !is_string,
            b'[' | b'{' if !is_string => {
                depth += 1;
                most = most.max(depth);
            }
            b']' | b'}' if !is_string => depth -= 1,
            _ => {}
        }
    }
    most
}

fn single(call: &Call<'_>) {
    let mut written = Vec::new();
    message::write(call, &mut written);
    let sent = Call { id: Some("1"), bytes: written.len(), ..*call };
    assert_eq!(message::read(&written, 1), Ok(Body::Single(Ok(sent))), "read again");
    same(&sent, serde_json::from_slice(&written).expect("what is written is JSON"));
}

fn same(call: &Call<'_>, written: &RawValue) {
    assert!(grants::is_method(call.method));
    let understood = lenient::Understood {
        version: Some("2.0".into()),
        method: Some(call.method.into()),
        id: call.id,
        params: call.params,
        is_answer: false,
    };
    assert_eq!(lenient::call(written), understood);
}
