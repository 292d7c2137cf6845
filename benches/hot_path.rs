//! What every event pays for: `make bench`.

#![allow(missing_docs)]

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use tailwater::{
    config::Config,
    density::Densities,
    flights,
    metrics::{Metrics, MetricsSpec},
    model::noise::Draws,
    operator::{Action, Input, Operator, place::Position},
    record::{Decoder, Message, Record},
    score::{
        Scored,
        arrow::BatchBuilder,
        columns::Columns,
        figures::Figures,
        row::{Provenance, RowSchema},
    },
};

/// The flights' config with mini-batches of this size.
fn config(batch: usize) -> Config {
    let sets = [format!("learn.batch={batch}"), "learn.warmup=1024".to_owned()];
    let text = include_str!("../examples/flights.toml");
    Config::from_parts(text, "flights.toml", &sets, std::iter::empty()).expect("the example is right")
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

/// One event through decoding and through the operator: to be compared with each other.
fn event(c: &mut Criterion) {
    let config = config(128);
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

    let mut events = events(&config, 2_048);
    for record in &mut events[1_024..] {
        // Without a target nothing is learned from it.
        if let Record::Event(event) = record {
            event.target = None;
        }
    }
    let mut operator = Operator::new(&config, [(0, Position::at(0))].into());
    let mut actions = Vec::new();
    let take = |operator: &mut Operator, record: &Record, actions: &mut Vec<Action>| {
        operator.push(Input::Record(record.clone()));
        operator.take(actions)
    };
    for record in &events[..1_024] {
        take(&mut operator, record, &mut actions);
    }
    let mut next = events[1_024..].iter().cycle();
    group.bench_function("score (no learning)", |b| {
        b.iter(|| {
            actions.clear();
            take(&mut operator, next.next().expect("it cycles"), &mut actions)
        });
    });
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
        let mut next = params.iter().cycle();
        group.bench_function(name, |b| {
            b.iter(|| figures.evaluate(black_box(next.next().expect("it cycles")), &[]));
        });
    }
    group.finish();
}

/// A mini-batch of 128, with the scores of its events: what learning costs is this less 128 times the score.
fn learn(c: &mut Criterion) {
    let config = config(128);
    let events = events(&config, 2_048);
    let mut operator = Operator::new(&config, [(0, Position::at(0))].into());
    let mut actions = Vec::new();
    let mut group = c.benchmark_group("learn");
    group.throughput(Throughput::Elements(128));
    let mut batches = events.chunks_exact(128).cycle();
    group.bench_function("score and learn from 128", |b| {
        b.iter_batched(
            || batches.next().expect("it cycles").to_vec(),
            |batch| {
                for record in batch {
                    operator.push(Input::Record(record));
                    operator.take(&mut actions);
                }
                actions.clear();
            },
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

/// A full batch of scores to bytes.
fn encode(c: &mut Criterion) {
    let config = config(128);
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
    let mut group = c.benchmark_group("metrics");
    group.throughput(Throughput::Elements(1));
    group.bench_function("count an event with its target", |b| {
        b.iter(|| {
            metrics.records.scored.inc();
            metrics.latency_seconds.observe(black_box(0.012));
            metrics.observe_pit(black_box(0.4));
            for quantile in &metrics.quantiles {
                quantile.observe(black_box(0.4), black_box(0.5));
            }
            for threshold in &metrics.exceed {
                threshold.observe(black_box(0.2), black_box(true));
            }
        });
    });
    group.bench_function("render", |b| b.iter(|| metrics.render()));
    group.finish();
}

criterion_group!(benches, metrics, event, figures, learn, encode);
criterion_main!(benches);
