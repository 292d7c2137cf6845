//! Value, log-determinant and gradients of the flows against libtorch's autograd, on the same formulas written in
//! tensors, in double precision.

use proptest::prelude::*;
use tailwater::{
    config::FlowKind,
    density::{
        Density, Kmn, Learnable, Mdn, Nfn, Role,
        recalibration::{NUM_PARAMS, Recalibration},
    },
    flow::{At, Grad, Layer, RawParams, Stack, Transform, tail::MAX_INDEX},
};
use tch::{Kind, Tensor};

/// The oracle's rounding, not the flows': it divides by ‖w‖², and forms determinants down to 1e-3 by differences of
/// numbers up to 100.
const TOLERANCE: f64 = 1e-7;

/// z and log |det ∂z/∂x| as tensors.
fn oracle(kind: FlowKind, raw: &Tensor, x: &Tensor) -> (Tensor, Tensor) {
    let d = x.size()[0];
    match kind {
        FlowKind::Affine => {
            let log_scale = log_scale(&raw.narrow(0, d, d));
            let z = (x - raw.narrow(0, 0, d)) * (-&log_scale).exp();
            (z, -log_scale.sum(Kind::Double))
        }
        FlowKind::Planar => {
            let (w, u, b) = (raw.narrow(0, 0, d), raw.narrow(0, d, d), raw.narrow(0, 2 * d, 1).squeeze());
            let t = w.dot(&u);
            let m = (softplus(&(&t + 1f64.exp_m1().ln())) - 1.0) * (1.0 - 1e-3);
            let u_hat = &u + (&m - &t) * &w / w.dot(&w);
            let height = (w.dot(x) + b).tanh();
            let det: Tensor = w.dot(&u_hat) * (1.0 - &height * &height) + 1.0;
            (x + u_hat * height, det.log())
        }
        FlowKind::Radial => {
            let alpha = softplus(&raw.get(0)) + 1e-2;
            let beta = softplus(&raw.get(1)) + 1e-3 - 1.0;
            let offset = x - raw.narrow(0, 2, d);
            let r = offset.dot(&offset).sqrt();
            let h = 1.0 / (&alpha + &r);
            let across = &alpha * &beta * &h + 1.0;
            let log_det = across.log() * (d - 1) as f64 + (&across - &alpha * &beta * &r * &h * &h).log();
            (x + &alpha * &beta * &h * offset, log_det)
        }
        FlowKind::Spline => spline_oracle(raw, x),
        FlowKind::Pareto | FlowKind::Lambert | FlowKind::Tail => tail_oracle(kind, raw, x),
    }
}

/// Itself within ±8, within ±12 beyond.
fn log_scale(raw: &Tensor) -> Tensor {
    let beyond = (raw.abs() - 8.0).relu();
    raw.clamp(-8.0, 8.0) + (beyond / 4.0).tanh() * 4.0 * raw.sign()
}

/// z and log |det ∂z/∂x| of the tail transform as tensors.
fn tail_oracle(kind: FlowKind, raw: &Tensor, x: &Tensor) -> (Tensor, Tensor) {
    let d = x.size()[0];
    let log_scale = log_scale(&raw.narrow(0, d, d));
    let a = (x - raw.narrow(0, 0, d)) * (-&log_scale).exp();
    let index =
        raw.narrow(0, 3 * d, d).where_self(&a.ge(0.0), &raw.narrow(0, 2 * d, d)).sigmoid() * MAX_INDEX;
    let w = a.abs();
    let (u, log_slope) = match kind {
        FlowKind::Pareto => {
            let rate = (2.0 / std::f64::consts::PI).sqrt();
            let stretch = (&index * &w * rate).log1p();
            let u = -((-&stretch / &index).exp() / 2.0).special_ndtri();
            let log_pdf = &u * &u * -0.5 - 0.5 * std::f64::consts::TAU.ln();
            let log_hazard: Tensor = log_pdf - (-&u).special_log_ndtr();
            (u, rate.ln() - log_hazard - stretch)
        }
        FlowKind::Tail => {
            let stretch = (&index * &w * &w).log1p();
            let u = (&stretch / &index).sqrt();
            let log_slope = (&w / &u).log() - &stretch;
            (u, log_slope)
        }
        _ => {
            let t = &index * &w * &w;
            // Solved without a gradient; one more step of Newton's method has the solution's.
            let mut lambert = t.detach().log1p();
            for _ in 0..60 {
                lambert = newton(&lambert, &t.detach());
            }
            let lambert = newton(&lambert, &t);
            (&w * (&lambert * -0.5).exp(), &lambert * -0.5 - lambert.log1p())
        }
    };
    (u * a.sign(), (log_slope - log_scale).sum(Kind::Double))
}

