//! Whether the tails held: published scores against the targets that came, one event at a time, and what that comes to.
//!
//! [`Backtest`] takes scores in input order; its memory does not depend on how many there are. `statistics` holds the tests and scores
//! themselves, each against a reference implementation, and `judgement` when a figure held; `summary` is what is found, `verdict` the
//! same in words, and `report` a page for people.

mod case;
pub mod forecast;
mod judgement;
mod quantile;
pub mod report;
mod rolling;
mod segments;
pub mod statistics;
pub mod summary;
mod tail_mean;
mod threshold;
mod verdict;
mod worst;

pub use case::ScoreName;
pub use rolling::{Gaussian, RollingGaussian};

use crate::{
    config::{Config, FieldPath},
    density::Side,
    record::time,
    score::{LOG_SCORE_FLOOR, Scored, Status, columns::Columns, exceed::Exceed},
};
use case::{Case, Layout};
use forecast::Forecast;
use judgement::{CONFIDENCE, Judged, ends, held_rate, joint_confidence};
use quantile::Quantile;
use segments::{Counted, Segments};
use statistics::{
    inference::{Block, BlockSums, wilson},
    proper::{Crps, censored_log_loss},
    uniformity::Pits,
};
use summary::{MeanScore, ModelSummary, Period, PitSummary, Segment, SegmentRate};
use tail_mean::TailMean;
use threshold::Threshold;
use worst::{Worst, cell_text};

/// Stretches of events in charts over time.
const NUM_PERIODS: usize = 64;

/// A backtest of one model.
pub struct Backtest {
    fields: Vec<String>,
    carried: Vec<String>,
    has_step: bool,
    forecast: Option<Forecast>,
    crps: Crps,
    quantiles: Vec<Quantile>,
    thresholds: Vec<Threshold>,
    tail_means: Vec<TailMean>,
    pits: Vec<Pits>,
    layout: Layout,
    overall: Overall,
    sums: BlockSums,
    worst: Worst,
    /// Fields, each with its place among the carried ones.
    segments: Vec<(String, usize, Segments)>,
    scored: u64,
    warmup: u64,
    judged: u64,
    times_us: Option<[i64; 2]>,
    /// Those of the event at hand, by the layout's columns.
    values: Vec<f64>,
}

/// The columns of what is about a distribution as a whole.
#[derive(Debug, Clone, Copy)]
struct Overall {
    log_loss: usize,
    /// Of one target alone, like what follows it.
    crps: Option<usize>,
    baseline: usize,
    /// The baseline's log score less its own.
    behind: usize,
    upper_tail: usize,
    lower_tail: usize,
}

/// What a summary says of a model beside what was found.
#[derive(Debug, Clone)]
pub struct About {
    /// Its name.
    pub name: String,
    /// The hash of what changes its numbers.
    pub config_hash: String,
    /// Its effective config, in TOML.
    pub config: String,
    /// The file of its scores.
    pub scores_file: String,
    /// SGD steps taken.
    pub updates: u64,
}

