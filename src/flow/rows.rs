//! Many rows of parameters at once and a point of each, d = 1, in loops over the rows: what learning and a block of scores go through. Points
//! are moved to the bit as `flow::points` moves those of one row.
//!
//! What becomes of a row does not depend on the others, nor on where among them it stands. Some layers alone have such loops
//! ([`Stack::has_rows`]).

use super::{Layer, Radial, Stack, Tail, affine::Affine, points::Pointwise, tail::Wallace};

/// So many rows go through the loops together, where there are many: all that is known of them stays in the nearest cache.
pub const ROWS: usize = 32;
/// Points further out than this have their squares overflow on the way.
pub const FAR: f64 = 1e80;

/// A number of each of N rows.
pub type Column<const N: usize> = [f64; N];
/// What preparing makes of a layer's parameters.
pub(super) type Prepared<const N: usize> = [Column<N>; 5];

/// A layer's loops, as its [`Transform`](super::Transform) does the same for one row. Whoever calls them is a
/// [`Loops`](crate::math::vector::Loops), into which they are inlined.
pub(super) trait OverRows<const N: usize> {
    /// What the layer of one row does to a point.
    type Way: Pointwise;

    /// That of a row.
    fn of_row(prepared: &Prepared<N>, row: usize) -> Self::Way;

    /// Works out what the others need of the raw parameters.
    fn prepare(raw: &[Column<N>], prepared: &mut Prepared<N>);

    /// Adds log ∂z/∂x at the points on the data's side.
    fn add_log_slopes(prepared: &Prepared<N>, x: &Column<N>, log_det: &mut Column<N>);

    /// With a loss's gradient in z in `grad`, and `by_log_det` that in log ∂z/∂x, at the points `x` on the data's side: leaves that in x in
    /// `grad`, and adds that in the raw parameters.
    fn backward(
        prepared: &Prepared<N>,
        x: &Column<N>,
        by_log_det: f64,
        grad: &mut Column<N>,
        grad_raw: &mut [Column<N>],
    );
}

/// Moves a point of each row to the base; whether it was right to is seen in `is_taken`.
#[inline(always)]
fn to_base<const N: usize, L: OverRows<N>>(
    prepared: &Prepared<N>,
    points: &mut Column<N>,
    is_taken: &mut [bool; N],
) {
    for row in 0..N {
        let way = L::of_row(prepared, row);
        is_taken[row] &= way.takes_data(points[row]);
        points[row] = way.to_base(points[row]);
    }
}

/// Multiplies the slopes by ∂z/∂x at the points on the data's side.
#[inline(always)]
fn multiply_slopes<const N: usize, L: OverRows<N>>(
    prepared: &Prepared<N>,
    points: &Column<N>,
    slopes: &mut Column<N>,
) {
    for row in 0..N {
        slopes[row] *= L::of_row(prepared, row).slope(points[row]);
    }
}

/// Moves a point of each row to the data, and multiplies the slopes by ∂z/∂x there.
#[inline(always)]
fn to_data<const N: usize, L: OverRows<N>>(
    prepared: &Prepared<N>,
    points: &mut Column<N>,
    slopes: &mut Column<N>,
    is_taken: &mut [bool; N],
) {
    for row in 0..N {
        let way = L::of_row(prepared, row);
        is_taken[row] &= way.takes_base(points[row]);
        points[row] = way.to_data(points[row]);
        slopes[row] *= way.slope(points[row]);
    }
}

/// What a stack keeps of its rows.
#[derive(Debug, Clone)]
pub struct Rows<const N: usize> {
    raw: Vec<Column<N>>,
    prepared: Vec<Prepared<N>>,
    /// Of each layer, the points on its data's side; there may be two of each row.
    points: [Vec<Column<N>>; 2],
    grad_raw: Vec<Column<N>>,
    is_taken: [bool; N],
}

impl<const N: usize> Rows<N> {
    /// For rows of so many parameters and layers.
    fn new(num_params: usize, num_layers: usize) -> Self {
        let zeros: Column<N> = [0.0; N];
        Self {
            raw: vec![zeros; num_params],
            prepared: vec![[zeros; 5]; num_layers],
            points: [vec![zeros; num_layers], vec![zeros; num_layers]],
            grad_raw: vec![zeros; num_params],
            is_taken: [true; N],
        }
    }

