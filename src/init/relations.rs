//! What fields have to do with the target and with the event time.

use std::collections::BTreeMap;

use arrow::error::ArrowError;

use super::{profile::Profile, sample::Sample};
use crate::{
    config::{FieldPath, TimeUnit},
    record::{Value, time},
};

/// What is asked: fields by their place among the profiles.
#[derive(Debug)]
pub struct Question {
    /// The target.
    pub target: usize,
    /// Numbers that may give it away.
    pub numbers: Vec<usize>,
    /// The event time.
    pub time: Option<(usize, TimeUnit)>,
    /// Other times.
    pub later: Vec<(usize, TimeUnit)>,
}

/// What was found.
#[derive(Debug, Default)]
pub struct Relations {
    /// The target's values.
    pub targets: Vec<f64>,
    /// Of each number with the target.
    pub pairs: BTreeMap<usize, Pair>,
    /// Of each other time with the event time.
    pub times: BTreeMap<usize, Lag>,
    /// Records that are earlier than the one before, of how many.
    pub backwards: (u64, u64),
}

/// A number beside the target, where both are there.
#[derive(Debug, Default)]
pub struct Pair {
    /// As they are, and with logarithms of the target, of the number and of both.
    correlations: [Correlation; 4],
}

/// Another time beside the event time.
#[derive(Debug, Default, Clone)]
pub struct Lag {
    /// Where both are there.
    pub both: u64,
    /// Not earlier.
    pub not_earlier: u64,
    /// Later.
    pub later: u64,
    /// The target is there, and it is not.
    pub missing: u64,
    /// How much later, µs, where the target is there too.
    pub lags_us: Vec<i64>,
}

/// Sums of a correlation, as they come.
#[derive(Debug, Default, Clone, Copy)]
struct Correlation {
    count: f64,
    means: [f64; 2],
    squares: [f64; 2],
    product: f64,
}

impl Correlation {
    fn add(&mut self, x: f64, y: f64) {
        if !x.is_finite() || !y.is_finite() {
            return;
        }
        self.count += 1.0;
        let before = [x - self.means[0], y - self.means[1]];
        self.means[0] += before[0] / self.count;
        self.means[1] += before[1] / self.count;
        let after = [x - self.means[0], y - self.means[1]];
        self.squares[0] += before[0] * after[0];
        self.squares[1] += before[1] * after[1];
        self.product += before[0] * after[1];
    }

    /// 0 where there are too few for it to mean something.
    fn value(&self) -> f64 {
        const MIN_COUNT: f64 = 20.0;
        let value = self.product / (self.squares[0] * self.squares[1]).sqrt();
        if self.count >= MIN_COUNT && value.is_finite() { value } else { 0.0 }
    }
}

impl Pair {
    fn add(&mut self, x: f64, target: f64) {
        let [own, of_target, of_number, of_both] = &mut self.correlations;
        own.add(x, target);
        of_target.add(x, target.ln());
        of_number.add(x.ln(), target);
        of_both.add(x.ln(), target.ln());
    }

    /// The strongest correlation, of the values or of their logarithms.
    #[must_use]
    pub fn correlation(&self) -> f64 {
        self.correlations
            .iter()
            .map(Correlation::value)
            .max_by(|a, b| a.abs().total_cmp(&b.abs()))
            .unwrap_or(0.0)
    }
}

/// Goes through the records once more.
///
/// # Errors
/// When a table can't be read.
pub fn ask(sample: &Sample, profiles: &[Profile], question: &Question) -> Result<Relations, ArrowError> {
    let paths: Vec<FieldPath> = profiles.iter().map(|profile| profile.path.clone()).collect();
    let mut relations = Relations::default();
    let mut last: Option<(usize, i64)> = None;
    let number = |value: &Value| value.number().filter(|number| number.is_finite());
    sample.each(&paths, |row| {
        let target = number(&row.values[question.target]);
        if let Some(target) = target {
            relations.targets.push(target);
            for &nth in &question.numbers {
                if let Some(x) = number(&row.values[nth]) {
                    relations.pairs.entry(nth).or_default().add(x, target);
                }
            }
        }
        let Some((time_field, unit)) = question.time else { return };
        let Ok(time_us) = time::read(&row.values[time_field], unit) else { return };
        if let Some((run, before_us)) = last
            && run == row.run
        {
            relations.backwards.0 += u64::from(time_us < before_us);
            relations.backwards.1 += 1;
        }
        last = Some((row.run, time_us));
        for &(nth, unit) in &question.later {
            let lag = relations.times.entry(nth).or_default();
            match time::read(&row.values[nth], unit) {
                Ok(us) => {
                    lag.both += 1;
                    lag.not_earlier += u64::from(us >= time_us);
                    lag.later += u64::from(us > time_us);
                    if target.is_some() {
                        lag.lags_us.push(us - time_us);
                    }
                }
                Err(_) => lag.missing += u64::from(target.is_some()),
            }
        }
    })?;
    Ok(relations)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_the_target_in_another_unit_or_scale_correlates() {
        let correlation = |of: fn(f64) -> f64| {
            let mut pair = Pair::default();
            (1..100).for_each(|n| pair.add(of(f64::from(n)), f64::from(n)));
            pair.correlation()
        };
        for of in [(|y| 3.0 * y - 1.0) as fn(f64) -> f64, |y| -y, f64::ln, f64::exp, |y| y.powi(3)] {
            assert!(correlation(of).abs() > 0.999_9);
        }
        assert!(correlation(|y| (y * 12.9898).sin()).abs() < 0.5);
        let mut few = Pair::default();
        (1..10).for_each(|n| few.add(f64::from(n), f64::from(n)));
        assert_eq!(few.correlation(), 0.0);
    }
}
