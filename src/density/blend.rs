//! A net's density, mixed with one that does without features.

use std::{f64::consts::LN_2, slice, sync::Arc};

use super::{
    Asked, Density, Level, Likelihood, Shortfall, Side, Told, Workspace, blend_rows::Block,
    limited::between_and_median,
};
use crate::{
    flow::Stack,
    math::{scalar::log_sum_exp, vector},
    model::normaliser::FURTHEST,
};

/// How many parameters the mixture adds to those of its parts.
pub const NUM_OWN_PARAMS: usize = 3;

/// While the baseline's share is below this, a shortfall takes the part of its tail beyond a quantile in its upper half for a generalised
/// Pareto distribution's, which is right to some 10 % of that part. At a level of 0.999 the part is a ten thousandth of the whole where both
/// agree on how likely that is, and a twentieth where the quantile is the baseline's median.
const SMALL_SHARE: f64 = 1e-4;
/// What is so small a share of a probability moves its quantile by a first order.
const NEXT_TO_NOTHING: f64 = 1e-6;
/// From what is so small a share of it Newton's method finds the quantile, …
const NOT_MUCH: f64 = 0.1;
/// … if it goes no further than this at once, in the baseline's unit and beside the place itself, …
const LONG: f64 = 0.1;
/// … in so many steps.
pub(super) const MOST_STEPS: usize = 4;
/// Below it a level is too small to be found from probabilities above it.
const RARE: f64 = 1e-4;
/// Within this the logarithms of two tail probabilities are nearly one.
const NEAR: f64 = 1e-3;
/// So short a step, in the baseline's unit and beside the place itself, is hardly one, however the net's density changes there.
const SHORT: f64 = 1e-5;

/// (1 − v) p(y) + v b((y − m) / r) / r for the densities p of a net and b of a baseline, d = 1: one distribution, of which all figures
/// are.
///
/// Parameters: the net's, the baseline's, log v, m and r. With log v = 0 there is no net, and what stands for it says nothing.
pub struct Blend {
    net: Arc<dyn Density>,
    baseline: Arc<dyn Density>,
}

/// What a [`Blend`] keeps of the row that it loaded.
#[derive(Debug, Clone)]
pub struct Parts {
    net: Workspace,
    baseline: Workspace,
    /// 1 − v and v, and their logarithms.
    shares: [f64; 2],
    log_shares: [f64; 2],
    /// The baseline's unit in the net's.
    shift: f64,
    ratio: f64,
    /// Of many points at once: what they are to the baseline, what it says of them, and the net's densities there.
    many: [Vec<f64>; 3],
    /// Of many rows at once, once that was asked for.
    pub(super) block: Option<Box<Block>>,
}

impl Parts {
    fn has_net(&self) -> bool {
        self.log_shares[0] > f64::NEG_INFINITY
    }

    fn to_baseline(&self, y: f64) -> f64 {
        to_baseline(y, self.shift, self.ratio)
    }

    fn of_baseline(&self, y: f64) -> f64 {
        self.shift + self.ratio * y
    }

    /// Works out P(Y > y) of each y by the baseline.
    fn exceed_baseline(&mut self, baseline: &dyn Density, ys: &[f64]) {
        let [mut own, mut of_baseline] = [0, 1].map(|nth: usize| std::mem::take(&mut self.many[nth]));
        own.clear();
        own.extend(ys.iter().map(|&y| self.to_baseline(y)));
        of_baseline.resize(ys.len(), 0.0);
        baseline.exceed(&own, &mut of_baseline, &mut self.baseline);
        (self.many[0], self.many[1]) = (own, of_baseline);
    }

    /// Whether the baseline has the larger share.
    fn is_mostly_baseline(&self) -> bool {
        self.log_shares[1] > self.log_shares[0]
    }
}

/// What `y` is in the baseline's unit; to be inlined into loops over rows, too.
#[inline(always)]
pub(super) fn to_baseline(y: f64, shift: f64, ratio: f64) -> f64 {
    let own = (y - shift) / ratio;
    // The ends of the line stay where they are.
    if y.is_finite() { own.clamp(-FURTHEST, FURTHEST) } else { own }
}

