//! JSON-RPC: what is read, is JSON; what is written anew means to any other decoder what was authorised.
#![no_main]

mod lenient;
mod members;

use libfuzzer_sys::fuzz_target;
use quorum_operator::{
    guard::rpc::{
        json::DEPTH,
        message::{self, Body, Call, Refused},
    },
    policy::grants,
};
use serde_json::{Value, value::RawValue};

/// Calls that a batch may have here.
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
                // the levels of a member's value, without those of the call
                assert!(levels(body) > DEPTH + 1, "{fault}: refused, and is JSON");
            }
        }
        Err(Refused::Empty | Refused::TooMany) => {}
    }
});

fn is_json(body: &[u8]) {
    serde_json::from_slice::<&RawValue>(body).expect("what was read is JSON");
    // this looks into strings too, and stops at a number that no machine holds, which is JSON all the same
    if let Err(error) = serde_json::from_slice::<Value>(body) {
        assert!(error.to_string().contains("out of range"), "{error}");
    }
}

/// Levels of a text that is JSON, duplicate members included, which a tree of values would not hold.
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
