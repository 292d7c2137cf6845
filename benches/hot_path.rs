//! What every event pays for: `make bench`.

#![allow(missing_docs)]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tailwater::{
    config::Config,
    density::Densities,
    flights,
    metrics::{Metrics, MetricsSpec},
    model::noise::Draws,
    operator::{Action, Input, Operator, RECORDS_AT_ONCE, place::Position},
    record::{Decoder, Event, Message, Record},
    score::{
        Scored,
        arrow::BatchBuilder,
        columns::Columns,
        figures::{Figures, Query},
        row::{Provenance, RowSchema},
    },
};

#[path = "throughput/defaults.rs"]
mod defaults;

use defaults::DEFAULTS;

/// Events to an iteration, and to a mini-batch of the default net.
const BATCH: usize = 256;

/// The flights' config with a short warm-up and these keys.
fn config(sets: &[&str]) -> Config {
    let sets: Vec<String> = [&["learn.warmup=1024"], sets].concat().into_iter().map(str::to_owned).collect();
    let text = include_str!("../examples/flights.toml");
    Config::from_parts(text, "flights.toml", &sets, std::iter::empty()).expect("the example is right")
}

/// That of the example's own model, with mini-batches of 128.
fn example() -> Config {
    config(&["learn.batch=128"])
}

/// The first flights, decoded; each target is known with its event, so that learning follows at once.
fn events(config: &Config, count: usize) -> Vec<Record> {
    let mut config = config.clone();
    config.target.time = None;
    let mut decoder = Decoder::new(&config);
    let mut records = Vec::new();
    for (offset, json) in flights::json_records().expect("the data is sound").take(count).enumerate() {
        let json = json.expect("the data is sound");
        decoder.decode(&message(offset as i64, &json), &mut records);
    }
    records
}

fn message(offset: i64, payload: &[u8]) -> Message<'_> {
    Message { partition: 0, offset, timestamp_ms: None, key: None, payload: Some(payload) }
}

/// Events that never end: the same ones again and again, each at its own place and time.
struct Stream {
    events: Vec<Event>,
    next: i64,
}

impl Stream {
    fn new(events: Vec<Record>) -> Self {
        let event = |record| if let Record::Event(event) = record { Some((*event).clone()) } else { None };
        Self { events: events.into_iter().filter_map(event).collect(), next: 0 }
    }

    /// The next event: the operator drops what it has taken before.
    fn event(&mut self, has_target: bool) -> Input {
        let mut event = self.events[self.next as usize % self.events.len()].clone();
        event.target.take_if(|_| !has_target);
        (event.offset, event.time_us) = (self.next, self.next);
        self.next += 1;
        Input::Record(Record::from(event))
    }
}

/// One event through decoding and through the operator: to be compared with each other.
fn event(c: &mut Criterion) {
    let config = example();
    let mut group = c.benchmark_group("event");
    group.throughput(Throughput::Elements(1));

    let json =
        flights::json_records().expect("the data is sound").next().expect("a flight").expect("a flight");
    let mut decoder = Decoder::new(&config);
    let mut records = Vec::new();
    group.bench_function("decode", |b| {
        b.iter(|| {
            records.clear();
            decoder.decode(black_box(&message(0, &json)), &mut records);
        });
    });
    group.finish();
}

fn take_batch(operator: &mut Operator, stream: &mut Stream, has_target: bool) {
    let mut actions = Vec::new();
    for nth in 0..BATCH {
        operator.push(stream.event(has_target));
        assert!(operator.take_next(&mut actions).is_some_and(|taken| !taken.is_replayed));
        if nth % RECORDS_AT_ONCE == RECORDS_AT_ONCE - 1 {
            operator.complete(&actions);
        }
    }
    black_box(actions);
}

/// Events through the operator, by config: what is published of each, its target judged, and, with targets, learned from.
fn operator(c: &mut Criterion) {
    let mut group = c.benchmark_group("operator");
    group.throughput(Throughput::Elements(BATCH as u64));
    let default = || config(&[&DEFAULTS[..], &["model.hidden=[32,32]", "learn.batch=256"]].concat());
    for (name, config, has_target) in [
        ("default net, score only", default(), false),
        ("default net, score, judge, learn", default(), true),
        ("the example's, score only", example(), false),
        ("the example's, score, judge, learn", example(), true),
    ] {
        // Made where it is measured at all.
        let mut under_way = None;
        group.bench_function(name, |b| {
            let (stream, operator) = under_way.get_or_insert_with(|| {
                let mut stream = Stream::new(events(&config, 20_000));
                let mut operator = Operator::new(&config, [(0, Position::at(0))].into());
                // Past the warm-up, and until the net has learned enough to be believed.
                (0..200).for_each(|_| take_batch(&mut operator, &mut stream, true));
                (stream, operator)
            });
            b.iter(|| take_batch(operator, stream, has_target));
        });
    }
    group.finish();
}

