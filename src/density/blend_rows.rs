//! What a [`Blend`] of two stacks of flows says of many rows at once: to the bit what it says of each alone.

use super::{
    Asked, Blend, Density, Likelihood, Told, Workspace,
    blend::{self, MOST_STEPS, Newton, is_next_to_nothing, parts},
    is_narrow, nfn, tell_of_loaded,
};
use crate::{
    flow::{
        Stack,
        rows::{Column, ROWS, Rows},
    },
    math::vector::{Loops, density, ln, normal_sf},
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
    /// The target of each row, and how far from there it may be.
    target: Column<ROWS>,
    half: Column<ROWS>,
    worth: Worth,
}

/// What the targets of a block's rows are worth.
#[derive(Debug, Clone)]
struct Worth {
    /// By the mixture.
    log: Column<ROWS>,
    below: Column<ROWS>,
    /// By its parts.
    log_parts: [Column<ROWS>; 2],
    /// Where all of that is right.
    is_taken: [bool; ROWS],
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
            target: ZEROS,
            half: ZEROS,
            worth: Worth { log: ZEROS, below: ZEROS, log_parts: [ZEROS; 2], is_taken: [false; ROWS] },
        }
    }

    /// Takes what a row is asked, and what a blend adds to its parts' parameters.
    fn take(&mut self, row: usize, asked: &Asked<'_>, shares: [f64; 2], [shift, ratio]: [f64; 2]) {
        (self.shares[0][row], self.shares[1][row]) = (shares[0], shares[1]);
        (self.shift[row], self.ratio[row]) = (shift, ratio);
        for (column, &y) in self.exceed.iter_mut().zip(asked.ys) {
            column[row] = y;
        }
        // Where there is none, any will do.
        let target = asked.targets.first().copied().filter(|y| !y.is_nan());
        self.target[row] = target.unwrap_or(0.0);
        self.half[row] = asked.halves.and_then(|halves| halves.first()).copied().unwrap_or(1.0);
    }
}

impl Blend {
    /// [`Density::tell`].
    pub(super) fn tell_of_rows(&self, asked: &Asked<'_>, mut told: Told<'_>, ws: &mut Workspace) {
        let num_rows = asked.rows.len();
        for begin in (0..num_rows).step_by(ROWS) {
            let rows = begin..(begin + ROWS).min(num_rows);
            self.tell_of_block(&asked.part(rows.clone()), told.part(rows, asked), ws);
        }
    }

