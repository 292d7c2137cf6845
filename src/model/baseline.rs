//! A distribution that does without features: there from the first target on, and soon right again after a break.
//!
//! It has the shape of Student's t with an index for each side. The first targets fit it anew whenever their number has doubled; from
//! then on each moves its parameters by a step up the log likelihood's gradient, scaled by about the inverse of the Fisher information,
//! by one over the number of targets so far and no less than 0.004: it forgets what is some hundred targets ago.
//!
//! What is published is its mixture with the net's distribution, by shares that a power η = 0.2 of their likelihoods decides. At each target a
//! billionth of the net's goes over to the baseline, and a thousandth of the baseline's to the net (Herbster & Warmuth 1998, "Tracking the
//! best expert", fixed share). Since Σ v p ≥ (Σ v p^η)^(1/η), over any stretch of targets that are known at once the mixture's log scores
//! sum to no more than log(10⁹) / η = 104 nats less than the baseline's, and 0.001 / η = 0.005 for each target, and to no more than
//! log(10³) / η = 35 less than the net's.
//!
//! With η = 1 (Bayes) both would be a fifth of that. But targets come late: the scores of a storm's first hours are made by a net that knows
//! nothing of it, and when they are judged, all at once, Bayes's rule hands a day to the baseline that the net has long learned about.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{
    normaliser::Normaliser,
    saved::Misfit,
    standardiser::{Reach, Standardiser},
};
use crate::{
    config::{Support, Target},
    density::{Blend, Learnable, NUM_OWN_PARAMS, Workspace},
    flow::tail::raw_index,
    math::scalar::softplus,
};

/// So many targets are kept to fit to.
const NUM_FIRST: usize = 64;
/// What a target moves at least, of what it alone would say.
const LEAST_RATE: f64 = 0.004;
/// No target moves the location by more scales than this, nor a logarithm by more.
const MOST_AT_ONCE: f64 = 0.1;
/// A step of a raw index for one of the others: the information about it is so much less.
const INDEX_RATE: f64 = 10.0;
/// The scale's logarithm stays within this, in a unit that follows, …
const MOST_LOG_SCALE: f64 = 3.0;
/// … and within this where the unit stays.
const MOST_LOG_SCALE_OF_FIXED: f64 = 8.0;
/// So far from 0 the location may get.
const MOST_LOCATION: f64 = 1e6;
/// Indices stay between these. A shortfall always exists.
const INDICES: [f64; 2] = [0.01, 0.8];
const REACH: Reach = Reach { scale: 1e6, center: f64::INFINITY };

/// The share of the net's share that goes over to the baseline at each target: little enough not to be seen in the tail of what is published, …
const TO_BASELINE: f64 = 1e-9;
/// … and of the baseline's that goes over to the net, so that it is soon back once it has learned.
const TO_NET: f64 = 1e-3;
/// So that the logarithm of the odds stays within about −log of the lesser.
const MOST_LOG_ODDS: f64 = 21.0;
/// The power η of a likelihood ratio that odds change by.
const EVIDENCE: f64 = 0.2;
/// A likelihood ratio beyond e to this says no more.
const MOST_LOG_RATIO: f64 = 100.0;

/// Where half a rounding step has no more scales than this, the density's gradient is the interval's to within some hundredths.
const SMALL_HALF: f64 = 0.05;

/// Where the parameters of the tail layer stand.
const LOCATION: usize = 0;
const LOG_SCALE: usize = 1;
const NUM_PARAMS: usize = 4;

/// The baseline under learning, and its share of what is published.
pub struct Baseline {
    density: Arc<dyn Learnable>,
    /// Of a net's distributions and its own.
    blend: Arc<Blend>,
    support: Support,
    step: Option<f64>,
    state: SavedBaseline,
    density_ws: Workspace,
}

/// All that the next distribution depends on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SavedBaseline {
    /// Targets learned from.
    pub records: u64,
    /// The first of them, as long as it is fitted to them anew.
    pub first: Vec<f64>,
    /// The target's unit.
    pub unit: Standardiser,
    /// Parameters in that unit; none before the first target.
    pub params: Vec<f64>,
    /// log v − log(1 − v) for its share v of the mixture.
    pub log_odds: f64,
}

impl Default for SavedBaseline {
    fn default() -> Self {
        Self {
            records: 0,
            first: Vec::new(),
            unit: Standardiser::IDENTITY,
            params: Vec::new(),
            log_odds: 0.0,
        }
    }
}