impl Backtest {
    /// A backtest of what this config publishes, with segments by these fields, which it carries.
    #[must_use]
    pub fn new(config: &Config, by: &[FieldPath]) -> Self {
        let names = Columns::new(config);
        let axes = config.target.fields.len();
        let prefix = |axis| match axes {
            1 => String::new(),
            _ => format!("{}: ", config.target.fields[axis]),
        };
        let forecast = Forecast::new(config);
        let mut layout = Layout::default();
        let log_loss = layout.score("log_loss", "Log loss");
        let crps = forecast.as_ref().map(|_| layout.score("crps", "CRPS"));
        let overall = Overall {
            log_loss,
            crps,
            baseline: layout.value(),
            behind: layout.value(),
            upper_tail: layout.value(),
            lower_tail: layout.value(),
        };
        // Figures are published in this order: thresholds, then quantiles, then shortfalls, each of every target.
        let exceed = Exceed::all(config).into_iter().enumerate();
        let thresholds: Vec<Threshold> = exceed
            .map(|(figure, exceed)| Threshold::new(config, exceed, figure, forecast.is_some(), &mut layout))
            .collect();
        let each = |levels: &[f64]| -> Vec<(f64, usize)> {
            levels.iter().flat_map(|&level| (0..axes).map(move |axis| (level, axis))).collect()
        };
        let mut figures = thresholds.len()..;
        let quantiles: Vec<Quantile> = each(&config.score.quantiles)
            .into_iter()
            .zip(&names.quantiles)
            .zip(&mut figures)
            .map(|(((level, axis), column), figure)| {
                Quantile::new(column, &prefix(axis), level, axis, figure, &mut layout)
            })
            .collect();
        let figures = thresholds.len() + quantiles.len()..;
        let of_quantile = |level: f64, axis| {
            let quantile = quantiles.iter().find(|quantile| quantile.level == level && quantile.axis == axis);
            quantile.map(|quantile| quantile.figure)
        };
        let tail_means = each(&config.score.shortfall)
            .into_iter()
            .zip(&names.shortfall)
            .zip(figures)
            .map(|(((level, axis), column), figure)| {
                TailMean::new(
                    column,
                    &prefix(axis),
                    level,
                    axis,
                    figure,
                    of_quantile(level, axis),
                    &mut layout,
                )
            })
            .collect();
        let segment = |path: &FieldPath| {
            let carried = config.output.carry.iter().position(|other| other == path)?;
            Some((path.to_string(), carried, Segments::default()))
        };
        Self {
            fields: config.target.fields.iter().map(ToString::to_string).collect(),
            carried: names.carry,
            has_step: config.target.step.is_some(),
            forecast,
            crps: Crps::default(),
            quantiles,
            thresholds,
            tail_means,
            pits: (0..axes).map(|_| Pits::default()).collect(),
            sums: BlockSums::new(layout.num_columns),
            layout,
            overall,
            worst: Worst::default(),
            segments: by.iter().filter_map(segment).collect(),
            scored: 0,
            warmup: 0,
            judged: 0,
            times_us: None,
            values: Vec::new(),
        }
    }

    /// The scores that an event gets, the lower the better, each with its place among an event's values.
    #[must_use]
    pub fn scores(&self) -> &[ScoreName] {
        &self.layout.scores
    }

    /// The lowest and the highest event time that was scored, µs since 1970.
    #[must_use]
    pub fn times_us(&self) -> Option<[i64; 2]> {
        self.times_us
    }

    /// Takes the next score, with its target where that came. Where the net gave it and the target came, it is judged: the event's
    /// values (NaN: it has none).
    pub fn push(&mut self, scored: &Scored) -> Option<&[f64]> {
        let (event, score) = (&scored.event, &scored.score);
        self.scored += 1;
        let [first, last] = self.times_us.unwrap_or([event.time_us; 2]);
        self.times_us = Some([first.min(event.time_us), last.max(event.time_us)]);
        if score.status == Status::Warmup {
            self.warmup += 1;
            return None;
        }
        if score.realized.log_score.is_nan() {
            return None;
        }
        self.judged += 1;
        let log_score = score.realized.log_score.max(LOG_SCORE_FLOOR);
        let Self { values, overall, thresholds, .. } = self;
        values.clear();
        values.resize(self.layout.num_columns, f64::NAN);
        values[overall.log_loss] = -log_score;
        let forecast =
            self.forecast.as_mut().and_then(|forecast| forecast.load(&score.params).then_some(forecast));
        let mut case = Case { scored, has_step: self.has_step, forecast };
        judge_distribution(&mut case, *overall, &mut self.crps, thresholds, log_score, values);
        let mut exceeded = Vec::with_capacity(self.quantiles.len() + thresholds.len());
        for quantile in &mut self.quantiles {
            let is_above = quantile.push(&case, values);
            exceeded.push(is_above.map_or((false, f64::NAN), |is_above| (is_above, 1.0 - quantile.level)));
        }
        for threshold in thresholds {
            exceeded.push(threshold.push(&case, values).unwrap_or((false, f64::NAN)));
        }
        for tail_mean in &mut self.tail_means {
            tail_mean.push(&mut case, values);
        }
        for (pits, &pit) in self.pits.iter_mut().zip(&score.realized.pits) {
            pits.push(pit);
        }
        for (_, carried, segments) in &mut self.segments {
            let value = cell_text(&event.carry[*carried]).unwrap_or_else(|| "(missing)".to_owned());
            segments.push(&value, log_score, &exceeded);
        }
        self.worst.push(scored);
        self.sums.push(event.time_us, &self.values);
        Some(&self.values)
    }

