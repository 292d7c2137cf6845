//! What a [`Blend`] of two stacks of flows says of many rows at once: to the bit what it says of each alone.

use super::{
    Blend, Density, Level, Workspace,
    blend::{self, MOST_STEPS, Newton, is_next_to_nothing, parts},
    one_row,
};
use crate::{
    flow::{
        Stack,
        rows::{Column, ROWS, Rows},
    },
    math::vector::{Loops, density, normal_sf},
};

/// Fewer rows than this are faster one by one: a block takes as long however few of its rows are asked for.
const FEWEST: usize = 6;

const ZEROS: Column<ROWS> = [0.0; ROWS];

/// Room for a block of rows.
#[derive(Debug, Clone)]
pub struct Block {
    net: Rows<ROWS>,
    baseline: Rows<ROWS>,
    /// Of each row 1 − v and v, and the baseline's unit in the net's.
    shares: [Column<ROWS>; 2],
    shift: Column<ROWS>,
    ratio: Column<ROWS>,
    /// A column for each number that is asked for, which becomes the probability to exceed it.
    exceed: Vec<Column<ROWS>>,
    /// How far each row has got to the quantile of each level.
    quantiles: Vec<[Newton; ROWS]>,
}

impl Block {
    /// For rows of these two.
    fn new(net: &Stack, baseline: &Stack) -> Self {
        Self {
            net: net.rows(),
            baseline: baseline.rows(),
            shares: [ZEROS; 2],
            shift: ZEROS,
            ratio: ZEROS,
            exceed: Vec::new(),
            quantiles: Vec::new(),
        }
    }

    /// Takes what a blend adds to its parts' parameters, and the numbers to exceed.
    fn take(&mut self, row: usize, shares: [f64; 2], own: &[f32], ys: &[f64]) {
        (self.shares[0][row], self.shares[1][row]) = (shares[0], shares[1]);
        (self.shift[row], self.ratio[row]) = (f64::from(own[1]), f64::from(own[2]));
        for (column, &y) in self.exceed.iter_mut().zip(ys) {
            column[row] = y;
        }
    }
}

impl Blend {
    /// [`Density::exceed_and_quantiles`].
    pub(super) fn of_rows(
        &self,
        rows: &[&[f32]],
        ys: &[f64],
        levels: &[Level],
        [exceed, quantiles]: [&mut [f64]; 2],
        ws: &mut Workspace,
    ) {
        let num_ys = ys.len() / rows.len().max(1);
        for (nth, rows) in rows.chunks(ROWS).enumerate() {
            let [ys_at, levels_at] =
                [num_ys, levels.len()].map(|len| nth * ROWS * len..(nth * ROWS + rows.len()) * len);
            let ys = &ys[ys_at.clone()];
            let out = [&mut exceed[ys_at], &mut quantiles[levels_at]];
            self.of_block(rows, ys, levels, out, ws);
        }
    }

    fn of_block(
        &self,
        rows: &[&[f32]],
        ys: &[f64],
        levels: &[Level],
        [exceed, quantiles]: [&mut [f64]; 2],
        ws: &mut Workspace,
    ) {
        let num_ys = ys.len() / rows.len();
        let block = match self.stacks_over_rows() {
            Some([net, baseline]) if rows.len() >= FEWEST => {
                let mut block = parts(ws).block.take().unwrap_or_else(|| Box::new(Block::new(net, baseline)));
                block.exceed.resize(num_ys, ZEROS);
                block.quantiles.resize(levels.len(), [Newton::Astray; ROWS]);
                for (row, params) in rows.iter().enumerate() {
                    block.take(row, self.shares(params), self.own(params), &ys[row * num_ys..][..num_ys]);
                }
                let num_params = net.num_params();
                Figures { net, baseline, rows, num_params, levels, block: &mut block }.run();
                Some(block)
            }
            _ => None,
        };
        for (row, params) in rows.iter().enumerate() {
            let ys = &ys[row * num_ys..][..num_ys];
            let exceed = &mut exceed[row * num_ys..][..num_ys];
            let quantiles = &mut quantiles[row * levels.len()..][..levels.len()];
            let is_taken = |block: &&Block| block.net.is_taken()[row] && block.baseline.is_taken()[row];
            let of_block = block.as_deref().filter(is_taken).filter(|_| self.is_mostly_net(params));
            let Some(block) = of_block else {
                one_row(self, params, ys, levels, [exceed, quantiles], ws);
                continue;
            };
            exceed.iter_mut().zip(&block.exceed).for_each(|(out, column)| *out = column[row]);
            let mut is_loaded = false;
            for ((out, level), found) in quantiles.iter_mut().zip(levels).zip(&block.quantiles) {
                *out = match found[row] {
                    Newton::Done(quantile) => quantile,
                    _ => {
                        if !std::mem::replace(&mut is_loaded, true) {
                            self.load(params, ws);
                        }
                        self.search(level, ws)
                    }
                };
            }
        }
        if block.is_some() {
            parts(ws).block = block;
        }
    }
}

