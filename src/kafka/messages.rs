//! Messages on their way from the thread that reads them to the one that decodes them: the bytes of many in one buffer.
//!
//! They are decoded where they are used. An event has several parts, each in memory of its own; where one core wrote them and
//! another one read them, both took the longer for it, and so did whoever gave that memory back.

use crate::record::Message;

/// Messages of one partition, oldest first.
#[derive(Debug)]
pub struct Messages {
    partition: i32,
    /// Key and value of each, one after the other.
    bytes: Vec<u8>,
    heads: Vec<Head>,
    /// How many were taken, and how many bytes they had.
    taken: (usize, usize),
}

/// What a message has beside its bytes.
#[derive(Debug, Clone, Copy)]
struct Head {
    offset: i64,
    timestamp_ms: Option<i64>,
    key_bytes: Option<usize>,
    payload_bytes: Option<usize>,
}

impl Messages {
    /// None yet, of this partition.
    #[must_use]
    pub fn new(partition: i32) -> Self {
        Self { partition, bytes: Vec::new(), heads: Vec::new(), taken: (0, 0) }
    }

    /// The partition.
    #[must_use]
    pub fn partition(&self) -> i32 {
        self.partition
    }

    /// What a message counts in a backlog, beside its key and value: an empty one has its weight, too.
    pub const HEAD_BYTES: usize = size_of::<Head>();

    /// Adds a message, copied.
    pub fn push(&mut self, message: &Message<'_>) {
        for part in [message.key, message.payload].into_iter().flatten() {
            self.bytes.extend_from_slice(part);
        }
        self.heads.push(Head {
            offset: message.offset,
            timestamp_ms: message.timestamp_ms,
            key_bytes: message.key.map(<[u8]>::len),
            payload_bytes: message.payload.map(<[u8]>::len),
        });
    }

    /// Takes the oldest one.
    pub fn take(&mut self) -> Option<Message<'_>> {
        let (index, mut at) = self.taken;
        let head = *self.heads.get(index)?;
        let mut part = |num_bytes: usize| {
            let begin = at;
            at += num_bytes;
            begin..at
        };
        let (key, payload) = (head.key_bytes.map(&mut part), head.payload_bytes.map(&mut part));
        self.taken = (index + 1, at);
        Some(Message {
            partition: self.partition,
            offset: head.offset,
            timestamp_ms: head.timestamp_ms,
            key: key.map(|range| &self.bytes[range]),
            payload: payload.map(|range| &self.bytes[range]),
        })
    }

    /// How many were not taken yet.
    #[must_use]
    pub fn len(&self) -> usize {
        self.heads.len() - self.taken.0
    }

    /// Whether all were taken.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What those that were not taken yet count in a backlog.
    #[must_use]
    pub fn num_bytes(&self) -> usize {
        self.bytes.len() - self.taken.1 + self.len() * Self::HEAD_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_out_as_they_went_in() {
        let message = |offset, key, payload| Message {
            partition: 3,
            offset,
            timestamp_ms: (offset != 5).then_some(7 * offset),
            key,
            payload,
        };
        let all = [
            message(4, Some(b"k".as_slice()), Some(b"first".as_slice())),
            message(5, None, Some(b"second")),
            message(8, Some(b"tombstone"), None),
            message(9, Some(b""), Some(b"")),
            message(10, None, None),
        ];
        let mut messages = Messages::new(3);
        assert!(messages.is_empty() && messages.num_bytes() == 0);
        all.iter().for_each(|message| messages.push(message));
        let mut weights = vec![messages.num_bytes()];
        for (nth, message) in all.iter().enumerate() {
            assert_eq!(messages.len(), all.len() - nth);
            assert_eq!(messages.take().as_ref(), Some(message));
            weights.push(messages.num_bytes());
        }
        assert_eq!(messages.take(), None);
        assert_eq!(messages.num_bytes(), 0);
        let each: Vec<usize> = weights.windows(2).map(|pair| pair[0] - pair[1]).collect();
        assert_eq!(each, [6, 6, 9, 0, 0].map(|num_bytes| Messages::HEAD_BYTES + num_bytes));
    }
}
