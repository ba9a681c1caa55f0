//! Bytes in, whole lines out, with a limit.

use thiserror::Error;

/// Longest line taken from a client or a driver, in bytes. NUT has no limit here; memory does.
pub const MAX_LINE: usize = 65_536;

/// Why a line could not be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum LineError {
    /// No line feed within the limit. The bytes are dropped up to the next line feed.
    #[error("the line is longer than {limit} bytes")]
    TooLong {
        /// The limit that was passed.
        limit: usize,
    },
}

/// Collects bytes until a line feed and gives lines without it (and without a `\r` before it).
///
/// A line that is too long costs that line: its bytes are dropped, the next line is read as usual.
#[derive(Debug)]
pub struct LineBuffer {
    pending: Vec<u8>,
    limit: usize,
    overflowing: bool,
}

impl Default for LineBuffer {
    fn default() -> Self {
        Self::with_limit(MAX_LINE)
    }
}

impl LineBuffer {
    /// A buffer that takes lines of at most `limit` bytes.
    #[must_use]
    pub const fn with_limit(limit: usize) -> Self {
        Self { pending: Vec::new(), limit, overflowing: false }
    }

    /// Takes bytes as they came and calls `each` for every line that is now whole, in order.
    pub fn push(&mut self, bytes: &[u8], mut each: impl FnMut(Result<&[u8], LineError>)) {
        let mut rest = bytes;
        while let Some(at) = rest.iter().position(|byte| *byte == b'\n') {
            let (head, tail) = rest.split_at(at);
            rest = tail.get(1..).unwrap_or_default();
            if self.overflowing || self.pending.len() + head.len() > self.limit {
                self.overflowing = false;
                self.pending = Vec::new();
                each(Err(LineError::TooLong { limit: self.limit }));
            } else if self.pending.is_empty() {
                each(Ok(without_return(head)));
            } else {
                self.pending.extend_from_slice(head);
                each(Ok(without_return(&self.pending)));
                self.pending.clear();
            }
        }
        if self.overflowing {
            return;
        }
        if self.pending.len() + rest.len() > self.limit {
            self.overflowing = true;
            self.pending = Vec::new();
        } else {
            self.pending.extend_from_slice(rest);
        }
    }

    /// Whether a line has begun that is not whole yet.
    #[must_use]
    pub fn is_half(&self) -> bool {
        self.overflowing || !self.pending.is_empty()
    }

    /// Forgets the half line.
    pub fn clear(&mut self) {
        self.pending = Vec::new();
        self.overflowing = false;
    }
}

fn without_return(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lines(buffer: &mut LineBuffer, bytes: &[u8]) -> Vec<Result<Vec<u8>, LineError>> {
        let mut seen = Vec::new();
        buffer.push(bytes, |line| seen.push(line.map(<[u8]>::to_vec)));
        seen
    }

    #[test]
    fn a_half_line_waits_for_its_other_half() {
        let mut buffer = LineBuffer::default();
        assert_eq!(lines(&mut buffer, b"PI"), []);
        assert!(buffer.is_half());
        assert_eq!(lines(&mut buffer, b"NG\nDUMP"), [Ok(b"PING".to_vec())]);
        assert_eq!(lines(&mut buffer, b"ALL\r\n\n"), [Ok(b"DUMPALL".to_vec()), Ok(Vec::new())]);
        assert!(!buffer.is_half());
    }

    #[test]
    fn a_line_too_long_costs_that_line_alone_and_no_memory() {
        let mut buffer = LineBuffer::with_limit(8);
        assert_eq!(lines(&mut buffer, b"1234567"), []);
        assert_eq!(lines(&mut buffer, b"89abcdef"), []);
        assert_eq!(buffer.pending.capacity(), 0);
        assert_eq!(
            lines(&mut buffer, b"more\nok\n"),
            [Err(LineError::TooLong { limit: 8 }), Ok(b"ok".to_vec())]
        );
    }

    proptest! {
        #[test]
        fn how_the_bytes_are_cut_makes_no_difference(text in prop::collection::vec(prop_oneof![Just(b'\n'), any::<u8>()], 0..200), cuts in prop::collection::vec(0usize..200, 0..10)) {
            let mut whole = LineBuffer::with_limit(20);
            let expected = lines(&mut whole, &text);
            let mut cut = LineBuffer::with_limit(20);
            let mut marks: Vec<usize> = cuts.into_iter().map(|c| c.min(text.len())).collect();
            marks.push(text.len());
            marks.sort_unstable();
            let mut seen = Vec::new();
            let mut from = 0;
            for to in marks {
                seen.extend(lines(&mut cut, &text[from..to]));
                from = to;
            }
            prop_assert_eq!(seen, expected);
        }
    }
}
