//! Many rows of parameters at once and a point of each, d = 1, in loops over the rows: what learning and a block of scores go through. To the
//! bit they do as [`points`](super::points) does for one row.
//!
//! What becomes of a row does not depend on the others, nor on where among them it stands. Some layers alone have such loops
//! ([`Stack::has_rows`]).

use super::{Layer, Radial, Stack, Tail, affine::Affine, points::Pointwise, tail::Wallace};

/// So many rows go through the loops together: all that is known of them stays in the nearest cache.
pub const ROWS: usize = 32;
/// Points further out than this have their squares overflow on the way.
pub const FAR: f64 = 1e80;

/// A number of each row.
pub type Column = [f64; ROWS];
/// What preparing makes of a layer's parameters.
pub(super) type Prepared = [Column; 5];

/// A layer's loops, as its [`Transform`](super::Transform) does the same for one row. Whoever calls them is a
/// [`Loops`](crate::math::vector::Loops), into which they are inlined.
pub(super) trait OverRows {
    /// What the layer of one row does to a point.
    type Way: Pointwise;

    /// That of a row.
    fn of_row(prepared: &Prepared, row: usize) -> Self::Way;

    /// Works out what the others need of the raw parameters.
    fn prepare(raw: &[Column], prepared: &mut Prepared);

    /// Adds log ∂z/∂x at the points on the data's side.
    fn add_log_slopes(prepared: &Prepared, x: &Column, log_det: &mut Column);

    /// With a loss's gradient in z in `grad`, and `by_log_det` that in log ∂z/∂x, at the points `x` on the data's side: leaves that in x in
    /// `grad`, and adds that in the raw parameters.
    fn backward(prepared: &Prepared, x: &Column, by_log_det: f64, grad: &mut Column, grad_raw: &mut [Column]);
}

/// Moves a point of each row to the base; whether it was right to is seen in `is_taken`.
#[inline(always)]
fn to_base<L: OverRows>(prepared: &Prepared, points: &mut Column, is_taken: &mut [bool; ROWS]) {
    for row in 0..ROWS {
        let way = L::of_row(prepared, row);
        is_taken[row] &= way.takes_data(points[row]);
        points[row] = way.to_base(points[row]);
    }
}

/// Multiplies the slopes by ∂z/∂x at the points on the data's side.
#[inline(always)]
fn multiply_slopes<L: OverRows>(prepared: &Prepared, points: &Column, slopes: &mut Column) {
    for row in 0..ROWS {
        slopes[row] *= L::of_row(prepared, row).slope(points[row]);
    }
}

/// Moves a point of each row to the data, and multiplies the slopes by ∂z/∂x there.
#[inline(always)]
fn to_data<L: OverRows>(
    prepared: &Prepared,
    points: &mut Column,
    slopes: &mut Column,
    is_taken: &mut [bool; ROWS],
) {
    for row in 0..ROWS {
        let way = L::of_row(prepared, row);
        is_taken[row] &= way.takes_base(points[row]);
        points[row] = way.to_data(points[row]);
        slopes[row] *= way.slope(points[row]);
    }
}

/// What a stack keeps of its rows.
#[derive(Debug, Clone)]
pub struct Rows {
    raw: Vec<Column>,
    prepared: Vec<Prepared>,
    /// Of each layer, the points on its data's side; there may be two of each row.
    points: [Vec<Column>; 2],
    grad_raw: Vec<Column>,
    is_taken: [bool; ROWS],
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
            is_taken: [true; ROWS],
        }
    }

    /// Takes at most [`ROWS`] rows of parameters; the last one stands in for those that are missing.
    #[inline(always)]
    pub fn take<'a>(&mut self, rows: impl IntoIterator<Item = &'a [f32]>) {
        let mut last: &[f32] = &[];
        let mut rows = rows.into_iter();
        for row in 0..ROWS {
            last = rows.next().unwrap_or(last);
            for (column, &value) in self.raw.iter_mut().zip(last) {
                column[row] = f64::from(value);
            }
        }
        self.is_taken = [true; ROWS];
    }

    /// Of which rows all that was done is right. Where the others' points are, a layer has to look closer.
    #[must_use]
    pub fn is_taken(&self) -> &[bool; ROWS] {
        &self.is_taken
    }

    /// Begins to add up gradients.
    #[inline(always)]
    pub fn clear_grads(&mut self) {
        self.grad_raw.iter_mut().for_each(|column| column.fill(0.0));
    }

    /// The gradients that were added up, a column a raw parameter.
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

    /// Moves a point of each row from the data to the base.
    #[inline(always)]
    pub fn forward_rows(&self, points: &mut Column, rows: &mut Rows) {
        let Rows { prepared, is_taken, .. } = rows;
        for ((layer, _), prepared) in self.layers().zip(prepared).rev() {
            with_loops_of!(layer, L, to_base::<L>(prepared, points, is_taken));
        }
    }

    /// The same; multiplies the slopes by ∂z/∂x.
    #[inline(always)]
    pub fn forward_rows_and_slopes(&self, points: &mut Column, slopes: &mut Column, rows: &mut Rows) {
        let Rows { prepared, is_taken, .. } = rows;
        for ((layer, _), prepared) in self.layers().zip(prepared).rev() {
            with_loops_of!(layer, L, multiply_slopes::<L>(prepared, points, slopes));
            with_loops_of!(layer, L, to_base::<L>(prepared, points, is_taken));
        }
    }

    /// [`Self::forward_rows`], to go back from there; `nth` says which of the two points that a row may have.
    #[inline(always)]
    pub fn forward_rows_and_keep(&self, nth: usize, points: &mut Column, rows: &mut Rows) {
        let Rows { prepared, points: kept, is_taken, .. } = rows;
        for (((layer, _), prepared), x) in self.layers().zip(prepared).zip(&mut kept[nth]).rev() {
            *x = *points;
            with_loops_of!(layer, L, to_base::<L>(prepared, points, is_taken));
        }
    }

    /// Moves a point of each row from the base to the data, and multiplies the slopes by ∂z/∂x.
    #[inline(always)]
    pub fn inverse_rows(&self, points: &mut Column, slopes: &mut Column, rows: &mut Rows) {
        let Rows { prepared, is_taken, .. } = rows;
        for ((layer, _), prepared) in self.layers().zip(prepared) {
            with_loops_of!(layer, L, to_data::<L>(prepared, points, slopes, is_taken));
        }
    }

    /// Adds log ∂z/∂x at the points that were kept.
    #[inline(always)]
    pub fn add_log_slopes(&self, nth: usize, log_det: &mut Column, rows: &Rows) {
        for (((layer, _), prepared), x) in self.layers().zip(&rows.prepared).zip(&rows.points[nth]) {
            with_loops_of!(layer, L, <L as OverRows>::add_log_slopes(prepared, x, log_det));
        }
    }

    /// Adds to the rows' gradients those of Σ `grad` z + `by_log_det` log ∂z/∂x at the points that were kept.
    #[inline(always)]
    pub fn backward_rows(&self, nth: usize, mut grad: Column, by_log_det: f64, rows: &mut Rows) {
        let Rows { prepared, points, grad_raw, .. } = rows;
        for (((layer, raw), prepared), x) in self.layers().zip(prepared).zip(&points[nth]) {
            let grad_raw = &mut grad_raw[raw];
            with_loops_of!(layer, L, <L as OverRows>::backward(prepared, x, by_log_det, &mut grad, grad_raw));
        }
    }
}
