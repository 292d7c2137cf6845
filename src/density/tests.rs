#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;
use crate::{config::FlowKind, flow::tail::raw_index, math::normal, model::noise::Draws};

const RADIALS: [FlowKind; 5] =
    [FlowKind::Radial, FlowKind::Radial, FlowKind::Radial, FlowKind::Radial, FlowKind::Affine];

/// Stacks as one would configure them: location and scale on the data's side alone.
fn usual_flows() -> impl Strategy<Value = Vec<FlowKind>> {
    prop::sample::select(vec![
        RADIALS.to_vec(),
        vec![FlowKind::Radial, FlowKind::Radial, FlowKind::Pareto],
        vec![FlowKind::Radial, FlowKind::Planar, FlowKind::Lambert],
        vec![FlowKind::Radial, FlowKind::Radial, FlowKind::Tail],
        vec![FlowKind::Spline, FlowKind::Tail],
        vec![FlowKind::Affine],
        vec![FlowKind::Planar, FlowKind::Planar, FlowKind::Affine],
        vec![FlowKind::Radial, FlowKind::Planar, FlowKind::Affine],
    ])
}

/// What a test may take a density of.
#[derive(Debug, Clone)]
enum Family {
    Flows(Vec<FlowKind>),
    Mdn,
    Kmn,
    Positive(Box<Family>),
    /// With a baseline of its kind, whose share has this logarithm.
    Blend(Box<Family>, f32),
    Calibrated(Box<Family>),
}

impl Family {
    fn build(&self) -> Arc<dyn Learnable> {
        match self {
            Self::Flows(flows) => Arc::new(Nfn::new(flows, 1)),
            Self::Mdn => Arc::new(Mdn),
            Self::Kmn => Arc::new(Kmn),
            Self::Positive(inner) => Arc::new(Positive::new(inner.build())),
            Self::Blend(..) | Self::Calibrated(_) => unreachable!("it is not learned as a whole"),
        }
    }

    fn is_positive(&self) -> bool {
        match self {
            Self::Positive(_) => true,
            Self::Blend(inner, _) | Self::Calibrated(inner) => inner.is_positive(),
            _ => false,
        }
    }

    fn is_blend(&self) -> bool {
        matches!(self, Self::Blend(..))
    }

    fn baseline(&self) -> Self {
        let tail = Self::Flows(vec![FlowKind::Tail]);
        if self.is_positive() { Self::Positive(Box::new(tail)) } else { tail }
    }

    fn has_power_tail(&self) -> bool {
        match self {
            Self::Flows(flows) => flows.iter().any(|flow| flow.is_tail()),
            Self::Mdn | Self::Kmn => false,
            Self::Positive(inner) | Self::Calibrated(inner) => inner.has_power_tail(),
            Self::Blend(..) => true,
        }
    }

    fn may_be_jagged(&self) -> bool {
        match self {
            Self::Flows(flows) => flows.contains(&FlowKind::Spline),
            Self::Mdn | Self::Kmn => true,
            Self::Positive(inner) | Self::Blend(inner, _) | Self::Calibrated(inner) => inner.may_be_jagged(),
        }
    }

    fn load(&self, params: &[f32]) -> (Arc<dyn Density>, Workspace) {
        let density = self.whole();
        let mut params = params[..density.num_params()].to_vec();
        self.tame(&mut params);
        let mut ws = density.workspace();
        density.load(&params, &mut ws);
        (density, ws)
    }

    fn whole(&self) -> Arc<dyn Density> {
        match self {
            Self::Blend(inner, _) => Arc::new(Blend::new(inner.whole(), inner.baseline().build())),
            Self::Calibrated(inner) => Arc::new(Calibrated::new(inner.whole())),
            _ => self.build(),
        }
    }

    /// Makes a row of what is learned elsewhere one that could have been.
    fn tame(&self, params: &mut [f32]) {
        match self {
            Self::Blend(inner, log_share) => {
                inner.tame(&mut params[..inner.whole().num_params()]);
                let [.., share, shift, ratio] = params else { unreachable!("a blend's row") };
                *share = *log_share;
                // A positive one has no shift.
                *shift *= f32::from(u8::from(!inner.is_positive()));
                *ratio = (0.3 * *ratio).exp();
            }
            Self::Calibrated(inner) => {
                let (inner_params, map) = params.split_at_mut(params.len() - recalibration::NUM_PARAMS);
                inner.tame(inner_params);
                map.iter_mut().for_each(|param| *param *= 0.2);
            }
            _ => {}
        }
    }

    fn load_learnable(&self, params: &[f32]) -> (Arc<dyn Learnable>, Workspace) {
        let density = self.build();
        let mut ws = density.workspace();
        density.load(&params[..density.num_params()], &mut ws);
        (density, ws)
    }
}

/// As one would configure them.
fn usual_families() -> impl Strategy<Value = Family> {
    let unbounded = prop_oneof![
        4 => usual_flows().prop_map(Family::Flows),
        1 => Just(Family::Mdn),
        1 => Just(Family::Kmn),
    ];
    prop_oneof![2 => unbounded.clone(), 1 => unbounded.prop_map(|inner| Family::Positive(Box::new(inner)))]
}

fn families() -> impl Strategy<Value = Family> {
    let mixed = [FlowKind::Affine, FlowKind::Radial, FlowKind::Planar, FlowKind::Affine, FlowKind::Radial];
    let log_share = prop_oneof![Just(0.0f32), Just(-1e-9), Just(-0.7), Just(-5.0), Just(-20.0)];
    let calibrated = usual_families().prop_map(|inner| Family::Calibrated(Box::new(inner))).boxed();
    let blends = (prop_oneof![2 => usual_families(), 1 => calibrated.clone()], log_share)
        .prop_map(|(inner, share)| Family::Blend(Box::new(inner), share));
    prop_oneof![8 => usual_families(), 1 => Just(Family::Flows(mixed.to_vec())), 6 => blends, 2 => calibrated]
}