/// The mixture's probability of what the net and the baseline give these; to be inlined into loops over rows, too.
#[inline(always)]
pub(super) fn of_both([of_net, share]: [f64; 2], net: f64, baseline: f64) -> f64 {
    (of_net * net + share * baseline).min(1.0)
}

/// Its log density, or the logarithm of its probability, from theirs; to be inlined into loops over rows, too.
#[inline(always)]
pub(super) fn log_of_both([of_net, share]: [f64; 2], net: f64, baseline: f64, is_probability: bool) -> f64 {
    let larger = if net > baseline { net } else { baseline };
    let sum = of_net * vector::exp(net - larger) + share * vector::exp(baseline - larger);
    let log = larger + vector::ln(sum);
    let log = if is_probability && log > 0.0 { 0.0 } else { log };
    // Neither holds it possible, or only one that has no share.
    if larger == f64::NEG_INFINITY || sum == 0.0 { f64::NEG_INFINITY } else { log }
}

/// Where Newton's method goes from a place on the way to a quantile.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Newton {
    /// To the quantile: what this step leaves over is the square of next to nothing.
    Done(f64),
    /// Nearer to it.
    On(f64),
    /// Nobody knows.
    Astray,
}

impl Newton {
    /// From `y`, above which lies so much more than the level's probability, where the density is this, if `is_whole` that of the mixture; the
    /// baseline's unit is that.
    pub fn step(level: &Level, unit: f64, y: f64, surplus: f64, (density, is_whole): (f64, bool)) -> Self {
        let smaller = level.sf().min(level.p());
        let step = surplus / density;
        // In a gap of the net's density the baseline may matter all the same.
        let is_within = |share: f64| step.abs() < share * unit.min(y.abs());
        // What rounding leaves of the rarest below would be too little.
        if level.p() < RARE {
            Self::Astray
        } else if is_whole && surplus.abs() <= NEXT_TO_NOTHING * smaller && is_within(SHORT) {
            Self::Done(y + step)
        } else if surplus.abs() <= NOT_MUCH * smaller && is_within(LONG) {
            Self::On(y + step)
        } else {
            Self::Astray
        }
    }
}

/// Whether a baseline of this share changes next to nothing of the net's density.
pub(super) fn is_next_to_nothing(share: f64) -> bool {
    share <= NEXT_TO_NOTHING
}

pub(super) fn parts(ws: &mut Workspace) -> &mut Parts {
    let Workspace::Blend(parts) = ws else { unreachable!("a mixture of two made the workspace") };
    parts
}

impl Blend {
    /// Of these two, both for d = 1.
    #[must_use]
    pub fn new(net: Arc<dyn Density>, baseline: Arc<dyn Density>) -> Self {
        Self { net, baseline }
    }

    /// log v of a row.
    fn log_share(params: &[f32]) -> f64 {
        f64::from(Self::own(params)[0])
    }

    /// 1 − v and v, from log v.
    pub(super) fn shares(log_share: f64) -> [f64; 2] {
        [-log_share.exp_m1(), log_share.exp()]
    }

    /// The net's and the baseline's flows, where both have loops over many rows.
    pub(super) fn stacks_over_rows(&self) -> Option<[&Stack; 2]> {
        Some([self.net.over_rows()?, self.baseline.over_rows()?])
    }

    /// What it adds to the parameters of its parts.
    pub(super) fn own(params: &[f32]) -> &[f32; NUM_OWN_PARAMS] {
        params.last_chunk().expect("a row ends with them")
    }

    /// Whether a row is of more than the baseline.
    #[must_use]
    pub fn has_net(&self, params: &[f32]) -> bool {
        Self::log_share(params) < 0.0
    }

    /// Whether the net has the larger share in a row.
    #[must_use]
    pub fn is_mostly_net(&self, params: &[f32]) -> bool {
        Self::log_share(params) < -LN_2
    }

