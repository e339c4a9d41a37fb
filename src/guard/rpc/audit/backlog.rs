//! Lines that stdout has not taken yet, in order, with the number of bytes of each kind. Pure.

use std::collections::VecDeque;

/// Kind of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Record of a forwarded call; its space was reserved.
    Call,
    /// Any other record; all of them share one space.
    Note,
}

/// Capacity retained by an empty buffer.
const SPARE: usize = 16 * 1024;

/// Lines that stdout has not taken yet.
#[derive(Debug, Default)]
pub struct Backlog {
    text: Vec<u8>,
    /// Number of bytes at the start that are written already.
    gone: usize,
    /// Runs of the remaining bytes: kind and length.
    parts: VecDeque<(Kind, usize)>,
    notes: usize,
}

impl Backlog {
    /// Number of pending bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.text.len() - self.gone
    }

    /// Whether nothing is pending.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Number of pending bytes of this kind.
    #[must_use]
    pub fn of(&self, kind: Kind) -> usize {
        if kind == Kind::Note { self.notes } else { self.len() - self.notes }
    }

    /// Number of lines that are not written completely.
    #[must_use]
    pub fn lines(&self) -> u64 {
        self.text[self.gone..].iter().filter(|byte| **byte == b'\n').count() as u64
    }

    /// Appends a line and returns its length in bytes.
    pub fn put(&mut self, kind: Kind, write: impl FnOnce(&mut Vec<u8>)) -> usize {
        let before = self.text.len();
        write(&mut self.text);
        let bytes = self.text.len() - before;
        if kind == Kind::Note {
            self.notes += bytes;
        }
        match self.parts.back_mut() {
            Some((last, there)) if *last == kind => *there += bytes,
            _ => self.parts.push_back((kind, bytes)),
        }
        bytes
    }

    /// Returns up to `most` of the first bytes.
    #[must_use]
    pub fn first(&self, most: usize) -> &[u8] {
        let rest = &self.text[self.gone..];
        &rest[..rest.len().min(most)]
    }

    /// Removes the first bytes. Returns how many of them belong to calls.
    pub fn take(&mut self, bytes: usize) -> usize {
        let (mut left, mut of_calls) = (bytes.min(self.len()), 0);
        self.gone += left;
        while let Some((kind, there)) = self.parts.front_mut() {
            let taken = left.min(*there);
            *there -= taken;
            left -= taken;
            if *kind == Kind::Note {
                self.notes -= taken
            } else {
                of_calls += taken
            }
            if *there > 0 {
                break;
            }
            self.parts.pop_front();
        }
        if self.is_empty() {
            self.gone = 0;
            self.text.clear();
            self.text.shrink_to(SPARE);
        } else if self.gone > self.len() {
            // amortized: moves no more bytes than it removes
            self.text.drain(..self.gone);
            self.gone = 0;
        }
        of_calls
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(backlog: &mut Backlog, kind: Kind, text: &str) {
        assert_eq!(backlog.put(kind, |to| to.extend_from_slice(text.as_bytes())), text.len());
    }

    #[test]
    fn lines_go_in_their_order_and_each_kind_is_counted_to_the_byte() {
        let mut backlog = Backlog::default();
        for (kind, text) in
            [(Kind::Call, "a call\n"), (Kind::Note, "note\n"), (Kind::Note, "two\n"), (Kind::Call, "b\n")]
        {
            put(&mut backlog, kind, text);
        }
        assert_eq!(
            (backlog.len(), backlog.of(Kind::Call), backlog.of(Kind::Note), backlog.lines()),
            (18, 9, 9, 4)
        );
        assert_eq!(backlog.first(3), b"a c");
        assert_eq!(backlog.take(3), 3);
        assert_eq!((backlog.of(Kind::Call), backlog.of(Kind::Note), backlog.lines()), (6, 9, 4));
        assert_eq!(backlog.take(6), 4);
        assert_eq!(backlog.first(100), b"te\ntwo\nb\n");
        put(&mut backlog, Kind::Call, "c\n");
        assert_eq!(backlog.take(8), 1);
        assert_eq!((backlog.of(Kind::Call), backlog.of(Kind::Note)), (3, 0));
        assert_eq!(backlog.take(3), 3);
        assert!(backlog.is_empty() && backlog.parts.is_empty() && backlog.first(1).is_empty());
    }

    #[test]
    fn whatever_pieces_go_nothing_is_lost_or_told_twice() {
        for piece in [1, 2, 3, 7, 100, 4096] {
            let (mut backlog, mut wanted, mut told, mut of_calls) =
                (Backlog::default(), Vec::new(), Vec::new(), 0);
            for number in 0..500 {
                let kind = if number % 3 == 0 { Kind::Note } else { Kind::Call };
                let text = format!("{{\"number\":{number}}}\n");
                put(&mut backlog, kind, &text);
                wanted.extend_from_slice(text.as_bytes());
                of_calls += if kind == Kind::Call { text.len() } else { 0 };
                if number % 5 == 0 {
                    told.extend_from_slice(backlog.first(piece));
                    of_calls -= backlog.take(piece);
                }
                assert_eq!(backlog.of(Kind::Call), of_calls);
            }
            while !backlog.is_empty() {
                told.extend_from_slice(backlog.first(piece));
                of_calls -= backlog.take(piece);
            }
            assert!(told == wanted && of_calls == 0, "in pieces of {piece}");
        }
    }

    #[test]
    fn a_large_buffer_is_given_back_when_it_holds_nothing() {
        let mut backlog = Backlog::default();
        put(&mut backlog, Kind::Call, &"x".repeat(1 << 20));
        backlog.take(1 << 20);
        assert!(backlog.text.capacity() <= SPARE);
    }
}
