//! From what was read to what the operator takes: messages are decoded a few at a time, and only when the operator has run out of
//! their partition.
//!
//! So an event is decoded on the core that uses it, shortly before that, and however much was read, few events are in memory.

use std::{
    collections::{BTreeMap, VecDeque},
    mem::discriminant,
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
            let waiting = self.read.entry(partition).or_default();
            if let Read::News(news) = &read {
                forget_older(news, waiting);
            }
            waiting.push_back(read);
            self.supply(partition, operator);
        }
    }

    /// Lets the operator have its partition's next records, where the one that it took was the last that it had. Whether there were any.
    pub fn took(&mut self, taken: Taken, operator: &mut Operator) -> bool {
        self.backlog.note_taken();
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
            && let Some(next) = read.pop_front()
        {
            match next {
                Read::News(news) => operator.push(news),
                Read::Messages(mut messages) => {
                    let before = messages.num_bytes();
                    while num_records + self.records.len() < RECORDS_AT_ONCE
                        && let Some(message) = messages.take()
                    {
                        self.decoder.decode(&message, &mut self.records);
                    }
                    num_bytes += before - messages.num_bytes();
                    num_records += self.records.len();
                    self.records.drain(..).for_each(|record| operator.push(Input::Record(record)));
                    if !messages.is_empty() {
                        read.push_front(Read::Messages(messages));
                    }
                }
            }
        }
        if num_bytes > 0 {
            self.backlog.remove(partition, num_bytes);
        }
        self.spent += begun.elapsed();
        num_records > 0
    }
}

