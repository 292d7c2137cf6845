//! Products of small matrices in single precision. Every sum is taken in the order of its terms, so that a product's bits depend on nothing
//! but its factors.

use super::vector::Loops;

/// Rows and columns of a tile of the product, whose sums stay in registers: eight of eight numbers each, where those are so wide.
const ROWS: usize = 4;
const COLUMNS: usize = 16;

/// A matrix, or a transposed one, over numbers that lie elsewhere.
#[derive(Debug, Clone, Copy)]
pub struct Matrix<'a> {
    values: &'a [f32],
    /// How long a row of `values` is.
    width: usize,
    is_transposed: bool,
}

impl<'a> Matrix<'a> {
    /// The matrix whose rows, of length `width`, stand in `values` one after another.
    #[must_use]
    pub fn new(values: &'a [f32], width: usize) -> Self {
        debug_assert!(values.len().is_multiple_of(width.max(1)), "the last row is whole");
        Self { values, width, is_transposed: false }
    }

    /// Its transpose.
    #[must_use]
    pub fn transposed(self) -> Self {
        Self { is_transposed: !self.is_transposed, ..self }
    }

    /// Its rows `start`, `start + 1`, … to `ROWS` of them, for a tile: where they lie, if they are as many, or else written to `space` with
    /// zeros for those that there are not.
    #[inline(always)]
    fn tile_rows(self, start: usize, space: &'a mut Vec<[f32; ROWS]>) -> Left<'a> {
        let Self { values, width, is_transposed } = self;
        if is_transposed && start + ROWS <= width {
            return Left::Columns(&values[start..], width);
        }
        if !is_transposed && (start + ROWS) * width <= values.len() {
            let mut rows: [&[f32]; ROWS] = [&[]; ROWS];
            for (nth, row) in rows.iter_mut().enumerate() {
                *row = &values[(start + nth) * width..][..width];
            }
            return Left::Rows(rows);
        }
        space.clear();
        self.transposed().pack(start, space);
        Left::Packed(space)
    }

    /// Writes its columns `start`, `start + 1`, … as rows of `N`, with zeros where it has no more of them.
    #[inline(always)]
    fn pack<const N: usize>(self, start: usize, packed: &mut Vec<[f32; N]>) {
        let Self { values, width, is_transposed } = self;
        let height = values.len().checked_div(width).unwrap_or(0);
        let at = packed.len();
        packed.resize(at + if is_transposed { width } else { height }, [0.0; N]);
        let packed = &mut packed[at..];
        // Copies of known lengths are neither calls nor loops.
        if !is_transposed {
            for (packed, row) in packed.iter_mut().zip(values.chunks_exact(width.max(1))) {
                match row[start..].first_chunk() {
                    Some(whole) => *packed = *whole,
                    None => packed[..width - start].copy_from_slice(&row[start..]),
                }
            }
        } else if start + N <= height {
            let mut whole: [&[f32]; N] = [&[]; N];
            for (nth, row) in whole.iter_mut().enumerate() {
                *row = &values[(start + nth) * width..][..width];
            }
            for (at, packed) in packed.iter_mut().enumerate() {
                for (packed, row) in packed.iter_mut().zip(whole) {
                    *packed = row[at];
                }
            }
        } else {
            for (nth, row) in values.chunks_exact(width.max(1)).skip(start).enumerate() {
                for (packed, &value) in packed.iter_mut().zip(row) {
                    packed[nth] = value;
                }
            }
        }
    }
}

/// Computes products, in space that it keeps.
#[derive(Debug, Clone, Default)]
pub struct Multiplier {
    left: Vec<[f32; ROWS]>,
    right: Vec<[f32; COLUMNS]>,
}

impl Multiplier {
    /// product += left · right, with `width` columns.
    pub fn add(&mut self, left: Matrix<'_>, right: Matrix<'_>, product: &mut [f32], width: usize) {
        if !product.is_empty() {
            Add { space: self, left, right, product, width }.run();
        }
    }
}

struct Add<'a> {
    space: &'a mut Multiplier,
    left: Matrix<'a>,
    right: Matrix<'a>,
    product: &'a mut [f32],
    width: usize,
}