fn params(bound: f32) -> impl Strategy<Value = Vec<f32>> {
    prop::collection::vec(-bound..bound, 80)
}

/// Mostly where distributions are, now and then where they are not.
fn threshold() -> impl Strategy<Value = f64> {
    prop_oneof![
        60 => -40.0..40.0f64,
        1 => Just(f64::INFINITY),
        1 => Just(f64::NEG_INFINITY),
        1 => prop::sample::select(vec![-1e150, 1e101, 1e12]),
    ]
}

/// What was told of many rows, to be compared.
pub(super) struct Room {
    numbers: [Vec<f64>; 2],
    likelihoods: Vec<Likelihood>,
    num_rows: usize,
}

impl Room {
    pub fn of(asked: &Asked<'_>, tell: impl FnOnce(Told<'_>, &Asked<'_>)) -> Self {
        let num_rows = asked.rows.len();
        let [mut exceed, mut quantiles] =
            [asked.ys.len(), num_rows * asked.levels.len()].map(|len| vec![0.0; len]);
        let mut likelihoods = vec![Likelihood::NONE; asked.targets.len()];
        tell(Told { exceed: &mut exceed, quantiles: &mut quantiles, likelihoods: &mut likelihoods }, asked);
        Self { numbers: [exceed, quantiles], likelihoods, num_rows }
    }

    /// All that was told of a row; what its target is worth is last.
    pub fn bits(&self, row: usize) -> Vec<u64> {
        let of_row = |numbers: &Vec<f64>| {
            let len = numbers.len() / self.num_rows;
            numbers[row * len..][..len].to_vec()
        };
        let Likelihood { log, below, log_parts } = self.likelihoods[row];
        let worth = [log, below].into_iter().chain(log_parts.into_iter().flatten());
        self.numbers.iter().flat_map(of_row).chain(worth).map(f64::to_bits).collect()
    }
}

fn is_near(one: f64, other: f64) -> bool {
    (one - other).abs() <= 1e-9 * one.abs().max(1.0)
}

fn loaded(flows: &[FlowKind], params: &[f32]) -> (Nfn, Workspace) {
    let density = Nfn::new(flows, 1);
    let mut ws = density.workspace();
    density.load(&params[..density.num_params()], &mut ws);
    (density, ws)
}

/// ∫ p dy between the quantiles of two base points: adaptive quadrature on intervals of equal length in the base, since
/// the density is narrow where the data are; of a positive target by its logarithm, since it may be steep near 0.
fn probability_between(density: &dyn Density, from: f64, to: f64, ws: &mut Workspace) -> f64 {
    const INTERVALS: usize = 200;
    let is_positive = !density.is_possible(&[0.0]);
    let quantile = |i: usize, ws: &mut Workspace| {
        let z = from + (to - from) * i as f64 / INTERVALS as f64;
        let quantile = density.quantile(&Level::from_log_sf(normal::log_sf(z)), ws);
        if is_positive { quantile.ln() } else { quantile }
    };
    let edges: Vec<f64> = (0..=INTERVALS).map(|i| quantile(i, ws)).collect();
    let mut p = |at: f64| match is_positive {
        true => (density.log_density(&[at.exp()], ws) + at).exp(),
        false => density.log_density(&[at], ws).exp(),
    };
    edges.windows(2).map(|edge| simpson(&mut p, edge[0], edge[1], 50)).sum()
}

/// Whether a base point's quantile is one that numbers hold with room to spare, and not one that softplus rounds to 0.
fn is_within_numbers(density: &dyn Density, z: f64, ws: &mut Workspace) -> bool {
    let y = density.quantile(&Level::from_log_sf(normal::log_sf(z)), ws);
    y.abs() < 1e100 && (density.is_possible(&[0.0]) || y > 1e-300)
}

