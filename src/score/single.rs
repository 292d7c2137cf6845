//! The figures of one target, in closed form.

use std::sync::Arc;

use smallvec::{SmallVec, smallvec};

use super::{
    Realized,
    exceed::{Bound, Exceed},
    figures::{Query, split},
    step::Step,
};
use crate::{
    config::Config,
    density::{Asked, Density, Level, Likelihood, Shortfall, Told, Workspace, tell_of_loaded},
    model::normaliser::Normaliser,
    record::Event,
};

/// Computes the figures of one target.
pub(super) struct SingleFigures {
    density: Arc<dyn Density>,
    exceed: Vec<Exceed>,
    quantiles: Vec<Level>,
    shortfalls: Vec<Shortfall>,
    limits: Vec<f64>,
    /// Of a target that is rounded.
    step: Option<Step>,
    many: Many,
    workspace: Workspace,
    /// The row that it holds: of an event whose target comes with it figures and log score may follow each other.
    loaded: Vec<f32>,
}

/// Of many rows, each row's numbers one after another.
#[derive(Default)]
struct Many {
    /// Thresholds in the density's unit.
    thresholds: Vec<f64>,
    exceed: Vec<f64>,
    /// Quantiles in the density's unit.
    quantiles: Vec<f64>,
    /// Targets in the density's unit, and half of what they are rounded to.
    targets: Vec<f64>,
    halves: Vec<f64>,
    likelihoods: Vec<Likelihood>,
}

impl SingleFigures {
    pub fn new(config: &Config, exceed: Vec<Exceed>, density: Arc<dyn Density>) -> Self {
        let score = &config.score;
        Self {
            exceed,
            quantiles: score.quantiles.iter().map(|&p| Level::from_p(p)).collect(),
            shortfalls: score.shortfall.iter().map(|&p| Shortfall::beyond(&Level::from_p(p))).collect(),
            limits: score.limit.clone(),
            step: config.target.step.map(Step),
            many: Many::default(),
            workspace: density.workspace(),
            loaded: Vec::new(),
            density,
        }
    }

    pub fn num_figures(&self) -> usize {
        self.exceed.len() + self.quantiles.len() + self.shortfalls.len() + self.limits.len()
    }

    fn load(&mut self, params: &[f32]) -> Normaliser {
        if self.loaded != params {
            self.density.load(split(params, 1).0, &mut self.workspace);
            self.loaded.clear();
            self.loaded.extend_from_slice(params);
        }
        unit(params)
    }