    fn tell_of_block(&self, asked: &Asked<'_>, mut told: Told<'_>, ws: &mut Workspace) {
        let block = match self.stacks_over_rows() {
            Some([net, baseline]) if asked.rows.len() >= FEWEST => {
                let mut block = parts(ws).block.take().unwrap_or_else(|| Box::new(Block::new(net, baseline)));
                block.exceed.resize(asked.num_ys(), ZEROS);
                block.quantiles.resize(asked.levels.len(), [Newton::Astray; ROWS]);
                let (mut last, mut shares) = (f64::NAN, [f64::NAN; 2]);
                for (row, params) in asked.rows.iter().enumerate() {
                    let [log_share, shift, ratio] = Self::own(params).map(f64::from);
                    // While no target comes it stays as it is.
                    if log_share != last {
                        (last, shares) = (log_share, Self::shares(log_share));
                    }
                    block.take(row, &asked.part(row..row + 1), shares, [shift, ratio]);
                }
                Figures { net, baseline, asked, block: &mut block }.run();
                Some(block)
            }
            _ => None,
        };
        for (row, params) in asked.rows.iter().enumerate() {
            let (asked, told) = (asked.part(row..row + 1), told.part(row..row + 1, asked));
            let is_taken = |block: &&Block| block.net.is_taken()[row] && block.baseline.is_taken()[row];
            let of_block = block.as_deref().filter(is_taken).filter(|_| self.is_mostly_net(params));
            let Some(block) = of_block else {
                self.load(params, ws);
                tell_of_loaded(self, &asked, told, ws);
                continue;
            };
            told.exceed.iter_mut().zip(&block.exceed).for_each(|(out, column)| *out = column[row]);
            let mut is_loaded = false;
            let mut load = |ws: &mut Workspace| {
                if !std::mem::replace(&mut is_loaded, true) {
                    self.load(params, ws);
                }
            };
            for ((out, level), found) in told.quantiles.iter_mut().zip(asked.levels).zip(&block.quantiles) {
                *out = match found[row] {
                    Newton::Done(quantile) => quantile,
                    _ => {
                        load(ws);
                        self.search(level, ws)
                    }
                };
            }
            let (Some(likelihood), Some(&target)) = (told.likelihoods.first_mut(), asked.targets.first())
            else {
                continue;
            };
            let worth = &block.worth;
            *likelihood = if target.is_nan() {
                Likelihood::NONE
            } else if worth.is_taken[row] {
                let log_parts = Some(worth.log_parts.map(|column| column[row]));
                Likelihood { log: worth.log[row], below: worth.below[row], log_parts }
            } else {
                load(ws);
                self.likelihood(target, asked.halves.map(|halves| halves[0]), ws)
            };
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
    asked: &'a Asked<'a>,
    block: &'a mut Block,
}

impl Loops for Figures<'_> {
    #[inline(always)]
    fn call(self) {
        let Self { net, baseline, asked: Asked { rows, levels, targets, halves, .. }, block } = self;
        let Block {
            net: of_net,
            baseline: of_baseline,
            shares: [rest, share],
            shift,
            ratio,
            exceed,
            quantiles,
            target,
            half,
            worth,
        } = block;
        let num_params = net.num_params();
        of_net.take(rows.iter().map(|params| &params[..num_params]));
        net.prepare_rows(of_net);
        of_baseline.take(rows.iter().map(|params| &params[num_params..]));
        baseline.prepare_rows(of_baseline);
        for column in exceed {
            let mut own = to_baseline(column, shift, ratio);
            let sf = exceeds(baseline, &mut own, of_baseline);
            let net_sf = exceeds(net, column, of_net);
            for row in 0..ROWS {
                column[row] = blend::of_both([rest[row], share[row]], net_sf[row], sf[row]);
            }
        }
        if !targets.is_empty() {
            let (mut own, mut own_half) = (to_baseline(target, shift, ratio), *half);
            for row in 0..ROWS {
                own_half[row] /= ratio[row];
            }
            worth.is_taken = [true; ROWS];
            let is_taken = &mut worth.is_taken;
            let is_rounded = halves.is_some();
            let [net_log, net_below] = likelihoods(net, target, is_rounded.then_some(half), of_net, is_taken);
            let own_half = is_rounded.then_some(&own_half);
            let [mut log, below] = likelihoods(baseline, &mut own, own_half, of_baseline, is_taken);
            for row in 0..ROWS {
                if !is_rounded {
                    log[row] -= ln(ratio[row]);
                }
                let shares = [rest[row], share[row]];
                worth.log[row] = blend::log_of_both(shares, net_log[row], log[row], is_rounded);
                worth.below[row] = blend::of_both(shares, net_below[row], below[row]);
            }
            worth.log_parts = [net_log, log];
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

/// What each row's target, which it moves, is worth: its log, and P(Y ≤ y) at it or at its interval's lower end; and whether that is so.
#[inline(always)]
fn likelihoods(
    stack: &Stack,
    target: &mut Column<ROWS>,
    half: Option<&Column<ROWS>>,
    rows: &mut Rows<ROWS>,
    is_taken: &mut [bool; ROWS],
) -> [Column<ROWS>; 2] {
    let (mut log, mut below) = (ZEROS, ZEROS);
    let Some(half) = half else {
        let mut slopes = [1.0; ROWS];
        stack.forward_rows_and_slopes(target, &mut slopes, rows);
        for row in 0..ROWS {
            is_taken[row] &= nfn::is_usual_point(slopes[row]);
            [log[row], below[row]] = nfn::of_point(target[row], slopes[row]);
        }
        return [log, below];
    };
    let mut high = *target;
    for row in 0..ROWS {
        is_taken[row] &= !is_narrow(target[row], half[row]);
        high[row] += half[row];
        target[row] -= half[row];
    }
    stack.forward_rows(target, rows);
    stack.forward_rows(&mut high, rows);
    for row in 0..ROWS {
        is_taken[row] &= nfn::is_usual_interval(target[row], high[row]);
        [log[row], below[row]] = nfn::of_interval(target[row], high[row]);
    }
    [log, below]
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
        density::{Learnable, Level, Nfn, tests::Room},
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
        let targets: Vec<f64> = (0..rows.len()).map(|nth| 2.0 * Draws::new(8, 1, nth).normal()).collect();
        let halves: Vec<f64> = (0..rows.len()).map(|nth| Draws::new(7, 1, nth).uniform()).collect();
        for halves in [None, Some(&halves[..])] {
            let mut ws = blend.workspace();
            let asked = Asked { rows: &slices, ys: &ys, levels: &levels, targets: &targets, halves };
            let told = Room::of(&asked, |told, asked| blend.tell(asked, told, &mut ws));
            // What is left there is of the last rows.
            let block = parts(&mut ws).block.take().unwrap();
            assert!(block.net.is_taken().iter().chain(block.baseline.is_taken()).all(|is_taken| *is_taken));
            assert!(block.worth.is_taken.iter().all(|is_taken| *is_taken));
            let num_found =
                |found: &[Newton; ROWS]| found.iter().filter(|f| matches!(f, Newton::Done(_))).count();
            assert!(block.quantiles.iter().all(|found| num_found(found) == ROWS), "{:?}", block.quantiles);
            for nth in 0..rows.len() {
                let one = Room::of(&asked.part(nth..nth + 1), |told, asked| blend.tell(asked, told, &mut ws));
                assert_eq!(told.bits(nth), one.bits(0), "{nth}");
            }
        }
    }
}
