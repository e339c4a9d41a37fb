//! Renders a call as the HTTP request to the client. Pure.

use hyper::body::Bytes;

use crate::guard::rpc::decide::message;

/// Returns header and call in three parts, so that params are not copied.
pub(super) fn request(method: &str, params: Bytes) -> [Bytes; 3] {
    let mut call = Vec::with_capacity(64 + method.len());
    message::begin(method, !params.is_empty(), &mut call);
    let length = call.len() + params.len() + message::END.len();
    let mut head = Vec::with_capacity(128 + call.len());
    head.extend_from_slice(HEAD);
    put_number(length, &mut head);
    head.extend_from_slice(b"\r\n\r\n");
    head.extend_from_slice(&call);
    [head.into(), params, Bytes::from_static(message::END)]
}

const HEAD: &[u8] =
    b"POST / HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: ";

fn put_number(number: usize, to: &mut Vec<u8>) {
    let mut digits = [0; 20];
    let (mut left, mut at) = (number, digits.len());
    loop {
        at -= 1;
        digits[at] = b'0' + (left % 10) as u8;
        left /= 10;
        if left == 0 {
            break;
        }
    }
    to.extend_from_slice(&digits[at..]);
}
