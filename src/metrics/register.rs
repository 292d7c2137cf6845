//! Makes metrics in one registry, by type.
//!
//! Names and labels are constants of this crate, all registered by the contract's test: a clash can't reach a user,
//! and so the makers are infallible.

use prometheus::{
    Counter, CounterVec, Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec,
    IntGauge, IntGaugeVec, Opts, Registry, core::Collector,
};

const UNIQUE: &str = "metric names are valid and unique, as the contract's test shows";
const LABELS: &str = "as many label values as the metric has labels";

/// A registry that hands out what it registers.
pub(super) struct Register(pub(super) Registry);

impl Register {
    fn add<C: Collector + Clone + 'static>(&self, made: prometheus::Result<C>) -> C {
        let collector = made.expect(UNIQUE);
        self.0.register(Box::new(collector.clone())).expect(UNIQUE);
        collector
    }

    pub(super) fn int_counter(&self, name: &str, help: &str) -> IntCounter {
        self.add(IntCounter::new(name, help))
    }

    pub(super) fn counter(&self, name: &str, help: &str) -> Counter {
        self.add(Counter::new(name, help))
    }

    pub(super) fn int_gauge(&self, name: &str, help: &str) -> IntGauge {
        self.add(IntGauge::new(name, help))
    }

    pub(super) fn gauge(&self, name: &str, help: &str) -> Gauge {
        self.add(Gauge::new(name, help))
    }

    pub(super) fn histogram(&self, name: &str, help: &str, edges: &[f64]) -> Histogram {
        self.add(Histogram::with_opts(HistogramOpts::new(name, help).buckets(edges.to_vec())))
    }

    pub(super) fn int_counters(&self, name: &str, help: &str, labels: &[&str]) -> Family<IntCounterVec> {
        Family(self.add(IntCounterVec::new(Opts::new(name, help), labels)))
    }

    pub(super) fn counters(&self, name: &str, help: &str, labels: &[&str]) -> Family<CounterVec> {
        Family(self.add(CounterVec::new(Opts::new(name, help), labels)))
    }

    pub(super) fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> Family<GaugeVec> {
        Family(self.add(GaugeVec::new(Opts::new(name, help), labels)))
    }

    pub(super) fn int_gauges(&self, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
        self.add(IntGaugeVec::new(Opts::new(name, help), labels))
    }

    pub(super) fn histograms(
        &self,
        name: &str,
        help: &str,
        label: &str,
        edges: &[f64],
    ) -> Family<HistogramVec> {
        let opts = HistogramOpts::new(name, help).buckets(edges.to_vec());
        Family(self.add(HistogramVec::new(opts, &[label])))
    }
}

/// A metric with labels, resolved once into the handle of each label value.
#[derive(Debug)]
pub(super) struct Family<V>(V);

impl Family<IntCounterVec> {
    pub(super) fn with(&self, labels: &[&str]) -> IntCounter {
        self.0.get_metric_with_label_values(labels).expect(LABELS)
    }

    /// One handle for each value of the only label, in their order.
    pub(super) fn each<S: AsRef<str>>(&self, values: &[S]) -> Vec<IntCounter> {
        values.iter().map(|value| self.with(&[value.as_ref()])).collect()
    }
}

impl Family<CounterVec> {
    pub(super) fn with(&self, labels: &[&str]) -> Counter {
        self.0.get_metric_with_label_values(labels).expect(LABELS)
    }
}

impl Family<GaugeVec> {
    pub(super) fn with(&self, labels: &[&str]) -> Gauge {
        self.0.get_metric_with_label_values(labels).expect(LABELS)
    }
}

impl Family<HistogramVec> {
    pub(super) fn with(&self, labels: &[&str]) -> Histogram {
        self.0.get_metric_with_label_values(labels).expect(LABELS)
    }
}
