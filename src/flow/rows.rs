//! Many rows of parameters at once and a point of each, d = 1, in loops over the rows: what learning goes through.
//!
//! What becomes of a row does not depend on the others, nor on where among them it stands. Some layers alone have such loops
//! ([`Stack::has_rows`]).

use super::{Layer, Radial, Stack, Tail, affine::Affine, tail::Wallace};

/// So many rows go through the loops together: all that is known of them stays in the nearest cache.
pub const ROWS: usize = 32;
/// Points further out than this have their squares overflow on the way.
pub const FAR: f64 = 1e80;

/// A number of each row.
pub type Column = [f64; ROWS];
/// What [`OverRows::prepare`] makes of a layer's parameters.
pub type Prepared = [Column; 5];

/// A layer's loops, as its [`Transform`](super::Transform) does the same for one row. Whoever calls them is a
/// [`Loops`](crate::math::vector::Loops), into which they are inlined.
pub trait OverRows {
    /// Works out what the others need of the raw parameters.
    fn prepare(raw: &[Column], prepared: &mut Prepared);

    /// Moves the points to the base.
    fn forward(prepared: &Prepared, points: &mut Column);

    /// Adds log ∂z/∂x at the points on the data's side.
    fn add_log_slopes(prepared: &Prepared, x: &Column, log_det: &mut Column);

    /// With a loss's gradient in z in `grad`, and `by_log_det` that in log ∂z/∂x, at the points `x` on the data's side: leaves that in x in
    /// `grad`, and adds that in the raw parameters.
    fn backward(prepared: &Prepared, x: &Column, by_log_det: f64, grad: &mut Column, grad_raw: &mut [Column]);
}

/// What a stack keeps of its rows.
#[derive(Debug, Clone)]
pub struct Rows {
    raw: Vec<Column>,
    prepared: Vec<Prepared>,
    /// Of each layer, the points on its data's side; there may be two of each row.
    points: [Vec<Column>; 2],
    grad_raw: Vec<Column>,
}

impl Rows {
    /// For rows of so many parameters and layers.
    fn new(num_params: usize, num_layers: usize) -> Self {
        const ZEROS: Column = [0.0; ROWS];
        Self {
            raw: vec![ZEROS; num_params],
            prepared: vec![[ZEROS; 5]; num_layers],
            points: [vec![ZEROS; num_layers], vec![ZEROS; num_layers]],
            grad_raw: vec![ZEROS; num_params],
        }
    }

    /// Takes at most [`ROWS`] rows of parameters, one after another; the last one stands in for those that are missing.
    #[inline(always)]
    pub fn take(&mut self, params: &[f32]) {
        let num_params = self.raw.len();
        let last = params.len() / num_params - 1;
        for (nth, column) in self.raw.iter_mut().enumerate() {
            for (row, value) in column.iter_mut().enumerate() {
                *value = f64::from(params[row.min(last) * num_params + nth]);
            }
        }
        self.grad_raw.iter_mut().for_each(|column| column.fill(0.0));
    }

    /// The gradients that were added up since the rows were taken, a column a raw parameter.
    pub fn grad_raw(&self) -> &[Column] {
        &self.grad_raw
    }
}

/// Does `$do` with the loops of a layer.
macro_rules! with_loops_of {
    ($layer:expr, $loops:ident, $do:expr) => {
        match $layer {
            Layer::Radial(_) => {
                type $loops = Radial;
                $do
            }
            Layer::Affine(_) => {
                type $loops = Affine;
                $do
            }
            Layer::Wallace(_) => {
                type $loops = Tail<Wallace>;
                $do
            }
            _ => unreachable!("a stack with other layers has no loops over rows"),
        }
    };
}

impl Stack {
    /// Whether all of its layers have loops over rows.
    #[must_use]
    pub fn has_rows(&self) -> bool {
        let has = |layer: &Layer| matches!(layer, Layer::Radial(_) | Layer::Affine(_) | Layer::Wallace(_));
        self.dim() == 1 && self.layers().all(|(layer, _)| has(layer))
    }

    /// Room for rows.
    #[must_use]
    pub fn rows(&self) -> Rows {
        Rows::new(self.num_params(), self.layers().count())
    }

    /// Prepares the rows that were taken.
    #[inline(always)]
    pub fn prepare_rows(&self, rows: &mut Rows) {
        for ((layer, raw), prepared) in self.layers().zip(&mut rows.prepared) {
            with_loops_of!(layer, L, <L as OverRows>::prepare(&rows.raw[raw], prepared));
        }
    }

    /// Moves a point of each row from the data to the base; `nth` says which of the two that there may be.
    #[inline(always)]
    pub fn forward_rows(&self, nth: usize, points: &mut Column, rows: &mut Rows) {
        let Rows { prepared, points: kept, .. } = rows;
        for (((layer, _), prepared), x) in self.layers().zip(prepared).zip(&mut kept[nth]).rev() {
            *x = *points;
            with_loops_of!(layer, L, <L as OverRows>::forward(prepared, points));
        }
    }

    /// Adds log ∂z/∂x at the points that were moved.
    #[inline(always)]
    pub fn add_log_slopes(&self, nth: usize, log_det: &mut Column, rows: &Rows) {
        for (((layer, _), prepared), x) in self.layers().zip(&rows.prepared).zip(&rows.points[nth]) {
            with_loops_of!(layer, L, <L as OverRows>::add_log_slopes(prepared, x, log_det));
        }
    }

    /// Adds to the rows' gradients those of Σ `grad` z + `by_log_det` log ∂z/∂x at the points that were moved.
    #[inline(always)]
    pub fn backward_rows(&self, nth: usize, mut grad: Column, by_log_det: f64, rows: &mut Rows) {
        let Rows { prepared, points, grad_raw, .. } = rows;
        for (((layer, raw), prepared), x) in self.layers().zip(prepared).zip(&points[nth]) {
            let grad_raw = &mut grad_raw[raw];
            with_loops_of!(layer, L, <L as OverRows>::backward(prepared, x, by_log_det, &mut grad, grad_raw));
        }
    }
}
