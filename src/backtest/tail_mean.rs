//! An expected shortfall against the targets that came.

use super::{
    case::{Case, Layout},
    judgement::{Judged, percent},
    statistics::{proper, shortfall::Shortfall},
    summary::{Held, ShortfallSummary, Test},
};
use crate::density::Level;

/// With fewer targets beyond the quantile nothing is said of their mean.
const FEWEST_HITS: u64 = 10;

/// An expected shortfall of one target.
pub struct TailMean {
    /// Its column.
    pub column: String,
    /// In words: "expected shortfall beyond 99 %".
    pub title: String,
    level: Level,
    axis: usize,
    /// Its place among the figures, and that of the quantile of the same level, where it is published.
    figure: usize,
    quantile: Option<usize>,
    tests: Shortfall,
    events: u64,
    hits: u64,
    infinite: u64,
    fissler_ziegel: usize,
    /// The term of Acerbi & Székely's second statistic.
    z2: usize,
}

impl TailMean {
    /// That which stands there among the figures.
    pub fn new(
        column: &str,
        prefix: &str,
        level: f64,
        axis: usize,
        figure: usize,
        quantile: Option<usize>,
        layout: &mut Layout,
    ) -> Self {
        let title = format!("{prefix}expected shortfall beyond {}", percent(level));
        Self {
            fissler_ziegel: layout
                .score(format!("fissler_ziegel_{column}"), format!("Fissler–Ziegel score, {title}")),
            z2: layout.value(),
            column: column.to_owned(),
            title,
            level: Level::from_p(level),
            axis,
            figure,
            quantile,
            tests: Shortfall::new(level),
            events: 0,
            hits: 0,
            infinite: 0,
        }
    }

    /// Judges an event.
    pub fn push(&mut self, case: &mut Case<'_>, values: &mut [f64]) {
        let es = case.figure(self.figure);
        if es.is_nan() {
            self.infinite += 1;
            return;
        }
        let q = match (self.quantile, &mut case.forecast) {
            (Some(quantile), _) => case.scored.score.figures[quantile],
            (None, Some(forecast)) => forecast.quantile(&self.level),
            (None, None) => return,
        };
        let (y, level) = (case.target(self.axis), self.level.p());
        values[self.fissler_ziegel] = proper::fissler_ziegel(y, q, es, level).unwrap_or(f64::NAN);
        if !(es > 0.0) {
            return;
        }
        let is_above = case.is_above(self.axis, q, level);
        self.events += 1;
        self.hits += u64::from(is_above);
        values[self.z2] = if is_above { y / ((1.0 - level) * es) - 1.0 } else { -1.0 };
        if let Some(forecast) = &mut case.forecast {
            self.tests.push(y, q, es, is_above, |u| forecast.quantile(&Level::from_p(u)));
        }
    }

    /// What it comes to.
    #[must_use]
    pub fn finish(&self, judged: &Judged<'_>) -> ShortfallSummary {
        ShortfallSummary {
            column: self.column.clone(),
            level: self.level.p(),
            events: self.events,
            infinite: self.infinite,
            held: if self.hits < FEWEST_HITS { Held::Unclear } else { judged.held(self.z2, 0.0, 1.0, 0.0) },
            z1: self.tests.z1(),
            // Several targets have no distribution to simulate from: the statistic without its p-value.
            z2: self
                .tests
                .z2()
                .or_else(|| judged.sums.mean(self.z2).map(|statistic| Test { statistic, p_value: f64::NAN })),
            fissler_ziegel: Some(judged.mean(self.fissler_ziegel)).filter(|mean| mean.is_finite()),
        }
    }
}
