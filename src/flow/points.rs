//! Many points at once through the layers of one row of parameters, d = 1: what scoring goes through.
//!
//! What becomes of a point does not depend on the others, nor on where among them it stands.

use std::slice;

use super::{
    Layer, Stack, Transform, Workspace, affine::Line, radial::Bump, stack::Place, tail::wallace::Axis,
};
use crate::math::vector::Loops;

/// What a layer does to a point, without a branch, so that loops over points become vector instructions. All of it is inlined into
/// [`Loops`].
pub(super) trait Pointwise: Copy {
    /// z(x).
    fn to_base(self, x: f64) -> f64;

    /// x(z).
    fn to_data(self, z: f64) -> f64;

    /// ∂z/∂x at a point on the data's side.
    fn slope(self, x: f64) -> f64;

    /// Whether it is right at this x; elsewhere the [`Transform`] is.
    #[inline(always)]
    fn takes_data(self, _x: f64) -> bool {
        true
    }

    /// The same of a z.
    #[inline(always)]
    fn takes_base(self, _z: f64) -> bool {
        true
    }
}

/// Of layers that have no such way.
#[derive(Clone, Copy)]
struct Unknown;

impl Pointwise for Unknown {
    #[inline(always)]
    fn to_base(self, _: f64) -> f64 {
        f64::NAN
    }

    #[inline(always)]
    fn to_data(self, _: f64) -> f64 {
        f64::NAN
    }

    #[inline(always)]
    fn slope(self, _: f64) -> f64 {
        f64::NAN
    }

    #[inline(always)]
    fn takes_data(self, _: f64) -> bool {
        false
    }

    #[inline(always)]
    fn takes_base(self, _: f64) -> bool {
        false
    }
}

/// Multiplies the slopes, as many as there are, by those at the points.
#[inline(always)]
fn multiply_slopes(way: impl Pointwise, points: &[f64], slopes: &mut [f64]) {
    for (&point, slope) in points.iter().zip(slopes) {
        *slope *= way.slope(point);
    }
}

/// Does `$do` with what a layer does to a point.
macro_rules! with_way_of {
    ($layer:expr, $prepared:expr, |$way:ident| $do:expr) => {
        match $layer {
            Layer::Radial(_) => {
                let $way = Bump::of($prepared);
                $do
            }
            Layer::Affine(_) => {
                let $way = Line::of($prepared);
                $do
            }
            Layer::Wallace(_) => {
                let $way = Axis::of($prepared);
                $do
            }
            _ => {
                let $way = Unknown;
                $do
            }
        }
    };
}

/// Moves points to the base, and multiplies each point's slope, if there are any, by ∂z/∂x.
struct Forward<'a> {
    places: &'a [Place],
    prepared: &'a [f64],
    points: &'a mut [f64],
    slopes: &'a mut [f64],
}

impl Loops for Forward<'_> {
    #[inline(always)]
    fn call(self) {
        let Self { places, prepared, points, slopes } = self;
        for Place { layer, prepared: at, .. } in places.iter().rev() {
            let prepared = &prepared[at.clone()];
            with_way_of!(layer, prepared, |way| to_base(way, layer, prepared, points, slopes));
        }
    }
}

#[inline(always)]
fn to_base<P: Pointwise>(way: P, layer: &Layer, prepared: &[f64], points: &mut [f64], slopes: &mut [f64]) {
    if points.iter().all(|&x| way.takes_data(x)) {
        multiply_slopes(way, points, slopes);
        for point in points {
            *point = way.to_base(*point);
        }
        return;
    }
    for (nth, point) in points.iter_mut().enumerate() {
        let slope = slopes.get_mut(nth).map_or(&mut [][..], slice::from_mut);
        if way.takes_data(*point) {
            multiply_slopes(way, &[*point], slope);
            *point = way.to_base(*point);
        } else {
            let x = [*point];
            let log_slope = layer.forward(prepared, &x, slice::from_mut(point));
            slope.iter_mut().for_each(|slope| *slope *= log_slope.exp());
        }
    }
}

/// Moves points to the data, and multiplies each point's slope, if there are any, by ∂z/∂x there.
struct Inverse<'a> {
    places: &'a [Place],
    prepared: &'a [f64],
    points: &'a mut [f64],
    slopes: &'a mut [f64],
}

impl Loops for Inverse<'_> {
    #[inline(always)]
    fn call(self) {
        let Self { places, prepared, points, slopes } = self;
        for Place { layer, prepared: at, .. } in places {
            let prepared = &prepared[at.clone()];
            with_way_of!(layer, prepared, |way| to_data(way, layer, prepared, points, slopes));
        }
    }
}

#[inline(always)]
fn to_data<P: Pointwise>(way: P, layer: &Layer, prepared: &[f64], points: &mut [f64], slopes: &mut [f64]) {
    if points.iter().all(|&z| way.takes_base(z)) {
        for point in &mut *points {
            *point = way.to_data(*point);
        }
        return multiply_slopes(way, points, slopes);
    }
    for (nth, point) in points.iter_mut().enumerate() {
        let slope = slopes.get_mut(nth).map_or(&mut [][..], slice::from_mut);
        if way.takes_base(*point) {
            *point = way.to_data(*point);
            multiply_slopes(way, &[*point], slope);
        } else {
            let z = [*point];
            layer.inverse(prepared, &z, slice::from_mut(point));
            for slope in slope {
                *slope *= layer.forward(prepared, &[*point], &mut [0.0]).exp();
            }
        }
    }
}

impl Stack {
    /// For d = 1: moves data points to the base.
    pub fn forward_points(&self, points: &mut [f64], ws: &Workspace) {
        self.forward_points_and_slopes(points, &mut [], ws);
    }

    /// [`Stack::forward_points`]; multiplies each point's slope by ∂z/∂x.
    pub fn forward_points_and_slopes(&self, points: &mut [f64], slopes: &mut [f64], ws: &Workspace) {
        Forward { places: self.places(), prepared: ws.prepared(), points, slopes }.run();
    }

    /// For d = 1: moves base points to the data.
    pub fn inverse_points(&self, points: &mut [f64], ws: &Workspace) {
        self.inverse_points_and_slopes(points, &mut [], ws);
    }

    /// [`Stack::inverse_points`]; multiplies each point's slope by ∂z/∂x there.
    pub fn inverse_points_and_slopes(&self, points: &mut [f64], slopes: &mut [f64], ws: &Workspace) {
        Inverse { places: self.places(), prepared: ws.prepared(), points, slopes }.run();
    }
}
