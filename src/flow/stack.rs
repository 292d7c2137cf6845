//! Transforms one after another.

use std::ops::Range;

use super::{Asymptote, At, Grad, Layer, RawParams, Side, Transform, affine::raw_log_scale};
use crate::config::FlowKind;

/// The layers of a Normalizing Flow Network. They are listed, and their parameters laid out, from the base to the
/// data; points are mapped from the data to the base, the last layer first.
#[derive(Debug, Clone, PartialEq)]
pub struct Stack {
    dim: usize,
    places: Vec<Place>,
}

/// A layer, and where its parameters stand in the stack's.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Place {
    kind: FlowKind,
    pub layer: Layer,
    raw: Range<usize>,
    pub prepared: Range<usize>,
}

/// Where a stack keeps what it computed, so that no call allocates. Made by [`Stack::workspace`].
#[derive(Debug, Clone)]
pub struct Workspace {
    raw: RawParams,
    prepared: Vec<f64>,
    /// The point after each layer: the base's first, the data's last.
    points: Vec<f64>,
    grad: Vec<f64>,
    grad_next: Vec<f64>,
}

impl Workspace {
    /// The raw parameters, as [`Stack::prepare`] took them.
    #[must_use]
    pub fn raw(&self) -> &[f64] {
        self.raw.values()
    }

    pub(super) fn prepared(&self) -> &[f64] {
        &self.prepared
    }

    /// The gradient (d) with respect to the data that the backward pass left.
    #[must_use]
    pub fn grad_data(&self) -> &[f64] {
        &self.grad
    }
}

impl Stack {
    /// Layers from the base to the data, over vectors of length `dim` ≥ 1.
    #[must_use]
    pub fn new(kinds: &[FlowKind], dim: usize) -> Self {
        let (mut raw, mut prepared) = (0, 0);
        let places = kinds
            .iter()
            .map(|&kind| {
                let layer = Layer::new(kind, dim);
                let (raw_start, prepared_start) = (raw, prepared);
                raw += layer.num_params();
                prepared += layer.num_prepared();
                Place { kind, layer, raw: raw_start..raw, prepared: prepared_start..prepared }
            })
            .collect();
        Self { dim, places }
    }

    /// The length d of the vectors.
    #[must_use]
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// How many raw parameters all layers take together.
    #[must_use]
    pub fn num_params(&self) -> usize {
        self.places.last().map_or(0, |place| place.raw.end)
    }

    /// The layers from the base to the data, each with the place of its raw parameters.
    pub fn layers(&self) -> impl DoubleEndedIterator<Item = (&Layer, Range<usize>)> + ExactSizeIterator {
        self.places.iter().map(|place| (&place.layer, place.raw.clone()))
    }

    pub(super) fn places(&self) -> &[Place] {
        &self.places
    }

    /// Which raw parameters (d) are a location in the data's units: those of the layer nearest to the data that has one.
    #[must_use]
    pub fn locations(&self) -> Vec<usize> {
        let last = self.places.iter().rfind(|place| place.kind.has_location());
        last.map_or_else(Vec::new, |place| (place.raw.start..place.raw.start + self.dim).collect())
    }

    /// Which raw parameters (d each) are a location and a scale's logarithm that change with the data's unit, and nothing else does; `None`
    /// where a layer nearer to the data has none.
    #[must_use]
    pub fn locations_and_log_scales(&self) -> Option<[Vec<usize>; 2]> {
        let last = self.places.last().filter(|place| place.kind.has_location())?;
        let part = |nth: usize| (0..self.dim).map(|axis| last.raw.start + nth * self.dim + axis).collect();
        Some([part(0), part(1)])
    }

    /// Raw parameters that make the stack, but for a tail, z = (x − center) / scale on each axis, with the centres of what bends
    /// spread over the base's bulk.
    #[must_use]
    pub fn initial(&self, centers: &[f64], scales: &[f64]) -> Vec<f64> {
        let mut raw = vec![0.0; self.num_params()];
        let bending = self.places.iter().filter(|place| !place.kind.has_location()).count();
        let mut nth = 0;
        for place in &self.places {
            let bend: Vec<f64> = (0..self.dim).map(|axis| 3.0 * spread(nth, bending, axis) - 1.5).collect();
            place.layer.initial(&bend, &mut raw[place.raw.clone()]);
            nth += usize::from(!place.kind.has_location());
        }
        // Behind the locations stand the scales.
        for (axis, at) in self.locations().into_iter().enumerate() {
            raw[at] = centers[axis];
            raw[at + self.dim] = raw_log_scale(scales[axis].ln());
        }
        raw
    }

    /// The space that the other methods work in.
    #[must_use]
    pub fn workspace(&self) -> Workspace {
        Workspace {
            raw: RawParams::default(),
            prepared: vec![0.0; self.places.last().map_or(0, |place| place.prepared.end)],
            points: vec![0.0; (self.places.len() + 1) * self.dim],
            grad: vec![0.0; self.dim],
            grad_next: vec![0.0; self.dim],
        }
    }

