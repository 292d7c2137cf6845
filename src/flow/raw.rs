//! Raw parameters: any real numbers.

use std::ops::Range;

use crate::math::vector::{self, Loops};

/// Raw parameters, with what several transforms want of them worked out for all at once.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RawParams {
    values: Vec<f64>,
    softplus: Vec<f64>,
    sigmoid: Vec<f64>,
    shrink: Vec<f64>,
}

/// Some of them.
#[derive(Debug, Clone, Copy)]
pub struct Raw<'a> {
    /// As they are.
    pub values: &'a [f64],
    /// log(1 + eˣ) of each.
    pub softplus: &'a [f64],
    /// 1 / (1 + e⁻ˣ) of each, which is the slope of the former.
    pub sigmoid: &'a [f64],
    /// e⁻ˣ of each.
    pub shrink: &'a [f64],
}

impl RawParams {
    /// These.
    #[must_use]
    pub fn of(values: &[f64]) -> Self {
        let mut params = Self::default();
        params.set(values.iter().copied());
        params
    }

    /// Takes these.
    pub fn set(&mut self, values: impl IntoIterator<Item = f64>) {
        self.values.clear();
        self.values.extend(values);
        let len = self.values.len();
        self.softplus.resize(len, 0.0);
        self.sigmoid.resize(len, 0.0);
        self.shrink.resize(len, 0.0);
        Derive(self).run();
    }

    /// Those of one layer.
    #[must_use]
    pub fn part(&self, range: Range<usize>) -> Raw<'_> {
        Raw {
            values: &self.values[range.clone()],
            softplus: &self.softplus[range.clone()],
            sigmoid: &self.sigmoid[range.clone()],
            shrink: &self.shrink[range],
        }
    }

    /// All of them.
    #[must_use]
    pub fn all(&self) -> Raw<'_> {
        self.part(0..self.values.len())
    }

    /// As they are.
    #[must_use]
    pub fn values(&self) -> &[f64] {
        &self.values
    }
}

/// Works out what transforms want of the values.
struct Derive<'a>(&'a mut RawParams);

impl Loops for Derive<'_> {
    #[inline(always)]
    fn call(self) {
        let RawParams { values, softplus, sigmoid, shrink } = self.0;
        let made = softplus.iter_mut().zip(sigmoid).zip(shrink);
        for (&value, ((softplus, sigmoid), shrink)) in values.iter().zip(made) {
            (*softplus, *sigmoid) = vector::softplus(value);
            *shrink = vector::shrink(value);
        }
    }
}