impl SavedBaseline {
    fn check(&self) -> Result<(), Misfit> {
        let num_first = if self.records < NUM_FIRST as u64 { self.records as usize } else { 0 };
        let num_params = if self.records == 0 { 0 } else { NUM_PARAMS };
        let is_sized = self.params.len() == num_params && self.first.len() == num_first;
        let mut numbers = self.params.iter().chain(&self.first).chain([&self.log_odds]);
        let is_finite = self.unit.is_valid() && numbers.all(|number| number.is_finite());
        if is_sized && is_finite && self.log_odds.abs() <= MOST_LOG_ODDS {
            return Ok(());
        }
        Err(Misfit::new("its baseline is not one, or has a parameter that is not finite"))
    }
}

impl Baseline {
    /// One that has seen nothing.
    #[must_use]
    pub fn new(blend: Arc<Blend>, density: Arc<dyn Learnable>, target: &Target) -> Self {
        Self {
            support: target.support,
            step: target.step,
            state: SavedBaseline::default(),
            density_ws: density.workspace(),
            density,
            blend,
        }
    }

    /// What its next distribution depends on.
    #[must_use]
    pub fn saved(&self) -> SavedBaseline {
        self.state.clone()
    }

    /// Goes on from what was saved.
    ///
    /// # Errors
    /// When it is not finite.
    pub fn restore(&mut self, saved: SavedBaseline) -> Result<(), Misfit> {
        saved.check()?;
        self.state = saved;
        Ok(())
    }

