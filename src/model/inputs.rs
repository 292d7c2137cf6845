//! From a record's features to the net's inputs.
//!
//! A row of inputs is a dense part and one category number a category feature. A `number` gives two dense
//! inputs, its standardised value and an indicator that is 1 where it is missing; a `cycle` gives sine and
//! cosine (both 0 where it is missing: the circle's centre). A missing category is no column at all.

use crate::{
    config::{Feature, FeatureKind, Support},
    math::scalar::sin_cos_of_turn,
    model::{
        saved::{Misfit, SavedFeature},
        standardiser::{Reach, Rescaling, Standardiser},
        vocabulary::Vocabulary,
    },
    record::{Cell, Event},
};

/// The category number of a missing value.
pub const NO_CATEGORY: u32 = u32::MAX;

/// Standardised values are clamped to this many scales, so that a feature that was constant during the
/// warm-up, and so has no known scale, can't blow up the net when it first moves.
pub const CLAMP_SCALES: f64 = 100.0;

/// An input's unit goes no further than this from the warm-up's. What is far from there is clamped and squashed, and may well be
/// in another unit by mistake: to undo that, the weights have to find back from what was made up for.
const REACH: Reach = Reach { scale: 8.0, center: 8.0 };

/// One row of inputs.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Row {
    /// The dense inputs.
    pub dense: Vec<f32>,
    /// One number a category feature.
    pub categories: Vec<u32>,
}

/// What a feature has learned about its values.
#[derive(Debug, Clone, PartialEq)]
enum Encoder {
    Number(Standardiser),
    Cycle { period: f64 },
    Category(Vocabulary),
}

/// Turns features into inputs.
#[derive(Debug, Clone, PartialEq)]
pub struct Inputs {
    encoders: Vec<Encoder>,
}

impl Inputs {
    /// Inputs for these features, with nothing learned yet.
    #[must_use]
    pub fn new(features: &[Feature]) -> Self {
        let encoder = |feature: &Feature| match feature.kind {
            FeatureKind::Number { .. } => Encoder::Number(Standardiser::IDENTITY),
            FeatureKind::Cycle { period } => Encoder::Cycle { period },
            FeatureKind::Category { size } => Encoder::Category(Vocabulary::new(size)),
        };
        Self { encoders: features.iter().map(encoder).collect() }
    }

    /// What the features have learned.
    #[must_use]
    pub fn saved(&self) -> Vec<SavedFeature> {
        let saved = |encoder: &Encoder| match encoder {
            Encoder::Number(standardiser) => SavedFeature::Number(*standardiser),
            Encoder::Cycle { .. } => SavedFeature::Cycle,
            Encoder::Category(vocabulary) => SavedFeature::Category(vocabulary.values()),
        };
        self.encoders.iter().map(saved).collect()
    }

    /// Takes what features have learned; for inputs with nothing learned yet.
    ///
    /// # Errors
    /// When these are not what was saved of features of the same kinds and sizes.
    pub fn restore(&mut self, saved: Vec<SavedFeature>) -> Result<(), Misfit> {
        if saved.len() != self.encoders.len() {
            return Err(Misfit::new(format!(
                "it has {} features where this config has {}",
                saved.len(),
                self.encoders.len()
            )));
        }
        for (index, (encoder, saved)) in self.encoders.iter_mut().zip(saved).enumerate() {
            match (&mut *encoder, saved) {
                (Encoder::Number(own), SavedFeature::Number(standardiser)) if standardiser.is_valid() => {
                    *own = standardiser;
                }
                (Encoder::Cycle { .. }, SavedFeature::Cycle) => {}
                (Encoder::Category(own), SavedFeature::Category(values)) => {
                    *own = Vocabulary::of(own.other() as usize, values).ok_or_else(|| {
                        Misfit::new(format!("the vocabulary of feature {} does not fit", index + 1))
                    })?;
                }
                _ => return Err(Misfit::new(format!("feature {} is of another kind", index + 1))),
            }
        }
        Ok(())
    }

    /// How many dense inputs a row has.
    #[must_use]
    pub fn num_dense(&self) -> usize {
        self.encoders.iter().map(|e| if matches!(e, Encoder::Category(_)) { 0 } else { 2 }).sum()
    }

