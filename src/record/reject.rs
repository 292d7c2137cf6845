//! What goes to the rejected topic.

use super::{Message, Record, Reject, RejectReason};
use crate::config::InputFormat;

/// The longest detail in characters: a header is to be read, the bytes themselves travel along.
const MAX_DETAIL_CHARS: usize = 240;

/// Why a row can't be used, before it is known which bytes to keep.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Fault {
    pub reason: RejectReason,
    pub detail: String,
}

impl Fault {
    pub fn new(reason: RejectReason, detail: impl Into<String>) -> Self {
        let mut detail = detail.into();
        cut(&mut detail, MAX_DETAIL_CHARS);
        Self { reason, detail }
    }

    pub fn reject(self, message: &Message<'_>, row: u32, last: bool, payload: Option<Box<[u8]>>) -> Record {
        Record::Reject(Box::new(Reject {
            partition: message.partition,
            offset: message.offset,
            row,
            last,
            key: message.key.map(Into::into),
            payload,
            reason: self.reason,
            detail: self.detail,
        }))
    }
}

/// Cuts a text to `max_chars` characters, the last of them an ellipsis where something was cut.
pub(super) fn cut(text: &mut String, max_chars: usize) {
    if text.char_indices().nth(max_chars).is_some() {
        let end = text.char_indices().nth(max_chars - 1).map_or(0, |(index, _)| index);
        text.truncate(end);
        text.push('…');
    }
}

impl Reject {
    /// The headers of its message on the rejected topic: the reason, and where in `topic` it stands.
    ///
    /// `tailwater-row` comes only with a format that packs many rows into one message.
    #[must_use]
    pub fn headers(&self, topic: &str, format: InputFormat) -> Vec<(&'static str, String)> {
        let mut headers = vec![
            ("tailwater-reason", format!("{}: {}", self.reason.label(), self.detail)),
            ("tailwater-topic", topic.to_owned()),
            ("tailwater-partition", self.partition.to_string()),
            ("tailwater-offset", self.offset.to_string()),
        ];
        if format == InputFormat::Arrow {
            headers.push(("tailwater-row", self.row.to_string()));
        }
        headers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_cut_between_characters() {
        let mut text = "ääääää".to_owned();
        cut(&mut text, 6);
        assert_eq!(text, "ääääää");
        cut(&mut text, 4);
        assert_eq!(text, "äää…");
    }

    #[test]
    fn headers_say_why_and_where_from() {
        let message = Message { partition: 3, offset: 41, timestamp_ms: None, key: None, payload: None };
        let fault = Fault::new(RejectReason::WrongType, "arr_delay: expected a number, found true");
        let Record::Reject(reject) = fault.reject(&message, 7, true, None) else { unreachable!() };
        let json = reject.headers("flights", InputFormat::Json);
        assert_eq!(
            json,
            [
                ("tailwater-reason", "wrong_type: arr_delay: expected a number, found true".to_owned()),
                ("tailwater-topic", "flights".to_owned()),
                ("tailwater-partition", "3".to_owned()),
                ("tailwater-offset", "41".to_owned()),
            ]
        );
        let arrow = reject.headers("flights", InputFormat::Arrow);
        assert_eq!(arrow[..4], json[..]);
        assert_eq!(arrow[4], ("tailwater-row", "7".to_owned()));
    }
}
