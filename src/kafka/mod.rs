//! Kafka at the edge: everything that talks to brokers.
//!
//! - `client`: how clients are configured, and what happens to their logs
//! - `topics`: the topics that a config names, and how each is to be made
//! - `preflight`: whether brokers, topics and rights are as the config needs them
//! - `admin`: topics' settings, and making topics, for `check`
//! - `membership`: who leads: the process that the one-partition state topic is assigned to
//! - `messages`: messages on their way from the thread that reads to the one that decodes
//! - `backlog`: how much has been read and is not yet used, and so which partitions pause
//! - `reader`: the thread that polls
//! - `offsets`: where the input begins and ends, and where the group stands in it
//! - `state_log`, `score_log`: reading the state, and the scores of events that wait, at the start of a term, or of the past; both by
//!   `tail_read`
//! - `state_writer`: writing to the state topic from outside of the group
//! - `publisher`: the thread that sends and commits; `deliveries` is what became of its messages, `transaction` how calls
//!   on a transaction fail
//! - `tail`: the last messages of a topic, for `check` and `peek`
//! - `embedded`: librdkafka's own cluster, for the demo

pub mod admin;
pub mod backlog;
pub mod client;
pub mod deliveries;
pub mod embedded;
pub mod membership;
pub mod messages;
pub mod offsets;
pub mod preflight;
pub mod publisher;
pub mod reader;
pub mod score_log;
pub mod state_log;
pub mod state_writer;
pub mod tail;
pub mod tail_read;
pub mod topics;
pub mod transaction;

use rdkafka::error::{KafkaError, RDKafkaErrorCode};

/// The code that librdkafka gave with an error, where it gave one.
#[must_use]
pub fn code(error: &KafkaError) -> Option<RDKafkaErrorCode> {
    error.rdkafka_error_code()
}

/// Whether the brokers refuse for good: trying again can't help before somebody has put something right.
#[must_use]
pub fn is_final(error: &KafkaError) -> bool {
    matches!(
        code(error),
        Some(
            RDKafkaErrorCode::GroupAuthorizationFailed
                | RDKafkaErrorCode::TopicAuthorizationFailed
                | RDKafkaErrorCode::UnknownTopicOrPartition
                | RDKafkaErrorCode::Fatal
        )
    )
}
