//! Whether losses beyond a quantile are as high as the expected shortfall says.

use super::{Test, two_sided};

/// Histories that are simulated.
const HISTORIES: usize = 500;

/// The tests of Acerbi & Székely 2014, "Back-testing expected shortfall", for the upper tail, where high targets are the losses:
///
/// Z₁ = mean over hits of Y/ES − 1, and Z₂ = Σ Y 1{hit} / (T (1 − p) ES) − 1,
///
/// with hits the targets above the quantile of level p. Both are 0 in the mean where the forecasts are right and **positive where
/// risk is understated**, which is the paper's sign turned round. Z₁ looks at how high the hits are, Z₂ at their number too.
///
/// How far from 0 is too far depends on the tails themselves, so 500 histories of the same length are drawn from the forecasts
/// along with the stream. They are drawn alike every time.
#[derive(Debug, Clone)]
pub struct Shortfall {
    p: f64,
    events: u64,
    actual: Sums,
    histories: Vec<Sums>,
    draws: SplitMix64,
    /// How many of the histories, those of coming events after those of this one, are not hit before the next that is.
    until_hit: u64,
}

/// Of a history's hits.
#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    hits: u64,
    /// Σ Y/ES.
    ratios: f64,
}

impl Sums {
    fn hit(&mut self, ratio: f64) {
        self.hits += 1;
        self.ratios += ratio;
    }
}

impl Shortfall {
    /// For quantiles and shortfalls of this level.
    ///
    /// # Panics
    /// Unless 0 < `p` < 1.
    #[must_use]
    pub fn new(p: f64) -> Self {
        assert!(p > 0.0 && p < 1.0, "a level is between 0 and 1, not {p}");
        let mut draws = SplitMix64(p.to_bits());
        let until_hit = draws.misses(1.0 - p);
        let histories = vec![Sums::default(); HISTORIES];
        Self { p, events: 0, actual: Sums::default(), histories, draws, until_hit }
    }

    /// The next event: the target `y`, the quantile and expected shortfall `es` of the forecast in the same unit, whether the
    /// target was above the quantile, and the forecast's quantile at any level above p.
    ///
    /// An event whose numbers are not finite or whose shortfall is not above 0 is passed over.
    pub fn push(&mut self, y: f64, quantile: f64, es: f64, hit: bool, mut tail: impl FnMut(f64) -> f64) {
        if !(es > 0.0 && es.is_finite() && y.is_finite() && quantile.is_finite()) {
            return;
        }
        self.events += 1;
        if hit {
            self.actual.hit(y / es);
        }
        // Whether each of the histories is hit is drawn by drawing how many are not before the next one that is.
        let mut nth = self.until_hit;
        while let Some(history) = usize::try_from(nth).ok().and_then(|nth| self.histories.get_mut(nth)) {
            let loss = tail(self.p + (1.0 - self.p) * self.draws.uniform());
            // A quantile that is no number, or below the one that was passed, is a slip of the forecast's rounding.
            history.hit(if loss.is_finite() { loss.max(quantile) / es } else { 1.0 });
            nth = nth.saturating_add(1 + self.draws.misses(1.0 - self.p));
        }
        self.until_hit = nth - HISTORIES as u64;
    }

    /// Events that counted.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.events
    }

    /// Z₁ and its two-sided p-value; `None` without hits.
    #[must_use]
    pub fn z1(&self) -> Option<Test> {
        self.test(Self::z1_of)
    }

    /// Z₂ and its two-sided p-value; `None` without events.
    #[must_use]
    pub fn z2(&self) -> Option<Test> {
        self.test(|sums| self.z2_of(sums))
    }

    /// How likely a Z₁ as high as this is where the forecasts are right: small where shortfalls are too low.
    #[must_use]
    pub fn z1_understated_p(&self) -> Option<f64> {
        self.tails(Self::z1_of).map(|(_, _, upper)| upper)
    }

    /// How likely a Z₂ as high as this is where the forecasts are right: small where quantiles or shortfalls are too low.
    #[must_use]
    pub fn z2_understated_p(&self) -> Option<f64> {
        self.tails(|sums| self.z2_of(sums)).map(|(_, _, upper)| upper)
    }

    fn z1_of(sums: &Sums) -> Option<f64> {
        (sums.hits > 0).then(|| sums.ratios / sums.hits as f64 - 1.0)
    }

    fn z2_of(&self, sums: &Sums) -> Option<f64> {
        (self.events > 0).then(|| sums.ratios / (self.events as f64 * (1.0 - self.p)) - 1.0)
    }

    fn test(&self, z: impl Fn(&Sums) -> Option<f64>) -> Option<Test> {
        let (statistic, lower, upper) = self.tails(z)?;
        Some(Test { statistic, p_value: two_sided(lower, upper) })
    }

    /// The statistic, and the shares of histories where it is at most and at least that, the actual one counted among them, which
    /// makes their p-values exact (Davison & Hinkley 1997, section 4.2).
    fn tails(&self, z: impl Fn(&Sums) -> Option<f64>) -> Option<(f64, f64, f64)> {
        let statistic = z(&self.actual)?;
        let (mut histories, mut lower, mut upper) = (1.0, 1.0, 1.0);
        for simulated in self.histories.iter().filter_map(z) {
            histories += 1.0;
            lower += f64::from(u8::from(simulated <= statistic));
            upper += f64::from(u8::from(simulated >= statistic));
        }
        Some((statistic, lower / histories, upper / histories))
    }
}

