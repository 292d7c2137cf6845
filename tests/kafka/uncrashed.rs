//! What a run that never crashed would have published: the operator in this process, which takes the same records in the
//! order that is written down.

use std::{collections::BTreeMap, fs};

use arrow::{array::RecordBatch, compute::concat_batches, ipc::reader::StreamReader};
use tailwater::{
    config::Config,
    density::Densities,
    model,
    operator::{
        Action, Input, Operator,
        order::Order,
        place::{Position, Positions},
    },
    record::{self, Decoder, Message},
    score::{
        arrow::BatchBuilder,
        columns::Columns,
        row::{Provenance, Row, RowSchema},
    },
    state::{Progress, snapshot, topic::StateTopic},
};

use crate::{
    cluster::{Cluster, Record},
    process::Setup,
};

/// Everything that is published, and what is saved at the end.
pub struct Uncrashed {
    pub scores: RecordBatch,
    pub outcomes: RecordBatch,
    /// Partition and offset of each rejected record.
    pub rejected: Vec<(i32, i64)>,
    /// The hash of the state.
    pub hash: String,
}

/// Runs the operator over all of a setup's input in this order.
pub fn follow(setup: &Setup<'_>, sets: &[&str], order: &Order) -> Uncrashed {
    let sets: Vec<String> =
        setup.sets().into_iter().chain(sets.iter().map(|set| (*set).to_owned())).collect();
    let text = fs::read_to_string(&setup.config).unwrap();
    let config = Config::from_parts(&text, "flights.toml", &sets, std::iter::empty()).unwrap();
    let densities = Densities::new(&config);
    let partitions = setup.cluster.num_partitions(&setup.input);
    let start: Positions = (0..partitions).map(|partition| (partition, Position::at(0))).collect();
    let saved = Operator::new(&config, start).saved();
    // The same way of following an order that recovery has, from the very beginning.
    let mut operator = Operator::restore(&config, saved, Positions::new(), order).unwrap();
    let mut decoder = Decoder::new(&config);
    let mut records = Vec::new();
    for Record { partition, offset, key, value, timestamp_ms, .. } in setup.cluster.consume(&setup.input) {
        let (key, payload) = (key.as_deref(), value.as_deref());
        decoder.decode(&Message { partition, offset, timestamp_ms, key, payload }, &mut records);
    }
    records.into_iter().for_each(|record| operator.push(Input::Record(record)));
    (0..partitions).for_each(|partition| operator.push(Input::Ended(partition)));
    let mut actions = Vec::new();
    while let Some(taken) = operator.take(&mut actions) {
        assert!(taken.is_replayed, "the order does not say when this record was taken");
    }

    let columns = Columns::new(&config);
    let carry = record::carry_types(&config);
    let provenance = Provenance { version: "", group: "", config: "", model: "" };
    let num_params = model::num_params(densities.published().as_ref());
    let format = config.input.format;
    let mut scores = Batches::new(RowSchema::scores(&columns, &carry, format, num_params, &provenance));
    let mut outcomes = Batches::new(RowSchema::outcomes(&columns, &carry, format, &provenance));
    let mut rejected = Vec::new();
    for action in &actions {
        match action {
            Action::Score(scored) => scores.push(scored),
            Action::Outcome(outcome) => outcomes.push(outcome),
            Action::Reject(reject) => rejected.push((reject.partition, reject.offset)),
            Action::Learned { .. } | Action::Expired => {}
        }
    }
    rejected.sort_unstable();
    Uncrashed {
        scores: scores.finish(),
        outcomes: outcomes.finish(),
        rejected,
        hash: snapshot::hash(&operator.saved()),
    }
}

/// Rows by partition, as a topic keeps them.
struct Batches<R> {
    schema: RowSchema<R>,
    partitions: BTreeMap<i32, BatchBuilder<R>>,
}

impl<R: Row> Batches<R> {
    fn new(schema: RowSchema<R>) -> Self {
        Self { schema, partitions: BTreeMap::new() }
    }

    fn push(&mut self, row: &R) {
        let new = || BatchBuilder::new(&self.schema).unwrap();
        self.partitions.entry(row.event().partition).or_insert_with(new).push(row);
    }

    fn finish(self) -> RecordBatch {
        let batches = self.partitions.into_values().map(|mut builder| {
            let stream = builder.finish().unwrap();
            StreamReader::try_new(&stream[..], None).unwrap().next().unwrap().unwrap()
        });
        concat_batches(self.schema.arrow(), &batches.collect::<Vec<_>>()).unwrap()
    }
}

/// What a group has left in its state topic: every progress record, and the topic as it ends.
pub fn left(cluster: &Cluster, topic: &str) -> (Vec<Progress>, StateTopic) {
    let mut state = StateTopic::default();
    let mut records = Vec::new();
    for Record { key, value, .. } in cluster.consume(topic) {
        let key = key.unwrap();
        state.put(&key, value.as_deref());
        if key == b"progress" {
            records.push(Progress::from_bytes(&value.unwrap()).unwrap());
        }
    }
    (records, state)
}

/// The whole order in which a group took its records, from its progress records.
pub fn written_order(records: &[Progress]) -> Order {
    let mut order = Order::default();
    let mut generation = 0;
    for progress in records {
        if progress.generation > generation {
            assert_eq!(progress.generation, generation + 1, "no snapshot is left out");
            generation = progress.generation;
            order.append(progress.order_before.clone());
        }
    }
    order.append(records.last().unwrap().order.clone());
    order
}
