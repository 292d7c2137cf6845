//! The tail probabilities that are published.

use super::columns;
use crate::config::{Config, ThresholdValue};

/// A probability that is published for each event.
#[derive(Debug, Clone, PartialEq)]
pub struct Exceed {
    /// Which of `score.exceed` asks for it.
    pub item: usize,
    /// What stands before its column's name: with several targets the field's, and nothing where it is of all together.
    pub prefix: String,
    /// Its threshold's name.
    pub name: String,
    /// What is exceeded.
    pub bound: Bound,
}

/// What is exceeded.
#[derive(Debug, Clone, PartialEq)]
pub enum Bound {
    /// By this target the same threshold for every event.
    Constant {
        /// The target's place among the fields.
        axis: usize,
        /// The threshold.
        threshold: f64,
    },
    /// By this target the event's own threshold.
    OfEvent {
        /// The target's place among the fields.
        axis: usize,
        /// The threshold's place among the event's own.
        nth: usize,
    },
    /// By each of these targets its threshold.
    Together(Vec<(usize, f64)>),
}

impl Exceed {
    /// Those that the config asks for, in the order of their columns: each threshold of `score.exceed` for every target field,
    /// and once where it names the fields itself.
    #[must_use]
    pub fn all(config: &Config) -> Vec<Self> {
        let fields = &config.target.fields;
        let mut own = 0;
        let mut all = Vec::new();
        for (item, threshold) in config.score.exceed.iter().enumerate() {
            let name = threshold.name.clone();
            let mut add = |prefix, bound| all.push(Self { item, prefix, name: name.clone(), bound });
            let each = (0..fields.len()).map(|axis| (axis, columns::prefix(config, axis)));
            match &threshold.value {
                ThresholdValue::Constant(threshold) => {
                    each.for_each(|(axis, prefix)| {
                        add(prefix, Bound::Constant { axis, threshold: *threshold });
                    });
                }
                ThresholdValue::Field(_) => {
                    each.for_each(|(axis, prefix)| add(prefix, Bound::OfEvent { axis, nth: own }));
                    own += 1;
                }
                ThresholdValue::Together(bounds) => {
                    let place = |path| fields.iter().position(|field| field == path);
                    let bounds = bounds.iter().filter_map(|(path, t)| place(path).map(|axis| (axis, *t)));
                    add(String::new(), Bound::Together(bounds.collect()));
                }
            }
        }
        all
    }

    /// Its column's name.
    #[must_use]
    pub fn column(&self) -> String {
        format!("{}p_gt_{}", self.prefix, self.name)
    }

    /// Its label in metrics.
    #[must_use]
    pub fn label(&self) -> String {
        format!("{}{}", self.prefix, self.name)
    }

    /// Whether these targets exceed it, given the event's own thresholds.
    #[must_use]
    pub fn is_exceeded(&self, targets: &[f64], own: &[f64]) -> bool {
        match &self.bound {
            Bound::Constant { axis, threshold } => targets[*axis] > *threshold,
            Bound::OfEvent { axis, nth } => {
                own.get(*nth).is_some_and(|threshold| targets[*axis] > *threshold)
            }
            Bound::Together(bounds) => bounds.iter().all(|&(axis, threshold)| targets[axis] > threshold),
        }
    }
}