    /// The logarithm of the sum of what the net and the baseline give, each by its share. The net is asked only where it has one.
    fn sum(
        &self,
        parts: &mut Parts,
        of_net: impl FnOnce(&dyn Density, &mut Workspace) -> f64,
        of_baseline: impl FnOnce(&dyn Density, &mut Workspace) -> f64,
    ) -> f64 {
        let baseline = of_baseline(self.baseline.as_ref(), &mut parts.baseline);
        if !parts.has_net() {
            return baseline;
        }
        let net = of_net(self.net.as_ref(), &mut parts.net);
        log_sum_exp(&[parts.log_shares[0] + net, parts.log_shares[1] + baseline])
    }
}

impl Density for Blend {
    fn dim(&self) -> usize {
        1
    }

    fn num_params(&self) -> usize {
        self.net.num_params() + self.baseline.num_params() + NUM_OWN_PARAMS
    }

    fn workspace(&self) -> Workspace {
        Workspace::Blend(Box::new(Parts {
            net: self.net.workspace(),
            baseline: self.baseline.workspace(),
            shares: [0.0, 1.0],
            log_shares: [f64::NEG_INFINITY, 0.0],
            shift: 0.0,
            ratio: 1.0,
            many: Default::default(),
            block: None,
        }))
    }

    fn load(&self, params: &[f32], ws: &mut Workspace) {
        let parts = parts(ws);
        let (net, rest) = params.split_at(self.net.num_params());
        let (baseline, _) = rest.split_at(self.baseline.num_params());
        self.baseline.load(baseline, &mut parts.baseline);
        let [log_share, shift, ratio] = Self::own(params).map(f64::from);
        parts.shares = Self::shares(log_share);
        parts.log_shares = [parts.shares[0].ln(), log_share];
        (parts.shift, parts.ratio) = (shift, ratio);
        if parts.has_net() {
            self.net.load(net, &mut parts.net);
        }
    }

    fn is_possible(&self, y: &[f64]) -> bool {
        self.net.is_possible(y)
    }

    fn likelihood(&self, y: f64, half: Option<f64>, ws: &mut Workspace) -> Likelihood {
        let parts = parts(ws);
        let own = parts.to_baseline(y);
        let mut baseline =
            self.baseline.likelihood(own, half.map(|half| half / parts.ratio), &mut parts.baseline);
        if half.is_none() {
            baseline.log -= vector::ln(parts.ratio);
        }
        if !parts.has_net() {
            return baseline;
        }
        let net = self.net.likelihood(y, half, &mut parts.net);
        Likelihood {
            log: log_of_both(parts.shares, net.log, baseline.log, half.is_some()),
            below: of_both(parts.shares, net.below, baseline.below),
            log_parts: Some([net.log, baseline.log]),
        }
    }

    fn log_density(&self, y: &[f64], ws: &mut Workspace) -> f64 {
        let parts = parts(ws);
        let (own, log_ratio) = (parts.to_baseline(y[0]), parts.ratio.ln());
        self.sum(
            parts,
            |net, ws| net.log_density(y, ws),
            |baseline, ws| baseline.log_density(&[own], ws) - log_ratio,
        )
    }

    fn log_cdf(&self, y: f64, ws: &mut Workspace) -> f64 {
        let parts = parts(ws);
        let own = parts.to_baseline(y);
        self.sum(parts, |net, ws| net.log_cdf(y, ws), |baseline, ws| baseline.log_cdf(own, ws)).min(0.0)
    }

    fn log_sf(&self, y: f64, ws: &mut Workspace) -> f64 {
        let parts = parts(ws);
        let own = parts.to_baseline(y);
        self.sum(parts, |net, ws| net.log_sf(y, ws), |baseline, ws| baseline.log_sf(own, ws)).min(0.0)
    }

    fn log_mass(&self, low: f64, high: f64, ws: &mut Workspace) -> f64 {
        let parts = parts(ws);
        let [own_low, own_high] = [low, high].map(|y| parts.to_baseline(y));
        self.sum(
            parts,
            |net, ws| net.log_mass(low, high, ws),
            |baseline, ws| baseline.log_mass(own_low, own_high, ws),
        )
        .min(0.0)
    }

