//! The values that a category feature is known to take.

use std::collections::HashMap;

use ahash::RandomState;
use compact_str::CompactString;

/// Gives each category a number, in the order in which they are learned.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Vocabulary {
    size: usize,
    numbers: HashMap<CompactString, u32, RandomState>,
}

impl Vocabulary {
    /// An empty vocabulary of at most `size` values.
    #[must_use]
    pub fn new(size: usize) -> Self {
        Self { size, numbers: HashMap::default() }
    }

    /// A vocabulary that knows these values, in the order of their numbers; `None` where they are too many or one
    /// comes twice.
    #[must_use]
    pub fn of(size: usize, values: Vec<CompactString>) -> Option<Self> {
        let count = values.len();
        let numbers: HashMap<_, _, RandomState> = values.into_iter().zip(0..).collect();
        (count <= size && numbers.len() == count).then_some(Self { size, numbers })
    }

    /// The known values, in the order of their numbers.
    #[must_use]
    pub fn values(&self) -> Vec<CompactString> {
        let mut values: Vec<_> = self.numbers.iter().collect();
        values.sort_unstable_by_key(|(_, number)| **number);
        values.into_iter().map(|(value, _)| value.clone()).collect()
    }

    /// The number that all unknown values share: the one after the last.
    #[must_use]
    pub fn other(&self) -> u32 {
        self.size as u32
    }

    /// The value's number, or that of "other".
    #[must_use]
    pub fn number(&self, value: &str) -> u32 {
        self.numbers.get(value).copied().unwrap_or(self.other())
    }

    /// Whether the value has a number of its own.
    #[must_use]
    pub fn knows(&self, value: &str) -> bool {
        self.numbers.contains_key(value)
    }

    /// Adds the value while there is room, first come, first numbered; its number, or that of "other".
    pub fn learn(&mut self, value: &CompactString) -> u32 {
        let number = self.number(value);
        if number < self.other() || self.numbers.len() == self.size {
            return number;
        }
        let number = self.numbers.len() as u32;
        self.numbers.insert(value.clone(), number);
        number
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_other() {
        let mut vocabulary = Vocabulary::new(2);
        assert_eq!(["a", "b", "a", "c"].map(|value| vocabulary.learn(&value.into())), [0, 1, 0, 2]);
        assert_eq!((vocabulary.number("a"), vocabulary.number("b")), (0, 1));
        assert_eq!((vocabulary.number("c"), vocabulary.number("never seen")), (2, 2));
        assert!(vocabulary.knows("b") && !vocabulary.knows("c"));
    }
}
