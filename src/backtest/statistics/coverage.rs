//! Whether a quantile is exceeded as often as it should be, and at times that cannot be told beforehand.

use super::binomial::{self, deviance};
use super::{Test, two_sided};

/// Lagged hits among the regressors of the dynamic quantile test.
const LAGS: usize = 4;
/// Its regressors beside the constant: the lagged hits and the quantile.
const REGRESSORS: usize = LAGS + 1;
/// Fewer hits, or misses, say nothing about what follows what.
const FEWEST: u64 = 5;
/// A regressor of which the others leave a smaller share of variance unexplained than this is one too many …
const COLLINEAR: f64 = 1e-9;
/// … and a forecast that varies by a smaller share of itself is constant.
const CONSTANT: f64 = 1e-9;
/// Targets in a window of the traffic light: a year's trading days.
const WINDOW: u64 = 250;
/// Where the zones of the traffic light begin, in cumulative probability of so few hits.
const ZONES: [f64; 2] = [0.95, 0.9999];

/// Hits of a quantile (targets above it), one after the other.
#[derive(Debug, Clone)]
pub struct Hits {
    p: f64,
    events: u64,
    hits: u64,
    previous: Option<bool>,
    /// Events by whether the one before and they themselves were hits.
    transitions: [[u64; 2]; 2],
    moments: Moments,
    /// Less the expected share, the last first.
    lagged: [f64; LAGS],
    light: Light,
}

impl Hits {
    /// Of a quantile that is exceeded with probability `p`: 1 less its level.
    ///
    /// # Panics
    /// Unless 0 < `p` < 1.
    #[must_use]
    pub fn new(p: f64) -> Self {
        assert!(p > 0.0 && p < 1.0, "a quantile is exceeded with a probability between 0 and 1, not {p}");
        Self {
            p,
            events: 0,
            hits: 0,
            previous: None,
            transitions: [[0; 2]; 2],
            moments: Moments::default(),
            lagged: [0.0; LAGS],
            light: Light::new(p),
        }
    }

    /// The next event: whether the target was above the quantile, and that quantile, in the target's unit.
    pub fn push(&mut self, hit: bool, forecast: f64) {
        let centred = f64::from(u8::from(hit)) - self.p;
        if self.events >= LAGS as u64 {
            let mut row = [0.0; REGRESSORS + 1];
            row[..LAGS].copy_from_slice(&self.lagged);
            // One that is no number is as good as the mean of the others.
            row[LAGS] = if forecast.is_finite() { forecast } else { self.moments.mean[LAGS] };
            row[REGRESSORS] = centred;
            self.moments.push(&row);
        }
        self.lagged.rotate_right(1);
        self.lagged[0] = centred;
        if let Some(previous) = self.previous.replace(hit) {
            self.transitions[usize::from(previous)][usize::from(hit)] += 1;
        }
        self.events += 1;
        self.hits += u64::from(hit);
        self.light.push(hit);
    }

