//! Decoder of a caller's WebSocket frames. Pure.
//!
//! Accepts RFC 6455 section 5 only: no extension, and nothing that only a lenient server would accept.

use hyper::body::Bytes;

/// Maximum size of a message's piece in bytes.
pub const PIECE: usize = 16 << 10;
/// Bytes read at once if no larger frame is expected.
const READ: usize = 4 << 10;
/// Maximum size of a header in bytes: two, the length and the mask.
const HEADER: usize = 14;
/// Maximum payload of a control frame in bytes.
const CONTROL: u64 = 125;

/// An event from the caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Unmasked bytes of a text or binary message: at least one, at most [`PIECE`]. A caller may send each byte in a
    /// frame of its own, so a consumer that stores pieces must join them, or they need many times their size.
    Piece(Bytes),
    /// The message is complete.
    End,
    /// A ping. The pong must have the same payload.
    Ping(Bytes),
    /// A pong with any payload.
    Pong,
    /// The caller closes, with its code and reason if there are any. No event follows.
    Close(Option<(u16, String)>),
}

/// A violation of the protocol or of a message's maximum size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Breach {
    /// Code to close with: 1002, 1007 or 1009 (RFC 6455 section 7.4.1).
    pub code: u16,
    /// What is wrong, for the caller.
    pub reason: &'static str,
}

const fn protocol(reason: &'static str) -> Breach {
    Breach { code: 1002, reason }
}

const RESERVED: Breach = protocol("a reserved bit is set, and no extension was agreed on");
const OPCODE: Breach = protocol("an opcode that is not known");
const SPLIT: Breach = protocol("a control frame in fragments");
const LONG: Breach = protocol("a control frame of more than 125 bytes");
const UNMASKED: Breach = protocol("a frame without a mask");
const LENGTH: Breach = protocol("a length that is not written in the shortest way");
const HUGE: Breach = protocol("a length of more than 63 bits");
const CONTINUES_NOTHING: Breach = protocol("a continuation of no message");
const WITHIN: Breach = protocol("a new message within another");
const CLOSE_SHORT: Breach = protocol("a close with half a code");
const CLOSE_CODE: Breach = protocol("a close with a code that may not be sent");
const CLOSE_TEXT: Breach = Breach { code: 1007, reason: "the reason of a close is not UTF-8" };
const TOO_LARGE: Breach = Breach { code: 1009, reason: "the message is too large" };

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Opcode {
    Continuation,
    /// Text or binary.
    Data,
    Close,
    Ping,
    Pong,
}

impl Opcode {
    fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }
}

/// Header of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Header {
    is_last: bool,
    opcode: Opcode,
    length: u64,
    mask: [u8; 4],
}

impl Header {
    /// Parses a header. Returns it with its size, or `None` if more bytes are needed.
    fn read(bytes: &[u8]) -> Result<Option<(Self, usize)>, Breach> {
        let Some(first) = bytes.first() else { return Ok(None) };
        let is_last = first & 0x80 != 0;
        if first & 0x70 != 0 {
            return Err(RESERVED);
        }
        let opcode = match first & 0x0f {
            0 => Opcode::Continuation,
            1 | 2 => Opcode::Data,
            8 => Opcode::Close,
            9 => Opcode::Ping,
            10 => Opcode::Pong,
            _ => return Err(OPCODE),
        };
        if opcode.is_control() && !is_last {
            return Err(SPLIT);
        }
        let Some(second) = bytes.get(1) else { return Ok(None) };
        if second & 0x80 == 0 {
            return Err(UNMASKED);
        }
        let short = u64::from(second & 0x7f);
        if opcode.is_control() && short > CONTROL {
            return Err(LONG);
        }
        // number of bytes of an extended length, and its minimum value
        let (more, least) = match short {
            126 => (2, 126),
            127 => (8, 1 << 16),
            _ => (0, 0),
        };
        let Some(longer) = bytes.get(2..2 + more) else { return Ok(None) };
        let length = match more {
            0 => short,
            _ => longer.iter().fold(0, |length, byte| length << 8 | u64::from(*byte)),
        };
        if length >> 63 != 0 {
            return Err(HUGE);
        }
        if length < least {
            return Err(LENGTH);
        }
        let mask = bytes.get(2 + more..).and_then(|rest| rest.first_chunk());
        Ok(mask.map(|mask| (Self { is_last, opcode, length, mask: *mask }, 2 + more + mask.len())))
    }
}