    /// What was found.
    #[must_use]
    pub fn finish(self, about: About) -> ModelSummary {
        let num_figures = self.quantiles.len() + self.thresholds.len() + self.tail_means.len();
        let judged = Judged { sums: &self.sums, num_figures };
        let scores = self.layout.scores.iter().filter_map(|score| {
            Some(MeanScore {
                score: score.key.clone(),
                title: score.title.clone(),
                mean: self.sums.mean(score.column)?,
                interval: judged.interval(score.column),
            })
        });
        let highest = self.quantiles.iter().max_by(|a, b| a.level.total_cmp(&b.level));
        let mut summary = ModelSummary {
            name: about.name,
            config_hash: about.config_hash,
            config: about.config,
            scores_file: about.scores_file,
            scored: self.scored,
            warmup: self.warmup,
            judged: self.judged,
            updates: about.updates,
            verdict: verdict::unknown(),
            quantiles: self.quantiles.iter().map(|quantile| quantile.finish(&judged)).collect(),
            thresholds: self.thresholds.iter().map(|threshold| threshold.finish(&judged)).collect(),
            shortfalls: self.tail_means.iter().map(|tail_mean| tail_mean.finish(&judged)).collect(),
            pits: self.pits.iter().zip(&self.fields).map(|(pits, field)| pit_summary(pits, field)).collect(),
            scores: scores.collect(),
            log_score: self.sums.mean(self.overall.log_loss).map(|loss| -loss),
            baseline_log_score: self.sums.mean(self.overall.baseline),
            periods: self.sums.groups(NUM_PERIODS).iter().map(|block| self.period(block)).collect(),
            worst: self.worst.finish(&self.carried, highest.map(|q| (q.column.as_str(), q.figure))),
            segments: Vec::new(),
        };
        let [low, _] = judged.interval(self.overall.behind);
        let titles = verdict::Titles {
            nats_behind: self.sums.mean(self.overall.behind).filter(|_| low > 0.0),
            quantiles: self.quantiles.iter().map(|quantile| quantile.title.clone()).collect(),
            levels: self.quantiles.iter().map(|quantile| quantile.level).collect(),
            thresholds: self.thresholds.iter().map(|threshold| threshold.title.clone()).collect(),
            shortfalls: self.tail_means.iter().map(|tail_mean| tail_mean.title.clone()).collect(),
        };
        let of_quantiles = self.quantiles.iter().map(|quantile| quantile.design_effect(&judged));
        let of_thresholds = self.thresholds.iter().map(|threshold| threshold.design_effect(&judged));
        let design_effects: Vec<f64> = of_quantiles.chain(of_thresholds).collect();
        let num_quantiles = self.quantiles.len();
        for (field, _, segments) in self.segments {
            let found = segments.finish();
            let confidence = joint_confidence(found.len() * design_effects.len());
            for (value, counted) in found {
                summary.segments.push(segment(
                    &field,
                    value,
                    &counted,
                    &design_effects,
                    num_quantiles,
                    confidence,
                ));
            }
        }
        summary.verdict = verdict::verdict(&summary, &titles);
        summary
    }