/// z and log |det ∂z/∂x| of the spline as tensors: equations 4 to 6 of Durkan et al. 2019.
fn spline_oracle(raw: &Tensor, x: &Tensor) -> (Tensor, Tensor) {
    const BINS: i64 = 8;
    const REACH: f64 = 4.0;
    // Outside of its reach nothing depends on the parameters: autograd is to see zeros, not nothing.
    let (mut zs, mut log_det) = (vec![], raw.sum(Kind::Double) * 0.0);
    for axis in 0..x.size()[0] {
        let (own, x) = (raw.narrow(0, 23 * axis, 23), x.get(axis));
        let here = f64::try_from(&x).expect("a number");
        if here.abs() >= REACH {
            zs.push(x);
            continue;
        }
        let knots = |from: i64| {
            let shares =
                own.narrow(0, from, BINS).softmax(0, Kind::Double) * (1.0 - 1e-3 * BINS as f64) + 1e-3;
            let ends = shares.cumsum(0, Kind::Double) * 2.0 * REACH - REACH;
            Tensor::cat(&[Tensor::from_slice(&[-REACH]), ends], 0)
        };
        let (x_knots, z_knots) = (knots(0), knots(BINS));
        let one = Tensor::from_slice(&[1f64]);
        let slopes = Tensor::cat(&[&one, &(softplus(&own.narrow(0, 2 * BINS, BINS - 1)) + 1e-3), &one], 0);
        let bin = numbers(&x_knots)[1..BINS as usize].iter().filter(|&&knot| knot <= here).count() as i64;
        let (width, height) =
            (x_knots.get(bin + 1) - x_knots.get(bin), z_knots.get(bin + 1) - z_knots.get(bin));
        let (s, left, right) = (&height / &width, slopes.get(bin), slopes.get(bin + 1));
        let t = (x - x_knots.get(bin)) / width;
        let product = &t * (1.0 - &t);
        let below = &s + (&left + &right - 2.0 * &s) * &product;
        zs.push(z_knots.get(bin) + height * (&s * &t * &t + &left * &product) / &below);
        let slope: Tensor = &right * &t * &t + 2.0 * &s * &product + &left * (1.0 - &t) * (1.0 - &t);
        log_det += 2.0 * s.log() + slope.log() - 2.0 * below.log();
    }
    (Tensor::stack(&zs, 0), log_det)
}

/// The calibrated score x of a score, and log dx/dz, as tensors: in the bin that x lies in, ½ bend u² + slope u is what is left of z.
fn recalibration_oracle(params: &Tensor, z: f64, x: f64) -> (Tensor, Tensor) {
    let slopes = params.narrow(0, 1, 7).exp();
    let lengths = (slopes.narrow(0, 0, 6) + slopes.narrow(0, 1, 6)) * 0.5;
    let ends = Tensor::cat(&[Tensor::from_slice(&[0f64]), lengths.cumsum(0, Kind::Double)], 0);
    let scores = &ends - ends.get(3) + params.get(0);
    let knot = (x + 3.0).floor().clamp(0.0, 6.0);
    let nth = knot as i64;
    let (left, slope) = (z - scores.get(nth), slopes.get(nth));
    if !(-3.0..3.0).contains(&x) {
        return (left / &slope + knot - 3.0, -slope.log());
    }
    let bend = slopes.get(nth + 1) - &slope;
    let square: Tensor = &slope * &slope + &bend * &left * 2.0;
    let end = square.sqrt();
    (left * 2.0 / (slope + &end) + knot - 3.0, -end.log())
}

/// A step towards the w with log w + w = log t.
fn newton(w: &Tensor, t: &Tensor) -> Tensor {
    w - (w.log() + w - t.log()) / (w.reciprocal() + 1.0)
}

/// libtorch's own softplus turns linear at 20, which shows in double precision.
fn softplus(x: &Tensor) -> Tensor {
    x.logaddexp(&x.zeros_like())
}