/// The figures of one distribution, by what is asked for: a limit and several targets cost quadrature.
fn figures(c: &mut Criterion) {
    const CONFIG: &str = "kafka.brokers = 'b'\nkafka.group = 'g'\ninput.topic = 'i'\noutput.topic = 'o'\nfeatures.x = 'number'\n\
                          target.fields = ['y']\nscore.exceed = [1.0, 2.0, 3.0]\nscore.shortfall = []";
    let mut group = c.benchmark_group("figures");
    group.throughput(Throughput::Elements(1));
    for (name, sets) in [
        ("three thresholds, four quantiles", vec![]),
        ("and a shortfall", vec!["score.shortfall=[0.99]"]),
        ("and a limit", vec!["score.limit=[2.0]"]),
        ("of two targets", vec!["target.fields=['y', 'z']"]),
    ] {
        let sets: Vec<String> = sets.iter().map(ToString::to_string).collect();
        let config =
            Config::from_parts(CONFIG, "bench.toml", &sets, std::iter::empty()).expect("it is right");
        let densities = Densities::new(&config);
        let mut figures = Figures::new(&config, densities.published());
        let dim = densities.net.dim();
        // One distribution after another, all of them bent.
        let params: Vec<Vec<f32>> = (0..64)
            .map(|seed| {
                let mut draws = Draws::new(seed, 1, 0);
                let mut params = densities.net.initial(&[]);
                params.iter_mut().for_each(|param| *param += 0.5 * draws.normal() as f32);
                if densities.blend.is_some() {
                    // As when the net has long been the better.
                    params.extend(densities.baseline.initial(&[]).into_iter().chain([
                        1e-9_f32.ln(),
                        0.0,
                        1.0,
                    ]));
                }
                (0..dim).for_each(|_| params.extend([0.0, 1.0]));
                params
            })
            .collect();
        let (mut next, event) = (params.iter().cycle(), Event::bare([].into(), None));
        group.bench_function(name, |b| {
            b.iter(|| {
                let params = black_box(next.next().expect("it cycles"));
                figures.evaluate(&[Query { params, event: &event, judges: false }])
            });
        });
    }
    group.finish();
}

/// A full batch of scores to bytes.
fn encode(c: &mut Criterion) {
    let config = example();
    let densities = Densities::new(&config);
    let provenance = Provenance { version: "0", group: "bench", config: "0", model: "{}" };
    let schema = RowSchema::scores(
        &Columns::new(&config),
        &tailwater::record::carry_types(&config),
        config.input.format,
        tailwater::model::num_params(densities.published().as_ref()),
        &provenance,
    );
    let mut operator = Operator::new(&config, [(0, Position::at(0))].into());
    let mut actions = Vec::new();
    for record in events(&config, 1_536) {
        operator.push(Input::Record(record));
        operator.take(&mut actions);
    }
    let scores: Vec<Scored> = actions
        .into_iter()
        .filter_map(|action| if let Action::Score(scored) = action { Some(scored) } else { None })
        .skip(1_024)
        .collect();
    let mut builder = BatchBuilder::new(&schema).expect("the schema is sound");
    let mut group = c.benchmark_group("encode");
    group.throughput(Throughput::Elements(scores.len() as u64));
    group.bench_function("512 rows", |b| {
        b.iter(|| {
            scores.iter().for_each(|scored| builder.push(scored));
            builder.finish().expect("it encodes")
        });
    });
    group.finish();
}

/// Counting an event must stay far below scoring it (microseconds).
fn metrics(c: &mut Criterion) {
    let texts = |of: &[&str]| of.iter().map(ToString::to_string).collect::<Vec<_>>();
    let metrics = Metrics::new(&MetricsSpec {
        features: texts(&["carrier", "dep_delay", "distance", "hour"]),
        categories: texts(&["carrier"]),
        quantiles: texts(&["0.5", "0.9", "0.99"]),
        thresholds: texts(&["15", "60", "180"]),
        libtorch: "0",
        version: "0",
    });
    metrics.set_partitions(&[0, 1, 2, 3]);
    let mut outcomes = metrics.outcomes();
    let mut group = c.benchmark_group("metrics");
    group.throughput(Throughput::Elements(RECORDS_AT_ONCE as u64));
    group.bench_function("count a block of events with their targets", |b| {
        b.iter(|| {
            for _ in 0..RECORDS_AT_ONCE {
                outcomes.pit(black_box(0.4));
                (0..3).for_each(|nth| outcomes.quantile(nth, black_box(0.4), black_box(0.5)));
                (0..3).for_each(|nth| outcomes.threshold(nth, black_box(0.2), black_box(true)));
            }
            metrics.records.scored.inc_by(RECORDS_AT_ONCE as u64);
            outcomes.flush();
        });
    });
    group.throughput(Throughput::Elements(1));
    group.bench_function("render", |b| b.iter(|| metrics.render()));
    group.finish();
}

criterion_group!(benches, metrics, event, operator, figures, encode);
criterion_main!(benches);
