//! Reading published scores again: for events that still wait for their targets, and to be held against what is recomputed.

use std::collections::{BTreeMap, HashSet};

use rdkafka::{
    Message,
    consumer::BaseConsumer,
    error::{KafkaError, KafkaResult},
    message::{BorrowedMessage, Headers},
};

use super::{
    client::Context,
    tail_read::{self, Partition},
};
use crate::{
    config::Config,
    operator::{place::Position, restore::PublishedScores},
    score::{
        read::{self, ScoreRow},
        whole::{self, WholeRow},
    },
};

/// Messages hold hundreds of scores, and most of what waits came last.
const FIRST_LOOK: i64 = 16;

/// What a look back has found.
#[derive(Default)]
struct Found {
    scores: PublishedScores,
    /// The place of the oldest event whose score was read.
    oldest: Option<Position>,
}

/// The scores that were published for the events at these places, by partition. Those that are no longer in the topic
/// are left out; `None` where `keep_on` said no meanwhile.
///
/// # Errors
/// When brokers refuse or don't answer.
pub fn published(
    config: &Config,
    waiting: &BTreeMap<i32, Vec<Position>>,
    keep_on: &mut dyn FnMut() -> bool,
) -> KafkaResult<Option<PublishedScores>> {
    let mut scores = PublishedScores::new();
    if waiting.is_empty() {
        return Ok(Some(scores));
    }
    let consumer = consumer(config)?;
    for (&number, places) in waiting {
        let partition = Partition { consumer: &consumer, topic: &config.output.topic, number };
        let wanted: HashSet<Position> = places.iter().copied().collect();
        let Some(oldest) = places.iter().min() else { continue };
        // Scores stand in the order of their events, so that one older than all that are wanted ends the search.
        let is_enough = |found: &Found, _| {
            found.scores.len() == wanted.len() || found.oldest.is_some_and(|first| first < *oldest)
        };
        let put = |found: &mut Found, message: &BorrowedMessage<'_>| {
            take(found, message, &config.kafka.group, number, &wanted)
        };
        let Some(read) = partition.read_back(FIRST_LOOK, put, is_enough, keep_on)? else { return Ok(None) };
        let num_missing = wanted.len() - read.value.scores.len();
        if num_missing > 0 {
            tracing::warn!(
                events = num_missing,
                partition = number,
                topic = config.output.topic,
                "scores of events that wait for their targets are no longer in the topic: their outcomes will have \
                 no figures; keep the topic for longer than target.wait"
            );
        }
        scores.extend(read.value.scores);
    }
    Ok(Some(scores))
}

/// What a look back for one event has found.
#[derive(Default)]
struct RowsOf {
    rows: Vec<WholeRow>,
    /// The place of the oldest event whose score was read.
    oldest: Option<Position>,
}

/// The rows that were published for the event at a place, oldest first; one, if all is well.
///
/// # Errors
/// When brokers refuse or don't answer.
pub fn rows_of(config: &Config, number: i32, at: Position) -> KafkaResult<Vec<WholeRow>> {
    let consumer = consumer(config)?;
    let partition = Partition { consumer: &consumer, topic: &config.output.topic, number };
    // Scores stand in the order of their events.
    let is_enough =
        |found: &RowsOf, _| !found.rows.is_empty() && found.oldest.is_some_and(|first| first < at);
    let put = |found: &mut RowsOf, message: &BorrowedMessage<'_>| {
        let Some((content_type, payload)) = content(message) else { return };
        let Some(rows) = read::rows(&config.kafka.group, content_type, payload) else { return };
        let own = rows.iter().filter(|row| row.partition == number).map(|row| row.at);
        found.oldest = found.oldest.into_iter().chain(own).min();
        let is_wanted = |row: &ScoreRow| row.partition == number && row.at == at;
        if rows.iter().any(is_wanted) {
            let whole = whole::rows(content_type, payload).into_iter().flatten();
            found.rows.extend(whole.zip(&rows).filter(|(_, row)| is_wanted(row)).map(|(whole, _)| whole));
        }
    };
    let read = partition.read_back(FIRST_LOOK, put, is_enough, &mut || true)?;
    Ok(read.map_or_else(Vec::new, |read| read.value.rows))
}

fn consumer(config: &Config) -> KafkaResult<BaseConsumer<Context>> {
    // The end of each partition is told only after this wait, and all of a takeover waits with it.
    tail_read::consumer(&config.kafka, "10").map_err(KafkaError::ClientCreation)
}

/// A message's content type, and what it holds.
fn content<'a>(message: &'a BorrowedMessage<'_>) -> Option<(&'a [u8], &'a [u8])> {
    let content_type = message.headers().and_then(|headers| {
        headers.iter().find(|header| header.key == "content-type").and_then(|header| header.value)
    });
    Some((content_type.unwrap_or_default(), message.payload()?))
}

fn take(
    found: &mut Found,
    message: &BorrowedMessage<'_>,
    group: &str,
    partition: i32,
    wanted: &HashSet<Position>,
) {
    let Some((content_type, payload)) = content(message) else { return };
    // What is not a score of ours is none of ours.
    let Some(rows) = read::rows(group, content_type, payload) else { return };
    for row in rows.into_iter().filter(|row| row.partition == partition) {
        found.oldest = Some(found.oldest.map_or(row.at, |oldest| oldest.min(row.at)));
        if wanted.contains(&row.at) {
            found.scores.insert((partition, row.at), row.published);
        }
    }
}
