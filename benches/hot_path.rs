//! What every event pays for: `make bench`.

#![allow(missing_docs)]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tailwater::metrics::{Metrics, MetricsSpec};

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
                quantile.observe(black_box(3.0), black_box(2.0));
            }
            for threshold in &metrics.exceed {
                threshold.observe(black_box(0.2), black_box(true));
            }
        });
    });
    group.bench_function("render", |b| b.iter(|| metrics.render()));
    group.finish();
}

criterion_group!(benches, metrics);
criterion_main!(benches);