/// z and log |det ∂z/∂x| of a stack as tensors.
fn stack_oracle(stack: &Stack, kinds: &[FlowKind], raw: &Tensor, x: &Tensor) -> (Tensor, Tensor) {
    let (mut point, mut total) = (x.shallow_clone(), Tensor::from(0f64));
    for ((_, place), &kind) in stack.layers().rev().zip(kinds.iter().rev()) {
        let own = raw.narrow(0, place.start as i64, place.len() as i64);
        let (z, log_det) = oracle(kind, &own, &point);
        total += log_det;
        point = z;
    }
    (point, total)
}

/// log weights, means and scales of a mixture's parts as tensors.
fn parts_oracle(is_kernel: bool, raw: &Tensor) -> (Tensor, Tensor, Tensor) {
    let scale = |raw: Tensor| softplus(&raw) + 1e-3;
    if is_kernel {
        let log_weights = raw.narrow(0, 0, 40).log_softmax(0, Kind::Double);
        let means = raw.narrow(0, 40, 20).repeat_interleave_self_int(2, 0, 40);
        return (log_weights, means, scale(raw.narrow(0, 60, 2)).repeat([20]));
    }
    (raw.narrow(0, 0, 10).log_softmax(0, Kind::Double), raw.narrow(0, 10, 10), scale(raw.narrow(0, 20, 10)))
}

fn leaf(values: &[f64]) -> Tensor {
    Tensor::from_slice(values).set_requires_grad(true)
}

fn numbers(tensor: &Tensor) -> Vec<f64> {
    Vec::try_from(tensor.detach().reshape([-1])).expect("a vector of doubles")
}

/// Whether the oracle's division by ‖w‖² keeps enough digits.
fn well_conditioned(w: &[f64]) -> bool {
    w.iter().map(|w| w * w).sum::<f64>() > 1e-2
}

/// The largest difference, relative to the larger of 1 and the largest number.
fn difference(actual: &[f64], expected: &[f64]) -> f64 {
    assert_eq!(actual.len(), expected.len());
    let size = expected.iter().fold(1f64, |size, x| size.max(x.abs()));
    actual.iter().zip(expected).map(|(a, b)| (a - b).abs() / size).fold(0.0, f64::max)
}

/// Asserts that value, log-determinant and the gradients for a loss with these derivatives are the oracle's.
fn assert_agrees(
    transform: &dyn Transform,
    raw: &[f64],
    x: &[f64],
    (grad_z, grad_log_det): (&[f64], f64),
    (z_oracle, log_det_oracle): (&Tensor, &Tensor),
    (raw_leaf, x_leaf): (&Tensor, &Tensor),
) {
    let mut prepared = vec![0.0; transform.num_prepared()];
    let (mut z, mut grad_x, mut grad_raw) = (vec![0.0; x.len()], vec![0.0; x.len()], vec![0.0; raw.len()]);
    let params = RawParams::of(raw);
    transform.prepare(params.all(), &mut prepared);
    let log_det = transform.forward(&prepared, x, &mut z);
    let grad = Grad { z: grad_z, log_det: grad_log_det };
    transform.backward(At { raw: params.all(), prepared: &prepared, x }, grad, &mut grad_x, &mut grad_raw);
    assert!(difference(&z, &numbers(z_oracle)) < TOLERANCE, "z: {z:?} {z_oracle}");
    assert!(difference(&[log_det], &numbers(log_det_oracle)) < TOLERANCE, "{log_det} {log_det_oracle}");
    assert!(difference(&grad_x, &numbers(&x_leaf.grad())) < TOLERANCE, "∂x: {grad_x:?} {}", x_leaf.grad());
    assert!(
        difference(&grad_raw, &numbers(&raw_leaf.grad())) < TOLERANCE,
        "∂raw: {grad_raw:?} {}",
        raw_leaf.grad()
    );
}

fn vector(bound: f64, len: usize) -> impl Strategy<Value = Vec<f64>> {
    prop::collection::vec(-bound..bound, len)
}