/// Simpson's rule, halving where it disagrees with the halves.
fn simpson(f: &mut impl FnMut(f64) -> f64, low: f64, high: f64, halvings: usize) -> f64 {
    let (middle, h) = (0.5 * (low + high), (high - low) / 12.0);
    let (a, b, c, d, e) = (f(low), f(0.5 * (low + middle)), f(middle), f(0.5 * (middle + high)), f(high));
    let (whole, halves) = (2.0 * h * (a + 4.0 * c + e), h * (a + 4.0 * b + 2.0 * c + 4.0 * d + e));
    if (whole - halves).abs() < 1e-10 || halvings == 0 {
        return halves;
    }
    simpson(f, low, middle, halvings - 1) + simpson(f, middle, high, halvings - 1)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn densities_integrate_to_one(family in families(), params in params(3.0)) {
        let (density, mut ws) = family.load(&params);
        prop_assume!([-9.0, 9.0].iter().all(|&z| is_within_numbers(density.as_ref(), z, &mut ws)));
        let total = probability_between(density.as_ref(), -9.0, 9.0, &mut ws);
        let tolerance = if family.may_be_jagged() { 1e-5 } else { 1e-7 };
        prop_assert!((total - 1.0).abs() < tolerance, "{total}");
    }

    #[test]
    fn densities_integrate_to_one_for_wild_parameters(family in usual_families(), params in params(12.0)) {
        // Quadrature would miss what is narrow between what is wide: a Gaussian of next to no weight, a spline's bin.
        prop_assume!(!family.may_be_jagged());
        let (density, mut ws) = family.load(&params);
        // A tail may take nine deviations beyond what can be integrated.
        prop_assume!([-9.0, 9.0].iter().all(|&z| is_within_numbers(density.as_ref(), z, &mut ws)));
        let total = probability_between(density.as_ref(), -9.0, 9.0, &mut ws);
        prop_assert!((total - 1.0).abs() < 1e-5, "{total}");
    }

    #[test]
    fn the_distribution_function_is_the_integral_of_the_density(
        family in families(), params in params(3.0), from in -4.0..0.0f64, to in 0.0..4.0f64,
    ) {
        let (density, mut ws) = family.load(&params);
        let integral = probability_between(density.as_ref(), from, to, &mut ws);
        let low = density.quantile(&Level::from_log_sf(normal::log_sf(from)), &mut ws);
        let high = density.quantile(&Level::from_log_sf(normal::log_sf(to)), &mut ws);
        let difference = density.log_cdf(high, &mut ws).exp() - density.log_cdf(low, &mut ws).exp();
        prop_assert!((integral - difference).abs() < 1e-7, "{integral} {difference}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn a_quantile_is_exceeded_with_its_probability(family in families(), params in params(6.0), p in 1e-6..(1.0 - 1e-6)) {
        let (density, mut ws) = family.load(&params);
        let y = density.quantile(&Level::from_p(p), &mut ws);
        prop_assume!(is_within_numbers(density.as_ref(), normal::quantile(p), &mut ws));
        let exceeded = density.log_sf(y, &mut ws).exp();
        prop_assert!((exceeded - (1.0 - p)).abs() < 1e-9, "{exceeded} {}", 1.0 - p);
        prop_assert!((density.log_cdf(y, &mut ws).exp() - p).abs() < 1e-9);
    }

    #[test]
    fn many_points_at_once_are_to_the_bit_what_each_is_alone_and_agree_with_the_distribution_function(
        family in families(),
        params in params(6.0),
        ps in prop::collection::vec(1e-6..(1.0 - 1e-6), 1..12),
    ) {
        let (density, mut ws) = family.load(&params);
        let levels: Vec<Level> = ps.iter().map(|&p| Level::from_p(p)).collect();
        let (mut ys, mut exceeded) = (vec![0.0; ps.len()], vec![0.0; ps.len()]);
        density.quantiles(&levels, &mut ys, &mut ws);
        density.exceed(&ys, &mut exceeded, &mut ws);
        for (nth, level) in levels.iter().enumerate() {
            prop_assert_eq!(density.quantile(level, &mut ws).to_bits(), ys[nth].to_bits());
            let mut alone = [0.0];
            density.exceed(&[ys[nth]], &mut alone, &mut ws);
            prop_assert_eq!(alone[0].to_bits(), exceeded[nth].to_bits());
            let sf = density.log_sf(ys[nth], &mut ws).exp();
            prop_assert!((exceeded[nth] - sf).abs() <= 1e-11 * sf, "{} {sf}", exceeded[nth]);
        }
        let (mut again, mut densities) = (ys.clone(), vec![0.0; ps.len()]);
        density.quantiles_and_densities(&levels, &mut again, &mut densities, &mut ws);
        for (nth, &y) in ys.iter().enumerate() {
            prop_assert_eq!(again[nth].to_bits(), y.to_bits());
            let density = density.log_density(&[y], &mut ws).exp();
            // Far out, where y has fewer digits left than its distance from the location, they are of y and not of the level.
            prop_assert!((densities[nth] - density).abs() <= 1e-6 * density, "{} {density}", densities[nth]);
        }
    }

    #[test]
    fn quantiles_do_not_cross(family in families(), params in params(12.0)) {
        let (density, mut ws) = family.load(&params);
        let mut last = f64::NEG_INFINITY;
        for p in [0.0001, 0.001, 0.01, 0.1, 0.5, 0.9, 0.95, 0.99, 0.999, 0.9999, 0.999_999] {
            let y = density.quantile(&Level::from_p(p), &mut ws);
            // Where softplus is rounded up to the least number, a blend's parts say nothing of each other.
            prop_assume!(!family.is_blend() || y.abs() > 1e-300);
            prop_assert!(y >= last, "{y} at {p} after {last}");
            last = y;
        }
    }

    #[test]
    fn the_tail_falls_and_stays_finite_a_million_scales_away(family in families(), params in params(6.0)) {
        prop_assume!(!family.is_positive()); // its tail is the inner density's
        let (density, mut ws) = family.load(&params);
        let low = density.quantile(&Level::from_p(0.01), &mut ws);
        let high = density.quantile(&Level::from_p(0.99), &mut ws);
        let is_blend = family.is_blend();
        let mut last = density.log_sf(high, &mut ws);
        for distance in [3.0, 10.0, 1e3, 1e6] {
            let y = high + distance * (high - low);
            let log_sf = density.log_sf(y, &mut ws);
            // Between a narrow part and a wide one there may be next to nothing.
            prop_assert!(log_sf.is_finite() && (log_sf < last || (is_blend && log_sf == last)), "{log_sf} at {y} after {last}");
            prop_assert!(density.log_cdf(2.0 * low - y, &mut ws).is_finite());
            prop_assert!(density.log_density(&[y], &mut ws).is_finite());
            last = log_sf;
        }
        // Powers fall more slowly than a Gaussian tail.
        let bound = if family.has_power_tail() { -3.0 } else { -1e4 };
        prop_assert!(last < bound, "{last}");
    }

    #[test]
    fn the_tail_falls_by_the_index(params in params(1.0), tail in prop::sample::select(vec![FlowKind::Pareto, FlowKind::Lambert])) {
        // An affine layer between the base and the tail changes the index.
        let (density, mut ws) = loaded(&[FlowKind::Affine, FlowKind::Radial, tail], &params);
        let index = density.tail_index(0, Side::Upper, &ws);
        prop_assert!(index > 0.0);
        let quantile = |log_sf: f64, ws: &mut Workspace| density.quantile(&Level::from_log_sf(log_sf), ws);
        // So far out that the other layers matter little.
        let (near, far) = (-150.0 / index, -200.0 / index);
        let (low, high) = (quantile(near, &mut ws), quantile(far, &mut ws));
        let found = (high.ln() - low.ln()) / (near - far);
        // The radial layer's offset, and Lambert's logarithm, fade slowly.
        prop_assert!((found / index - 1.0).abs() < 0.35, "{found} {index}");
    }

    #[test]
    fn the_mass_of_an_interval_is_a_difference_of_the_distribution_function(
        family in families(), params in params(4.0), from in -5.0..5.0f64, log10_width in -7.0..1.0f64,
    ) {
        let (density, mut ws) = family.load(&params);
        let low = density.quantile(&Level::from_log_sf(normal::log_sf(from)), &mut ws);
        let high = low + 10f64.powf(log10_width);
        let told = density.log_mass(low, high, &mut ws).exp();
        let upper = density.log_sf(low, &mut ws).exp() - density.log_sf(high, &mut ws).exp();
        let lower = density.log_cdf(high, &mut ws).exp() - density.log_cdf(low, &mut ws).exp();
        let expected = if density.log_sf(low, &mut ws) < -0.7 { upper } else { lower };
        prop_assert!((told - expected).abs() < 1e-8 * expected + 1e-14, "{told} {expected}");
        prop_assert!(low <= 0.0 || density.log_mass(0.0, low, &mut ws).is_finite());
    }

    #[test]
    fn gradients_are_those_of_the_values(
        family in usual_families(), params in params(1.5), at in -2.0..2.0f64, log10_width in -3.0..1.0f64,
    ) {
        // A Pareto's density has a cusp, and a planar layer without a direction a fold: autograd looks at those.
        let name = format!("{family:?}");
        prop_assume!(!name.contains("Pareto") && !name.contains("Planar"));
        // Differences of parameters are then exact.
        let params: Vec<f32> = params.iter().map(|param| (param * 1024.0).round() / 1024.0).collect();
        let (density, mut ws) = family.load_learnable(&params);
        let y = density.quantile(&Level::from_log_sf(normal::log_sf(at)), &mut ws);
        let high = y + 10f64.powf(log10_width);
        let len = density.num_params();
        let (mut by_density, mut by_mass) = (vec![f64::NAN; len], vec![f64::NAN; len]);
        let log_density = density.log_density_grad(&[y], &mut by_density, &mut ws);
        prop_assert_eq!(log_density, density.log_density(&[y], &mut ws));
        let log_mass = density.log_mass_grad(y, high, &mut by_mass, &mut ws);
        // Rounded in two ways, of which the difference of the ends makes more the nearer they are.
        let alone = density.log_mass(y, high, &mut ws);
        let rounding = 1e-9 * (1.0 + alone.abs()) + 1e-14 * (1.0 + y.abs()) / (high - y);
        prop_assert!(log_mass == alone || (log_mass - alone).abs() < rounding, "{log_mass} {alone}");
        let roles = density.roles();
        for i in (0..len).filter(|&i| roles[i] != Role::Fixed) {
            let h = 1.0 / 16_384.0;
            let mut numeric = |value: &mut dyn FnMut(&mut Workspace) -> f64| {
                let mut moved = |by: f32| {
                    let mut params = params[..len].to_vec();
                    params[i] += by * h;
                    density.load(&params, &mut ws);
                    value(&mut ws)
                };
                let h = f64::from(h);
                let (here, d) = (moved(0.0), [moved(-2.0), moved(-1.0), moved(1.0), moved(2.0)]);
                // Where a radial layer's centre or a spline's knot is stepped over, there are two slopes.
                let is_bent = (d[0] - 2.0 * here + d[3]).abs() > 2e-2 * h * (1.0 + (d[3] - d[0]).abs() / h);
                let slope = (d[0] - 8.0 * d[1] + 8.0 * d[2] - d[3]) / (12.0 * h);
                (!is_bent).then_some(slope)
            };
            let tolerance = 2e-2;
            let n = numeric(&mut |ws| density.log_density(&[y], ws)).unwrap_or(by_density[i]);
            prop_assert!((n - by_density[i]).abs() < tolerance * n.abs().max(1.0), "∂ log p by {i}: {n} {}", by_density[i]);
            let n = numeric(&mut |ws| density.log_mass(y, high, ws)).unwrap_or(by_mass[i]);
            prop_assert!((n - by_mass[i]).abs() < tolerance * n.abs().max(1.0), "∂ log mass by {i}: {n} {}", by_mass[i]);
        }
    }

    #[test]
    fn gradients_of_many_rows_are_those_of_each(
        flows in usual_flows(),
        rows in prop::collection::vec((params(6.0), -30.0..30.0f64), 1..70),
        half in prop::sample::select(vec![None, Some(0.3), Some(1e-5), Some(1e-12)]),
    ) {
        let is_narrow = |(_, y): &&(_, f64)| half.is_some_and(|half| is_narrow(*y, half));
        let num_narrow = rows.iter().filter(is_narrow).count();
        prop_assume!(num_narrow == 0 || num_narrow == rows.len());
        let density = Nfn::new(&flows, 1);
        let (num_params, mut ws) = (density.num_params(), density.workspace());
        let params: Vec<f32> = rows.iter().flat_map(|(params, _)| &params[..num_params]).copied().collect();
        let targets: Vec<f64> = rows.iter().map(|&(_, target)| target).collect();
        let [mut told, mut expected] = [0, 1].map(|_| vec![0f32; params.len()]);
        let sum = density.log_likelihood_grads(&params, &targets, half, -0.5, &mut told, &mut ws);
        let expected_sum = one_by_one(&density, &params, &targets, half, -0.5, &mut expected, &mut ws);
        prop_assert!(is_near(sum, expected_sum), "{sum} {expected_sum}");
        for ((told, expected), params) in told.chunks(num_params).zip(expected.chunks(num_params)).zip(params.chunks(num_params)) {
            let size = expected.iter().fold(1f32, |size, x| size.max(x.abs()));
            for (told, expected) in told.iter().zip(expected) {
                prop_assert!((told - expected).abs() <= 1e-5 * size, "{told} {expected} of {params:?}");
            }
        }
        // Whatever stands before and after a row.
        let mut alone = vec![0f32; num_params];
        for (nth, params) in params.chunks(num_params).enumerate() {
            density.log_likelihood_grads(params, &targets[nth..=nth], half, -0.5, &mut alone, &mut ws);
            prop_assert_eq!(&alone, &told[nth * num_params..][..num_params]);
        }
    }

    #[test]
    fn figures_of_many_rows_are_to_the_bit_those_of_each(
        family in families(),
        rows in prop::collection::vec((params(6.0), -25f32..-0.1, prop::array::uniform3(threshold())), 1..70),
        p in 1e-5..(1.0 - 1e-5),
        is_rounded: bool,
    ) {
        let density = family.whole();
        let mut ws = density.workspace();
        let levels = [p, 0.5, 0.99].map(Level::from_p);
        let params: Vec<Vec<f32>> = rows
            .iter()
            .map(|(params, log_share, _)| {
                let family = if let Family::Blend(inner, _) = &family {
                    Family::Blend(inner.clone(), *log_share)
                } else {
                    family.clone()
                };
                let mut params = params[..density.num_params()].to_vec();
                family.tame(&mut params);
                params
            })
            .collect();
        let slices: Vec<&[f32]> = params.iter().map(Vec::as_slice).collect();
        let ys: Vec<f64> = rows.iter().flat_map(|(_, _, ys)| *ys).collect();
        // One in some rows is not known; all others are numbers.
        let target = |ys: &[f64; 3]| if ys[0] > 20.0 { f64::NAN } else { ys[1].clamp(-1e200, 1e200) };
        let targets: Vec<f64> = rows.iter().map(|(_, _, ys)| target(ys)).collect();
        let widths: Vec<f64> = rows.iter().map(|(_, _, ys)| ys[2].abs().min(100.0)).collect();
        let asked = Asked {
            rows: &slices,
            ys: &ys,
            levels: &levels,
            targets: &targets,
            halves: is_rounded.then_some(&widths[..]),
        };
        let told = Room::of(&asked, |told, asked| density.tell(asked, told, &mut ws));
        for (nth, row) in slices.iter().enumerate() {
            let one = Room::of(&asked.part(nth..nth + 1), |told, asked| {
                density.load(row, &mut ws);
                tell_of_loaded(density.as_ref(), asked, told, &mut ws);
            });
            let (mut told, mut one) = (told.bits(nth), one.bits(0));
            if targets[nth].is_nan() {
                told.truncate(6);
                one.truncate(6);
            }
            prop_assert_eq!(told, one, "{}: {:?}", nth, row);
        }
    }

    #[test]
    fn what_a_target_is_worth_is_what_each_function_says(
        family in families(),
        params in params(3.0),
        y in -20.0..20.0f64,
        half in prop::sample::select(vec![None, Some(0.5), Some(1e-12)]),
    ) {
        let (density, mut ws) = family.load(&params);
        // At what is all but a pole of the density a rounding of the place says what it is.
        prop_assume!(half == Some(0.5) || !(density.log_density(&[y], &mut ws) > 10.0));
        let Likelihood { log, below, log_parts } = density.likelihood(y, half, &mut ws);
        let (expected, end) = match half {
            None => (density.log_density(&[y], &mut ws), y),
            Some(half) => (density.log_rounded(y, half, &mut ws), y - half),
        };
        // Of so short an interval the images' last digits are the width's fourth.
        let is_short = half.is_some_and(|half| half < 0.5);
        prop_assert!(log == expected || is_near(log, expected) || is_short && (log - expected).abs() < 1e-3, "{log} {expected}");
        // Far out, and where the density is high, a rounding of the place is magnified, and with it which end of a narrow interval is meant.
        let log_cdf = density.log_cdf(end, &mut ws);
        let place = 1e-14 * y.abs() + half.filter(|half| *half < 0.5).unwrap_or(0.0);
        let by_place = 2.0 * place * (density.log_density(&[end], &mut ws) - log_cdf).exp();
        let allowed = 1e-11 * log_cdf.abs().max(1.0) + by_place;
        prop_assert!(below == log_cdf.exp() || (below.ln() - log_cdf).abs() <= allowed, "{below} {log_cdf}");
        if let (Some(parts), Family::Blend(_, log_share)) = (log_parts, &family) {
            let log_share = f64::from(*log_share);
            let mixed = crate::math::scalar::log_sum_exp(&[(-log_share.exp_m1()).ln() + parts[0], log_share + parts[1]]);
            prop_assert!(log == mixed || is_near(log, mixed), "{log} {mixed}");
        }
    }

    #[test]
    fn positive_densities_have_no_mass_at_or_below_zero(inner in usual_flows(), params in params(6.0), y in 0.0..1e3f64) {
        let family = Family::Positive(Box::new(Family::Flows(inner.clone())));
        let (density, mut ws) = family.load(&params);
        prop_assert!(density.log_density(&[-y], &mut ws) == f64::NEG_INFINITY && !density.is_possible(&[-y]));
        prop_assert!(density.log_cdf(-y, &mut ws) == f64::NEG_INFINITY && density.log_sf(-y, &mut ws) == 0.0);
        prop_assert!(density.log_mass(-y - 1.0, -y, &mut ws) == f64::NEG_INFINITY);
        // An interval that begins below 0 has the mass of its part above.
        let high = y + 1e-3;
        prop_assert!((density.log_mass(-1.0, high, &mut ws) - density.log_cdf(high, &mut ws)).abs() < 1e-12);
        prop_assert!(density.quantile(&Level::from_p(1e-9), &mut ws) > 0.0);
        // The tail is the inner density's.
        let (inner, mut inner_ws) = Family::Flows(inner).load(&params);
        prop_assert_eq!(density.tail_index(0, Side::Upper, &ws), inner.tail_index(0, Side::Upper, &inner_ws));
        let far = 100.0 + y;
        prop_assert!((density.log_sf(far, &mut ws) - inner.log_sf(far, &mut inner_ws)).abs() < 1e-12 * far);
    }

    #[test]
    fn locations_move_the_distribution(
        family in prop_oneof![Just(Family::Flows(RADIALS.to_vec())), Just(Family::Mdn)],
        params in params(2.0),
        by in -3.0..3.0f32,
    ) {
        let (density, mut ws) = family.load_learnable(&params);
        let median = density.quantile(&Level::from_p(0.5), &mut ws);
        let mut moved = params.clone();
        for (param, _) in moved.iter_mut().zip(density.roles()).filter(|(_, role)| *role == Role::Location) {
            *param += by;
        }
        density.load(&moved[..density.num_params()], &mut ws);
        let shift = density.quantile(&Level::from_p(0.5), &mut ws) - median;
        prop_assert!((shift - f64::from(by)).abs() < 1e-5, "{shift} {by}");
    }
}

#[test]
fn two_dimensional_densities_integrate_to_one() {
    let flows = [FlowKind::Planar, FlowKind::Radial, FlowKind::Radial, FlowKind::Affine];
    let density = Nfn::new(&flows, 2);
    let mut ws = density.workspace();
    for seed in 0..4 {
        // Fixed, moderate parameters around the identity.
        let params: Vec<f32> = density
            .initial(&[])
            .iter()
            .enumerate()
            .map(|(i, initial)| initial + 0.7 * ((i as f32 + 1.0) * (seed as f32 + 1.3) * 2.4).sin())
            .collect();
        density.load(&params, &mut ws);
        let (n, reach) = (700, 30.0);
        let h = 2.0 * reach / n as f64;
        let mut sum = 0.0;
        for i in 0..n {
            for j in 0..n {
                let at = |k: usize| -reach + (k as f64 + 0.5) * h;
                sum += density.log_density(&[at(i), at(j)], &mut ws).exp();
            }
        }
        let total = sum * h * h;
        assert!((total - 1.0).abs() < 2e-3, "{seed}: {total}");
    }
}

#[test]
fn the_initial_row_is_the_standard_normal() {
    for dim in 1..=3 {
        let density = Nfn::new(&RADIALS, dim);
        let mut ws = density.workspace();
        density.load(&density.initial(&[]), &mut ws);
        for y in [-7.0, -0.4, 0.0, 1.0, 30.0] {
            let expected = dim as f64 * normal::log_pdf(y);
            assert!((density.log_density(&vec![y; dim], &mut ws) - expected).abs() < 1e-6 * expected.abs());
        }
    }
}

#[test]
fn locations_are_those_of_the_affine_layer_nearest_to_the_data() {
    use FlowKind::{Affine, Radial};
    let locations = |density: Nfn| -> Vec<usize> {
        let roles = density.roles();
        (0..roles.len()).filter(|&i| roles[i] == Role::Location).collect()
    };
    assert_eq!(locations(Nfn::new(&RADIALS, 1)), [12]);
    assert_eq!(locations(Nfn::new(&[Affine, Radial, Affine], 2)), [8, 9]);
    assert_eq!(locations(Nfn::new(&[Affine, Radial], 2)), [0, 1]);
    assert!(locations(Nfn::new(&[Radial], 2)).is_empty());
}

#[test]
fn learning_starts_where_and_as_wide_as_the_targets_are() {
    let mut draws = Draws::new(3, 1, 0);
    let targets: Vec<f64> = (0..4_000).map(|_| 50.0 + 4.0 * draws.normal()).collect();
    let flows = Family::Flows(vec![FlowKind::Radial, FlowKind::Tail]);
    let positive = Family::Positive(Box::new(flows.clone()));
    for family in [flows, Family::Mdn, Family::Kmn, positive] {
        let density = family.build();
        let mut ws = density.workspace();
        density.load(&density.initial(&targets), &mut ws);
        let mean =
            targets.iter().map(|&y| density.log_density(&[y], &mut ws)).sum::<f64>() / targets.len() as f64;
        // The truth has −log(4 √(2πe)).
        assert!(mean > -2.805 - 0.35, "{family:?}: {mean}");
    }
}

#[test]
fn a_rounded_target_far_in_a_tail_has_a_mass_and_a_gradient() {
    let tail = Family::Flows(vec![FlowKind::Radial, FlowKind::Tail]);
    let positive = Family::Positive(Box::new(tail.clone()));
    for family in [Family::Flows(RADIALS.to_vec()), tail, positive, Family::Mdn, Family::Kmn] {
        let density = family.build();
        let mut ws = density.workspace();
        density.load(&density.initial(&[]), &mut ws);
        for y in [-1e18, -1e12, -1e4, -60.0, 60.0, 1e4, 1e12, 1e18] {
            if !density.is_possible(&[y]) {
                continue;
            }
            for half in [1e-6, 0.25] {
                let mut grad = vec![f64::NAN; density.num_params()];
                let log_mass = density.log_rounded_grad(y, half, &mut grad, &mut ws);
                let alone = density.log_rounded(y, half, &mut ws);
                // Rounded in two ways, of which a difference of two ends that are near each other makes much.
                let rounding = 1e-13 * alone.abs() / half;
                assert!(
                    (log_mass - alone).abs() < 1e-10 * alone.abs() + rounding,
                    "{family:?} {y}: {log_mass} {alone}"
                );
                assert!(grad.iter().all(|g| g.is_finite()), "{family:?} {y}: {grad:?}");
                // The interval is narrow beside what the density changes by, but for a Gaussian's.
                if family.has_power_tail() {
                    let expected = density.log_density(&[y], &mut ws) + (2.0 * half).ln();
                    assert!(
                        (log_mass - expected).abs() < 1e-5 + 30.0 * (half / y).powi(2),
                        "{family:?} {y}: {log_mass} {expected}"
                    );
                } else {
                    assert!(log_mass.is_finite() && log_mass < -1e3, "{family:?} {y}: {log_mass}");
                }
            }
        }
    }
}

#[test]
fn shortfall_of_the_normal_is_the_closed_form() {
    let (density, mut ws) = loaded(&[FlowKind::Affine], &[2.0, 0.5]);
    let (location, scale) = (2.0, 0.5f64.exp());
    for p in [0.5, 0.9, 0.99, 0.999, 0.999_999] {
        let level = Level::from_p(p);
        let expected = location + scale * (normal::log_pdf(level.z()) - level.log_sf()).exp();
        let actual = Shortfall::beyond(&level).of(&density, &mut ws);
        assert!((actual / expected - 1.0).abs() < 1e-8, "{p}: {actual} {expected}");
    }
}

#[test]
fn shortfall_of_a_bent_density_is_the_mean_of_its_quantiles() {
    let params = [0.3, 1.5, 1.0, -0.5, 2.0, 0.5, 1.0, -1.0, -1.0, 0.0, 0.5, 2.0, 0.4, 0.9];
    let (density, mut ws) = loaded(&RADIALS, &params);
    for p in [0.9, 0.99] {
        let n = 200_000;
        let mean = (0..n)
            .map(|i| {
                let tail = (f64::from(i) + 0.5) / f64::from(n) * (1.0 - p);
                density.quantile(&Level::from_log_sf(tail.ln()), &mut ws)
            })
            .sum::<f64>()
            / f64::from(n);
        let actual = Shortfall::beyond(&Level::from_p(p)).of(&density, &mut ws);
        assert!((actual / mean - 1.0).abs() < 1e-4, "{p}: {actual} {mean}");
    }
}

fn raw_for(index: f64) -> f32 {
    raw_index(index) as f32
}

#[test]
fn shortfall_of_power_tails_is_the_closed_form_and_null_without_a_mean() {
    for (index, location) in
        [0.05, 0.33, 0.5, 0.7, 0.89].into_iter().flat_map(|i| [-100.0, 0.0, 2.0, 100.0].map(|m| (i, m)))
    {
        let params = [location as f32, 0.5, raw_for(0.1), raw_for(index)];
        let scale = 0.5f64.exp();
        for p in [0.5, 0.9, 0.99, 0.999_999] {
            let level = Level::from_p(p);
            let assert_near = |flow: FlowKind, expected: &dyn Fn(f64, f64) -> f64, tolerance: f64| {
                let (density, mut ws) = loaded(&[flow], &params);
                let index = density.tail_index(0, Side::Upper, &ws);
                let expected = expected(index, density.quantile(&level, &mut ws));
                let actual = Shortfall::beyond(&level).of(&density, &mut ws);
                let size = expected.abs().max(scale);
                assert!(
                    (actual - expected).abs() < tolerance * size,
                    "{flow:?} {index} {p}: {actual} {expected}"
                );
            };
            // Beyond a threshold u a generalised Pareto is one again: its mean excess is (σ + ξ u) / (1 − ξ).
            let pareto = |index: f64, quantile: f64| {
                let own_scale = scale * (std::f64::consts::PI / 2.0).sqrt();
                quantile + (own_scale + index * (quantile - location)) / (1.0 - index)
            };
            assert_near(FlowKind::Pareto, &pareto, 1e-9);
            // E[Z exp(ξ Z² / 2) | Z > z] = φ(z √(1 − ξ)) / ((1 − ξ) P(Z > z)).
            let lambert = |index: f64, _: f64| {
                let log = normal::log_pdf(level.z() * (1.0 - index).sqrt()) - level.log_sf();
                location + scale * log.exp() / (1.0 - index)
            };
            assert_near(FlowKind::Lambert, &lambert, 1e-6);
        }
    }
    let (density, mut ws) = loaded(&[FlowKind::Pareto], &[2.0, 0.5, raw_for(0.1), raw_for(1.001)]);
    assert!(Shortfall::beyond(&Level::from_p(0.9)).of(&density, &mut ws).is_nan());
}

#[test]
fn shortfall_of_a_tail_over_radial_layers_is_the_mean_of_its_quantiles() {
    for tail in [FlowKind::Tail, FlowKind::Lambert] {
        let flows = [FlowKind::Radial, FlowKind::Radial, tail];
        let params = [0.3, 1.0, -0.5, 0.5, -0.4, 1.0, 0.4, 0.9, raw_for(0.2), raw_for(0.4)];
        let (density, mut ws) = loaded(&flows, &params);
        let level = Level::from_p(0.9);
        // ∫ y(z) φ(z) dz / P(Z > z₀).
        let mut part = |z: f64| {
            let y = density.quantile(&Level::from_log_sf(normal::log_sf(z)), &mut ws);
            y * (normal::log_pdf(z) - level.log_sf()).exp()
        };
        let expected = simpson(&mut part, level.z(), 14.0, 24);
        let actual = Shortfall::beyond(&level).of(&density, &mut ws);
        assert!((actual / expected - 1.0).abs() < 1e-6, "{tail:?}: {actual} {expected}");
    }
}

#[test]
fn levels_agree_however_they_are_made() {
    for p in [1e-9, 0.3, 0.5, 0.99, 1.0 - 1e-9] {
        let (a, b) = (Level::from_p(p), Level::from_log_sf((-p).ln_1p()));
        assert!(
            (a.z() - b.z()).abs() < 1e-7
                && (a.p() - b.p()).abs() < 1e-16
                && (a.log_cdf() / b.log_cdf() - 1.0).abs() < 1e-6
        );
    }
    assert!((Level::from_log_sf(-1000.0).z() - 44.615_747_731_969_4).abs() < 1e-12);
}

#[test]
fn limited_expected_values_are_the_closed_forms() {
    // E[min(Z, l)] = l − l Φ(l) − φ(l).
    let gaussian = |mean: f64, scale: f64, limit: f64| {
        let z = (limit - mean) / scale;
        mean + scale * (z * normal::cdf(-z) - normal::log_pdf(z).exp())
    };
    let (density, mut ws) = loaded(&[FlowKind::Affine], &[2.0, 0.5]);
    let scale = 0.5f64.exp();
    for limit in [-9.0, 0.0, 2.0, 3.7, 12.0, 1e3] {
        let (told, expected) = (limited(limit, &density, &mut ws), gaussian(2.0, scale, limit));
        assert!((told - expected).abs() < 1e-10 * scale + 1e-12 * limit.abs(), "{limit}: {told} {expected}");
    }
    // A mixture's by its own parts, where its quantiles are nearly stairs; the shortfall from the same integral.
    let mut params = vec![0.0f32; 30];
    params[..10].copy_from_slice(&[3.0, 1.0, -1.0, -9.0, -9.0, -9.0, -9.0, -9.0, -9.0, -9.0]);
    params[10..13].copy_from_slice(&[0.0, 4.0, 9.0]);
    params[20..].fill(-3.0);
    let (density, mut ws) = Family::Mdn.load(&params);
    for limit in [-1.0, 2.0, 8.9, 50.0] {
        let told = limited(limit, density.as_ref(), &mut ws);
        let expected = limit - simpson(&mut |y| density.log_cdf(y, &mut ws).exp(), -12.0, limit, 40);
        assert!((told - expected).abs() < 1e-8, "{limit}: {told} {expected}");
    }
    let level = Level::from_p(0.9);
    let quantile = density.quantile(&level, &mut ws);
    let beyond = simpson(&mut |y| density.log_sf(y, &mut ws).exp(), quantile, 30.0, 40);
    let shortfall = Shortfall::beyond(&level).of(density.as_ref(), &mut ws);
    assert!((shortfall - (quantile + beyond / 0.1)).abs() < 1e-7, "{shortfall} {quantile} {beyond}");
    // Of a positive target's, in two ways: the integral of P(Y > y) from 0 to the limit.
    let family =
        Family::Positive(Box::new(Family::Flows(vec![FlowKind::Radial, FlowKind::Radial, FlowKind::Tail])));
    let params = [0.3, 1.0, -0.5, 0.5, -0.4, 1.0, 0.4, 0.9, raw_for(0.95), raw_for(0.6)];
    let (density, mut ws) = family.load(&params);
    for limit in [0.1, 3.0, 50.0] {
        let told = limited(limit, density.as_ref(), &mut ws);
        let expected = simpson(&mut |y| density.log_sf(y, &mut ws).exp(), 0.0, limit, 40);
        assert!((told - expected).abs() < 1e-5, "{limit}: {told} {expected}");
    }
    // Both tails heavy: mean − E[(Y − l)⁺], by the integrals of both sides.
    let params = [0.3, 1.0, -0.5, 0.5, -0.4, 1.0, 0.4, 0.9, raw_for(0.4), raw_for(0.3)];
    let (density, mut ws) = loaded(&[FlowKind::Radial, FlowKind::Radial, FlowKind::Tail], &params);
    for limit in [-2.0, 3.0] {
        let told = limited(limit, &density, &mut ws);
        let far = -1e9;
        let below = |t: f64, ws: &mut Workspace| {
            // ∫ F(y) dy by t = log(limit + 1 − y).
            let y = limit + 1.0 - t.exp();
            density.log_cdf(y, ws).exp() * t.exp()
        };
        let integral = simpson(&mut |t| below(t, &mut ws), 0.0, (limit + 1.0 - far).ln(), 40);
        let expected = limit - integral;
        assert!((told - expected).abs() < 1e-5, "{limit}: {told} {expected}");
    }
    let (density, mut ws) = loaded(&[FlowKind::Tail], &[0.0, 0.0, raw_for(1.2), raw_for(0.1)]);
    assert!(limited(1.0, &density, &mut ws).is_nan());
}

#[test]
fn shortfall_and_limited_value_of_a_blend_are_those_of_its_quantiles() {
    let inner = Family::Flows(vec![FlowKind::Radial, FlowKind::Tail]);
    // The baseline is three times as wide, further up, and has a heavier tail; or all of it lies where the net has little.
    let baselines = [[0.4, 1.1, raw_for(0.1), raw_for(0.3)], [60.0, 0.2, raw_for(0.5), raw_for(0.3)]];
    let tolerances = [[1e-4, 1e-4, 1e-4, 3e-3, 1e-5, 1e-6], [1e-3, 1e-3, 1e-3, 1e-3, 1e-5, 1e-6]];
    for (baseline, tolerances) in baselines.into_iter().zip(tolerances) {
        let mut params = inner.build().initial(&[]);
        params.extend(baseline);
        params.extend([0.0, 0.2, 0.0]);
        for (share, tolerance) in [0.5f32, 0.01, 2e-4, 5e-5, 1e-9, 1.0].into_iter().zip(tolerances) {
            let (density, mut ws) = Family::Blend(Box::new(inner.clone()), share.ln()).load(&params);
            for p in [0.5, 0.9, 0.999] {
                let shortfall = Shortfall::beyond(&Level::from_p(p));
                let told = density.shortfall(&shortfall, &mut ws);
                // ∫ of quantiles by the midpoints of log-spaced slices of what is beyond.
                let (slices, depth) = (40_000, 40.0);
                let slice = |i: usize| {
                    let s = depth * (i as f64 + 0.5) / slices as f64;
                    let level = Level::from_log_sf((1.0 - p).ln() - s);
                    density.quantile(&level, &mut ws) * (-s).exp() * depth / slices as f64
                };
                let expected: f64 = (0..slices).map(slice).sum();
                assert!((told / expected - 1.0).abs() < tolerance, "{share} {p}: {told} {expected}");
            }
            let told = density.limited(2.0, &mut ws);
            let slices = 40_000;
            let slice = |i: usize| {
                let level = Level::from_p((i as f64 + 0.5) / f64::from(slices));
                density.quantile(&level, &mut ws).min(2.0) / f64::from(slices)
            };
            let expected: f64 = (0..slices as usize).map(slice).sum();
            assert!((told - expected).abs() < 2e-3, "{share}: {told} {expected}");
        }
    }
}