impl Loops for Add<'_> {
    #[inline(always)]
    fn call(self) {
        let Self {
            space: Multiplier { left: packed_left, right: packed_right },
            left,
            right,
            product,
            width,
        } = self;
        packed_right.clear();
        for column in (0..width).step_by(COLUMNS) {
            right.pack(column, packed_right);
        }
        let depth = packed_right.len() / width.div_ceil(COLUMNS);
        if depth == 0 {
            return;
        }
        debug_assert_eq!(left.values.len() * width, depth * product.len(), "as many terms on either side");
        for (nth, rows) in product.chunks_mut(ROWS * width).enumerate() {
            let left_rows = left.tile_rows(nth * ROWS, packed_left);
            for (column, right) in (0..width).step_by(COLUMNS).zip(packed_right.chunks_exact(depth)) {
                let mut sums = [[0.0; COLUMNS]; ROWS];
                for (sums, row) in sums.iter_mut().zip(rows.chunks_exact(width)) {
                    let row = &row[column..];
                    match row.first_chunk() {
                        Some(whole) => *sums = *whole,
                        None => sums[..row.len()].copy_from_slice(row),
                    }
                }
                let sums = tile(left_rows, right, sums);
                for (sums, row) in sums.iter().zip(rows.chunks_exact_mut(width)) {
                    let row = &mut row[column..];
                    match row.first_chunk_mut() {
                        Some(whole) => *whole = *sums,
                        None => row.copy_from_slice(&sums[..row.len()]),
                    }
                }
            }
        }
    }
}

/// Some rows of a product's left side.
#[derive(Clone, Copy)]
enum Left<'a> {
    /// They stand in one piece each.
    Rows([&'a [f32]; ROWS]),
    /// They are columns of numbers in rows of this length, and the first ones of these.
    Columns(&'a [f32], usize),
    /// They were written side by side.
    Packed(&'a [[f32; ROWS]]),
}

/// sums + Σ left · right
#[inline(always)]
fn tile(
    left: Left<'_>,
    right: &[[f32; COLUMNS]],
    mut sums: [[f32; COLUMNS]; ROWS],
) -> [[f32; COLUMNS]; ROWS] {
    match left {
        Left::Rows([first, second, third, fourth]) => {
            for ((((right, &a), &b), &c), &d) in right.iter().zip(first).zip(second).zip(third).zip(fourth) {
                add_terms([a, b, c, d], right, &mut sums);
            }
        }
        Left::Columns(values, width) => {
            for (nth, right) in right.iter().enumerate() {
                let left = values[nth * width..].first_chunk().expect("a row has that many");
                add_terms(*left, right, &mut sums);
            }
        }
        Left::Packed(left) => {
            for (left, right) in left.iter().zip(right) {
                add_terms(*left, right, &mut sums);
            }
        }
    }
    sums
}

/// sums += left · right, of one term each
#[inline(always)]
fn add_terms(left: [f32; ROWS], right: &[f32; COLUMNS], sums: &mut [[f32; COLUMNS]; ROWS]) {
    for (sums, a) in sums.iter_mut().zip(left) {
        for (sum, &b) in sums.iter_mut().zip(right) {
            *sum = f32::mul_add(a, b, *sum);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(len: usize, seed: u32) -> Vec<f32> {
        (0..len as u32).map(|i| ((i * 7919 + seed * 104_729) % 1009) as f32 / 504.0 - 1.0).collect()
    }

    #[test]
    fn a_product_is_the_sum_in_order_whatever_the_sizes_and_the_layouts() {
        let mut multiplier = Multiplier::default();
        for (height, depth, width) in
            [(1, 1, 1), (3, 5, 7), (4, 0, 8), (9, 0, 8), (9, 33, 17), (8, 16, 24), (0, 3, 2)]
        {
            let (a, b, start) =
                (values(height * depth, 1), values(depth * width, 2), values(height * width, 3));
            let turned = |values: &[f32], width: usize| -> Vec<f32> {
                (0..width)
                    .flat_map(|column| values.iter().skip(column).step_by(width.max(1)).copied())
                    .collect()
            };
            let (a_turned, b_turned) = (turned(&a, depth), turned(&b, width));
            let mut expected = start.clone();
            for row in 0..height {
                for column in 0..width {
                    for at in 0..depth {
                        let sum = &mut expected[row * width + column];
                        *sum = f32::mul_add(a[row * depth + at], b[at * width + column], *sum);
                    }
                }
            }
            for (left, right) in [
                (Matrix::new(&a, depth), Matrix::new(&b, width)),
                (Matrix::new(&a_turned, height).transposed(), Matrix::new(&b, width)),
                (Matrix::new(&a, depth), Matrix::new(&b_turned, depth).transposed()),
            ] {
                let mut product = start.clone();
                multiplier.add(left, right, &mut product, width);
                assert_eq!(product, expected, "{height} × {depth} × {width}");
            }
        }
    }
}