    /// Takes the raw parameters that the calls after it use.
    pub fn prepare(&self, raw: impl IntoIterator<Item = f64>, ws: &mut Workspace) {
        ws.raw.set(raw);
        for place in &self.places {
            place.layer.prepare(ws.raw.part(place.raw.clone()), &mut ws.prepared[place.prepared.clone()]);
        }
    }

    /// The base point (d) of the data point `x`, and log |det ∂z/∂x|.
    pub fn forward<'ws>(&self, x: &[f64], ws: &'ws mut Workspace) -> (&'ws [f64], f64) {
        let d = self.dim;
        ws.points[self.places.len() * d..].copy_from_slice(x);
        let mut log_det = 0.0;
        for (i, place) in self.places.iter().enumerate().rev() {
            let (towards_base, towards_data) = ws.points.split_at_mut((i + 1) * d);
            let prepared = &ws.prepared[place.prepared.clone()];
            log_det += place.layer.forward(prepared, &towards_data[..d], &mut towards_base[i * d..]);
        }
        (&ws.points[..d], log_det)
    }

    /// The data point (d) of the base point `z`.
    pub fn inverse<'ws>(&self, z: &[f64], ws: &'ws mut Workspace) -> &'ws [f64] {
        let d = self.dim;
        ws.points[..d].copy_from_slice(z);
        for (i, place) in self.places.iter().enumerate() {
            let (towards_base, towards_data) = ws.points.split_at_mut((i + 1) * d);
            let prepared = &ws.prepared[place.prepared.clone()];
            place.layer.inverse(prepared, &towards_base[i * d..], &mut towards_data[..d]);
        }
        &ws.points[self.places.len() * d..]
    }

    /// The index ξ of an axis's tail over a standard normal base: P(X > x) falls like x^(−1/ξ), and faster than any power where ξ
    /// is 0; below the same.
    ///
    /// log P(X > x) goes like −½ z². A slope a between the base and the tail's layer makes that −½ a² u², so that an index ξ
    /// there becomes ξ / a²; slopes on the data's side change nothing. (Planar and
    /// radial layers tend to the identity on each axis, whatever they do to the bulk.)
    #[must_use]
    pub fn tail_index(&self, axis: usize, side: Side, ws: &Workspace) -> f64 {
        let mut log_slope = 0.0;
        for place in &self.places {
            match place.layer.asymptote(axis, side, &ws.prepared[place.prepared.clone()]) {
                Asymptote::Slope { log } => log_slope += log,
                Asymptote::Power { index } => return index * (-2.0 * log_slope).exp(),
            }
        }
        0.0
    }

    /// log N(z) + log |det ∂z/∂x| at the data point `x`, in nats.
    pub fn log_density(&self, x: &[f64], ws: &mut Workspace) -> f64 {
        let (z, log_det) = self.forward(x, ws);
        z.iter().map(|&z| crate::math::normal::log_pdf(z)).sum::<f64>() + log_det
    }

    /// [`Stack::log_density`], with its gradient with respect to the raw parameters; the gradient with respect to `x`
    /// is left in [`Workspace::grad_data`].
    pub fn log_density_grad(&self, x: &[f64], grad_raw: &mut [f64], ws: &mut Workspace) -> f64 {
        let log_density = self.log_density(x, ws);
        for (grad, z) in ws.grad.iter_mut().zip(&ws.points) {
            *grad = -z;
        }
        self.backward(1.0, grad_raw, ws);
        log_density
    }

    /// The gradient with respect to the raw parameters of Σ `grad_z` z at the point of the last [`Stack::forward`].
    pub fn base_grad(&self, grad_z: f64, grad_raw: &mut [f64], ws: &mut Workspace) {
        ws.grad.fill(grad_z);
        self.backward(0.0, grad_raw, ws);
    }

    /// From the gradient with respect to the base point in `ws.grad`, back through what [`Stack::forward`] computed.
    fn backward(&self, grad_log_det: f64, grad_raw: &mut [f64], ws: &mut Workspace) {
        let d = self.dim;
        for (i, place) in self.places.iter().enumerate() {
            let at = At {
                raw: ws.raw.part(place.raw.clone()),
                prepared: &ws.prepared[place.prepared.clone()],
                x: &ws.points[(i + 1) * d..(i + 2) * d],
            };
            let grad = Grad { z: &ws.grad, log_det: grad_log_det };
            place.layer.backward(at, grad, &mut ws.grad_next, &mut grad_raw[place.raw.clone()]);
            std::mem::swap(&mut ws.grad, &mut ws.grad_next);
        }
    }
}

/// The `nth` of `count` points of the unit cube along an axis: evenly spaced along the first one, and by an additive
/// recurrence along the others, so that the points don't lie on a line.
fn spread(nth: usize, count: usize, axis: usize) -> f64 {
    if axis == 0 {
        return if count > 1 { nth as f64 / (count - 1) as f64 } else { 0.5 };
    }
    (0.5 + nth as f64 * ((axis + 1) as f64).sqrt() * 0.618_033_988_749_894_9).fract()
}