/// Works out what a block's rows say.
struct Figures<'a> {
    net: &'a Stack,
    baseline: &'a Stack,
    rows: &'a [&'a [f32]],
    /// The net's.
    num_params: usize,
    levels: &'a [Level],
    block: &'a mut Block,
}

impl Loops for Figures<'_> {
    #[inline(always)]
    fn call(self) {
        let Self { net, baseline, rows, num_params, levels, block } = self;
        let Block {
            net: of_net,
            baseline: of_baseline,
            shares: [rest, share],
            shift,
            ratio,
            exceed,
            quantiles,
        } = block;
        of_net.take(rows.iter().map(|params| &params[..num_params]));
        net.prepare_rows(of_net);
        of_baseline.take(rows.iter().map(|params| &params[num_params..]));
        baseline.prepare_rows(of_baseline);
        for column in exceed {
            let mut own = to_baseline(column, shift, ratio);
            let sf = exceeds(baseline, &mut own, of_baseline);
            let net_sf = exceeds(net, column, of_net);
            for row in 0..ROWS {
                column[row] = (rest[row] * net_sf[row] + share[row] * sf[row]).min(1.0);
            }
        }
        for (level, found) in levels.iter().zip(quantiles) {
            let (mut y, mut density) = ([level.z(); ROWS], [level.density_of_z(); ROWS]);
            net.inverse_rows(&mut y, &mut density, of_net);
            let mut own = to_baseline(&y, shift, ratio);
            let mut surplus = exceeds(baseline, &mut own, of_baseline);
            for row in 0..ROWS {
                surplus[row] = share[row] * (surplus[row] - level.sf());
            }
            *found = [Newton::On(f64::NAN); ROWS];
            for nth in 0..MOST_STEPS {
                let mut goes_on = false;
                for row in 0..ROWS {
                    if let Newton::On(_) = found[row] {
                        let is_whole = nth > 0 || is_next_to_nothing(share[row]);
                        let density = (density[row], is_whole);
                        found[row] = Newton::step(level, ratio[row], y[row], surplus[row], density);
                    }
                    if let Newton::On(next) = found[row] {
                        (y[row], goes_on) = (next, true);
                    }
                }
                if !goes_on {
                    break;
                }
                let mut own = to_baseline(&y, shift, ratio);
                let [sf, own_density] = exceed_and_density(baseline, &mut own, of_baseline);
                let mut at = y;
                let [net_sf, net_density] = exceed_and_density(net, &mut at, of_net);
                for row in 0..ROWS {
                    surplus[row] = rest[row] * net_sf[row] + share[row] * sf[row] - level.sf();
                    density[row] =
                        rest[row] * net_density[row] + share[row] * (own_density[row] / ratio[row]);
                }
            }
        }
    }
}