    /// Whether it has seen a target.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        !self.state.params.is_empty()
    }

    /// Its unit.
    #[must_use]
    pub fn unit(&self) -> &Normaliser {
        self.state.unit.normaliser()
    }

    /// How many numbers it writes into a row.
    #[must_use]
    pub fn num_written(&self) -> usize {
        NUM_PARAMS + NUM_OWN_PARAMS
    }

    /// Writes its parameters, its share's logarithm, and its unit in the net's; without a net all is its own.
    pub fn write(&self, net_unit: Option<&Normaliser>, out: &mut [f32]) {
        let (params, own) = out.split_at_mut(NUM_PARAMS);
        for (out, &param) in params.iter_mut().zip(&self.state.params) {
            *out = param as f32;
        }
        let unit = self.unit();
        let [log_share, shift, ratio] = match net_unit {
            None => [0.0, 0.0, 1.0],
            Some(net) => [
                -softplus(-self.state.log_odds),
                (unit.center - net.center) / net.scale,
                unit.scale / net.scale,
            ],
        };
        let bounded = |value: f64| (value as f32).clamp(f32::MIN, f32::MAX);
        own.copy_from_slice(&[log_share as f32, bounded(shift), bounded(ratio).max(f32::MIN_POSITIVE)]);
    }

    /// Whether a row, center and scale not included, is of more than the baseline.
    #[must_use]
    pub fn has_net(&self, params: &[f32]) -> bool {
        self.blend.has_net(params)
    }

    /// Whether the net has the larger share in a row.
    #[must_use]
    pub fn is_mostly_net(&self, params: &[f32]) -> bool {
        self.blend.is_mostly_net(params)
    }

    /// Begins to share with a net.
    pub fn begin_to_share(&mut self) {
        self.state.log_odds = 0.0;
    }

    /// Takes note of which has told a target better, the net or it: the log scores of both.
    pub fn judge(&mut self, [net, own]: [f64; 2]) {
        let log_ratio = own.max(f64::MIN) - net.max(f64::MIN);
        if log_ratio.is_nan() {
            return;
        }
        let log_odds = self.state.log_odds + EVIDENCE * log_ratio.clamp(-MOST_LOG_RATIO, MOST_LOG_RATIO);
        // The shares are v = 1 / (1 + odds⁻¹) and odds⁻¹ v, neither of which is too small for the logarithm to be right.
        let inverse = (-log_odds).exp();
        let kept = (1.0 - TO_BASELINE - TO_NET) / (1.0 + inverse);
        self.state.log_odds = ((kept + TO_BASELINE) / (kept * inverse + TO_NET)).ln();
    }

    /// Learns from a target.
    pub fn learn(&mut self, y: f64) {
        self.state.records += 1;
        self.state.unit.follow(y);
        if self.state.records > NUM_FIRST as u64 {
            self.take_step(y);
            return;
        }
        self.state.first.push(y);
        if self.state.records.is_power_of_two() {
            self.fit();
        }
        if self.state.records == NUM_FIRST as u64 {
            self.state.first = Vec::new();
        }
    }

    /// Fits to the first targets: of few, twice as wide as they seem.
    fn fit(&mut self) {
        let mut values = self.state.first.clone();
        self.state.unit = Standardiser::fit(&mut values, self.support);
        let normalised: Vec<f64> = values.iter().map(|&y| self.unit().normalise(y)).collect();
        let initial = self.density.initial(&normalised);
        self.state.params = initial.into_iter().map(f64::from).collect();
        self.state.params[LOG_SCALE] += (1.0 + 2.0 / values.len() as f64).ln();
        self.bound();
    }

    fn take_step(&mut self, y: f64) {
        let params: [f32; NUM_PARAMS] = std::array::from_fn(|i| self.state.params[i] as f32);
        let unit = *self.state.unit.normaliser();
        let scale = self.state.params[LOG_SCALE].exp();
        // The density stands in for a small interval, but for one of positive targets: what was rounded to 0 has no density.
        let needs_interval = |half: &f64| self.support == Support::Positive || *half > SMALL_HALF * scale;
        let half = self.step.map(|step| 0.5 * step / unit.scale).filter(needs_interval);
        let own = unit.normalise(y);
        let mut gradient = [0.0; NUM_PARAMS];
        self.density.log_likelihood_grads(&params, &[own], half, 1.0, &mut gradient, &mut self.density_ws);
        if !gradient.iter().all(|by| by.is_finite()) {
            return;
        }
        let rate = LEAST_RATE.max(1.0 / self.state.records as f64);
        for (nth, (param, by)) in self.state.params.iter_mut().zip(gradient.map(f64::from)).enumerate() {
            let limited = |step: f64| step.clamp(-MOST_AT_ONCE, MOST_AT_ONCE);
            *param += match nth {
                LOCATION => scale * limited(rate * scale * by),
                LOG_SCALE => limited(0.5 * rate * by),
                _ => limited(INDEX_RATE * rate * by),
            };
        }
        if self.support == Support::Real {
            let params = &mut self.state.params;
            self.state.unit.adapt(REACH, |rescaling| {
                params[LOCATION] = (params[LOCATION] - rescaling.shift) / rescaling.ratio;
                params[LOG_SCALE] -= rescaling.ratio.ln();
                true
            });
        }
        self.bound();
    }

    fn bound(&mut self) {
        let log_scale = match self.support {
            Support::Real => MOST_LOG_SCALE,
            Support::Positive => MOST_LOG_SCALE_OF_FIXED,
        };
        let [least, most] = INDICES.map(raw_index);
        for (nth, param) in self.state.params.iter_mut().enumerate() {
            *param = match nth {
                LOCATION => param.clamp(-MOST_LOCATION, MOST_LOCATION),
                LOG_SCALE => param.clamp(-log_scale, log_scale),
                _ => param.clamp(least, most),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::{
        config::Config,
        density::{Densities, Density, Level},
        model::noise::Draws,
    };

    const LEVELS: [f64; 3] = [0.1, 0.5, 0.99];

    fn baseline(sets: &[&str]) -> Baseline {
        const CONFIG: &str = "kafka.brokers = 'b'\nkafka.group = 'g'\ninput.topic = 'i'\noutput.topic = 'o'\n\
                              features.x = 'number'\ntarget.fields = ['y']";
        let sets: Vec<String> = sets.iter().map(ToString::to_string).collect();
        let config = Config::from_parts(CONFIG, "test.toml", &sets, std::iter::empty()).unwrap();
        let Densities { blend, baseline, .. } = Densities::new(&config);
        Baseline::new(blend.unwrap(), baseline, &config.target)
    }

    fn gaussian(n: usize, center: f64, scale: f64) -> impl Iterator<Item = f64> {
        (0..n).map(move |i| center + scale * Draws::new(3, 0, i).normal())
    }

    fn learn(baseline: &mut Baseline, targets: impl Iterator<Item = f64>) {
        targets.for_each(|y| baseline.learn(y));
    }

    /// Where in a row what the baseline writes begins.
    fn first_own(row: &[f32]) -> usize {
        row.len() - NUM_PARAMS - 3
    }

    /// Its row, as it is published without a net.
    fn row(baseline: &Baseline) -> Vec<f32> {
        let mut row = vec![0.0; baseline.blend.num_params()];
        let own = first_own(&row);
        baseline.write(None, &mut row[own..]);
        row
    }

    /// The same beside a net of which nothing is said.
    fn row_beside(baseline: &Baseline, net_unit: &Normaliser) -> Vec<f32> {
        let mut row = row(baseline);
        let own = first_own(&row);
        baseline.write(Some(net_unit), &mut row[own..]);
        row
    }

    /// Lets it judge the target of an event that was scored with this row.
    fn judge(baseline: &mut Baseline, row: &[f32], y: f64) {
        let blend = baseline.blend.clone();
        let mut ws = blend.workspace();
        blend.load(row, &mut ws);
        baseline.judge(blend.likelihood(y, None, &mut ws).log_parts.unwrap());
    }

    fn quantiles(baseline: &Baseline) -> [f64; 3] {
        let blend = &baseline.blend;
        let mut ws = blend.workspace();
        blend.load(&row(baseline), &mut ws);
        LEVELS.map(|p| baseline.unit().restore(blend.quantile(&Level::from_p(p), &mut ws)))
    }

    #[test]
    fn where_rounding_is_small_the_density_has_the_gradient_of_the_interval() {
        let baseline = baseline(&[]);
        let (density, mut ws) = (&baseline.density, baseline.density.workspace());
        let tails = [INDICES[0], 0.1, INDICES[1]].map(|index| raw_index(index) as f32);
        for [below, above] in tails.into_iter().flat_map(|below| tails.map(|above| [below, above])) {
            for y in (-400..=400).map(|nth| f64::from(nth) / 20.0).chain([-1e3, -100.0, 100.0, 1e3]) {
                let [of_density, of_interval] = [None, Some(SMALL_HALF)].map(|half| {
                    let mut gradient = [0.0; NUM_PARAMS];
                    let params = [0.0, 0.0, below, above];
                    density.log_likelihood_grads(&params, &[y], half, 1.0, &mut gradient, &mut ws);
                    gradient
                });
                for (a, b) in of_density.into_iter().zip(of_interval) {
                    assert!((a - b).abs() <= 0.02 * b.abs().max(1.0), "{y}: {of_density:?} {of_interval:?}");
                }
            }
        }
    }

    #[test]
    fn it_learns_from_positive_targets_that_were_rounded_to_0() {
        let mut baseline = baseline(&["target.support=positive", "target.step=0.1"]);
        learn(&mut baseline, (1..=64).map(f64::from));
        let target = |i: usize| {
            if i % 5 < 3 { 0.0 } else { (Draws::new(3, 0, i).normal().abs() * 300.0).round() / 10.0 }
        };
        learn(&mut baseline, (0..20_000).map(target));
        let [_, median, high] = quantiles(&baseline);
        assert!(median < 4.0 && high > 20.0, "{median} {high}");
    }

    #[test]
    fn it_is_about_right_from_the_first_targets_on() {
        let mut baseline = baseline(&[]);
        assert!(!baseline.is_ready());
        baseline.learn(1e6);
        let [low, median, high] = quantiles(&baseline);
        assert!(low < 1e6 && (median - 1e6).abs() < 1.0 && high > 1e6, "{low} {median} {high}");
        learn(&mut baseline, gaussian(63, 1e6, 10.0));
        let [low, median, high] = quantiles(&baseline);
        assert!((median - 1e6).abs() < 8.0 && (5.0..40.0).contains(&(median - low)), "{low} {median} {high}");
    }

    #[test]
    fn it_finds_a_distribution_and_finds_another_one_after_a_break() {
        let mut baseline = baseline(&[]);
        for (center, scale) in [(5.0, 1.0), (-2e3, 100.0), (0.0, 1e-3)] {
            learn(&mut baseline, gaussian(20_000, center, scale));
            for (told, z) in quantiles(&baseline).into_iter().zip([-1.2816, 0.0, 2.3263]) {
                let error = (told - center) / scale - z;
                assert!(error.abs() < 0.35, "{center} {scale}: {told} for {z}");
            }
        }
    }

    #[test]
    fn it_finds_a_heavy_tail_and_a_positive_one() {
        // A Pareto's quantiles, of uniform draws: P(Y > y) = (1 + y / 2)⁻².
        let pareto = |i| 2.0 * (Draws::new(4, 0, i).uniform().powf(-0.5) - 1.0);
        let mut baseline = baseline(&["target.support=positive"]);
        learn(&mut baseline, (0..50_000).map(pareto));
        let [low, median, high] = quantiles(&baseline);
        assert!(
            low > 0.0 && (median / 0.83 - 1.0).abs() < 0.2 && (high / 18.0 - 1.0).abs() < 0.35,
            "{low} {median} {high}"
        );
    }

    #[test]
    fn it_stays_finite_whatever_comes() {
        let constant = std::iter::repeat_n(7.0, 20_000);
        let mostly_zero = (0..20_000).map(|i| if i % 10 == 0 { 1.0 } else { 0.0 });
        let extremes = [f64::MAX, f64::MIN, f64::MIN_POSITIVE].into_iter().cycle().take(20_000);
        let after = gaussian(20_000, 1e300, 1.0).chain(gaussian(1_000, 0.0, 1e-300));
        let hostile: [Box<dyn Iterator<Item = f64>>; 4] =
            [Box::new(constant), Box::new(mostly_zero), Box::new(extremes), Box::new(after)];
        for targets in hostile {
            let mut baseline = baseline(&[]);
            for y in targets {
                baseline.learn(y);
                assert!(baseline.saved().check().is_ok(), "{y}: {:?}", baseline.saved());
                assert!(row(&baseline).iter().all(|param| param.is_finite()), "{y}: {:?}", row(&baseline));
            }
        }
    }

    #[test]
    fn a_target_moves_the_odds_by_a_fifth_of_its_log_likelihood_ratio() {
        let mut baseline = baseline(&["model.flows=[\"affine\"]"]);
        learn(&mut baseline, gaussian(1_000, 0.0, 1.0));
        baseline.begin_to_share();
        let mut row = row_beside(&baseline, &Normaliser::IDENTITY);
        row[..2].copy_from_slice(&[3.0, 0.0]);
        // log N(0; 0, 1) − log N(0; 3, 1), where the baseline is about right; the thousandth takes a little.
        judge(&mut baseline, &row, 0.0);
        assert!((baseline.state.log_odds - 0.2 * 4.5).abs() < 0.05, "{}", baseline.state.log_odds);
    }

    #[test]
    fn the_odds_are_those_of_shares_that_were_switched() {
        let share = |log_odds: f64| (-softplus(-log_odds)).exp();
        let mut baseline = baseline(&[]);
        for (nth, log_ratio) in [0f64, 3.0, -3.0, 1e300, 1e300, -1e300, -20.0, 500.0].into_iter().enumerate()
        {
            let moved = baseline.state.log_odds + EVIDENCE * log_ratio.clamp(-MOST_LOG_RATIO, MOST_LOG_RATIO);
            let kept = 1.0 - TO_BASELINE - TO_NET;
            let expected = (kept * share(moved) + TO_BASELINE).ln() - (kept * share(-moved) + TO_NET).ln();
            baseline.judge([0.0, log_ratio]);
            let log_odds = baseline.state.log_odds;
            assert!((log_odds - expected).abs() < 1e-12, "{nth}: {log_odds} {expected}");
            assert!(log_odds.abs() <= MOST_LOG_ODDS, "{nth}: {log_odds}");
        }
    }

    #[test]
    fn the_better_of_the_two_takes_over_and_the_other_is_kept() {
        let mut baseline = baseline(&["model.flows=[\"affine\"]"]);
        learn(&mut baseline, gaussian(1_000, 0.0, 1.0));
        baseline.begin_to_share();
        let unit = Normaliser::IDENTITY;
        // A net that says N(location, 1).
        let mut share_after = |location: f32, targets: f64| {
            let mut row = row_beside(&baseline, &unit);
            row[..2].copy_from_slice(&[location, 0.0]);
            for y in gaussian(300, targets, 1.0) {
                judge(&mut baseline, &row, y);
            }
            f64::from(row_beside(&baseline, &unit)[row.len() - 3]).exp()
        };
        let least = 1e-9;
        let share = share_after(3.0, 0.0);
        assert!((1e-3..5e-3).contains(&(1.0 - share)), "{share}: the baseline is right");
        let share = share_after(3.0, 3.0);
        assert!((least * 0.99..1e-8).contains(&share), "{share}: the net is");
        let share = share_after(3.0, 0.0);
        assert!((1e-3..5e-3).contains(&(1.0 - share)), "{share}: and the baseline again");
    }
}