/// Steele, Lea & Flood 2014, "Fast splittable pseudorandom number generators".
#[derive(Debug, Clone)]
struct SplitMix64(u64);

impl SplitMix64 {
    /// Uniform on (0, 1).
    fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 12) as f64 / (1u64 << 52) as f64 + 0.5 / (1u64 << 52) as f64
    }

    /// Trials without success before the first that has one, each with probability `p`.
    fn misses(&mut self, p: f64) -> u64 {
        (self.uniform().ln() / (-p).ln_1p()) as u64
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::backtest::statistics::golden::{self, Lcg};
    use crate::math::normal;

    /// A stream of normal targets of standard deviation `truth` with forecasts of standard deviation 1, level 95 %.
    fn stream(seed: u64, num_events: usize, truth: f64) -> Shortfall {
        let (p, mut draws) = (0.95, Lcg(seed));
        let mut test = Shortfall::new(p);
        test.draws = SplitMix64(seed);
        let quantile = normal::quantile(p);
        let es = normal::log_pdf(quantile).exp() / (1.0 - p);
        for _ in 0..num_events {
            let y = truth * draws.normal();
            test.push(y, quantile, es, y > quantile, normal::quantile);
        }
        test
    }

    #[test]
    fn golden_values_are_met() {
        for case in golden::cases("shortfall") {
            let test =
                stream(case.number("seed") as u64, case.number("events") as usize, case.number("truth"));
            case.check("z1", test.z1().unwrap().statistic, 1e-10);
            case.check("z2", test.z2().unwrap().statistic, 1e-10);
            // By 500 histories, of a million.
            for (key, p) in [("z1_p", test.z1_understated_p()), ("z2_p", test.z2_understated_p())] {
                let expected = case.number(key);
                let within = 4.0 * (expected * (1.0 - expected) / HISTORIES as f64).sqrt() + 0.003;
                assert!((p.unwrap() - expected).abs() < within, "{key}: {p:?} {expected}");
            }
        }
    }

    #[test]
    fn histories_are_hit_as_often_as_they_should_be_and_as_hard() {
        let test = stream(5, 2_000, 1.0);
        let hits: u64 = test.histories.iter().map(|sums| sums.hits).sum();
        let ratios: f64 = test.histories.iter().map(|sums| sums.ratios).sum();
        let expected = 0.05 * 2_000.0 * HISTORIES as f64;
        assert!((hits as f64 - expected).abs() < 4.0 * (expected * 0.95).sqrt(), "{hits}");
        assert!((ratios / hits as f64 - 1.0).abs() < 0.005, "{}", ratios / hits as f64);
        let most = test.histories.iter().map(|sums| sums.hits).max();
        assert!(most < Some(145) && most > Some(115), "{most:?}"); // 100 with a standard deviation of 9.7
    }

    #[test]
    fn p_values_of_right_shortfalls_are_about_uniform() {
        let streams: Vec<Shortfall> = (0..200).map(|seed| stream(seed, 400, 1.0)).collect();
        for p in [
            |test: &Shortfall| test.z1().unwrap().p_value,
            |test: &Shortfall| test.z2().unwrap().p_value,
            |test: &Shortfall| test.z1_understated_p().unwrap(),
            |test: &Shortfall| test.z2_understated_p().unwrap(),
        ] {
            golden::check_uniform(&streams.iter().map(p).collect::<Vec<_>>(), 0.1);
        }
    }

    #[test]
    fn understated_risk_is_found_and_its_sign_is_positive() {
        let found = (0..20)
            .map(|seed| stream(seed, 1_000, 1.25))
            .filter(|test| test.z2_understated_p().unwrap() < 0.05 && test.z1().unwrap().statistic > 0.0)
            .count();
        assert!(found >= 18, "{found} of 20");
        let overstated = stream(1, 2_000, 0.8);
        assert!(overstated.z2().unwrap().statistic < 0.0 && overstated.z2().unwrap().p_value < 0.01);
        assert!(overstated.z2_understated_p().unwrap() > 0.99);
    }

    #[test]
    fn what_has_no_shortfall_does_not_count() {
        let mut test = Shortfall::new(0.99);
        for es in [f64::NAN, f64::INFINITY, 0.0, -1.0] {
            test.push(1.0, 0.5, es, true, |_| 1.0);
        }
        test.push(f64::NAN, 0.5, 1.0, true, |_| 1.0);
        assert!(test.events() == 0 && test.z1().is_none() && test.z2().is_none());
        test.push(0.0, 0.5, 1.0, false, |_| f64::NAN);
        assert!(test.z1().is_none() && test.z2().unwrap().statistic == -1.0);
    }
}