/// State of the decoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doing {
    Header,
    /// In the payload of a message.
    Message {
        is_last: bool,
    },
    /// In the payload of a control frame.
    Control(Opcode),
    /// Nothing more is decoded.
    Over,
}

/// Decoder of frames.
#[derive(Debug)]
pub(super) struct Reader {
    /// Maximum size of a message in bytes.
    pub most: u64,
    /// With a number, a message may begin only if it is a single frame of fewer bytes.
    pub begins: Option<u64>,
    doing: Doing,
    /// An incomplete header, and its number of bytes.
    header: ([u8; HEADER], u8),
    /// Payload bytes of this frame still to come.
    left: u64,
    /// Mask, rotated to the next payload byte.
    mask: [u8; 4],
    /// Size of the message as announced by its headers so far; `None` outside a message.
    message: Option<u64>,
    /// Payload of a control frame so far.
    control: Vec<u8>,
}

impl Reader {
    pub fn new(most: u64) -> Self {
        Self {
            most,
            begins: None,
            doing: Doing::Header,
            header: ([0; HEADER], 0),
            left: 0,
            mask: [0; 4],
            message: None,
            control: Vec::new(),
        }
    }

    /// Consumes input until there is an event. Without one it consumes all of the input, unless a message may not
    /// begin. After a breach or a close it consumes everything and returns no event.
    pub fn step(&mut self, input: &mut &[u8]) -> Result<Option<Event>, Breach> {
        let stepped = self.stepped(input);
        if matches!(stepped, Err(_) | Ok(Some(Event::Close(_)))) {
            self.end();
        }
        if self.is_over() {
            *input = &[];
        }
        stepped
    }

    fn stepped(&mut self, input: &mut &[u8]) -> Result<Option<Event>, Breach> {
        loop {
            match self.doing {
                Doing::Over => return Ok(None),
                Doing::Header => match self.header(input)? {
                    Some(header) => self.begin(&header)?,
                    None => return Ok(None),
                },
                Doing::Message { .. } if self.is_kept() => return Ok(None),
                Doing::Message { is_last } if self.left == 0 => {
                    self.doing = Doing::Header;
                    if is_last {
                        self.message = None;
                        return Ok(Some(Event::End));
                    }
                }
                Doing::Message { .. } => {
                    let mut piece = Vec::with_capacity(self.there(input));
                    self.unmasked(input, &mut piece);
                    return Ok((!piece.is_empty()).then(|| Event::Piece(piece.into())));
                }
                Doing::Control(opcode) => {
                    let mut payload = std::mem::take(&mut self.control);
                    self.unmasked(input, &mut payload);
                    if self.left > 0 {
                        self.control = payload;
                        return Ok(None);
                    }
                    self.doing = Doing::Header;
                    return control(opcode, payload).map(Some);
                }
            }
        }
    }

    /// Whether a message waits to begin: its header was read, and nothing of its payload.
    pub fn is_kept(&self) -> bool {
        let Doing::Message { is_last } = self.doing else { return false };
        let is_fresh = self.message == Some(self.left);
        is_fresh && self.begins.is_some_and(|most| !is_last || self.left >= most)
    }

