//! From what was read to what the operator takes: messages are decoded a few at a time, and only when the operator has run out of
//! their partition.
//!
//! So an event is decoded on the core that uses it, shortly before that, and however much was read, few events are in memory.

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use crate::{
    config::Config,
    kafka::{
        backlog::Backlog,
        reader::{Chunk, Read},
    },
    operator::{Input, Operator, RECORDS_AT_ONCE, Taken},
    record::{Decoder, Record},
};

/// What was read and is not decoded yet.
#[derive(Debug)]
pub struct Intake<'a> {
    decoder: Decoder,
    backlog: &'a Backlog,
    /// Of each partition, oldest first. While there is any of a partition, the operator has a record of it.
    read: BTreeMap<i32, VecDeque<Read>>,
    records: Vec<Record>,
    spent: Duration,
}

impl<'a> Intake<'a> {
    /// An intake that takes what it decodes off the backlog.
    #[must_use]
    pub fn new(config: &Config, backlog: &'a Backlog) -> Self {
        Self {
            decoder: Decoder::new(config),
            backlog,
            read: BTreeMap::new(),
            records: Vec::new(),
            spent: Duration::ZERO,
        }
    }

    /// Takes in what was read, and lets the operator have of each partition what it has run out of.
    pub fn add(&mut self, chunk: Chunk, operator: &mut Operator) {
        for read in chunk.into_parts() {
            let partition = read.partition();
            self.read.entry(partition).or_default().push_back(read);
            self.supply(partition, operator);
        }
    }

    /// Lets the operator have its partition's next records, where the one that it took was the last that it had. Whether there were any.
    pub fn took(&mut self, taken: Taken, operator: &mut Operator) -> bool {
        self.supply(taken.partition, operator)
    }

    /// The time spent on decoding since it was asked for.
    pub fn take_spent(&mut self) -> Duration {
        std::mem::take(&mut self.spent)
    }

    fn supply(&mut self, partition: i32, operator: &mut Operator) -> bool {
        let Some(read) = self.read.get_mut(&partition) else { return false };
        if read.is_empty() || operator.has_record(partition) {
            return false;
        }
        let begun = Instant::now();
        let (mut num_records, mut num_bytes) = (0, 0);
        while num_records < RECORDS_AT_ONCE
            && let Some(next) = read.front_mut()
        {
            if let Read::Messages(messages) = next
                && !messages.is_empty()
            {
                let before = messages.num_bytes();
                while num_records + self.records.len() < RECORDS_AT_ONCE
                    && let Some(message) = messages.take()
                {
                    self.decoder.decode(&message, &mut self.records);
                }
                num_bytes += before - messages.num_bytes();
                num_records += self.records.len();
                self.records.drain(..).for_each(|record| operator.push(Input::Record(record)));
            } else if let Some(Read::News(news)) = read.pop_front() {
                operator.push(news);
            }
        }
        self.backlog.remove(partition, num_bytes);
        self.spent += begun.elapsed();
        num_records > 0
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;
    use crate::{
        kafka::messages::Messages,
        operator::{Action, place::Position},
        record::Message,
    };

    const CONFIG: &str = r#"
        [kafka]
        brokers = "localhost:9092"
        group = "g"
        [input]
        topic = "in"
        time = { field = "at", unit = "s" }
        [output]
        topic = "out"
        [target]
        fields = ["y"]
        wait = "1h"
        [features]
        x = "number"
    "#;

    fn config() -> Config {
        Config::from_parts(CONFIG, "test.toml", &[], std::iter::empty()).unwrap()
    }

    fn operator(config: &Config, num_partitions: i32) -> Operator {
        Operator::new(config, (0..num_partitions).map(|partition| (partition, Position::at(0))).collect())
    }

    /// What happens to a partition: a message, with this event time or without a value; or one of three kinds of news.
    #[derive(Debug, Clone, Copy)]
    enum Step {
        Message(Option<u16>),
        News(u8),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            16 => any::<u16>().prop_map(|time_s| Step::Message(Some(time_s))),
            2 => Just(Step::Message(None)),
            3 => (0..3_u8).prop_map(Step::News),
        ]
    }

