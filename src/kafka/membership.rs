//! Who leads. All processes of a group subscribe to the one-partition state topic, and the one it is assigned to
//! leads; the others stand by. The leader takes the input's partitions by `assign`, so a standby that comes or
//! goes moves none of them, and its offsets are committed for the same group, so that lag tools see them.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use rdkafka::{
    ClientConfig, ClientContext, Offset, TopicPartitionList,
    config::RDKafkaLogLevel,
    consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext, ConsumerGroupMetadata, Rebalance},
    error::{KafkaError, KafkaResult},
};

use super::client::{self, Passing, lock};
use crate::config::Config;

/// The group waits this long for a word of a member before it gives its part to another one: how long it takes until a
/// standby notices that the leader has crashed.
const SESSION_TIMEOUT_MS: &str = "10000";
const HEARTBEAT_MS: &str = "2000";
/// How long a revoked leader may take to hand in what it has scored. The client's own thread goes on telling the group that
/// this process is alive meanwhile.
const HAND_OVER: Duration = Duration::from_secs(15);
/// How long the broker may take to answer about offsets.
const OFFSETS_TIMEOUT: Duration = Duration::from_secs(10);

/// A place in the group.
pub struct Membership {
    consumer: BaseConsumer<Lease>,
    input: String,
    group: String,
    state_topic: String,
    nameless: ConsumerGroupMetadata,
    passing: Passing,
}

/// Brokers refuse a place in the group: why, and what to do.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct Refused(String);

/// What the rebalances have decided so far.
#[derive(Clone, Default)]
pub struct Lease(Arc<Inner>);

#[derive(Default)]
struct Inner {
    state: Mutex<State>,
    changed: Condvar,
    rebalances: AtomicU64,
}

#[derive(Default)]
struct State {
    /// How often leadership came to this process.
    num_assigned: u64,
    assigned: bool,
    /// The last lease was not given back but lost: the group has gone on without this process.
    lost: bool,
    /// The leader has work under way that it wants to hand in before it yields.
    working: bool,
}

impl Lease {
    /// Whether this process leads at the moment.
    #[must_use]
    pub fn is_held(&self) -> bool {
        lock(&self.0.state).assigned
    }

    /// The number of the lease that is held at the moment. One that was lost and came back is another one.
    #[must_use]
    pub fn number(&self) -> Option<u64> {
        let state = lock(&self.0.state);
        state.assigned.then_some(state.num_assigned)
    }

    /// Whether the lease of this number was lost, so that there is nobody any more to hand work in for. One that is given back
    /// in good order is not.
    #[must_use]
    pub fn is_lost(&self, number: u64) -> bool {
        let state = lock(&self.0.state);
        state.lost || state.num_assigned != number
    }

    /// Rebalances so far.
    #[must_use]
    pub fn rebalances(&self) -> u64 {
        self.0.rebalances.load(Ordering::Relaxed)
    }

    /// The leader has begun to work: a revocation waits until `hand_in`.
    pub fn begin(&self) {
        lock(&self.0.state).working = true;
    }

    /// The leader's work is handed in: a revocation need not wait.
    pub fn hand_in(&self) {
        lock(&self.0.state).working = false;
        self.0.changed.notify_all();
    }

    fn grant(&self) {
        let mut state = lock(&self.0.state);
        (state.assigned, state.lost) = (true, false);
        state.num_assigned += 1;
    }

    /// Ends the lease. Where it was not lost already, waits until the work under way is handed in, for `HAND_OVER` at
    /// most.
    fn revoke(&self, is_lost: bool) {
        let mut state = lock(&self.0.state);
        (state.assigned, state.lost) = (false, is_lost);
        if is_lost {
            tracing::warn!("leadership was lost: the group has not heard from this process for too long");
            return;
        }
        let deadline = Instant::now() + HAND_OVER;
        while state.working {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                tracing::warn!(
                    "leadership ends before all scores were handed in; the next leader scores them again"
                );
                return;
            }
            (state, _) = self.0.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl ClientContext for Lease {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        client::log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        client::log_error(&error, reason);
    }
}

impl ConsumerContext for Lease {
    fn pre_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        match rebalance {
            Rebalance::Revoke(partitions) if partitions.count() > 0 => {
                self.revoke(consumer.assignment_lost());
            }
            Rebalance::Error(error) => tracing::warn!(%error, "rebalance failed"),
            _ => {}
        }
    }

    fn post_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        self.0.rebalances.fetch_add(1, Ordering::Relaxed);
        if let Rebalance::Assign(partitions) = rebalance
            && partitions.count() > 0
        {
            // The assignment is all that matters here; what the partition holds is not read.
            if let Err(error) = consumer.pause(partitions) {
                tracing::warn!(%error, "the state topic could not be paused");
            }
            self.grant();
        }
    }
}

