//! Where the input's partitions begin and end, and where the group stands in them.

use std::{collections::BTreeMap, ops::Range, time::Duration};

use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::{KafkaError, KafkaResult},
    message::OwnedMessage,
};

use super::{
    client::{self, Context},
    membership::Membership,
    tail_read::{self, Partition},
};
use crate::{
    config::{Config, Start},
    state::recovery::{InputFacts, PartitionFacts},
};

/// How long the broker may take to tell an offset; less than the heartbeat's limit.
const TIMEOUT: Duration = Duration::from_secs(10);

/// What brokers know of these partitions of the input; `None` where `keep_on` said no meanwhile.
///
/// # Errors
/// When brokers refuse or don't answer.
pub fn input_facts(
    config: &Config,
    membership: &Membership,
    partitions: &[i32],
    keep_on: &mut dyn FnMut() -> bool,
) -> KafkaResult<Option<InputFacts>> {
    let consumer: BaseConsumer<Context> =
        client::create(&client::consumer(&config.kafka), &config.kafka, Context::default())
            .map_err(KafkaError::ClientCreation)?;
    let committed = membership.committed(partitions)?;
    let topic = &config.input.topic;
    let mut facts = InputFacts::new();
    for &partition in partitions {
        if !keep_on() {
            return Ok(None);
        }
        let (low, high) = consumer.fetch_watermarks(topic, partition, TIMEOUT)?;
        let committed = committed.get(&partition).copied().flatten();
        let start = match config.input.start {
            // Asked only where it matters: a broker that knows no times is no reason to stop.
            Start::At(_) if committed.is_some() => low,
            start => start_of(&consumer, topic, partition, start, (low, high))?,
        };
        facts.insert(partition, PartitionFacts { committed, available: low..high, start });
    }
    Ok(Some(facts))
}

/// The offset that a start says, of a partition with these offsets; that after the last where nothing is so late.
///
/// # Errors
/// When brokers refuse or don't answer.
pub fn start_of(
    consumer: &BaseConsumer<Context>,
    topic: &str,
    partition: i32,
    start: Start,
    (low, high): (i64, i64),
) -> KafkaResult<i64> {
    Ok(match start {
        Start::Earliest => low,
        Start::Latest => high,
        Start::At(time_us) => at_time(consumer, topic, partition, time_us)?.unwrap_or(high),
    })
}

/// The offsets that these partitions of the input have.
///
/// # Errors
/// When brokers refuse or don't answer.
pub fn available(
    config: &Config,
    partitions: impl Iterator<Item = i32>,
) -> KafkaResult<BTreeMap<i32, Range<i64>>> {
    let consumer = tail_read::consumer(&config.kafka, "100").map_err(KafkaError::ClientCreation)?;
    let available = |number| {
        let partition = Partition { consumer: &consumer, topic: &config.input.topic, number };
        Ok((number, partition.available()?))
    };
    partitions.map(available).collect()
}

/// What stands at an offset of the input, or next after it.
///
/// # Errors
/// When brokers refuse.
pub fn first_message(config: &Config, number: i32, offset: i64) -> KafkaResult<Option<OwnedMessage>> {
    let consumer = tail_read::consumer(&config.kafka, "100").map_err(KafkaError::ClientCreation)?;
    Partition { consumer: &consumer, topic: &config.input.topic, number }.read_first(offset)
}

/// The first offset at or after a time; `None` where nothing is that late: what comes next is.
fn at_time(
    consumer: &BaseConsumer<Context>,
    topic: &str,
    partition: i32,
    time_us: i64,
) -> KafkaResult<Option<i64>> {
    let mut time = TopicPartitionList::new();
    time.add_partition_offset(topic, partition, Offset::Offset(time_us.div_euclid(1000)))?;
    let found = consumer.offsets_for_times(time, TIMEOUT)?;
    match found.elements().first().map(|found| found.error().map(|()| found.offset())) {
        Some(Ok(Offset::Offset(at))) => Ok(Some(at)),
        Some(Err(error)) => Err(error),
        _ => Ok(None),
    }
}