fn kind() -> impl Strategy<Value = FlowKind> {
    prop::sample::select(FlowKind::ALL.to_vec())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    #[test]
    fn each_transform_agrees_with_autograd(
        kind in kind(),
        dim in 1..=3usize,
        raw in vector(5.0, 69),
        x in vector(10.0, 3),
        direction in vector(2.0, 4),
    ) {
        let layer = Layer::new(kind, dim);
        let (raw, x, grad_z, grad_log_det) =
            (&raw[..layer.num_params()], &x[..dim], &direction[..dim], direction[3]);

        prop_assume!(kind != FlowKind::Planar || well_conditioned(&raw[..dim]));

        let (raw_leaf, x_leaf) = (leaf(raw), leaf(x));
        let (z_oracle, log_det_oracle) = oracle(kind, &raw_leaf, &x_leaf);
        (z_oracle.dot(&Tensor::from_slice(grad_z)) + &log_det_oracle * grad_log_det).backward();

        assert_agrees(&layer, raw, x, (grad_z, grad_log_det), (&z_oracle, &log_det_oracle), (&raw_leaf, &x_leaf));
    }

    #[test]
    fn the_log_density_of_a_stack_agrees_with_autograd(
        kinds in prop::collection::vec(kind(), 0..6),
        dim in 1..=3usize,
        raw in prop::collection::vec(-2f32..2.0, 345),
        y in vector(4.0, 3),
    ) {
        let density = Nfn::new(&kinds, dim);
        let (params, y) = (&raw[..density.num_params()], &y[..dim]);
        let mut ws = density.workspace();
        let mut grad = vec![0.0; params.len()];
        density.load(params, &mut ws);
        let log_density = density.log_density_grad(y, &mut grad, &mut ws);
        prop_assert_eq!(log_density, density.log_density(y, &mut ws));

        let planars = density.stack().layers().filter(|(layer, _)| matches!(layer, Layer::Planar(_)));
        for (_, place) in planars {
            let w: Vec<f64> = params[place.start..place.start + dim].iter().map(|&w| f64::from(w)).collect();
            prop_assume!(well_conditioned(&w));
        }

        // The stack's own gradient with respect to the point.
        let raw: Vec<f64> = params.iter().map(|&param| f64::from(param)).collect();
        let stack = Stack::new(&kinds, dim);
        let mut space = stack.workspace();
        stack.prepare(raw.iter().copied(), &mut space);
        stack.log_density_grad(y, &mut vec![0.0; raw.len()], &mut space);

        let (raw_leaf, y_leaf) = (leaf(&raw), leaf(y));
        let (point, mut total) = stack_oracle(&stack, &kinds, &raw_leaf, &y_leaf);
        let log_normal = -0.5 * point.dot(&point) - 0.5 * dim as f64 * std::f64::consts::TAU.ln();
        total += log_normal;
        total.backward();

        prop_assert!(difference(&[log_density], &numbers(&total)) < TOLERANCE);
        prop_assert!(difference(space.grad_data(), &numbers(&y_leaf.grad())) < TOLERANCE);
        if !params.is_empty() {
            prop_assert!(difference(&grad, &numbers(&raw_leaf.grad())) < TOLERANCE);
        }
    }

    #[test]
    fn the_probability_of_an_interval_agrees_with_autograd(
        kinds in prop::collection::vec(kind(), 0..4),
        raw in prop::collection::vec(-2f32..2.0, 92),
        low in -3.0..3.0f64,
        log10_width in -1.0..1.0f64,
    ) {
        let density = Nfn::new(&kinds, 1);
        let params = &raw[..density.num_params()];
        let planars = density.stack().layers().filter(|(layer, _)| matches!(layer, Layer::Planar(_)));
        for (_, place) in planars {
            prop_assume!(well_conditioned(&[f64::from(params[place.start])]));
        }
        let raw_leaf = leaf(&params.iter().map(|&param| f64::from(param)).collect::<Vec<_>>());
        let high = low + 10f64.powf(log10_width);
        let end = |y: f64| stack_oracle(density.stack(), &kinds, &raw_leaf, &Tensor::from_slice(&[y])).0;
        let (z_low, z_high) = (end(low), end(high));
        let lowest = numbers(&z_low)[0].abs();
        // The oracle takes a difference of probabilities.
        prop_assume!(lowest < 4.0 && numbers(&(&z_high - &z_low))[0] > 1e-3);
        let mass = (z_high.special_ndtr() - z_low.special_ndtr()).log();
        assert_mass_agrees(&density, params, low, high, &mass, &raw_leaf);
    }

    #[test]
    fn mixtures_agree_with_autograd(
        is_kernel in prop::bool::ANY,
        raw in prop::collection::vec(-2f32..2.0, 62),
        low in -3.0..3.0f64,
        log10_width in -1.0..1.0f64,
    ) {
        let density: &dyn Learnable = if is_kernel { &Kmn } else { &Mdn };
        let params = &raw[..density.num_params()];
        let raw: Vec<f64> = params.iter().map(|&param| f64::from(param)).collect();
        let mut ws = density.workspace();
        density.load(params, &mut ws);
        let mut grad = vec![f64::NAN; params.len()];
        let log_density = density.log_density_grad(&[low], &mut grad, &mut ws);

        let raw_leaf = leaf(&raw);
        let (log_weights, means, scales) = parts_oracle(is_kernel, &raw_leaf);
        let z = (low - &means) / &scales;
        let parts: Tensor = &log_weights - 0.5 * &z * &z - 0.5 * std::f64::consts::TAU.ln() - scales.log();
        let total = parts.logsumexp([0], false);
        total.backward();
        prop_assert!(difference(&[log_density], &numbers(&total)) < TOLERANCE);
        let expected = learned(density, numbers(&raw_leaf.grad()));
        prop_assert!(difference(&grad, &expected) < TOLERANCE, "{grad:?} {expected:?}");

        let raw_leaf = leaf(&raw);
        let (log_weights, means, scales) = parts_oracle(is_kernel, &raw_leaf);
        let high = low + 10f64.powf(log10_width);
        let end = |y: f64| ((y - &means) / &scales).special_ndtr();
        let mass: Tensor = (log_weights.exp() * (end(high) - end(low))).sum(Kind::Double).log();
        prop_assume!(numbers(&mass)[0] > -12.0);
        assert_mass_agrees(density, params, low, high, &mass, &raw_leaf);
    }
}