    /// Takes at most N rows of parameters; the last one stands in for those that are missing.
    #[inline(always)]
    pub fn take<'a>(&mut self, rows: impl IntoIterator<Item = &'a [f32]>) {
        let mut last: &[f32] = &[];
        let mut rows = rows.into_iter();
        for row in 0..N {
            last = rows.next().unwrap_or(last);
            for (column, &value) in self.raw.iter_mut().zip(last) {
                column[row] = f64::from(value);
            }
        }
        self.is_taken = [true; N];
    }

    /// Of which rows all that was done is right. Where the others' points are, a layer has to look closer.
    #[must_use]
    pub fn is_taken(&self) -> &[bool; N] {
        &self.is_taken
    }

    /// Begins to add up gradients.
    #[inline(always)]
    pub fn clear_grads(&mut self) {
        self.grad_raw.iter_mut().for_each(|column| column.fill(0.0));
    }

    /// The gradients that were added up, a column a raw parameter.
    pub fn grad_raw(&self) -> &[Column<N>] {
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

    /// Room for rows; it, and all that follows, is for stacks that [have loops over rows](Self::has_rows).
    #[must_use]
    pub fn rows<const N: usize>(&self) -> Rows<N> {
        Rows::new(self.num_params(), self.layers().count())
    }

    /// Prepares the rows that were taken.
    #[inline(always)]
    pub fn prepare_rows<const N: usize>(&self, rows: &mut Rows<N>) {
        for ((layer, raw), prepared) in self.layers().zip(&mut rows.prepared) {
            with_loops_of!(layer, L, <L as OverRows<N>>::prepare(&rows.raw[raw], prepared));
        }
    }

    /// Moves a point of each row from the data to the base.
    #[inline(always)]
    pub fn forward_rows<const N: usize>(&self, points: &mut Column<N>, rows: &mut Rows<N>) {
        let Rows { prepared, is_taken, .. } = rows;
        for ((layer, _), prepared) in self.layers().zip(prepared).rev() {
            with_loops_of!(layer, L, to_base::<N, L>(prepared, points, is_taken));
        }
    }

    /// The same; multiplies the slopes by ∂z/∂x.
    #[inline(always)]
    pub fn forward_rows_and_slopes<const N: usize>(
        &self,
        points: &mut Column<N>,
        slopes: &mut Column<N>,
        rows: &mut Rows<N>,
    ) {
        let Rows { prepared, is_taken, .. } = rows;
        for ((layer, _), prepared) in self.layers().zip(prepared).rev() {
            with_loops_of!(layer, L, multiply_slopes::<N, L>(prepared, points, slopes));
            with_loops_of!(layer, L, to_base::<N, L>(prepared, points, is_taken));
        }
    }

    /// [`Self::forward_rows`], to go back from there; `nth` says which of the two points that a row may have.
    #[inline(always)]
    pub fn forward_rows_and_keep<const N: usize>(
        &self,
        nth: usize,
        points: &mut Column<N>,
        rows: &mut Rows<N>,
    ) {
        let Rows { prepared, points: kept, is_taken, .. } = rows;
        for (((layer, _), prepared), x) in self.layers().zip(prepared).zip(&mut kept[nth]).rev() {
            *x = *points;
            with_loops_of!(layer, L, to_base::<N, L>(prepared, points, is_taken));
        }
    }

    /// Moves a point of each row from the base to the data, and multiplies the slopes by ∂z/∂x.
    #[inline(always)]
    pub fn inverse_rows<const N: usize>(
        &self,
        points: &mut Column<N>,
        slopes: &mut Column<N>,
        rows: &mut Rows<N>,
    ) {
        let Rows { prepared, is_taken, .. } = rows;
        for ((layer, _), prepared) in self.layers().zip(prepared) {
            with_loops_of!(layer, L, to_data::<N, L>(prepared, points, slopes, is_taken));
        }
    }

    /// Adds log ∂z/∂x at the points that were kept.
    #[inline(always)]
    pub fn add_log_slopes<const N: usize>(&self, nth: usize, log_det: &mut Column<N>, rows: &Rows<N>) {
        for (((layer, _), prepared), x) in self.layers().zip(&rows.prepared).zip(&rows.points[nth]) {
            with_loops_of!(layer, L, <L as OverRows<N>>::add_log_slopes(prepared, x, log_det));
        }
    }

    /// Adds to the rows' gradients those of Σ `grad` z + `by_log_det` log ∂z/∂x at the points that were kept.
    #[inline(always)]
    pub fn backward_rows<const N: usize>(
        &self,
        nth: usize,
        mut grad: Column<N>,
        by_log_det: f64,
        rows: &mut Rows<N>,
    ) {
        let Rows { prepared, points, grad_raw, .. } = rows;
        for (((layer, raw), prepared), x) in self.layers().zip(prepared).zip(&points[nth]) {
            let grad_raw = &mut grad_raw[raw];
            with_loops_of!(
                layer,
                L,
                <L as OverRows<N>>::backward(prepared, x, by_log_det, &mut grad, grad_raw)
            );
        }
    }
}