    /// The positions of the standardised numbers among the dense inputs: those that take noise.
    #[must_use]
    pub fn number_positions(&self) -> Vec<usize> {
        let dense = self.encoders.iter().filter(|e| !matches!(e, Encoder::Category(_)));
        dense.enumerate().filter(|(_, e)| matches!(e, Encoder::Number(_))).map(|(i, _)| 2 * i).collect()
    }

    /// The number of columns of each category feature, "other" included.
    #[must_use]
    pub fn category_columns(&self) -> Vec<usize> {
        let columns = |e: &Encoder| match e {
            Encoder::Category(vocabulary) => Some(vocabulary.other() as usize + 1),
            _ => None,
        };
        self.encoders.iter().filter_map(columns).collect()
    }

    /// Sets the normalisers from the warm-up's events.
    pub fn fit<'a>(&mut self, events: impl Iterator<Item = &'a Event> + Clone) {
        for (at, encoder) in self.encoders.iter_mut().enumerate() {
            if let Encoder::Number(standardiser) = encoder {
                let number = |event: &Event| match event.features[at] {
                    Cell::Number(value) => Some(value),
                    _ => None,
                };
                let mut values: Vec<f64> = events.clone().filter_map(number).collect();
                *standardiser = Standardiser::fit(&mut values, Support::Real);
            }
        }
    }

    /// Changes the units of numbers that have outgrown theirs, if what reads them can be `changed` along: each by its position among the
    /// dense inputs.
    pub fn adapt(&mut self, mut changed: impl FnMut(usize, Rescaling) -> bool) {
        let dense = self.encoders.iter_mut().filter(|e| !matches!(e, Encoder::Category(_)));
        for (nth, encoder) in dense.enumerate() {
            if let Encoder::Number(standardiser) = encoder {
                standardiser.adapt(REACH, |rescaling| changed(2 * nth, rescaling));
            }
        }
    }

    /// Writes the event's inputs into `row`.
    pub fn encode(&self, event: &Event, row: &mut Row) {
        row.clear();
        for (encoder, cell) in self.encoders.iter().zip(&event.features) {
            encoder.encode(cell, row);
        }
    }

    /// The same for an event that is learned from: takes note of its numbers, which changes no unit yet, and adds its categories to the
    /// vocabularies.
    pub fn learn(&mut self, event: &Event, row: &mut Row) {
        row.clear();
        for (encoder, cell) in self.encoders.iter_mut().zip(&event.features) {
            match (&mut *encoder, cell) {
                (Encoder::Category(vocabulary), Cell::Text(value)) => {
                    row.categories.push(vocabulary.learn(value));
                    continue;
                }
                (Encoder::Number(standardiser), Cell::Number(value)) => standardiser.follow(*value),
                _ => {}
            }
            encoder.encode(cell, row);
        }
    }

    /// The features whose categories in an encoded row were not known.
    pub fn unknown(&self, row: &Row) -> impl Iterator<Item = usize> {
        let others = self.encoders.iter().enumerate().filter_map(|(index, encoder)| match encoder {
            Encoder::Category(vocabulary) => Some((index, vocabulary.other())),
            _ => None,
        });
        others
            .zip(&row.categories)
            .filter(|((_, other), number)| other == *number)
            .map(|((index, _), _)| index)
    }
}

impl Row {
    fn clear(&mut self) {
        self.dense.clear();
        self.categories.clear();
    }
}

impl Encoder {
    /// Adds a value's inputs to a row.
    fn encode(&self, cell: &Cell, Row { dense, categories }: &mut Row) {
        match (self, cell) {
            (Self::Number(standardiser), Cell::Number(value)) => {
                let standardised =
                    standardiser.normaliser().normalise(*value).clamp(-CLAMP_SCALES, CLAMP_SCALES);
                dense.extend([standardised as f32, 0.0]);
            }
            (Self::Number(_), _) => dense.extend([0.0, 1.0]),
            (Self::Cycle { period }, Cell::Number(value)) => {
                let is_within = (0.0..*period).contains(value);
                let rest = if is_within { *value } else { value.rem_euclid(*period) };
                let (sine, cosine) = sin_cos_of_turn(rest / period);
                dense.extend([sine as f32, cosine as f32]);
            }
            (Self::Cycle { .. }, _) => dense.extend([0.0, 0.0]),
            (Self::Category(vocabulary), Cell::Text(value)) => categories.push(vocabulary.number(value)),
            (Self::Category(_), _) => categories.push(NO_CATEGORY),
        }
    }
}