    /// The figures of each row, row by row, and what its target is worth where that is asked.
    pub fn evaluate(&mut self, rows: &[Query<'_>], figures: &mut [f64]) -> Vec<Option<Realized>> {
        self.take_thresholds(rows);
        self.take_targets(rows);
        let (num_exceed, num_quantiles) = (self.exceed.len(), self.quantiles.len());
        self.many.exceed.resize(rows.len() * num_exceed, 0.0);
        self.many.quantiles.resize(rows.len() * num_quantiles, 0.0);
        self.many.likelihoods.resize(self.many.targets.len(), Likelihood::NONE);
        if let &[Query { params, .. }] = rows {
            self.load(params);
        }
        let params: SmallVec<[&[f32]; 1]> = rows.iter().map(|row| split(row.params, 1).0).collect();
        let Self { density, many, step, .. } = self;
        let Many { thresholds, exceed, quantiles, targets, halves, likelihoods } = many;
        let asked = Asked {
            rows: &params,
            ys: thresholds,
            levels: &self.quantiles,
            targets,
            halves: step.map(|_| &halves[..]),
        };
        let told = Told { exceed, quantiles, likelihoods };
        if rows.len() == 1 {
            tell_of_loaded(density.as_ref(), &asked, told, &mut self.workspace);
        } else {
            density.tell(&asked, told, &mut self.workspace);
            // It holds another row now.
            self.loaded.clear();
        }
        let num_figures = self.num_figures();
        for (nth, &Query { params, .. }) in rows.iter().enumerate() {
            let figures = &mut figures[nth * num_figures..][..num_figures];
            let target = unit(params);
            let (exceed, rest) = figures.split_at_mut(num_exceed);
            let (quantiles, means) = rest.split_at_mut(num_quantiles);
            let thresholds = self.many.thresholds[nth * num_exceed..].iter();
            for ((out, threshold), &p) in
                exceed.iter_mut().zip(thresholds).zip(&self.many.exceed[nth * num_exceed..])
            {
                // A threshold that the event does not bring is NaN, and so is its probability.
                *out = if threshold.is_nan() { *threshold } else { p };
            }
            for (out, y) in quantiles.iter_mut().zip(&self.many.quantiles[nth * num_quantiles..]) {
                let restored = target.restore(*y);
                *out = self.step.map_or(restored, |step| step.round(restored));
            }
            if !means.is_empty() {
                self.means(params, means);
            }
        }
        let realized = |(nth, row): (usize, &Query<'_>)| {
            let targets = SmallVec::from_slice(&row.target()?.values);
            Some(self.realized(self.many.likelihoods[nth], &unit(row.params), row.event, targets))
        };
        rows.iter().enumerate().map(realized).collect()
    }

    /// Brings the targets into the units of the rows' densities.
    fn take_targets(&mut self, rows: &[Query<'_>]) {
        let Self { step, many: Many { targets, halves, .. }, .. } = self;
        targets.clear();
        halves.clear();
        if rows.iter().all(|row| row.target().is_none()) {
            return;
        }
        for row in rows {
            let target = row.target().map_or(f64::NAN, |target| target.values[0]);
            let (y, half) = normalised(&unit(row.params), target, *step);
            targets.push(y);
            halves.extend(half);
        }
    }

    /// Brings the thresholds into the units of the rows' densities.
    fn take_thresholds(&mut self, rows: &[Query<'_>]) {
        let Self { exceed, step, many: Many { thresholds, .. }, .. } = self;
        thresholds.clear();
        for &Query { params, event, .. } in rows {
            let target = unit(params);
            thresholds.extend(exceed.iter().map(|exceed| {
                let threshold = match &exceed.bound {
                    Bound::Constant { threshold, .. } => *threshold,
                    Bound::OfEvent { nth, .. } => event.thresholds[*nth],
                    Bound::Together(_) => f64::NAN, // of several targets alone
                };
                target.normalise(step.map_or(threshold, |step| step.end(threshold)))
            }));
        }
    }

    /// The shortfalls and the limited expected values of a row.
    fn means(&mut self, params: &[f32], means: &mut [f64]) {
        let target = self.load(params);
        let Self { density, workspace, shortfalls, limits, step, .. } = self;
        let (of_shortfalls, of_limits) = means.split_at_mut(shortfalls.len());
        // Of the target before it is rounded, which changes the mean by less than half a step; but no less than the quantile.
        for (out, shortfall) in of_shortfalls.iter_mut().zip(shortfalls) {
            let mean = target.restore(density.shortfall(shortfall, workspace));
            *out = match step {
                Some(step) if mean.is_finite() => {
                    mean.max(step.round(target.restore(density.quantile(shortfall.level(), workspace))))
                }
                _ => mean,
            };
        }
        for (out, &limit) in of_limits.iter_mut().zip(&*limits) {
            *out = target.restore(density.limited(target.normalise(limit), workspace));
        }
    }

    pub fn realize(&mut self, params: &[f32], event: &Event, targets: SmallVec<[f64; 1]>) -> Realized {
        let unit = self.load(params);
        let (y, half) = normalised(&unit, targets[0], self.step);
        let likelihood = self.density.likelihood(y, half, &mut self.workspace);
        self.realized(likelihood, &unit, event, targets)
    }

    /// What a target is worth of which the density says this in its unit.
    fn realized(
        &self,
        Likelihood { log, below, log_parts }: Likelihood,
        unit: &Normaliser,
        event: &Event,
        targets: SmallVec<[f64; 1]>,
    ) -> Realized {
        let (log_scale, pit) = match self.step {
            None => (unit.scale.ln(), below),
            // The probability of an interval has no unit.
            Some(step) => (0.0, (below + step.draw(event) * log.exp()).min(1.0)),
        };
        Realized {
            targets,
            log_score: log - log_scale,
            pits: smallvec![pit],
            log_scores_of_parts: log_parts.map(|parts| parts.map(|log| log - log_scale)),
        }
    }
}

/// A target in a density's unit, and half of what it is rounded to.
fn normalised(unit: &Normaliser, target: f64, step: Option<Step>) -> (f64, Option<f64>) {
    (unit.normalise(target), step.map(|step| 0.5 * step.0 / unit.scale))
}

/// The unit of a row's target.
fn unit(params: &[f32]) -> Normaliser {
    split(params, 1).1.next().expect("a row ends with center and scale")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::score::figures::Figures;
    use crate::{
        config::FlowKind,
        density::{Learnable, Nfn},
        math::normal,
        model::noise::Draws,
        record::{Known, Target},
    };

    fn evaluate(figures: &mut Figures, params: &[f32], own_thresholds: &[f64]) -> Box<[f64]> {
        let event = Event { thresholds: own_thresholds.into(), ..Event::bare([].into(), None) };
        figures.evaluate(&[Query { params, event: &event, judges: false }]).swap_remove(0).figures
    }

    const FLOWS: [FlowKind; 3] = [FlowKind::Radial, FlowKind::Radial, FlowKind::Affine];

    /// Figures with one threshold of the event's own, these quantiles, and the shortfall at 99 %.
    fn figures(flows: &[FlowKind], quantiles: &[f64]) -> (Figures, Vec<f32>) {
        figures_of(flows, quantiles, &[])
    }

    fn figures_of(flows: &[FlowKind], quantiles: &[f64], sets: &[&str]) -> (Figures, Vec<f32>) {
        const CONFIG: &str = "kafka.brokers = 'b'\nkafka.group = 'g'\ninput.topic = 'i'\noutput.topic = 'o'\n\
                              features.x = 'number'\ntarget.fields = ['y']\nscore.exceed = ['t']\nscore.shortfall = [0.99]";
        let quantiles_set = format!("score.quantiles={quantiles:?}");
        let sets: Vec<String> =
            sets.iter().copied().chain([quantiles_set.as_str()]).map(String::from).collect();
        let config = Config::from_parts(CONFIG, "test.toml", &sets, std::iter::empty()).unwrap();
        let density = Arc::new(Nfn::new(flows, 1));
        let mut params = density.initial(&[]);
        params.extend([12.5, 30.0]); // center and scale of the target
        (Figures::new(&config, density), params)
    }

    /// An event at this offset, with this target.
    fn event(offset: i64, target: f64) -> Event {
        let target = Target { values: [target].into(), known: Known::WithEvent };
        Event { offset, ..Event::bare([].into(), Some(target)) }
    }

    fn bent(mut params: Vec<f32>, seed: u64) -> Vec<f32> {
        let mut draws = Draws::new(seed, 1, 0);
        let num_density = params.len() - 2;
        params[..num_density].iter_mut().for_each(|p| *p += draws.normal() as f32);
        params
    }

    #[test]
    fn the_probability_of_exceeding_a_quantile_is_one_minus_its_level_to_1e_9() {
        let levels = [0.001, 0.01, 0.25, 0.5, 0.9, 0.99, 0.999, 0.9999];
        let (mut figures, params) = figures(&FLOWS, &levels);
        for seed in 0..50 {
            let params = bent(params.clone(), seed);
            let quantiles = evaluate(&mut figures, &params, &[0.0])[1..=levels.len()].to_vec();
            assert!(quantiles.is_sorted(), "quantiles cross: {quantiles:?}");
            for (&quantile, p) in quantiles.iter().zip(levels) {
                let exceed = evaluate(&mut figures, &params, &[quantile])[0];
                assert!((exceed - (1.0 - p)).abs() < 1e-9, "{p}: {exceed} at {quantile}");
                let pit = figures.realize(&params, &event(0, quantile)).pits[0];
                assert!((pit - p).abs() < 1e-9, "{p}: {pit}");
            }
        }
    }

    #[test]
    fn figures_are_in_the_target_s_own_unit() {
        let (mut figures, params) = figures(&[FlowKind::Affine], &[0.5, 0.9]);
        let evaluated = evaluate(&mut figures, &params, &[12.5]);
        let z = normal::quantile(0.9);
        // E[Z | Z > z] = φ(z) / P(Z > z).
        let z99 = normal::quantile(0.99);
        let shortfall = 12.5 + 30.0 * normal::log_pdf(z99).exp() / 0.01;
        for (figure, expected) in evaluated.iter().zip([0.5, 12.5, 12.5 + 30.0 * z, shortfall]) {
            assert!((figure - expected).abs() < 1e-6 * expected.abs(), "{evaluated:?}: {expected}");
        }
    }

    #[test]
    fn the_published_log_score_is_the_logarithm_of_a_density_that_integrates_to_one() {
        let (mut figures, params) = figures(&FLOWS, &[]);
        for seed in 0..5 {
            let params = bent(params.clone(), seed);
            let step = 0.05;
            let grid = (-40_000..40_000).map(|i| 12.5 + step * f64::from(i));
            let mass: f64 = grid.map(|y| step * figures.realize(&params, &event(0, y)).log_score.exp()).sum();
            assert!((mass - 1.0).abs() < 1e-4, "seed {seed}: {mass}");
        }
    }

    #[test]
    fn the_limited_expected_value_is_that_of_what_is_cut_off_at_the_limit() {
        let (mut figures, params) =
            figures_of(&[FlowKind::Affine], &[], &["score.limit=[12.5, 1e6]", "score.shortfall=[]"]);
        let evaluated = evaluate(&mut figures, &params, &[0.0]);
        // E[min(Z, 0)] = −φ(0).
        let expected = 12.5 - 30.0 * normal::log_pdf(0.0).exp();
        assert!(
            (evaluated[1] - expected).abs() < 1e-8 && (evaluated[2] - 12.5).abs() < 1e-8,
            "{evaluated:?}"
        );
    }

    #[test]
    fn a_shortfall_that_is_infinite_is_null() {
        let (mut figures, mut params) = figures(&[FlowKind::Radial, FlowKind::Pareto], &[0.5]);
        assert!(evaluate(&mut figures, &params, &[0.0])[2].is_finite());
        let upper_index = params.len() - 3;
        params[upper_index] = 0.1; // a tail index a little above 1
        let evaluated = evaluate(&mut figures, &params, &[0.0]);
        assert!(evaluated[2].is_nan() && evaluated[1].is_finite(), "{evaluated:?}");
    }

    #[test]
    fn what_does_not_exist_is_null() {
        let (mut figures, params) = figures(&FLOWS, &[0.5]);
        assert!(
            evaluate(&mut figures, &[], &[1.0]).iter().all(|f| f.is_nan()),
            "no distribution in the warm-up"
        );
        let without_threshold = evaluate(&mut figures, &params, &[f64::NAN]);
        assert!(without_threshold[0].is_nan() && without_threshold[1].is_finite());
        let realized = figures.realize(&[], &event(0, 3.0));
        assert!(realized.log_score.is_nan() && realized.pits[0].is_nan() && realized.targets[0] == 3.0);
    }

    #[test]
    fn the_figures_of_a_rounded_target_are_those_of_whole_steps() {
        let (mut figures, params) = figures_of(&FLOWS, &[0.1, 0.5, 0.99], &["target.step=5"]);
        for seed in 0..5 {
            let params = bent(params.clone(), seed);
            let mut exceed = |t: f64| evaluate(&mut figures, &params, &[t])[0];
            // P(Y > t) does not count t, and so is one between two steps.
            assert_eq!(exceed(15.0), exceed(19.9));
            let at_20 = exceed(15.0) - exceed(20.0);
            let mass = |figures: &mut Figures, y: f64| figures.realize(&params, &event(0, y)).log_score.exp();
            assert!((mass(&mut figures, 20.0) - at_20).abs() < 1e-9, "{at_20}");
            let total: f64 = (-8_000..8_000).map(|i| mass(&mut figures, 5.0 * f64::from(i))).sum();
            assert!((total - 1.0).abs() < 1e-6, "{total}");
            for (nth, p) in [0.1, 0.5, 0.99].into_iter().enumerate() {
                let quantile = evaluate(&mut figures, &params, &[0.0])[1 + nth];
                assert_eq!(quantile % 5.0, 0.0);
                // The least multiple of the step that is not exceeded by more than 1 − p.
                let mut exceed = |t: f64| evaluate(&mut figures, &params, &[t])[0];
                assert!(
                    exceed(quantile) <= 1.0 - p + 1e-12 && exceed(quantile - 5.0) > 1.0 - p,
                    "{quantile}"
                );
            }
            // The PIT lies anywhere between the distribution function below and at the target.
            let median = evaluate(&mut figures, &params, &[0.0])[2];
            let mut cdf = |t: f64| 1.0 - evaluate(&mut figures, &params, &[t])[0];
            let (below, above) = (cdf(median - 5.0), cdf(median));
            let mut pit = |offset| figures.realize(&params, &event(offset, median)).pits[0];
            let pits: Vec<f64> = (0..2_000).map(&mut pit).collect();
            let mean = pits.iter().sum::<f64>() / 2_000.0;
            assert!(pits.iter().all(|pit| (below - 1e-12..=above + 1e-12).contains(pit)));
            assert!(
                (mean - 0.5 * (below + above)).abs() < 0.03 * (above - below),
                "{mean} in {below} to {above}"
            );
        }
    }
}
