//! The same figures among the events that have the same value of a field.

use std::collections::HashMap;

/// Of each field so many values are told apart, those that come first; all others are one.
const MAX_VALUES: usize = 100;

/// What was counted of a segment.
#[derive(Debug, Clone, Default)]
pub struct Counted {
    /// Events judged.
    pub events: u64,
    /// The sum of their log scores, nats.
    pub log_score: f64,
    /// Of each figure: how many there are, how many exceeded it, and how many should have.
    pub figures: Vec<(u64, u64, f64)>,
}

impl Counted {
    fn add(&mut self, log_score: f64, figures: &[(bool, f64)]) {
        self.events += 1;
        self.log_score += log_score;
        self.figures.resize(figures.len(), (0, 0, 0.0));
        for (sum, &(is_exceeded, expected)) in self.figures.iter_mut().zip(figures) {
            if !expected.is_nan() {
                sum.0 += 1;
                sum.1 += u64::from(is_exceeded);
                sum.2 += expected;
            }
        }
    }
}

/// The segments of a field.
#[derive(Debug, Default)]
pub struct Segments {
    by_value: HashMap<String, Counted>,
    others: Counted,
}

impl Segments {
    /// An event with this value was judged: of each figure, whether it was exceeded and how likely that was (NaN: it had none).
    pub fn push(&mut self, value: &str, log_score: f64, figures: &[(bool, f64)]) {
        let is_told_apart = self.by_value.contains_key(value) || self.by_value.len() < MAX_VALUES;
        let counted =
            if is_told_apart { self.by_value.entry(value.to_owned()).or_default() } else { &mut self.others };
        counted.add(log_score, figures);
    }

    /// Them, the most frequent first; what is `None` is all others.
    #[must_use]
    pub fn finish(self) -> Vec<(Option<String>, Counted)> {
        let mut all: Vec<_> =
            self.by_value.into_iter().map(|(value, counted)| (Some(value), counted)).collect();
        all.sort_by(|a, b| b.1.events.cmp(&a.1.events).then_with(|| a.0.cmp(&b.0)));
        all.extend((self.others.events > 0).then_some((None, self.others)));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_past_the_first_hundred_are_one_segment() {
        let mut segments = Segments::default();
        for number in 0..=MAX_VALUES + 1 {
            segments.push(&number.to_string(), -1.0, &[(true, 0.5)]);
        }
        segments.push("7", -1.0, &[(false, f64::NAN)]);
        let all = segments.finish();
        assert_eq!(all.len(), MAX_VALUES + 1);
        assert_eq!((all[0].0.as_deref(), all[0].1.events, all[0].1.figures[0]), (Some("7"), 2, (1, 1, 0.5)));
        let others = all.last().map(|(value, counted)| (value.clone(), counted.events));
        assert_eq!(others, Some((None, 2)));
    }
}
