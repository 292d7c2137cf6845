//! How fast a group goes on, and what CPU that takes.

use std::{
    thread,
    time::{Duration, Instant},
};

use rdkafka::{
    ClientConfig, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
};
use serde_json::{Value, json};

use crate::{
    cluster::{Cluster, PATIENCE},
    feed::Input,
    usage::cpu_seconds,
};

/// How often the group's offset is asked for.
const LOOK: Duration = Duration::from_millis(20);

/// Where a group stands in a topic of one partition, asked of the brokers by one client that lasts.
pub struct Standing {
    consumer: BaseConsumer,
    partition: TopicPartitionList,
    last: i64,
}

impl Standing {
    pub fn of(cluster: &Cluster, group: &str, topic: &str) -> Self {
        let consumer = ClientConfig::new()
            .set("bootstrap.servers", cluster.brokers())
            .set("group.id", group)
            .create()
            .unwrap();
        let mut partition = TopicPartitionList::new();
        partition.add_partition(topic, 0);
        Self { consumer, partition, last: 0 }
    }

    /// The committed offset; 0 where there is none.
    pub fn offset(&self) -> i64 {
        // A coordinator that is still making its topic has no answer yet.
        let Ok(offsets) = self.consumer.committed_offsets(self.partition.clone(), PATIENCE) else { return 0 };
        match offsets.elements()[0].offset() {
            Offset::Offset(offset) => offset,
            _ => 0,
        }
    }

    /// Takes the offset as it is now for the last one that was seen.
    pub fn settle(&mut self) {
        self.last = self.offset();
    }

    /// Waits for a commit further on than the one before; `None` where none comes.
    pub fn next(&mut self) -> Option<i64> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            let offset = self.offset();
            if offset > self.last {
                self.last = offset;
                return Some(offset);
            }
            thread::sleep(LOOK);
        }
        None
    }
}

/// What was done between two commits.
#[derive(Debug, Clone, Copy)]
pub struct Measured {
    pub num_events: u64,
    pub seconds: f64,
    pub cpu_seconds: f64,
    /// `None`: the broker is not one of this machine's that is known.
    pub broker_cpu_seconds: Option<f64>,
}

impl Measured {
    pub fn events_per_second(&self) -> f64 {
        self.num_events as f64 / self.seconds
    }

    /// CPU seconds a million events.
    pub fn cpu(&self) -> f64 {
        1e6 * self.cpu_seconds / self.num_events as f64
    }

    /// The broker's CPU seconds a million events.
    pub fn broker_cpu(&self) -> Option<f64> {
        Some(1e6 * self.broker_cpu_seconds? / self.num_events as f64)
    }

    pub fn to_json(self) -> Value {
        json!({
            "events": self.num_events,
            "seconds": self.seconds,
            "events_per_second": self.events_per_second(),
            "cpu_seconds_per_million": self.cpu(),
            "broker_cpu_seconds_per_million": self.broker_cpu(),
        })
    }
}

/// A moment of a process.
struct Moment {
    num_events: u64,
    at: Instant,
    cpu_seconds: f64,
    broker_cpu_seconds: Option<f64>,
}

/// Follows a process from the first commit of its group, so that no start counts, to the first one after `span`, or until
/// everything is committed.
pub fn follow(cluster: &Cluster, group: &str, input: &Input, pid: u32, span: Duration) -> Measured {
    let broker = broker_pid();
    let mut standing = Standing::of(cluster, group, &input.topic);
    let mut next = || {
        let offset = standing.next().unwrap_or_else(|| panic!("{group} commits nothing more"));
        Moment {
            num_events: input.num_events_before(offset),
            at: Instant::now(),
            cpu_seconds: cpu_seconds(pid),
            broker_cpu_seconds: broker.map(cpu_seconds),
        }
    };
    let first = next();
    assert!(first.num_events < input.num_events(), "the first commit has all of the input: raise --events");
    loop {
        let last = next();
        let seconds = last.at - first.at;
        if seconds >= span || last.num_events == input.num_events() {
            return Measured {
                num_events: last.num_events - first.num_events,
                seconds: seconds.as_secs_f64(),
                cpu_seconds: last.cpu_seconds - first.cpu_seconds,
                broker_cpu_seconds: last.broker_cpu_seconds.zip(first.broker_cpu_seconds).map(|(l, f)| l - f),
            };
        }
    }
}

/// The broker's process, where scripts/kafka.sh has started it.
fn broker_pid() -> Option<u32> {
    std::env::var("TAILWATER_KAFKA_PID").ok()?.parse().ok()
}

/// The middle of some figures, or the mean of the two in the middle.
pub fn median(figures: impl IntoIterator<Item = f64>) -> f64 {
    let mut figures: Vec<f64> = figures.into_iter().collect();
    figures.sort_by(f64::total_cmp);
    let half = figures.len() / 2;
    if figures.len() % 2 == 1 { figures[half] } else { (figures[half - 1] + figures[half]) / 2.0 }
}
