//! A threshold's probabilities against the targets that came.

use super::{
    case::{Case, Layout},
    judgement::{CONFIDENCE, Judged, ends, told_power},
    statistics::{inference::wilson, poisson_binomial::PoissonBinomial, proper},
    summary::{Rate, ReliabilityBin, ThresholdSummary},
};
use crate::{
    config::Config,
    record::number_text,
    score::exceed::{Bound, Exceed},
};

/// The edges of the groups by probability of a reliability diagram.
const EDGES: [f64; 22] = [
    1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95,
    0.98, 0.99, 0.999,
];

/// A threshold.
pub struct Threshold {
    /// Which one.
    pub exceed: Exceed,
    /// In words: "P(arr_delay > 15)".
    pub title: String,
    /// Of one target, a threshold that is the same for every event.
    pub constant: Option<f64>,
    /// Its place among the figures.
    figure: usize,
    count: PoissonBinomial,
    groups: [Group; EDGES.len() + 1],
    brier: usize,
    /// 1 above and 0 below.
    above: usize,
    /// The probability.
    expected: usize,
    /// The one less the other.
    excess: usize,
    /// The threshold-weighted CRPS and the censored log loss.
    tail: Option<[usize; 2]>,
}

/// Events of about the same probability.
#[derive(Debug, Clone, Copy, Default)]
struct Group {
    events: u64,
    observed: u64,
    expected: f64,
}

impl Threshold {
    /// That which stands there among the figures; `has_density`: events have a distribution that can be asked.
    pub fn new(
        config: &Config,
        exceed: Exceed,
        figure: usize,
        has_density: bool,
        layout: &mut Layout,
    ) -> Self {
        let (column, title) = (exceed.column(), title(config, &exceed));
        let constant = match exceed.bound {
            Bound::Constant { threshold, .. } if has_density => Some(threshold),
            _ => None,
        };
        Self {
            brier: layout.score(format!("brier_{column}"), format!("Brier score, {title}")),
            above: layout.value(),
            expected: layout.value(),
            excess: layout.value(),
            tail: constant.map(|_| {
                [
                    layout.score(format!("twcrps_{column}"), format!("Tail-weighted CRPS, {title}")),
                    layout
                        .score(format!("censored_log_loss_{column}"), format!("Censored log loss, {title}")),
                ]
            }),
            exceed,
            title,
            constant,
            figure,
            count: PoissonBinomial::default(),
            groups: [Group::default(); EDGES.len() + 1],
        }
    }

    /// Judges an event; whether its target is above and how likely that was, where it has the threshold.
    pub fn push(&mut self, case: &Case<'_>, values: &mut [f64]) -> Option<(bool, f64)> {
        let p = case.figure(self.figure);
        if p.is_nan() {
            return None;
        }
        let targets = &case.scored.score.realized.targets;
        let is_above = self.exceed.is_exceeded(targets, &case.scored.event.thresholds);
        self.count.push(p, is_above);
        let group = &mut self.groups[EDGES.partition_point(|&edge| edge <= p)];
        group.events += 1;
        group.observed += u64::from(is_above);
        group.expected += p;
        values[self.brier] = proper::brier(p, is_above);
        values[self.above] = f64::from(u8::from(is_above));
        values[self.expected] = p;
        values[self.excess] = values[self.above] - p;
        Some((is_above, p))
    }

    /// Takes the scores of the tail above it.
    pub fn put_tail(&self, twcrps: f64, censored_log_loss: f64, values: &mut [f64]) {
        if let Some([weighted, censored]) = self.tail {
            (values[weighted], values[censored]) = (twcrps, censored_log_loss);
        }
    }

    /// The columns of 1 above and 0 below, and of the probability.
    #[must_use]
    pub fn above_and_expected(&self) -> [usize; 2] {
        [self.above, self.expected]
    }

    /// How many times the variance of the number above is what it would be were events independent, given their probabilities.
    #[must_use]
    pub fn design_effect(&self, judged: &Judged<'_>) -> f64 {
        let Some(estimate) = judged.sums.estimate(self.excess) else { return 1.0 };
        let effect = estimate.error * estimate.error / self.independent();
        if effect.is_finite() { effect.max(1.0) } else { 1.0 }
    }

    /// The variance of the rate above, were events independent.
    fn independent(&self) -> f64 {
        let events = self.count.events() as f64;
        self.count.variance() / (events * events)
    }

    /// What it comes to.
    #[must_use]
    pub fn finish(&self, judged: &Judged<'_>) -> ThresholdSummary {
        let events = self.count.events();
        let (rate, p) = (judged.mean(self.above), judged.mean(self.expected));
        let off = judged.rate_interval(self.excess, self.independent());
        let exceeded = Rate {
            events,
            observed: self.count.observed(),
            expected: self.count.expected(),
            // Of the rate around what it was: that probabilities differ from event to event is not its uncertainty.
            interval: off.map(|end| (p + end).clamp(0.0, 1.0)),
        };
        let groups = self.groups.iter().filter(|group| group.events > 0).map(|group| ReliabilityBin {
            events: group.events,
            expected: group.expected / group.events as f64,
            observed: group.observed as f64 / group.events as f64,
            interval: ends(wilson(group.observed as f64, group.events as f64, CONFIDENCE)),
        });
        let tail = p.min(1.0 - p);
        ThresholdSummary {
            column: self.exceed.column(),
            threshold: self.constant,
            held: judged.held(self.excess, 0.0, tail, self.independent()),
            poisson_binomial: self.count.test(),
            brier: judged.mean(self.brier),
            brier_of_rate: rate * (1.0 - rate),
            reliability: groups.collect(),
            power: told_power(events, tail, self.design_effect(judged)),
            exceeded,
        }
    }
}

fn title(config: &Config, exceed: &Exceed) -> String {
    let fields = &config.target.fields;
    match &exceed.bound {
        Bound::Constant { axis, threshold } => format!("P({} > {})", fields[*axis], number_text(*threshold)),
        Bound::OfEvent { axis, .. } => format!("P({} > {})", fields[*axis], exceed.name),
        Bound::Together(bounds) => {
            let each = bounds.iter().map(|(axis, t)| format!("{} > {}", fields[*axis], number_text(*t)));
            format!("P({})", each.collect::<Vec<_>>().join(", "))
        }
    }
}
