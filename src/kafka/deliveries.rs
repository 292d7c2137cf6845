//! What became of the messages that were sent.
//!
//! A rejected record that its topic refuses for its size is sent without its value: a record that nobody can use must
//! not stop the stream. In a transaction a refused message means that all of it has to be aborted, so what is too large
//! is remembered beyond the client that learned it: the places of those that were refused, and a size from which on
//! others are not even tried.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
};

use rdkafka::{
    ClientContext,
    config::RDKafkaLogLevel,
    error::{KafkaError, RDKafkaErrorCode},
    message::{DeliveryResult, Headers},
    producer::ProducerContext,
};

use super::{
    client::{self, lock},
    publisher::Message,
};

/// A reject's key is kept up to this size where its value is left out.
const MAX_KEY_BYTES: usize = 65_536;

/// The header that says how large the value was of a rejected record whose value was left out.
pub const VALUE_BYTES_HEADER: &str = "tailwater-value-bytes";

/// Which rejected records are too large for their topic.
#[derive(Debug, Clone, Default)]
pub struct TooLarge(Arc<Mutex<Refused>>);

#[derive(Debug, Default)]
struct Refused {
    /// The places of those that were refused; a small one may have been in a batch with a large one.
    places: BTreeSet<String>,
    /// The size of the smallest among the largest of each refused batch, compressed: a topic's limit is on what is left then.
    compressed_bytes: Option<usize>,
}

/// So many places are remembered at most: after that many, the size has long been learned.
const MAX_PLACES: usize = 65_536;

impl TooLarge {
    /// Whether this reject is known to be too large.
    #[must_use]
    pub fn knows(&self, message: &Message) -> bool {
        let refused = lock(&self.0);
        let is_large = |limit| num_bytes(message) >= limit && compressed_bytes(message) >= limit;
        refused.compressed_bytes.is_some_and(is_large)
            || (!refused.places.is_empty() && refused.places.contains(&place(message)))
    }

    /// These were refused together.
    fn add(&self, messages: &[Message]) {
        let mut refused = lock(&self.0);
        let largest = messages.iter().map(compressed_bytes).max();
        refused.compressed_bytes = largest.into_iter().chain(refused.compressed_bytes).min();
        refused.places.extend(messages.iter().map(place));
        while refused.places.len() > MAX_PLACES {
            refused.places.pop_first();
        }
    }
}

fn num_bytes(message: &Message) -> usize {
    message.payload.as_ref().map_or(0, |payload| payload.len())
        + message.key.as_ref().map_or(0, |key| key.len())
}

/// About the size that a message has on its way.
fn compressed_bytes(message: &Message) -> usize {
    let compressed = |bytes: &[u8]| zstd::bulk::compress(bytes, 1).map_or(bytes.len(), |bytes| bytes.len());
    message.payload.as_deref().map_or(0, compressed) + message.key.as_deref().map_or(0, compressed)
}

/// Where a rejected record stands in the input, as its headers say.
fn place(message: &Message) -> String {
    let of_place = ["tailwater-partition", "tailwater-offset", "tailwater-row"];
    let values = message.headers.iter().filter(|(name, _)| of_place.contains(&name.as_str()));
    values.map(|(_, value)| value.as_str()).collect::<Vec<_>>().join("/")
}

/// What is left of a rejected record that is too large for its topic: key and headers.
#[must_use]
pub fn cut_down(message: Message) -> Message {
    let num_bytes = message.payload.as_ref().map_or(0, |payload| payload.len());
    let mut headers = message.headers;
    headers.push((VALUE_BYTES_HEADER.to_owned(), num_bytes.to_string()));
    Message { payload: None, key: message.key.filter(|key| key.len() <= MAX_KEY_BYTES), headers, ..message }
}

/// Deliveries that failed.
#[derive(Default)]
pub struct Deliveries {
    /// The topic of rejected records.
    rejected: Option<String>,
    too_large: TooLarge,
    /// Those that were refused and not yet sent again.
    refused: Mutex<Vec<Message>>,
    /// The first failure that can't be mended.
    failed: Mutex<Option<(String, KafkaError)>>,
}

impl Deliveries {
    /// Deliveries of which none has failed yet, where rejected records go to this topic.
    #[must_use]
    pub fn new(rejected: Option<String>, too_large: TooLarge) -> Self {
        Self { rejected, too_large, ..Self::default() }
    }

    /// Takes the rejected records that were refused for their size, and remembers them.
    pub fn take_refused(&self) -> Vec<Message> {
        let refused = std::mem::take(&mut *lock(&self.refused));
        self.too_large.add(&refused);
        refused
    }

    /// Takes the first failure that can't be mended.
    pub fn take_failed(&self) -> Option<(String, KafkaError)> {
        lock(&self.failed).take()
    }

    /// A rejected record that can be cut down; one that was already shows that the topic takes next to nothing.
    fn reject(&self, message: &impl rdkafka::Message) -> Option<Message> {
        if Some(message.topic()) != self.rejected.as_deref() {
            return None;
        }
        let text = |value: Option<&[u8]>| String::from_utf8_lossy(value.unwrap_or_default()).into_owned();
        let headers = message.headers().into_iter().flat_map(Headers::iter);
        let headers: Vec<(String, String)> =
            headers.map(|header| (header.key.to_owned(), text(header.value))).collect();
        let is_cut = headers.iter().any(|(name, _)| name == VALUE_BYTES_HEADER);
        (!is_cut).then(|| Message {
            topic: message.topic().into(),
            partition: message.partition(),
            key: message.key().map(Into::into),
            payload: message.payload().map(Into::into),
            headers,
        })
    }
}

impl ClientContext for Deliveries {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        client::log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        client::log_error(&error, reason);
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let Err((error, message)) = result else { return };
        if super::code(error) == Some(RDKafkaErrorCode::MessageSizeTooLarge)
            && let Some(reject) = self.reject(message)
        {
            return lock(&self.refused).push(reject);
        }
        let topic = rdkafka::Message::topic(message).to_owned();
        lock(&self.failed).get_or_insert((topic, error.clone()));
    }
}
