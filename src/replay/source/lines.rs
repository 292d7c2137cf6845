//! Lines of a text, in pieces.

use std::io::{self, BufRead};

use super::{Lines, PIECE_BYTES, PIECE_ROWS};

/// Reads a text line by line. Blank lines are passed over.
pub struct LineReader<R> {
    reader: R,
    /// Of a longer line only so much is kept, and a byte more, by which the decoder knows it.
    max_bytes: usize,
    next: i64,
}

impl<R: BufRead> LineReader<R> {
    /// Lines of at most so many bytes.
    pub fn new(reader: R, max_bytes: usize) -> Self {
        Self { reader, max_bytes, next: 0 }
    }

    /// The next lines; `None` at the end.
    ///
    /// # Errors
    /// When the text can't be read.
    pub fn read(&mut self) -> io::Result<Option<Lines>> {
        let mut lines = Lines { first: self.next, ..Lines::default() };
        while lines.ranges.len() < PIECE_ROWS && lines.text.len() < PIECE_BYTES {
            let begin = lines.text.len();
            if !self.read_line(&mut lines.text)? {
                break;
            }
            if lines.text[begin..].trim_ascii().is_empty() {
                lines.text.truncate(begin);
            } else {
                lines.ranges.push(begin..lines.text.len());
                self.next += 1;
            }
        }
        Ok((!lines.ranges.is_empty()).then_some(lines))
    }

    /// Appends a line without its end; `false` where there is none.
    fn read_line(&mut self, text: &mut Vec<u8>) -> io::Result<bool> {
        let begin = text.len();
        let mut is_there = false;
        loop {
            let buffer = self.reader.fill_buf()?;
            if buffer.is_empty() {
                return Ok(is_there);
            }
            is_there = true;
            let end = buffer.iter().position(|&byte| byte == b'\n');
            let part = &buffer[..end.unwrap_or(buffer.len())];
            let room = (self.max_bytes + 1).saturating_sub(text.len() - begin);
            text.extend_from_slice(&part[..part.len().min(room)]);
            let consumed = part.len() + usize::from(end.is_some());
            self.reader.consume(consumed);
            if end.is_some() {
                return Ok(true);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn blank_lines_are_passed_over_and_a_long_one_is_cut_where_the_decoder_sees_it() {
        let text = b"a\n\n  \r\nbb\n0123456789\nlast";
        let mut reader = LineReader::new(io::BufReader::with_capacity(3, &text[..]), 4);
        let lines = reader.read().unwrap().unwrap();
        let read: Vec<&[u8]> = lines.ranges.iter().map(|range| &lines.text[range.clone()]).collect();
        assert_eq!(read, [&b"a"[..], b"bb", b"01234", b"last"]);
        assert!(reader.read().unwrap().is_none());
    }

    #[test]
    fn pieces_are_bounded_and_numbered_on() {
        let text = "x\n".repeat(PIECE_ROWS + 3);
        let mut reader = LineReader::new(text.as_bytes(), 10);
        assert_eq!(reader.read().unwrap().unwrap().ranges.len(), PIECE_ROWS);
        let rest = reader.read().unwrap().unwrap();
        assert_eq!((rest.first, rest.ranges.len()), (PIECE_ROWS as i64, 3));
    }
}