impl Membership {
    /// Joins the group. Whether it leads shows while it is polled.
    ///
    /// # Errors
    /// When the client can't be made: a property that librdkafka refuses.
    pub fn join(config: &Config) -> KafkaResult<Self> {
        let mut client = client::consumer(&config.kafka);
        client.set("auto.offset.reset", "latest");
        // The newer protocol leaves these to the brokers.
        if config.kafka.properties.get("group.protocol").is_none_or(|p| p.0 != "consumer") {
            let defaults = [
                ("partition.assignment.strategy", "cooperative-sticky"),
                ("session.timeout.ms", SESSION_TIMEOUT_MS),
                ("heartbeat.interval.ms", HEARTBEAT_MS),
            ];
            client::set_defaults(&mut client, &config.kafka, &defaults);
        }
        let membership = Self::from_client(&client, config)?;
        membership.consumer.subscribe(&[&config.state.topic])?;
        Ok(membership)
    }

    /// Looks at the group without joining it.
    ///
    /// # Errors
    /// When the client can't be made.
    pub fn look(config: &Config) -> KafkaResult<Self> {
        Self::from_client(&client::consumer(&config.kafka), config)
    }

    fn from_client(client: &ClientConfig, config: &Config) -> KafkaResult<Self> {
        let consumer = client.create_with_context(Lease::default())?;
        // It never joins, and so needs no brokers.
        let outsider: BaseConsumer = ClientConfig::new().set("group.id", &config.kafka.group).create()?;
        let nameless = outsider.group_metadata().expect("a consumer with a group.id has one");
        Ok(Self {
            consumer,
            input: config.input.topic.clone(),
            group: config.kafka.group.clone(),
            state_topic: config.state.topic.clone(),
            nameless,
            passing: Passing::default(),
        })
    }

    /// Keeps the membership alive and lets rebalances happen; to be called more often than `max.poll.interval.ms`.
    ///
    /// # Errors
    /// When the broker denies the right to the group or the state topic, or that is gone. Other errors are logged, since librdkafka tries on by itself.
    pub fn poll(&self, timeout: Duration) -> Result<(), Refused> {
        match self.consumer.poll(timeout) {
            None | Some(Ok(_)) => Ok(()),
            Some(Err(error)) if super::is_final(&error) => {
                let (group, topic) = (&self.group, &self.state_topic);
                Err(Refused(format!(
                    "the membership in the consumer group '{group}' is refused: {error}; give the principal the right to \
                     READ the group '{group}' (kafka.group) and the topic '{topic}' (state.topic), and check that the \
                     topic exists"
                )))
            }
            Some(Err(error)) => {
                if self.passing.is_due(&error) {
                    tracing::warn!(%error, "the group can't be heard; going on by itself");
                }
                Ok(())
            }
        }
    }

    /// The input topic, whose offsets are committed.
    #[must_use]
    pub fn input(&self) -> &str {
        &self.input
    }

    /// What the rebalances have decided.
    #[must_use]
    pub fn lease(&self) -> &Lease {
        self.consumer.context()
    }

    /// The group's committed offset of each of these input partitions; `None` where it has none.
    ///
    /// # Errors
    /// When the broker does not answer or refuses.
    pub fn committed(&self, partitions: &[i32]) -> KafkaResult<BTreeMap<i32, Option<i64>>> {
        let mut list = TopicPartitionList::new();
        for &partition in partitions {
            list.add_partition(&self.input, partition);
        }
        let committed = self.consumer.committed_offsets(list, OFFSETS_TIMEOUT)?;
        let offset = |offset| if let Offset::Offset(at) = offset { Some(at) } else { None };
        Ok(committed.elements().iter().map(|e| (e.partition(), offset(e.offset()))).collect())
    }

    /// What proves to brokers that a commit comes from a member of the group, as it is by now. They refuse it from one that
    /// has not heard yet of a rebalance, as each standby that comes or goes makes one.
    #[must_use]
    pub fn group_metadata(&self) -> Option<ConsumerGroupMetadata> {
        self.consumer.group_metadata()
    }

    /// The group without a member, from which brokers take a transaction's offsets whatever the group is about.
    #[must_use]
    pub fn nameless_metadata(&self) -> &ConsumerGroupMetadata {
        &self.nameless
    }

    /// Commits the next offsets to read, outside of any transaction.
    ///
    /// # Errors
    /// When the broker refuses: most often because this process no longer leads.
    pub fn commit(&self, offsets: &TopicPartitionList) -> KafkaResult<()> {
        self.consumer.commit(offsets, CommitMode::Sync)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_lease_that_was_not_given_back_is_lost() {
        let lease = Lease::default();
        lease.grant();
        assert_eq!((lease.number(), lease.is_lost(1)), (Some(1), false));
        lease.revoke(false);
        assert_eq!((lease.number(), lease.is_lost(1)), (None, false), "its work can still be handed in");
        lease.grant();
        lease.revoke(true);
        assert_eq!((lease.number(), lease.is_lost(2)), (None, true));
        lease.grant();
        assert_eq!((lease.number(), lease.is_lost(2), lease.is_lost(3)), (Some(3), true, false));
    }
}