/// Of the same news after the same record the last counts.
fn forget_older(news: &Input, waiting: &mut VecDeque<Read>) {
    let is_news = |read: &&Read| matches!(read, Read::News(_));
    let num_told = waiting.iter().rev().take_while(is_news).count();
    for index in (waiting.len() - num_told..waiting.len()).rev() {
        if matches!(&waiting[index], Read::News(older) if discriminant(older) == discriminant(news)) {
            waiting.remove(index);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::Arc;

    use arrow::{
        array::{ArrayRef, Float64Array, Int64Array, RecordBatch},
        ipc::writer::StreamWriter,
    };
    use proptest::prelude::*;

    use super::*;
    use crate::{
        kafka::messages::Messages,
        operator::{
            Action,
            place::{Position, Positions},
        },
        record::Message,
    };

    const CONFIG: &str = r#"
        [kafka]
        brokers = "localhost:9092"
        group = "g"
        [input]
        topic = "in"
        format = "arrow"
        time = { field = "at", unit = "s" }
        [output]
        topic = "out"
        [target]
        fields = ["y"]
        time = { field = "known_at", unit = "s" }
        wait = "1h"
        [features]
        x = "number"
        [model]
        hidden = [4]
        flows = ["affine"]
        [learn]
        batch = 16
    "#;

    fn config() -> Config {
        Config::from_parts(CONFIG, "test.toml", &[], std::iter::empty()).unwrap()
    }

    fn operator(config: &Config, num_partitions: i32) -> Operator {
        Operator::new(config, (0..num_partitions).map(|partition| (partition, Position::at(0))).collect())
    }

    /// A message of rows with these event times, each known 20 s later.
    fn payload(times_s: &[i64]) -> Vec<u8> {
        let ints = |add: i64| Arc::new(times_s.iter().map(|time_s| time_s + add).collect::<Int64Array>());
        let numbers = || Arc::new(times_s.iter().map(|time_s| (time_s % 7) as f64).collect::<Float64Array>());
        let columns: [(&str, ArrayRef); 4] =
            [("at", ints(0)), ("known_at", ints(20)), ("x", numbers()), ("y", numbers())];
        let rows = RecordBatch::try_from_iter(columns).unwrap();
        let mut writer = StreamWriter::try_new(Vec::new(), &rows.schema()).unwrap();
        writer.write(&rows).unwrap();
        writer.into_inner().unwrap()
    }

    /// What was read of a partition: a message, of which `None` has no value; or one of three kinds of news.
    #[derive(Debug, Clone)]
    enum Given {
        Message { offset: i64, payload: Option<Vec<u8>> },
        News { kind: u8, offset: i64 },
    }

    /// What is read of three partitions, a message or news after the other: mostly messages of few rows, of about the same time in all partitions.
    fn given() -> impl Strategy<Value = Vec<(i32, Given)>> {
        let few = prop::collection::vec(0..50_i64, 1..4);
        let many = prop::collection::vec(0..50_i64, 60..150);
        let step = prop_oneof![
            20 => few.prop_map(Ok),
            2 => many.prop_map(Ok),
            1 => Just(Ok(Vec::new())),
            3 => (0..3_u8).prop_map(Err),
        ];
        prop::collection::vec((0..3_i32, step), 1..300).prop_map(|steps| {
            let mut next = [0_i64; 3];
            let number = |(partition, step): (i32, Result<Vec<i64>, u8>)| {
                let next = &mut next[partition as usize];
                let offset = *next;
                *next += i64::from(step != Err(0) && step != Err(1)); // read past a marker
                let given = match step {
                    Err(kind) => Given::News { kind, offset: *next },
                    Ok(times_s) => {
                        let times_s: Vec<i64> = times_s.iter().map(|time_s| 2 * offset + time_s).collect();
                        let payload = (!times_s.is_empty()).then(|| payload(&times_s));
                        Given::Message { offset, payload }
                    }
                };
                (partition, given)
            };
            steps.into_iter().map(number).collect()
        })
    }

    fn news(kind: u8, partition: i32, offset: i64) -> Input {
        match kind {
            0 => Input::Ended(partition),
            1 => Input::Silent(partition),
            _ => Input::ReadUntil { partition, offset },
        }
    }

    fn message(partition: i32, offset: i64, payload: Option<&[u8]>) -> Message<'_> {
        Message { partition, offset, timestamp_ms: None, key: None, payload }
    }

    /// Takes what can be taken; `after` is called after each. What was taken, in order.
    fn take_all(operator: &mut Operator, mut after: impl FnMut(Taken, &mut Operator)) -> Vec<String> {
        let (mut seen, mut actions) = (Vec::new(), Vec::new());
        while let Some(taken) = operator.take(&mut actions) {
            after(taken, operator);
            seen.push(format!("{taken:?}"));
            let what = actions.drain(..).map(|action| match action {
                Action::Score(scored) => format!("score {:?}", scored.event.position()),
                Action::Outcome(outcome) => format!("outcome {:?}", outcome.event.position()),
                Action::Reject(reject) => format!("reject {:?}", reject.position()),
                action => format!("{action:?}"),
            });
            seen.extend(what);
        }
        seen
    }

    fn chunk(given: &[(i32, Given)]) -> Chunk {
        let mut chunk = Chunk::default();
        for &(partition, ref given) in given {
            match given {
                Given::Message { offset, payload } => {
                    chunk.push(&message(partition, *offset, payload.as_deref()));
                }
                Given::News { kind, offset } => chunk.tell(news(*kind, partition, *offset)),
            }
        }
        chunk
    }

    /// So many messages of partition 0, of a row each.
    fn messages(num: i64) -> Vec<(i32, Given)> {
        (0..num).map(|offset| (0, Given::Message { offset, payload: Some(payload(&[7])) })).collect()
    }

    /// Decodes everything at once, and takes what can be taken.
    fn drive_early(config: &Config, operator: &mut Operator, given: &[(i32, Given)]) -> Vec<String> {
        let (mut decoder, mut records) = (Decoder::new(config), Vec::new());
        for read in chunk(given).into_parts() {
            match read {
                Read::News(news) => operator.push(news),
                Read::Messages(mut messages) => {
                    while let Some(message) = messages.take() {
                        decoder.decode(&message, &mut records);
                    }
                    records.drain(..).for_each(|record| operator.push(Input::Record(record)));
                }
            }
        }
        take_all(operator, |_, _| ())
    }

    fn drive_late(intake: &mut Intake<'_>, operator: &mut Operator, given: &[(i32, Given)]) -> Vec<String> {
        intake.add(chunk(given), operator);
        take_all(operator, |taken, operator| {
            intake.took(taken, operator);
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        /// Also by an operator that is restored, and reads again from the middle of a message on.
        #[test]
        fn what_is_decoded_late_is_taken_as_if_it_had_been_decoded_at_once(
            given in given(),
            size in 1..200_usize,
            num_saved in 0..4_usize,
        ) {
            let config = config();
            let backlog = Backlog::of_bytes(3);
            let (mut early, mut late) = (operator(&config, 3), operator(&config, 3));
            let mut intake = Intake::new(&config, &backlog);
            let mut saved = early.saved();
            for (nth, chunk) in given.chunks(size).enumerate() {
                if nth == num_saved {
                    saved = early.saved();
                    early.take_order();
                }
                let taken = drive_late(&mut intake, &mut late, chunk);
                prop_assert_eq!(drive_early(&config, &mut early, chunk), taken);
                prop_assert_eq!(early.positions(), late.positions());
            }

            let order = early.take_order();
            let from = saved.read_from();
            let restored = || Operator::restore(&config, saved.clone(), Positions::new(), &order).unwrap();
            let (mut early, mut late) = (restored(), restored());
            let mut intake = Intake::new(&config, &backlog);
            let is_read = |(partition, given): &&(i32, Given)| match given {
                Given::Message { offset, .. } => *offset >= from[partition].offset,
                Given::News { .. } => true,
            };
            let again: Vec<_> = given.iter().filter(is_read).cloned().collect();
            let end = (0..3).map(|partition| (partition, Given::News { kind: 0, offset: 0 })).collect();
            for chunk in again.chunks(size).chain([end].iter().map(Vec::as_slice)) {
                let taken = drive_late(&mut intake, &mut late, chunk);
                prop_assert_eq!(drive_early(&config, &mut early, chunk), taken);
                prop_assert_eq!(early.positions(), late.positions());
            }
            prop_assert!(!late.is_restoring());
        }
    }

    #[test]
    fn of_a_partition_that_waits_for_another_one_little_is_decoded() {
        let config = config();
        let mut operator = operator(&config, 2);
        let backlog = Backlog::of_bytes(2);
        let mut intake = Intake::new(&config, &backlog);
        let each = payload(&[7]).len() + Messages::HEAD_BYTES;
        backlog.add(0, 1_000 * each);
        intake.add(chunk(&messages(1_000)), &mut operator);
        let mut actions = Vec::new();
        assert!(operator.take(&mut actions).is_none());
        assert_eq!(backlog.num(0), (1_000 - RECORDS_AT_ONCE) * each);
        intake.add(chunk(&[(1, Given::News { kind: 0, offset: 0 })]), &mut operator);
        let mut num_taken = 0;
        while let Some(taken) = operator.take(&mut actions) {
            num_taken += 1;
            let is_last_of_some = num_taken % RECORDS_AT_ONCE == 0 && num_taken < 1_000;
            assert_eq!(intake.took(taken, &mut operator), is_last_of_some);
        }
        assert_eq!((num_taken, backlog.num(0), backlog.num_taken()), (1_000, 0, 1_000));
        assert!(intake.take_spent() > Duration::ZERO && intake.take_spent() == Duration::ZERO);
    }

    #[test]
    fn of_news_that_wait_behind_a_message_the_last_of_each_kind_are_kept() {
        let config = config();
        let mut operator = operator(&config, 2);
        let backlog = Backlog::of_bytes(2);
        let mut intake = Intake::new(&config, &backlog);
        intake.add(chunk(&messages(100)), &mut operator);
        for offset in 100..150 {
            let given = [0, 1, 2].map(|kind| (0, Given::News { kind, offset }));
            intake.add(chunk(&given), &mut operator);
        }
        let waiting: Vec<String> = intake.read[&0].iter().skip(1).map(|read| format!("{read:?}")).collect();
        let expected = ["News(Ended(0))", "News(Silent(0))", "News(ReadUntil { partition: 0, offset: 149 })"];
        assert_eq!(waiting, expected);
    }
}