    fn news(kind: u8, partition: i32, offset: i64) -> Input {
        match kind {
            0 => Input::Ended(partition),
            1 => Input::Silent(partition),
            _ => Input::ReadUntil { partition, offset },
        }
    }

    fn payload(time_s: u16) -> String {
        format!(r#"{{"at": {time_s}, "x": 1.5, "y": 2.5}}"#)
    }

    fn message(partition: i32, offset: i64, payload: Option<&str>) -> Message<'_> {
        Message { partition, offset, timestamp_ms: None, key: None, payload: payload.map(str::as_bytes) }
    }

    /// Takes what can be taken; `after` is called after each. What was taken, in order, and where that leads.
    fn take_all(operator: &mut Operator, mut after: impl FnMut(Taken, &mut Operator)) -> Vec<String> {
        let (mut seen, mut actions) = (Vec::new(), Vec::new());
        while let Some(taken) = operator.take(&mut actions) {
            after(taken, operator);
            let what = actions.drain(..).map(|action| match action {
                Action::Score(scored) => format!("{} {}", scored.event.partition, scored.event.offset),
                Action::Reject(reject) => format!("{} {} rejected", reject.partition, reject.offset),
                action => format!("{action:?}"),
            });
            seen.extend(what);
        }
        seen.push(format!("{:?}", operator.positions()));
        seen
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn what_is_decoded_late_is_taken_as_if_it_had_been_decoded_at_once(
            steps in prop::collection::vec((0..3_i32, step()), 1..900),
            size in 1..300_usize,
        ) {
            let config = config();
            let (mut early, mut late) = (operator(&config, 3), operator(&config, 3));
            let backlog = Backlog::new(3);
            let (mut intake, mut decoder) = (Intake::new(&config, &backlog), Decoder::new(&config));
            let mut next = [0_i64; 3];
            for steps in steps.chunks(size) {
                let (mut chunk, mut records) = (Chunk::default(), Vec::new());
                for &(partition, step) in steps {
                    let offset = &mut next[partition as usize];
                    match step {
                        Step::Message(time_s) => {
                            let payload = time_s.map(payload);
                            let message = message(partition, *offset, payload.as_deref());
                            *offset += 1;
                            chunk.push(&message);
                            decoder.decode(&message, &mut records);
                            records.drain(..).for_each(|record| early.push(Input::Record(record)));
                        }
                        Step::News(kind) => {
                            *offset += i64::from(kind == 2); // past a marker
                            early.push(news(kind, partition, *offset));
                            chunk.tell(news(kind, partition, *offset));
                        }
                    }
                }
                intake.add(chunk, &mut late);
                let taken = take_all(&mut late, |taken, operator| {
                    intake.took(taken, operator);
                });
                prop_assert_eq!(take_all(&mut early, |_, _| ()), taken);
            }
        }
    }

    #[test]
    fn of_a_partition_that_waits_for_another_one_little_is_decoded() {
        let config = config();
        let mut operator = operator(&config, 2);
        let backlog = Backlog::new(2);
        let mut intake = Intake::new(&config, &backlog);
        let payload = payload(7);
        let read = |from: i64| {
            let mut messages = Messages::new(0);
            (from..1_000).for_each(|offset| messages.push(&message(0, offset, Some(&payload))));
            messages.num_bytes()
        };
        let mut chunk = Chunk::default();
        (0..1_000).for_each(|offset| chunk.push(&message(0, offset, Some(&payload))));
        backlog.add(0, read(0));
        intake.add(chunk, &mut operator);
        let mut actions = Vec::new();
        assert!(operator.take(&mut actions).is_none());
        assert_eq!(backlog.num_bytes(0), read(RECORDS_AT_ONCE as i64));
        let mut chunk = Chunk::default();
        chunk.tell(Input::Ended(1));
        intake.add(chunk, &mut operator);
        let mut num_taken = 0;
        while let Some(taken) = operator.take(&mut actions) {
            num_taken += 1;
            assert_eq!(intake.took(taken, &mut operator), num_taken % 64 == 0 && num_taken < 1_000);
        }
        assert_eq!((num_taken, backlog.num_bytes(0)), (1_000, 0));
        assert!(intake.take_spent() > Duration::ZERO && intake.take_spent() == Duration::ZERO);
    }
}