    /// Returns the next header once it is complete.
    fn header(&mut self, input: &mut &[u8]) -> Result<Option<Header>, Breach> {
        let (header, has) = &mut self.header;
        let before = usize::from(*has);
        let there = HEADER.min(before + input.len());
        header[before..there].copy_from_slice(&input[..there - before]);
        let read = Header::read(&header[..there])?;
        let taken = read.map_or(there, |(_, length)| length);
        *has = if read.is_some() { 0 } else { taken as u8 };
        *input = &input[taken - before..];
        Ok(read.map(|(header, _)| header))
    }

    fn begin(&mut self, header: &Header) -> Result<(), Breach> {
        (self.left, self.mask) = (header.length, header.mask);
        if header.opcode.is_control() {
            self.control = Vec::with_capacity(header.length as usize);
            self.doing = Doing::Control(header.opcode);
            return Ok(());
        }
        let before = match (header.opcode, self.message) {
            (Opcode::Continuation, None) => return Err(CONTINUES_NOTHING),
            (Opcode::Continuation, Some(before)) => before,
            (_, None) => 0,
            (_, Some(_)) => return Err(WITHIN),
        };
        let announced = before.saturating_add(header.length);
        if announced > self.most {
            return Err(TOO_LARGE);
        }
        self.message = Some(announced);
        self.doing = Doing::Message { is_last: header.is_last };
        Ok(())
    }

    /// Number of payload bytes of this frame in the input, at most [`PIECE`].
    fn there(&self, input: &[u8]) -> usize {
        input.len().min(PIECE).min(usize::try_from(self.left).unwrap_or(PIECE))
    }

    /// Moves the available payload of this frame and removes the mask.
    fn unmasked(&mut self, input: &mut &[u8], into: &mut Vec<u8>) {
        let taken = self.there(input);
        let (payload, rest) = input.split_at(taken);
        let before = into.len();
        into.extend_from_slice(payload);
        unmask(&mut into[before..], self.mask);
        self.mask.rotate_left(taken % 4);
        self.left -= taken as u64;
        *input = rest;
    }

    /// Number of bytes to read next, so that little is read beyond a known frame.
    pub fn wanted(&self) -> usize {
        match self.doing {
            Doing::Message { .. } => usize::try_from(self.left).unwrap_or(PIECE).clamp(READ, PIECE),
            _ => READ,
        }
    }

    /// Whether the stream may not end here: within a frame or a message.
    pub fn is_within(&self) -> bool {
        self.doing != Doing::Over
            && (self.doing != Doing::Header || self.header.1 > 0 || self.message.is_some())
    }

    pub fn is_in_message(&self) -> bool {
        self.message.is_some()
    }

    #[cfg(test)]
    pub fn held(&self) -> usize {
        self.control.capacity()
    }

    pub fn is_over(&self) -> bool {
        self.doing == Doing::Over
    }

    /// Stops decoding.
    pub fn end(&mut self) {
        self.doing = Doing::Over;
        self.message = None;
    }
}

fn control(opcode: Opcode, payload: Vec<u8>) -> Result<Event, Breach> {
    match opcode {
        Opcode::Ping => return Ok(Event::Ping(payload.into())),
        Opcode::Close => {}
        _ => return Ok(Event::Pong),
    }
    let Some((code, reason)) = payload.split_first_chunk() else {
        return if payload.is_empty() { Ok(Event::Close(None)) } else { Err(CLOSE_SHORT) };
    };
    let code = u16::from_be_bytes(*code);
    // 1004 is undefined, 1005, 1006 and 1015 are never sent; up to 1014 are registered, from 3000 on private
    if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
        return Err(CLOSE_CODE);
    }
    let reason = std::str::from_utf8(reason).map_err(|_| CLOSE_TEXT)?;
    Ok(Event::Close(Some((code, reason.to_owned()))))
}

/// Applies or removes a mask.
pub(super) fn unmask(bytes: &mut [u8], mask: [u8; 4]) {
    let [a, b, c, d] = mask;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (words, rest) = bytes.as_chunks_mut();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
}
