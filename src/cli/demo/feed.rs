//! Feeds the flights to the embedded cluster, at a rate or as fast as they are scored.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use rdkafka::{
    error::{KafkaError, RDKafkaErrorCode},
    producer::{BaseProducer, BaseRecord, Producer},
};

use crate::{
    config::Config,
    flights,
    kafka::{client, embedded::MAX_UNREAD_BYTES},
    run::Shutdown,
};

/// A flight's record with the cluster's overhead is about this large.
const RECORD_BYTES: u64 = 330;
/// How far the feeder may be ahead of what was scored and seen.
const MAX_AHEAD: usize = (MAX_UNREAD_BYTES / RECORD_BYTES) as usize;
const PAUSE: Duration = Duration::from_millis(2);

/// Sends flights until all are sent or the demo ends. `seen` counts those whose scores were read.
pub(super) fn run(
    config: &Config,
    num_flights: usize,
    rate: Option<u32>,
    seen: &AtomicUsize,
    shutdown: &Shutdown,
) -> anyhow::Result<()> {
    let producer: BaseProducer =
        client::base(&config.kafka).remove("group.protocol").set("linger.ms", "2").create()?;
    let begun = Instant::now();
    for (sent, record) in flights::json_records()?.take(num_flights).enumerate() {
        let record = record?;
        let is_early = || {
            rate.is_some_and(|rate| sent as f64 > begun.elapsed().as_secs_f64() * f64::from(rate))
                || sent >= seen.load(Ordering::Relaxed) + MAX_AHEAD
        };
        while is_early() {
            if shutdown.has_begun() {
                return Ok(());
            }
            producer.poll(Duration::ZERO);
            thread::sleep(PAUSE);
        }
        let mut message = BaseRecord::<(), [u8]>::to(&config.input.topic).partition(0).payload(&record);
        while let Err((error, refused)) = producer.send(message) {
            match error {
                KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull) => producer.poll(PAUSE),
                error => return Err(error.into()),
            }
            message = refused;
        }
    }
    while producer.in_flight_count() > 0 && !shutdown.has_begun() {
        producer.poll(PAUSE);
    }
    Ok(())
}