    /// How many events there were.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.events
    }

    /// How many of them were hits.
    #[must_use]
    pub fn hits(&self) -> u64 {
        self.hits
    }

    /// The exact binomial test of the number of hits, two-sided by doubling the smaller tail; the statistic is the share of hits.
    /// `None` without events.
    #[must_use]
    pub fn binomial(&self) -> Option<Test> {
        let lower = binomial::lower(self.hits, self.events, self.p);
        let upper = binomial::upper(self.hits, self.events, self.p);
        (self.events > 0).then(|| Test {
            statistic: self.hits as f64 / self.events as f64,
            p_value: two_sided(lower, upper),
        })
    }

    /// The proportion of failures: LR = 2 log[(x/n)ˣ (1 − x/n)ⁿ⁻ˣ / pˣ (1 − p)ⁿ⁻ˣ] of x hits in n events, χ² with one degree of
    /// freedom (Kupiec 1995, "Techniques for verifying the accuracy of risk measurement models"). `None` without events.
    #[must_use]
    pub fn proportion_of_failures(&self) -> Option<Test> {
        let (n, hits) = (self.events as f64, self.hits as f64);
        let ratio = 2.0 * (deviance(hits, n * self.p) + deviance(n - hits, n * (1.0 - self.p)));
        (self.events > 0).then(|| Test::chi_squared(ratio, 1))
    }

    /// Whether a hit is as likely after a hit as after none: the likelihood ratio LR_ind of a Markov chain over independence,
    /// χ² with one degree of freedom (Christoffersen 1998, "Evaluating interval forecasts"). `None` with fewer than 5 hits or
    /// misses.
    #[must_use]
    pub fn independence(&self) -> Option<Test> {
        if self.hits.min(self.events - self.hits) < FEWEST {
            return None;
        }
        let counts = self.transitions.map(|row| row.map(|count| count as f64));
        let total = (self.events - 1) as f64;
        let mut ratio = 0.0;
        for (row, column) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
            let (before, after) = (counts[row][0] + counts[row][1], counts[0][column] + counts[1][column]);
            ratio += 2.0 * deviance(counts[row][column], before * after / total);
        }
        Some(Test::chi_squared(ratio, 1))
    }

    /// Both at once: LR_cc = LR_pof + LR_ind, χ² with two degrees of freedom (Christoffersen 1998). The first event counts in the
    /// first of them only. `None` where [`Self::independence`] is.
    #[must_use]
    pub fn conditional_coverage(&self) -> Option<Test> {
        let ratio = self.proportion_of_failures()?.statistic + self.independence()?.statistic;
        Some(Test::chi_squared(ratio, 2))
    }

    /// The dynamic quantile test: whether hits less p can be told from a constant, the last four of them and the quantile itself.
    /// The statistic is H′X (X′X)⁻¹ X′H / p(1 − p), χ² with as many degrees of freedom as there are regressors (Engle &
    /// Manganelli 2004, "CAViaR: conditional autoregressive value at risk by regression quantiles", their out-of-sample test). A
    /// quantile that is constant is left out.
    ///
    /// It says too often that a forecast is wrong where a hit shortly after another is a rare coincidence, n p² far below 1.
    /// `None` with fewer than 5 hits or misses.
    #[must_use]
    pub fn dynamic_quantile(&self) -> Option<Test> {
        if self.hits.min(self.events - self.hits) < FEWEST {
            return None;
        }
        let (explained, regressors) = self.moments.explained()?;
        Some(Test::chi_squared(explained / (self.p * (1.0 - self.p)), regressors))
    }

    /// How many times as often a hit follows a hit as it should if they were independent: P(hit | hit before) / P(hit). `None`
    /// before anything followed a hit.
    #[must_use]
    pub fn clustering(&self) -> Option<f64> {
        let [misses_after, hits_after] = self.transitions[1].map(|count| count as f64);
        let rate = self.hits as f64 / self.events as f64;
        (hits_after + misses_after > 0.0).then(|| hits_after / (hits_after + misses_after) / rate)
    }

    /// The traffic light of the Basel Committee (1996, "Supervisory framework for the use of 'backtesting'") over consecutive
    /// windows of 250 targets: how many were green, yellow and red. A window is yellow from the number of hits on that is at
    /// least 95 % likely not to be passed, and red from the one of 99.99 %; with p = 1 %, from 5 and from 10 hits on. A window
    /// under way does not count.
    #[must_use]
    pub fn traffic_light(&self) -> [u64; 3] {
        self.light.windows
    }
}

/// Windows of the traffic light.
#[derive(Debug, Clone)]
struct Light {
    /// The least number of hits of a yellow and of a red window.
    from: [u64; 2],
    windows: [u64; 3],
    events: u64,
    hits: u64,
}

impl Light {
    fn new(p: f64) -> Self {
        let from = ZONES.map(|share| {
            (0..WINDOW).find(|&hits| binomial::lower(hits, WINDOW, p) >= share).unwrap_or(WINDOW)
        });
        Self { from, windows: [0; 3], events: 0, hits: 0 }
    }

    fn push(&mut self, hit: bool) {
        self.events += 1;
        self.hits += u64::from(hit);
        if self.events == WINDOW {
            let zone = self.from.iter().filter(|&&from| self.hits >= from).count();
            self.windows[zone] += 1;
            (self.events, self.hits) = (0, 0);
        }
    }
}

/// Means and centred cross products of the regressors and, last, of the hits (Welford's way, so that a forecast that is large and
/// varies little costs no digits).
#[derive(Debug, Clone, Default)]
struct Moments {
    rows: f64,
    mean: [f64; REGRESSORS + 1],
    products: [[f64; REGRESSORS + 1]; REGRESSORS + 1],
}