    /// That of the part with the larger share.
    fn tail_index(&self, axis: usize, side: Side, ws: &Workspace) -> f64 {
        let Workspace::Blend(parts) = ws else { unreachable!("a mixture of two made the workspace") };
        if parts.is_mostly_baseline() {
            self.baseline.tail_index(axis, side, &parts.baseline)
        } else {
            self.net.tail_index(axis, side, &parts.net)
        }
    }

    fn to_data(&self, z: &[f64], y: &mut [f64], ws: &mut Workspace) {
        y[0] = self.quantile(&Level::from_z(z[0]), ws);
    }

    fn quantile(&self, level: &Level, ws: &mut Workspace) -> f64 {
        let mut quantile = [0.0];
        self.quantiles(slice::from_ref(level), &mut quantile, ws);
        quantile[0]
    }

    fn exceed(&self, ys: &[f64], out: &mut [f64], ws: &mut Workspace) {
        let parts = parts(ws);
        parts.exceed_baseline(self.baseline.as_ref(), ys);
        let [_, of_baseline, _] = &parts.many;
        if !parts.has_net() {
            return out.copy_from_slice(of_baseline);
        }
        self.net.exceed(ys, out, &mut parts.net);
        for (out, &of_baseline) in out.iter_mut().zip(of_baseline) {
            *out = of_both(parts.shares, *out, of_baseline);
        }
    }

    fn quantiles(&self, levels: &[Level], out: &mut [f64], ws: &mut Workspace) {
        let of_parts = parts(ws);
        if of_parts.is_mostly_baseline() {
            return levels.iter().zip(out).for_each(|(level, out)| *out = self.search(level, ws));
        }
        let mut densities = std::mem::take(&mut of_parts.many[2]);
        densities.resize(levels.len(), 0.0);
        self.net.quantiles_and_densities(levels, out, &mut densities, &mut of_parts.net);
        of_parts.exceed_baseline(self.baseline.as_ref(), out);
        of_parts.many[2] = densities;
        for (nth, (level, out)) in levels.iter().zip(out).enumerate() {
            let of_parts = parts(ws);
            let (sf, density) = (of_parts.many[1][nth], of_parts.many[2][nth]);
            let surplus = of_parts.shares[1] * (sf - level.sf());
            *out = self.near_the_nets(level, *out, surplus, density, ws);
        }
    }

    fn tell(&self, asked: &Asked<'_>, told: Told<'_>, ws: &mut Workspace) {
        self.tell_of_rows(asked, told, ws);
    }

    /// The mean of what exceeds the quantile, which is each part's by its share, over its probability.
    fn shortfall(&self, shortfall: &Shortfall, ws: &mut Workspace) -> f64 {
        if !parts(ws).has_net() {
            let parts = parts(ws);
            let own = self.baseline.shortfall(shortfall, &mut parts.baseline);
            return parts.of_baseline(own);
        }
        let quantile = self.quantile(shortfall.level(), ws);
        let parts = parts(ws);
        let own = parts.to_baseline(quantile);
        let [_, share] = parts.shares;
        let log_sf = self.baseline.log_sf(own, &mut parts.baseline);
        let of_baseline = if share < SMALL_SHARE && log_sf < -LN_2 {
            self.roughly_above(own, log_sf, parts)
        } else {
            let above = above(self.baseline.as_ref(), own, shortfall, &mut parts.baseline);
            parts.shift * log_sf.exp() + parts.ratio * above
        };
        let of_net = above(self.net.as_ref(), quantile, shortfall, &mut parts.net);
        ((1.0 - share) * of_net + share * of_baseline) / (1.0 - shortfall.level().p())
    }

    fn limited(&self, limit: f64, ws: &mut Workspace) -> f64 {
        let parts = parts(ws);
        let own = self.baseline.limited(parts.to_baseline(limit), &mut parts.baseline);
        let baseline = parts.of_baseline(own);
        if !parts.has_net() {
            return baseline;
        }
        let [_, share] = parts.shares;
        (1.0 - share) * self.net.limited(limit, &mut parts.net) + share * baseline
    }
}

