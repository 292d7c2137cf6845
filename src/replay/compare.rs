//! Several models side by side: the scores that all of them gave an event meet here.

use std::collections::{HashMap, VecDeque};

use super::Place;
use crate::backtest::statistics::inference::BlockSums;

/// An event's scores; `None` where it was not judged.
pub type Scores = Option<Box<[f64]>>;

/// Pairs each further model with the first, over the events that both have judged.
#[derive(Debug)]
pub struct Comparer {
    /// Which columns of the first model's scores and of the other's are the same score.
    columns: Vec<Vec<(usize, usize)>>,
    pairs: Vec<Pair>,
    /// Events that not all models have had yet, in the order of the first.
    open: VecDeque<Open>,
    /// How many events were closed before the first that is open.
    num_closed: u64,
    /// Which event of the first stands where, and what others had earlier than the first.
    numbers: HashMap<Place, u64>,
    early: HashMap<Place, Vec<(usize, Scores)>>,
}

/// The sums of a pair of models.
#[derive(Debug)]
pub struct Pair {
    /// The first model's.
    pub first: BlockSums,
    /// The other's.
    pub other: BlockSums,
    /// Events that both have judged.
    pub events: u64,
}

#[derive(Debug)]
struct Open {
    place: Place,
    first: Scores,
    others: Vec<Option<Scores>>,
}

impl Comparer {
    /// Compares models with the first; for each of them, which columns of the first's scores are which of its.
    #[must_use]
    pub fn new(columns: Vec<Vec<(usize, usize)>>) -> Self {
        let pair = |columns: &Vec<_>| Pair {
            first: BlockSums::new(columns.len()),
            other: BlockSums::new(columns.len()),
            events: 0,
        };
        Self {
            pairs: columns.iter().map(pair).collect(),
            columns,
            open: VecDeque::new(),
            num_closed: 0,
            numbers: HashMap::new(),
            early: HashMap::new(),
        }
    }

    /// Takes the next scores of the `nth` model, of which the first is 0.
    pub fn put(&mut self, nth: usize, judged: Vec<(Place, Scores)>) {
        for (place, scores) in judged {
            if nth == 0 {
                let mut open = Open { place, first: scores, others: vec![None; self.columns.len()] };
                for (other, scores) in self.early.remove(&place).unwrap_or_default() {
                    open.others[other] = Some(scores);
                }
                self.numbers.insert(place, self.num_closed + self.open.len() as u64);
                self.open.push_back(open);
            } else if let Some(number) = self.numbers.get(&place) {
                self.open[(number - self.num_closed) as usize].others[nth - 1] = Some(scores);
            } else {
                self.early.entry(place).or_default().push((nth - 1, scores));
            }
        }
        // In the order of the first model, however the threads ran.
        while self.open.front().is_some_and(|open| open.others.iter().all(Option::is_some)) {
            let Some(open) = self.open.pop_front() else { break };
            self.numbers.remove(&open.place);
            self.num_closed += 1;
            self.close(&open);
        }
    }

    fn close(&mut self, open: &Open) {
        for ((pair, columns), scores) in self.pairs.iter_mut().zip(&self.columns).zip(&open.others) {
            let (Some(first), Some(Some(other))) = (&open.first, scores) else { continue };
            // What one of them did not score counts for neither.
            let both = columns.iter().map(|&(of_first, of_other)| {
                let (first, other) = (first[of_first], other[of_other]);
                if first.is_nan() || other.is_nan() { (f64::NAN, f64::NAN) } else { (first, other) }
            });
            let (first, other): (Vec<f64>, Vec<f64>) = both.unzip();
            pair.events += 1;
            pair.first.push(0, &first);
            pair.other.push(0, &other);
        }
    }

    /// The sums, in the order of the other models.
    #[must_use]
    pub fn finish(self) -> Vec<Pair> {
        self.pairs
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::operator::place::Position;

    fn judged(offsets: impl Iterator<Item = i64>, value: impl Fn(i64) -> f64) -> Vec<(Place, Scores)> {
        // Every fifth event was not judged: it has a place and no scores.
        let scores = |offset: i64| (offset % 5 != 0).then(|| [0.0, value(offset)].into());
        offsets.map(|offset| ((0, Position::at(offset)), scores(offset))).collect()
    }

    fn compared(order: &[(usize, std::ops::Range<i64>)]) -> (f64, f64, u64) {
        let mut comparer = Comparer::new(vec![vec![(1, 1)]]);
        for (nth, offsets) in order {
            // The first model scores n, the other n + 2.
            comparer.put(*nth, judged(offsets.clone(), |offset| (offset + 2 * *nth as i64) as f64));
        }
        assert!(comparer.open.is_empty() && comparer.early.is_empty() && comparer.numbers.is_empty());
        let pair = comparer.finish().remove(0);
        let difference = pair.other.difference(&pair.first, 0).unwrap();
        (pair.first.mean(0).unwrap(), difference.value, pair.events)
    }

    #[test]
    fn events_are_paired_by_their_places_whoever_is_ahead() {
        let in_turn = compared(&[(0, 0..50), (1, 0..50), (0, 50..100), (1, 50..100)]);
        let other_first = compared(&[(1, 0..70), (0, 0..10), (1, 70..100), (0, 10..100)]);
        assert_eq!(in_turn, other_first);
        assert!((in_turn.1 - 2.0).abs() < 1e-12);
        assert_eq!(in_turn.2, 80);
    }
    #[test]
    fn what_one_of_two_models_did_not_score_counts_for_neither_and_each_pair_stands_alone() {
        let mut comparer = Comparer::new(vec![vec![(0, 0)], vec![(0, 0)]]);
        let scored = |value: &dyn Fn(i64) -> f64| -> Vec<(Place, Scores)> {
            (0..40).map(|offset| ((0, Position::at(offset)), Some([value(offset)].into()))).collect()
        };
        comparer.put(0, scored(&|_| 1.0));
        comparer.put(1, scored(&|offset| if offset % 2 == 0 { f64::NAN } else { 5.0 }));
        assert_eq!(comparer.open.len(), 40, "the last model is waited for");
        comparer.put(2, scored(&|_| 3.0));
        let pairs = comparer.finish();
        let counts: Vec<_> = pairs.iter().map(|pair| (pair.first.count(0), pair.other.count(0))).collect();
        assert_eq!(counts, [(20, 20), (40, 40)]);
        assert_eq!(pairs[1].other.mean(0), Some(3.0));
    }
}