/// What the hidden layers see of a dense input: itself up to 3, then growing like a logarithm, so that a
/// heavy-tailed feature does not saturate them.
#[must_use]
pub fn squash(x: f32) -> f32 {
    const KNEE: f32 = 3.0;
    let size = x.abs();
    if size <= KNEE { x } else { (KNEE + (size - KNEE).ln_1p()).copysign(x) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::FieldPath;

    fn feature(kind: FeatureKind) -> Feature {
        Feature { name: "f".into(), path: FieldPath(vec!["f".into()]), kind }
    }

    fn event(features: Vec<Cell>) -> Event {
        Event::bare(features.into(), None)
    }

    fn mixed() -> Inputs {
        Inputs::new(&[
            feature(FeatureKind::Category { size: 2 }),
            feature(FeatureKind::Number { transform: None }),
            feature(FeatureKind::Cycle { period: 24.0 }),
        ])
    }

    fn encode(inputs: &Inputs, features: Vec<Cell>) -> Row {
        let mut row = Row::default();
        inputs.encode(&event(features), &mut row);
        row
    }

    #[test]
    fn a_row_is_dense_inputs_and_category_numbers() {
        let mut inputs = mixed();
        inputs.learn(&event(vec![Cell::Text("a".into()), Cell::Null, Cell::Null]), &mut Row::default());
        let row = encode(&inputs, vec![Cell::Text("a".into()), Cell::Number(2.0), Cell::Number(6.0)]);
        assert_eq!(row.categories, [0]);
        assert_eq!(row.dense.len(), inputs.num_dense());
        assert_eq!(row.dense[..2], [2.0, 0.0]);
        assert!((row.dense[2] - 1.0).abs() < 1e-6 && row.dense[3].abs() < 1e-6);
        assert_eq!(inputs.category_columns(), [3]);
        assert_eq!(inputs.number_positions(), [0]);
    }

    #[test]
    fn a_number_s_unit_follows_what_is_learned_from_and_not_before_it_is_adapted() {
        let mut inputs = mixed();
        let at = |value: f64| vec![Cell::Null, Cell::Number(value), Cell::Null];
        let before = encode(&inputs, at(5.0));
        let mut row = Row::default();
        for nth in 0..4_000 {
            inputs.learn(&event(at(if nth % 2 == 0 { 4.0 } else { 6.0 })), &mut row);
        }
        assert_eq!(row, encode(&inputs, at(6.0)));
        assert_eq!(encode(&inputs, at(5.0)), before);
        inputs.adapt(|_, _| true);
        assert!(encode(&inputs, at(5.0)).dense[0].abs() < 1.0 && before.dense[0] == 5.0);
    }

    #[test]
    fn nulls_become_the_mean_with_an_indicator_and_the_centre_of_the_circle() {
        let row = encode(&mixed(), vec![Cell::Null, Cell::Null, Cell::Null]);
        assert_eq!(row.dense, [0.0, 1.0, 0.0, 0.0]);
        assert_eq!(row.categories, [NO_CATEGORY]);
    }

    #[test]
    fn a_feature_that_was_constant_in_the_warm_up_is_clamped_when_it_moves() {
        let mut inputs = mixed();
        let warmup: Vec<Event> =
            (0..10).map(|_| event(vec![Cell::Null, Cell::Number(5.0), Cell::Null])).collect();
        inputs.fit(warmup.iter());
        let row = encode(&inputs, vec![Cell::Null, Cell::Number(1e300), Cell::Null]);
        assert_eq!(row.dense[0], CLAMP_SCALES as f32);
        assert!(squash(row.dense[0]) < 8.0);
    }

    #[test]
    fn a_cycle_takes_any_number() {
        let inputs = Inputs::new(&[feature(FeatureKind::Cycle { period: 0.5 })]);
        for value in [1e308, -1e308, 1e-308, -0.1, 0.0] {
            let row = encode(&inputs, vec![Cell::Number(value)]);
            let radius = row.dense[0].hypot(row.dense[1]);
            assert!((radius - 1.0).abs() < 1e-6, "{value}: {row:?}");
        }
    }

    #[test]
    fn the_squash_is_odd_increasing_and_the_identity_in_the_middle() {
        assert_eq!(squash(-2.5), -2.5);
        let mut last = f32::NEG_INFINITY;
        for step in -1000..=1000 {
            let x = step as f32 / 10.0;
            assert!(squash(x) > last);
            assert_eq!(squash(-x), -squash(x));
            last = squash(x);
        }
    }
}