impl Moments {
    fn push(&mut self, row: &[f64; REGRESSORS + 1]) {
        self.rows += 1.0;
        let mut before = [0.0; REGRESSORS + 1];
        for ((before, mean), value) in before.iter_mut().zip(&mut self.mean).zip(row) {
            *before = value - *mean;
            *mean += *before / self.rows;
        }
        for (i, products) in self.products.iter_mut().enumerate() {
            for (j, product) in products.iter_mut().enumerate() {
                *product += before[i] * (row[j] - self.mean[j]);
            }
        }
    }

    /// The sum of squares of the hits that the constant and the regressors explain, and how many regressors these are, the constant
    /// among them: the constant's part is n times the squared mean, and the others' is found by sweeping them out of the centred
    /// cross products one after the other.
    fn explained(&self) -> Option<(f64, usize)> {
        if self.rows <= REGRESSORS as f64 {
            return None;
        }
        let mut products = self.products;
        let (mut explained, mut regressors) = (self.rows * self.mean[REGRESSORS].powi(2), 1);
        for i in 0..REGRESSORS {
            let own = self.products[i][i];
            let constant = self.rows * (CONSTANT * self.mean[i]).powi(2);
            let pivot = products[i][i];
            if !(own > constant && pivot > COLLINEAR * own) {
                continue;
            }
            regressors += 1;
            explained += products[i][REGRESSORS].powi(2) / pivot;
            let swept = products[i];
            for (products, j) in products.iter_mut().zip(0..).skip(i + 1) {
                let share = swept[j] / pivot;
                products.iter_mut().zip(swept).for_each(|(product, swept)| *product -= share * swept);
            }
        }
        Some((explained, regressors))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::backtest::statistics::golden::{self, Lcg};

    /// Hits of the quantile at `told` while the truth is that they come with probability `truth`, and `after` a hit.
    fn hits(seed: u64, num_events: usize, told: f64, truth: f64, after: f64) -> Hits {
        let (mut draws, mut hits) = (Lcg(seed), Hits::new(told));
        let mut previous = false;
        for _ in 0..num_events {
            previous = draws.uniform() < if previous { after } else { truth };
            hits.push(previous, 10.0 + draws.normal());
        }
        hits
    }

    #[test]
    fn golden_values_are_met() {
        for case in golden::cases("coverage") {
            let (mut draws, mut hits) = (Lcg(case.number("seed") as u64), Hits::new(case.number("p")));
            let (rate, after) = (case.number("rate"), case.number("after"));
            let mut previous = false;
            for _ in 0..case.number("events") as usize {
                let forecast = case.number("offset") + case.number("spread") * draws.uniform();
                previous = draws.uniform() < if previous { after } else { rate };
                hits.push(previous, forecast);
            }
            assert_eq!(hits.hits() as f64, case.number("hits"));
            case.check("binomial_p", hits.binomial().unwrap().p_value, 1e-10);
            let pof = hits.proportion_of_failures().unwrap();
            case.check("pof", pof.statistic, 1e-9);
            case.check("pof_p", pof.p_value, 1e-9);
            case.check("independence", hits.independence().unwrap().statistic, 1e-9);
            case.check("independence_p", hits.independence().unwrap().p_value, 1e-9);
            case.check("conditional_coverage", hits.conditional_coverage().unwrap().statistic, 1e-9);
            case.check("conditional_coverage_p", hits.conditional_coverage().unwrap().p_value, 1e-9);
            case.check("dynamic_quantile", hits.dynamic_quantile().unwrap().statistic, 1e-7);
            case.check("dynamic_quantile_p", hits.dynamic_quantile().unwrap().p_value, 1e-6);
            case.check("clustering", hits.clustering().unwrap(), 1e-13);
            assert_eq!(hits.traffic_light().map(|count| count as f64).to_vec(), case.numbers("light"));
        }
    }

    #[test]
    fn the_zones_at_one_per_cent_are_those_that_basel_published() {
        assert_eq!(Light::new(0.01).from, [5, 10]);
        // Nearly every target is hit: no window can be worse than all of them.
        assert_eq!(Light::new(0.9999).from, [250, 250]);
        let mut hits = Hits::new(0.01);
        for (window, so_many) in [0, 4, 5, 9, 10, 250].into_iter().enumerate() {
            (0..WINDOW).for_each(|nth| hits.push(nth < so_many, window as f64));
        }
        hits.push(true, 0.0); // a window under way
        assert_eq!(hits.traffic_light(), [2, 2, 2]);
    }

    #[test]
    fn p_values_of_right_quantiles_are_about_uniform() {
        let streams: Vec<Hits> = (0..1_000).map(|seed| hits(seed, 2_000, 0.1, 0.1, 0.1)).collect();
        let check = |test: fn(&Hits) -> Option<Test>, slack: f64| {
            let p_values: Vec<f64> = streams.iter().map(|hits| test(hits).unwrap().p_value).collect();
            golden::check_uniform(&p_values, slack);
        };
        check(Hits::binomial, 0.2);
        check(Hits::proportion_of_failures, 0.2);
        check(Hits::independence, 0.2);
        check(Hits::conditional_coverage, 0.2);
        check(Hits::dynamic_quantile, 0.2);
    }

    #[test]
    fn a_quantile_that_is_exceeded_half_as_often_again_is_found() {
        let found = (0..200)
            .filter(|&seed| hits(seed, 4_000, 0.01, 0.015, 0.015).binomial().unwrap().p_value < 0.05)
            .count();
        assert!((150..=190).contains(&found), "{found} of 200"); // 86 % by the binomial distribution
    }

    #[test]
    fn hits_that_come_together_are_found_though_there_are_as_many_as_there_should_be() {
        // After a hit one in five: the others have to be rarer for one in twenty to be hit.
        let found: Vec<Hits> = (0..100).map(|seed| hits(seed, 4_000, 0.05, 0.05 * 0.8 / 0.95, 0.2)).collect();
        let share = |test: fn(&Hits) -> Option<Test>| {
            found.iter().filter(|hits| test(hits).unwrap().p_value < 0.05).count()
        };
        assert!(share(Hits::independence) > 95 && share(Hits::dynamic_quantile) > 95);
        assert!(share(Hits::binomial) < 25, "{}", share(Hits::binomial));
        let mean = found.iter().filter_map(Hits::clustering).sum::<f64>() / 100.0;
        assert!((mean - 4.0).abs() < 0.2, "{mean}");
    }

    #[test]
    fn hits_that_the_quantile_itself_foretells_are_found() {
        let (mut draws, mut hits) = (Lcg(1), Hits::new(0.05));
        for _ in 0..8_000 {
            let forecast = 1e6 + draws.normal();
            hits.push(draws.uniform() < if forecast > 1e6 { 0.07 } else { 0.03 }, forecast);
        }
        assert!(hits.dynamic_quantile().unwrap().p_value < 1e-4);
        assert!(hits.conditional_coverage().unwrap().p_value > 0.01);
    }

    #[test]
    fn a_constant_quantile_or_one_that_is_no_number_is_left_out() {
        let stream = |forecast: fn(usize) -> f64| {
            let (mut draws, mut hits) = (Lcg(3), Hits::new(0.1));
            (0..1_000).for_each(|nth| hits.push(draws.uniform() < 0.1, forecast(nth)));
            hits.dynamic_quantile().unwrap()
        };
        let constant = stream(|_| 0.1);
        assert_eq!(constant, stream(|nth| if nth > 400 { f64::NAN } else { 0.1 }));
        assert!((constant.statistic - stream(|nth| 0.1 + nth as f64 * 1e-14).statistic).abs() < 1e-9);
        assert!(constant.statistic < stream(|nth| 0.1 + nth as f64).statistic);
    }

    #[test]
    fn too_few_events_are_no_test() {
        let mut hits = Hits::new(0.01);
        assert!(hits.binomial().is_none() && hits.proportion_of_failures().is_none());
        assert!(hits.clustering().is_none() && hits.independence().is_none());
        (0..1_000).for_each(|nth| hits.push(nth < 4, nth as f64));
        assert!(hits.binomial().is_some() && hits.conditional_coverage().is_none());
        assert!(hits.dynamic_quantile().is_none() && hits.clustering().is_some());
    }
}