impl Blend {
    /// A quantile from the net's, above which lies so much more by the mixture, where the net has this density.
    fn near_the_nets(&self, level: &Level, y: f64, surplus: f64, density: f64, ws: &mut Workspace) -> f64 {
        let (mut y, mut surplus) = (y, surplus);
        let mut density = (density, is_next_to_nothing(parts(ws).shares[1]));
        for _ in 0..MOST_STEPS {
            let of_parts = parts(ws);
            match Newton::step(level, of_parts.ratio, y, surplus, density) {
                Newton::Done(quantile) => return quantile,
                Newton::On(next) => y = next,
                Newton::Astray => break,
            }
            let [of_net, share] = of_parts.shares;
            let own = of_parts.to_baseline(y);
            let [own_sf, own_density] = self.baseline.exceed_and_density(own, &mut of_parts.baseline);
            let [net_sf, net_density] = self.net.exceed_and_density(y, &mut of_parts.net);
            surplus = of_net * net_sf + share * own_sf - level.sf();
            density = (of_net * net_density + share * (own_density / of_parts.ratio), true);
        }
        self.search(level, ws)
    }

    /// A quantile, which lies between those of the parts.
    pub(super) fn search(&self, level: &Level, ws: &mut Workspace) -> f64 {
        let of_parts = parts(ws);
        let own = self.baseline.quantile(level, &mut of_parts.baseline);
        let baseline = of_parts.of_baseline(own);
        if !of_parts.has_net() {
            return baseline;
        }
        let net = self.net.quantile(level, &mut of_parts.net);
        let start = if of_parts.is_mostly_baseline() { baseline } else { net };
        level.search([net.min(baseline), net.max(baseline)], start, |y, is_lower| {
            let log_side = if is_lower { self.log_cdf(y, ws) } else { self.log_sf(y, ws) };
            (log_side, self.log_density(&[y], ws))
        })
    }

    /// The baseline's mean where it exceeds `own`, in the net's unit, as if it were a generalised Pareto distribution from there on:
    /// with the excess A (e^(ξ s) − 1) / ξ where P has fallen by e⁻ˢ, the mean excess is A / (1 − ξ).
    fn roughly_above(&self, own: f64, log_sf: f64, parts: &mut Parts) -> f64 {
        let index = self.baseline.tail_index(0, Side::Upper, &parts.baseline);
        let further = self.baseline.quantile(&Level::from_log_sf(log_sf - 1.0), &mut parts.baseline);
        let stretch = if index > 0.0 { index.exp_m1() / index } else { 1.0 };
        log_sf.exp() * parts.of_baseline(own + (further - own) / stretch / (1.0 - index))
    }
}

/// The mean of Y where it exceeds y and 0 elsewhere. `shortfall` has the levels worked out of a quantile that y is mostly near.
fn above(density: &dyn Density, y: f64, shortfall: &Shortfall, ws: &mut Workspace) -> f64 {
    if let Some(above) = density.mean_above(y, ws) {
        return above;
    }
    let (log_sf, level) = (density.log_sf(y, ws), shortfall.level());
    if log_sf.exp() == 0.0 {
        return 0.0;
    }
    if (log_sf - level.log_sf()).abs() < NEAR {
        // Between the two lies what has nearly one value.
        let (sf, sf_of_level) = (log_sf.exp(), level.sf());
        let between = 0.5 * (y + density.quantile(level, ws));
        return sf_of_level * shortfall.of(density, ws) + (sf - sf_of_level) * between;
    }
    if log_sf > -LN_2 {
        // A quadrature over what is above has its points in the upper tail.
        return 0.5 * Shortfall::beyond(&Level::from_p(0.5)).of(density, ws)
            + between_and_median(y, density, ws);
    }
    log_sf.exp() * Shortfall::beyond(&Level::from_log_sf(log_sf)).of(density, ws)
}
