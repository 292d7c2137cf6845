//! What the hidden layers make of their sums: one way for scoring and for learning, so that both see the same net to the bit.

use std::{f32::consts::FRAC_1_SQRT_2, marker::PhantomData};

use crate::{
    config::Activation,
    math::{
        single::{sigmoid, tanh},
        vector::Loops,
    },
};

/// Turns sums into outputs.
pub fn activate(activation: Activation, values: &mut [f32]) {
    match activation {
        Activation::Tanh => Outputs::<Tanh>(values, PhantomData).run(),
        Activation::Relu => Outputs::<Relu>(values, PhantomData).run(),
        Activation::Silu => Outputs::<Silu>(values, PhantomData).run(),
        Activation::Gelu => Outputs::<Gelu>(values, PhantomData).run(),
    }
}

/// The same; writes how the outputs change with the sums.
pub fn activate_with_slopes(activation: Activation, values: &mut [f32], slopes: &mut [f32]) {
    match activation {
        Activation::Tanh => WithSlopes::<Tanh>(values, slopes, PhantomData).run(),
        Activation::Relu => WithSlopes::<Relu>(values, slopes, PhantomData).run(),
        Activation::Silu => WithSlopes::<Silu>(values, slopes, PhantomData).run(),
        Activation::Gelu => WithSlopes::<Gelu>(values, slopes, PhantomData).run(),
    }
}

/// A function of one variable. NaN stays NaN, so that a step which begins with one is skipped.
trait Curve {
    /// Value and slope at x.
    fn at(x: f32) -> (f32, f32);
}

struct Outputs<'a, C>(&'a mut [f32], PhantomData<C>);

impl<C: Curve> Loops for Outputs<'_, C> {
    #[inline(always)]
    fn call(self) {
        self.0.iter_mut().for_each(|value| *value = C::at(*value).0);
    }
}

struct WithSlopes<'a, C>(&'a mut [f32], &'a mut [f32], PhantomData<C>);

impl<C: Curve> Loops for WithSlopes<'_, C> {
    #[inline(always)]
    fn call(self) {
        let Self(values, slopes, _) = self;
        for (value, slope) in values.iter_mut().zip(slopes) {
            (*value, *slope) = C::at(*value);
        }
    }
}

struct Tanh;

impl Curve for Tanh {
    #[inline(always)]
    fn at(x: f32) -> (f32, f32) {
        let y = tanh(x);
        (y, 1.0 - y * y)
    }
}

struct Relu;

impl Curve for Relu {
    #[inline(always)]
    fn at(x: f32) -> (f32, f32) {
        if x <= 0.0 { (0.0, 0.0) } else { (x, 1.0) }
    }
}

struct Silu;

impl Curve for Silu {
    #[inline(always)]
    fn at(x: f32) -> (f32, f32) {
        let s = sigmoid(x);
        (x * s, s * (1.0 + x * (1.0 - s)))
    }
}

struct Gelu;

impl Curve for Gelu {
    #[inline(always)]
    fn at(x: f32) -> (f32, f32) {
        let cdf = 0.5 * (1.0 + libm::erff(x * FRAC_1_SQRT_2));
        let pdf = 0.398_942_3 * (-0.5 * x * x).exp();
        (x * cdf, cdf + x * pdf)
    }
}
