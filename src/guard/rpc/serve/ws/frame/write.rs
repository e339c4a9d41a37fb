//! Queue of unmasked frames to write. Pure.

use std::collections::VecDeque;
use std::io::IoSlice;

use hyper::body::{Buf as _, Bytes};

/// Maximum size of a header in bytes: two and the length.
const HEADER: usize = 10;
/// Maximum payload of a control frame in bytes.
const CONTROL: usize = 125;
/// Capacity in frames that an empty queue retains.
const KEPT: usize = 8;

/// Stands for a close without a code; never sent.
const NO_CODE: u16 = 1005;

const LAST: u8 = 0x80;
const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// A header. The bytes from `at` to `length` are not written yet.
#[derive(Debug)]
struct Header {
    bytes: [u8; HEADER],
    at: u8,
    length: u8,
}

impl Header {
    fn new(opcode: u8, is_last: bool, payload: usize) -> Self {
        let mut bytes = [0; HEADER];
        bytes[0] = opcode | if is_last { LAST } else { 0 };
        let length = match payload {
            0..126 => {
                bytes[1] = payload as u8;
                2
            }
            126..0x1_0000 => {
                bytes[1] = 126;
                bytes[2..4].copy_from_slice(&(payload as u16).to_be_bytes());
                4
            }
            _ => {
                bytes[1] = 127;
                bytes[2..].copy_from_slice(&(payload as u64).to_be_bytes());
                10
            }
        };
        Self { bytes, at: 0, length }
    }

    /// No header, for further payload of the frame before.
    fn none() -> Self {
        Self { bytes: [0; HEADER], at: 0, length: 0 }
    }

    /// The bytes that are not written yet.
    fn left(&self) -> &[u8] {
        &self.bytes[self.at.into()..self.length.into()]
    }

    /// Whether there is a header and nothing of it is written.
    fn is_fresh(&self) -> bool {
        self.at == 0 && self.length > 0
    }

    fn opcode(&self) -> u8 {
        self.bytes[0] & 0x0f
    }
}

/// A frame, or further payload of the frame before.
#[derive(Debug)]
struct Part {
    header: Header,
    payload: Bytes,
}

impl Part {
    /// Whether this is a frame of a message, and nothing of it is written.
    fn is_fresh_data(&self) -> bool {
        self.header.is_fresh() && self.header.opcode() < CLOSE
    }
}

/// Frames to write. The first one may be written in part.
#[derive(Debug, Default)]
pub(super) struct Queue {
    parts: VecDeque<Part>,
    /// Whether a message has begun whose last fragment is not queued yet.
    is_open: bool,
    is_closed: bool,
}

impl Queue {
    /// Queues a frame of a text message.
    pub fn data<const N: usize>(&mut self, parts: [Bytes; N], is_first: bool, is_last: bool) {
        if self.is_closed {
            return;
        }
        debug_assert_ne!(
            self.is_open, is_first,
            "a message begins within another, or goes on without beginning"
        );
        self.is_open = !is_last;
        let opcode = if is_first { TEXT } else { CONTINUATION };
        let mut header = Header::new(opcode, is_last, parts.iter().map(Bytes::len).sum());
        for payload in parts {
            if payload.is_empty() {
                continue;
            }
            self.parts.push_back(Part { header, payload });
            header = Header::none();
        }
        if header.is_fresh() {
            self.parts.push_back(Part { header, payload: Bytes::new() });
        }
    }

    pub fn ping(&mut self, payload: Bytes) {
        self.control(PING, payload);
    }

    pub fn pong(&mut self, payload: Bytes) {
        self.control(PONG, payload);
    }

    /// Queues the last frame. Only a frame under way and control frames stay before it.
    pub fn close(&mut self, code: u16, reason: &str) {
        let mut payload = Vec::new();
        if code != NO_CODE {
            let most = CONTROL - 2;
            let end = (0..=most).rev().find(|end| reason.is_char_boundary(*end)).unwrap_or_default();
            payload.extend_from_slice(&code.to_be_bytes());
            payload.extend_from_slice(&reason.as_bytes()[..end]);
        }
        if !self.is_closed {
            self.parts.truncate(self.fresh());
        }
        self.control(CLOSE, payload.into());
        self.is_closed = true;
    }

    /// Queues a control frame before frames of messages that have not begun. It replaces a waiting frame of the same
    /// kind.
    fn control(&mut self, opcode: u8, mut payload: Bytes) {
        if self.is_closed {
            return;
        }
        payload.truncate(CONTROL);
        let part = Part { header: Header::new(opcode, true, payload.len()), payload };
        let is_alike = |part: &&mut Part| part.header.is_fresh() && part.header.opcode() == opcode;
        if let Some(waits) = self.parts.iter_mut().find(is_alike) {
            *waits = part;
            return;
        }
        self.parts.insert(self.fresh(), part);
    }

    /// Index of the first frame of a message that has not begun.
    fn fresh(&self) -> usize {
        self.parts.iter().position(Part::is_fresh_data).unwrap_or(self.parts.len())
    }

    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// Number of queued bytes.
    pub fn bytes(&self) -> usize {
        self.parts.iter().map(|part| part.header.left().len() + part.payload.len()).sum()
    }

    /// Fills the slices with the bytes to write next. Returns how many it filled.
    pub fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let all = self.parts.iter().flat_map(|part| [part.header.left(), &part.payload[..]]);
        let mut filled = 0;
        for (slice, bytes) in slices.iter_mut().zip(all.filter(|bytes| !bytes.is_empty())) {
            *slice = IoSlice::new(bytes);
            filled += 1;
        }
        filled
    }

    /// Removes bytes that were written.
    pub fn advance(&mut self, mut written: usize) {
        while let Some(Part { header, payload }) = self.parts.front_mut() {
            let taken = written.min(header.left().len());
            header.at += taken as u8;
            written -= taken;
            let taken = written.min(payload.len());
            payload.advance(taken);
            written -= taken;
            if !header.left().is_empty() || !payload.is_empty() {
                return;
            }
            self.parts.pop_front();
        }
        if self.parts.capacity() > KEPT {
            self.parts = VecDeque::new();
        }
    }

    /// Empties the queue after a write error.
    pub fn clear(&mut self) {
        self.parts = VecDeque::new();
        self.is_closed = true;
    }
}
