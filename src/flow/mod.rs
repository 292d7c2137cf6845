//! Invertible transforms from the data to the base, and their stack, in any dimension d ≥ 1.
//!
//! A transform has *raw* parameters, any real numbers, which a net puts out. [`Transform::prepare`] turns them once
//! into constrained ones, with which points are then mapped; nothing here allocates but the [`Workspace`].
//! Every transform has a positive Jacobian determinant everywhere, and in one dimension it increases.

mod affine;
mod planar;
mod points;
mod radial;
mod raw;
pub mod rows;
mod spline;
mod stack;
pub mod tail;

pub use affine::Affine;
pub use planar::Planar;
pub use radial::Radial;
pub use raw::{Raw, RawParams};
pub use spline::Spline;
pub use stack::{Stack, Workspace};
pub use tail::Tail;

use crate::config::FlowKind;

/// An invertible, differentiable map of d-vectors x on the data's side to z on the base's side.
pub trait Transform {
    /// How many raw parameters it takes.
    fn num_params(&self) -> usize;

    /// How many numbers [`Transform::prepare`] writes.
    fn num_prepared(&self) -> usize;

    /// Writes raw parameters that make it the identity, or of a tail the start of learning. `center` (d) is where in the data it can bend first, so that
    /// the layers of a stack start out different.
    fn initial(&self, center: &[f64], raw: &mut [f64]);

    /// Writes the constrained parameters that belong to the raw ones.
    fn prepare(&self, raw: Raw<'_>, prepared: &mut [f64]);

    /// Writes z(x); returns log |det ∂z/∂x|.
    fn forward(&self, prepared: &[f64], x: &[f64], z: &mut [f64]) -> f64;

    /// Writes x(z).
    fn inverse(&self, prepared: &[f64], z: &[f64], x: &mut [f64]);

    /// For a loss with the derivatives `grad.z` (d) and `grad.log_det` at [`Transform::forward`]'s results, writes its
    /// gradient with respect to `x` and to the raw parameters.
    fn backward(&self, at: At<'_>, grad: Grad<'_>, grad_x: &mut [f64], grad_raw: &mut [f64]);
}

/// Where [`Transform::backward`] differentiates.
#[derive(Debug, Clone, Copy)]
pub struct At<'a> {
    /// Raw parameters.
    pub raw: Raw<'a>,
    /// The constrained ones that belong to them.
    pub prepared: &'a [f64],
    /// The point (d) on the data's side.
    pub x: &'a [f64],
}

/// A loss's derivatives with respect to a transform's results.
#[derive(Debug, Clone, Copy)]
pub struct Grad<'a> {
    /// With respect to z (d).
    pub z: &'a [f64],
    /// With respect to log |det ∂z/∂x|.
    pub log_det: f64,
}

/// One transform of a stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layer {
    /// Location and scale.
    Affine(Affine),
    /// A bend along a direction.
    Planar(Planar),
    /// A contraction or expansion around a point.
    Radial(Radial),
    /// A monotone spline on each axis.
    Spline(Spline),
    /// Location, scale, and generalised Pareto tails.
    Pareto(Tail<tail::Pareto>),
    /// Location, scale, and Lambert W × Gaussian tails.
    Lambert(Tail<tail::Lambert>),
    /// Location, scale, and Student-t tails.
    Wallace(Tail<tail::Wallace>),
}

impl Layer {
    /// The transform of a kind, for vectors of length `dim`.
    #[must_use]
    pub fn new(kind: FlowKind, dim: usize) -> Self {
        match kind {
            FlowKind::Affine => Self::Affine(Affine::new(dim)),
            FlowKind::Planar => Self::Planar(Planar::new(dim)),
            FlowKind::Radial => Self::Radial(Radial::new(dim)),
            FlowKind::Pareto => Self::Pareto(Tail::new(dim, tail::Pareto)),
            FlowKind::Lambert => Self::Lambert(Tail::new(dim, tail::Lambert)),
            FlowKind::Tail => Self::Wallace(Tail::new(dim, tail::Wallace)),
            FlowKind::Spline => Self::Spline(Spline::new(dim)),
        }
    }

    fn transform(&self) -> &dyn Transform {
        match self {
            Self::Affine(affine) => affine,
            Self::Planar(planar) => planar,
            Self::Radial(radial) => radial,
            Self::Pareto(tail) => tail,
            Self::Lambert(tail) => tail,
            Self::Wallace(tail) => tail,
            Self::Spline(spline) => spline,
        }
    }

    /// What it makes of an axis's tail.
    fn asymptote(&self, axis: usize, side: Side, prepared: &[f64]) -> Asymptote {
        match self {
            Self::Affine(affine) => Asymptote::Slope { log: -prepared[affine.log_scale_place(axis)] },
            Self::Planar(_) | Self::Radial(_) | Self::Spline(_) => Asymptote::Slope { log: 0.0 },
            Self::Pareto(tail) => Asymptote::Power { index: prepared[tail.index_place(axis, side)] },
            Self::Lambert(tail) => Asymptote::Power { index: prepared[tail.index_place(axis, side)] },
            Self::Wallace(tail) => Asymptote::Power { index: prepared[tail.index_place(axis, side)] },
        }
    }
}

/// One of two tails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Towards −∞.
    Lower,
    /// Towards ∞.
    Upper,
}

/// How z(x) goes on for x → ±∞ along an axis.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Asymptote {
    /// Like a line of this slope.
    Slope {
        /// The slope's logarithm.
        log: f64,
    },
    /// Like √(2 log x / ξ).
    Power {
        /// ξ.
        index: f64,
    },
}

impl Transform for Layer {
    fn num_params(&self) -> usize {
        self.transform().num_params()
    }

    fn num_prepared(&self) -> usize {
        self.transform().num_prepared()
    }

    fn initial(&self, center: &[f64], raw: &mut [f64]) {
        self.transform().initial(center, raw);
    }

    fn prepare(&self, raw: Raw<'_>, prepared: &mut [f64]) {
        self.transform().prepare(raw, prepared);
    }

    fn forward(&self, prepared: &[f64], x: &[f64], z: &mut [f64]) -> f64 {
        self.transform().forward(prepared, x, z)
    }

    fn inverse(&self, prepared: &[f64], z: &[f64], x: &mut [f64]) {
        self.transform().inverse(prepared, z, x);
    }

    fn backward(&self, at: At<'_>, grad: Grad<'_>, grad_x: &mut [f64], grad_raw: &mut [f64]) {
        self.transform().backward(at, grad, grad_x, grad_raw);
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests;