    fn period(&self, block: &Block) -> Period {
        let mean = |column| block.mean(column).unwrap_or(f64::NAN);
        let thresholds = || self.thresholds.iter().map(Threshold::above_and_expected);
        Period {
            from: time::rfc3339(block.first_us).to_string(),
            until: time::rfc3339(block.last_us).to_string(),
            events: block.events,
            above: self.quantiles.iter().map(|quantile| mean(quantile.above())).collect(),
            exceeded: thresholds().map(|[above, _]| mean(above)).collect(),
            expected: thresholds().map(|[_, expected]| mean(expected)).collect(),
            log_score: block.mean(self.overall.log_loss).map(|loss| -loss),
            baseline_log_score: block.mean(self.overall.baseline),
            upper_tail_index: block.mean(self.overall.upper_tail),
            lower_tail_index: block.mean(self.overall.lower_tail),
        }
    }
}

/// What asks the distribution itself: of one target.
fn judge_distribution(
    case: &mut Case<'_>,
    overall: Overall,
    crps: &mut Crps,
    thresholds: &[Threshold],
    log_score: f64,
    values: &mut [f64],
) {
    let y = case.scored.score.realized.targets[0];
    let Some(forecast) = &mut case.forecast else { return };
    values[overall.baseline] = case.scored.score.realized.baseline_log_score().max(LOG_SCORE_FLOOR);
    values[overall.behind] = values[overall.baseline] - log_score;
    values[overall.upper_tail] = forecast.tail_index(Side::Upper);
    values[overall.lower_tail] = forecast.tail_index(Side::Lower);
    let tails: Vec<(&Threshold, f64)> = thresholds
        .iter()
        .filter_map(|threshold| Some((threshold, forecast.end(threshold.constant?))))
        .collect();
    let ends: Vec<f64> = tails.iter().map(|(_, end)| *end).collect();
    let mut above = vec![f64::NAN; ends.len()];
    let centre = forecast.centre();
    let score = crps.score(*forecast, y, centre, &ends, &mut above);
    if let Some(column) = overall.crps {
        values[column] = score;
    }
    for ((threshold, end), above) in tails.into_iter().zip(above) {
        let log_below = forecast.log_cdf(end);
        threshold.put_tail(above, censored_log_loss(y, end, log_score, log_below), values);
    }
}

fn pit_summary(pits: &Pits, field: &str) -> PitSummary {
    PitSummary {
        target: field.to_owned(),
        histogram: pits.histogram().to_vec(),
        uniformity: pits.kolmogorov_smirnov(),
        berkowitz: pits.berkowitz(),
        normal_mean: pits.mean().unwrap_or(f64::NAN),
        normal_deviation: pits.standard_deviation().unwrap_or(f64::NAN),
        normal_correlation: pits.correlation().unwrap_or(f64::NAN),
    }
}

fn segment(
    field: &str,
    value: Option<String>,
    counted: &Counted,
    design_effects: &[f64],
    num_quantiles: usize,
    confidence: f64,
) -> Segment {
    let rate = |(&(events, observed, expected), effect): (&(u64, u64, f64), &f64)| {
        // That neighbours go together counts here as much as among all events.
        let (n, hits) = (events as f64 / effect, observed as f64 / effect);
        SegmentRate {
            events,
            observed,
            expected,
            interval: ends(wilson(hits, n, CONFIDENCE)),
            held: held_rate(
                observed as f64 / events as f64,
                expected / events as f64,
                wilson(hits, n, confidence),
            ),
        }
    };
    let mut quantiles: Vec<SegmentRate> = counted.figures.iter().zip(design_effects).map(rate).collect();
    let thresholds = quantiles.split_off(num_quantiles.min(quantiles.len()));
    Segment {
        field: field.to_owned(),
        value,
        events: counted.events,
        log_score: (counted.events > 0).then(|| counted.log_score / counted.events as f64),
        quantiles,
        thresholds,
    }
}

#[cfg(test)]
mod tests;