/// A gradient without what is never learned.
fn learned(density: &dyn Learnable, mut grad: Vec<f64>) -> Vec<f64> {
    for (g, _) in grad.iter_mut().zip(density.roles()).filter(|(_, role)| *role == Role::Fixed) {
        *g = 0.0;
    }
    grad
}

proptest! {
    #[test]
    fn recalibration_agrees_with_autograd(
        params in prop::array::uniform8(-1.4..1.4), z in -9.0..9.0f64, width in 0.01..9.0f64,
    ) {
        let map = Recalibration::new(params);
        let leaf = leaf(&params);
        let oracle = |z: f64| recalibration_oracle(&leaf, z, map.calibrated(z).0);
        let ((x, log_slope), (high, _)) = (oracle(z), oracle(z + width));
        let log_density = &x * &x * -0.5 - 0.5 * std::f64::consts::TAU.ln() + log_slope;
        // In whichever tail is further out, where differences of probabilities are right.
        let is_lower = f64::try_from(&x + &high).expect("a number") < 0.0;
        let (a, b) = if is_lower { (high, x.shallow_clone()) } else { (-&x, -high) };
        let (a, b) = (a.special_log_ndtr(), b.special_log_ndtr());
        let log_mass = &a + (-(b - &a).exp()).log1p();

        let mut grad = [0.0; NUM_PARAMS];
        for (told, expected) in [
            (map.log_density_grad(z, &mut grad), &log_density),
            (map.log_mass_grad([z, z + width], &mut grad), &log_mass),
        ] {
            prop_assert!(difference(&[told], &numbers(expected)) < TOLERANCE);
        }
        let expected = numbers(&Tensor::run_backward(&[&log_mass], &[&leaf], true, false)[0]);
        prop_assert!(difference(&grad, &expected) < TOLERANCE, "{grad:?} {expected:?}");
        map.log_density_grad(z, &mut grad);
        let expected = numbers(&Tensor::run_backward(&[&log_density], &[&leaf], false, false)[0]);
        prop_assert!(difference(&grad, &expected) < TOLERANCE, "{grad:?} {expected:?}");
    }
}

/// Asserts that the probability of an interval, and its gradient, are the oracle's.
fn assert_mass_agrees(
    density: &dyn Learnable,
    params: &[f32],
    low: f64,
    high: f64,
    mass: &Tensor,
    raw_leaf: &Tensor,
) {
    let mut ws = density.workspace();
    density.load(params, &mut ws);
    let mut grad = vec![f64::NAN; params.len()];
    let log_mass = density.log_mass_grad(low, high, &mut grad, &mut ws);
    assert!(difference(&[log_mass], &numbers(mass)) < TOLERANCE, "{log_mass} {mass}");
    if params.is_empty() {
        return;
    }
    mass.sum(Kind::Double).backward();
    let expected = learned(density, numbers(&raw_leaf.grad()));
    // The oracle's difference of probabilities loses digits where the interval is narrow.
    assert!(difference(&grad, &expected) < 1e-5, "{grad:?} {expected:?}");
}
