//! A Kafka cluster inside this process: librdkafka's own mock, good enough for the demo.
//!
//! It stores records and plain offset commits and balances groups. It does not store transactional offsets, fence
//! old producers or hide aborted records, and it silently drops the oldest records of a partition past 5 MiB; so
//! whoever feeds it waits for its readers (see `MAX_UNREAD_BYTES`).

use rdkafka::{error::KafkaResult, mocking::MockCluster, producer::DefaultProducerContext};

/// How far a feeder may be ahead of the slowest reader of a partition, in bytes, so that nothing is dropped.
pub const MAX_UNREAD_BYTES: u64 = 2 << 20;

/// The cluster; it ends when this is dropped.
pub struct EmbeddedCluster(MockCluster<'static, DefaultProducerContext>);

impl EmbeddedCluster {
    /// Starts one broker on a free loopback port.
    ///
    /// # Errors
    /// When librdkafka can't open its sockets.
    pub fn start() -> KafkaResult<Self> {
        MockCluster::new(1).map(Self)
    }

    /// Makes a topic.
    ///
    /// # Errors
    /// When librdkafka refuses it.
    pub fn create_topic(&self, name: &str, num_partitions: i32) -> KafkaResult<()> {
        self.0.create_topic(name, num_partitions, 1)
    }

    /// Where clients connect to.
    #[must_use]
    pub fn brokers(&self) -> String {
        self.0.bootstrap_servers()
    }
}