/// P(Y > y) and the density of each row's y, which it moves to the base.
#[inline(always)]
fn exceed_and_density(stack: &Stack, ys: &mut Column<ROWS>, rows: &mut Rows<ROWS>) -> [Column<ROWS>; 2] {
    let (mut sf, mut slopes) = (ZEROS, [1.0; ROWS]);
    stack.forward_rows_and_slopes(ys, &mut slopes, rows);
    for row in 0..ROWS {
        slopes[row] *= density(ys[row]);
        sf[row] = normal_sf(ys[row]);
    }
    [sf, slopes]
}

/// P(Y > y) of each row's y, which it moves to the base.
#[inline(always)]
fn exceeds(stack: &Stack, ys: &mut Column<ROWS>, rows: &mut Rows<ROWS>) -> Column<ROWS> {
    let mut sf = ZEROS;
    let given = *ys;
    stack.forward_rows(ys, rows);
    for row in 0..ROWS {
        let of_number = normal_sf(ys[row]);
        let at_an_end = if given[row] > 0.0 { 0.0 } else { 1.0 };
        sf[row] = if given[row].abs() == f64::INFINITY { at_an_end } else { of_number };
    }
    sf
}

#[inline(always)]
fn to_baseline(ys: &Column<ROWS>, shift: &Column<ROWS>, ratio: &Column<ROWS>) -> Column<ROWS> {
    let mut out = ZEROS;
    for row in 0..ROWS {
        out[row] = blend::to_baseline(ys[row], shift[row], ratio[row]);
    }
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::Arc;

    use super::*;
    use crate::{
        config::FlowKind,
        density::{Learnable, Nfn},
        model::noise::Draws,
    };

    #[test]
    fn usual_rows_are_worked_out_together_and_to_the_bit_as_each_alone() {
        let flows = [FlowKind::Radial, FlowKind::Radial, FlowKind::Tail];
        let (net, baseline) = (Arc::new(Nfn::new(&flows, 1)), Arc::new(Nfn::new(&[FlowKind::Tail], 1)));
        let blend = Blend::new(net.clone(), baseline.clone());
        let rows: Vec<Vec<f32>> = (0..77)
            .map(|seed| {
                let mut draws = Draws::new(seed, 1, 0);
                let mut bent =
                    |params: Vec<f32>| params.into_iter().map(|p| p + 0.4 * draws.normal() as f32).collect();
                let [net, baseline]: [Vec<f32>; 2] = [bent(net.initial(&[])), bent(baseline.initial(&[]))];
                // From a share that changes nearly nothing to one that is searched for.
                let log_share = -24.0 * (seed as f32 + 1.0) / 77.0;
                [net, baseline, vec![log_share, 0.3, 1.4]].concat()
            })
            .collect();
        let slices: Vec<&[f32]> = rows.iter().map(Vec::as_slice).collect();
        let ys: Vec<f64> = (0..2 * rows.len()).map(|nth| 3.0 * Draws::new(9, 1, nth).normal()).collect();
        let levels = [0.01, 0.5, 0.999].map(Level::from_p);
        let [mut exceed, mut quantiles] = [2, 3].map(|n| vec![0.0; n * rows.len()]);
        let mut ws = blend.workspace();
        blend.of_rows(&slices, &ys, &levels, [&mut exceed, &mut quantiles], &mut ws);
        // What is left there is of the last rows.
        let block = parts(&mut ws).block.take().unwrap();
        assert!(block.net.is_taken().iter().chain(block.baseline.is_taken()).all(|is_taken| *is_taken));
        let num_found =
            |found: &[Newton; ROWS]| found.iter().filter(|f| matches!(f, Newton::Done(_))).count();
        assert!(block.quantiles.iter().all(|found| num_found(found) == ROWS), "{:?}", block.quantiles);
        for (nth, row) in slices.iter().enumerate() {
            let [mut one_exceed, mut one_quantiles] = [vec![0.0; 2], vec![0.0; 3]];
            let out = [&mut one_exceed[..], &mut one_quantiles[..]];
            one_row(&blend, row, &ys[2 * nth..][..2], &levels, out, &mut ws);
            assert_eq!(exceed[2 * nth..][..2], one_exceed, "{nth}");
            assert_eq!(quantiles[3 * nth..][..3], one_quantiles, "{nth}");
        }
    }
}
