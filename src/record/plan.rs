//! Which fields of a record are wanted, and what for: compiled once from the config.

use std::cell::Cell;

use indexmap::IndexMap;

use super::value::Value;
use crate::config::{Config, FeatureKind, FieldPath, Support, ThresholdValue, TimeUnit, Transform};

/// What a carried field's column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CarryType {
    /// Doubles.
    Number,
    /// Texts.
    Text,
}

/// The type of each carried field's column, in the config's order: a number where the config uses the same
/// field as one (a `number` or `cycle` feature, a target), else a text, since an input has no schema to ask.
#[must_use]
pub fn carry_types(config: &Config) -> Vec<CarryType> {
    let is_number = |path: &FieldPath| {
        config.target.fields.contains(path)
            || config
                .features
                .iter()
                .any(|feature| feature.path == *path && !matches!(feature.kind, FeatureKind::Category { .. }))
    };
    let carry_type = |path| if is_number(path) { CarryType::Number } else { CarryType::Text };
    config.output.carry.iter().map(carry_type).collect()
}

/// How a feature's value is read.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Reading {
    Number(Option<Transform>),
    Category,
}

/// The wanted fields. A field that serves several uses has one slot.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// The paths as a tree, for the formats to walk along.
    pub root: Node,
    /// The dotted path of each slot.
    pub names: Vec<String>,
    pub time: Option<(usize, TimeUnit)>,
    pub features: Vec<(usize, Reading)>,
    pub carry: Vec<(usize, CarryType)>,
    pub thresholds: Vec<usize>,
    pub segment: Option<usize>,
    pub target: Vec<usize>,
    /// Targets are above this.
    pub least_target: Option<f64>,
    pub target_time: Option<(usize, TimeUnit)>,
    pub max_ahead_us: i64,
}

/// A step of a wanted path: a value to keep, an object to enter, or both.
#[derive(Debug, Default)]
pub(super) struct Node {
    pub slot: Option<usize>,
    /// By name, in the config's order.
    children: IndexMap<String, Node, ahash::RandomState>,
    /// Which of its siblings came after it in an earlier record, by that one's place among them.
    next: Cell<usize>,
}

impl Plan {
    pub fn new(config: &Config) -> Self {
        let mut plan = Self {
            max_ahead_us: i64::try_from(config.input.max_ahead.as_micros()).unwrap_or(i64::MAX),
            ..Self::default()
        };
        plan.time = config.input.time.as_ref().map(|time| (plan.slot(&time.path), time.unit));
        for feature in &config.features {
            let reading = match feature.kind {
                FeatureKind::Number { transform } => Reading::Number(transform),
                FeatureKind::Cycle { .. } => Reading::Number(None),
                FeatureKind::Category { .. } => Reading::Category,
            };
            let slot = plan.slot(&feature.path);
            plan.features.push((slot, reading));
        }
        for (path, carry_type) in config.output.carry.iter().zip(carry_types(config)) {
            let slot = plan.slot(path);
            plan.carry.push((slot, carry_type));
        }
        for threshold in &config.score.exceed {
            if let ThresholdValue::Field(path) = &threshold.value {
                let slot = plan.slot(path);
                plan.thresholds.push(slot);
            }
        }
        plan.segment = config.monitor.by.as_ref().map(|path| plan.slot(path));
        for path in &config.target.fields {
            let slot = plan.slot(path);
            plan.target.push(slot);
        }
        if config.target.support == Support::Positive {
            // What is rounded to 0 may be above it; what is all but half a step below is not.
            plan.least_target = Some(config.target.step.map_or(0.0, |step| -0.5 * step * (1.0 - 1e-9)));
        }
        plan.target_time = config.target.time.as_ref().map(|time| (plan.slot(&time.path), time.unit));
        plan
    }

    /// These fields alone, a slot for each in their order, for no use that a config names.
    pub fn of_fields<'a>(paths: impl IntoIterator<Item = &'a FieldPath>) -> Self {
        let mut plan = Self::default();
        for path in paths {
            plan.slot(path);
        }
        plan
    }

    pub fn num_slots(&self) -> usize {
        self.names.len()
    }

    /// The path's slot, made where it has none yet.
    fn slot(&mut self, path: &FieldPath) -> usize {
        let node = self.root.descendant(&path.0);
        let slot = *node.slot.get_or_insert_with(|| {
            self.names.push(path.0.join("."));
            self.names.len() - 1
        });
        if path.0.len() > 1 {
            // A table from elsewhere may have dots in its columns' own names.
            self.root.descendant(&[path.0.join(".")]).slot.get_or_insert(slot);
        }
        slot
    }
}

impl Node {
    /// The node at the end of a path, made where there is none yet.
    fn descendant(&mut self, path: &[String]) -> &mut Self {
        path.iter().fold(self, |node, segment| node.children.entry(segment.clone()).or_default())
    }

    /// The wanted field of that name, which came after the wanted field `last`. Most records have their fields in the
    /// order of the record before, so that one comparison finds it.
    pub fn child(&self, name: &str, last: Option<&Self>) -> Option<&Self> {
        let expected = last.and_then(|last| self.children.get_index(last.next.get()));
        if let Some((_, child)) = expected.filter(|(expected, _)| *expected == name) {
            return Some(child);
        }
        let (index, _, child) = self.children.get_full(name)?;
        if let Some(last) = last {
            last.next.set(index);
        }
        Some(child)
    }

    /// The wanted fields with their names.
    pub fn children(&self) -> impl Iterator<Item = (&str, &Self)> {
        self.children.iter().map(|(name, node)| (name.as_str(), node))
    }

    /// The first slot at or under it.
    pub fn first_slot(&self) -> Option<usize> {
        self.slot.or_else(|| self.children.values().find_map(Self::first_slot))
    }

    /// Puts `value` where a field was wanted; what was wanted inside of it is then absent, or, where a value
    /// stands in place of the object, wrongly typed.
    pub fn fill(&self, value: Value, slots: &mut [Value]) {
        if !self.children.is_empty() {
            let inner =
                if value.is_null() { Value::Null } else { Value::Other("no object around it".into()) };
            self.fill_children(&inner, slots);
        }
        if let Some(slot) = self.slot {
            slots[slot] = value;
        }
    }

    /// Puts `value` into every slot under it, its own excepted.
    pub fn fill_children(&self, value: &Value, slots: &mut [Value]) {
        for child in self.children.values() {
            child.fill_children(value, slots);
            if let Some(slot) = child.slot {
                slots[slot].clone_from(value);
            }
        }
    }
}
