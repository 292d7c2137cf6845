#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

fn prepare(layer: &Layer, raw: &[f64]) -> Vec<f64> {
    let mut prepared = vec![0.0; layer.num_prepared()];
    layer.prepare(RawParams::of(&raw[..layer.num_params()]).all(), &mut prepared);
    prepared
}

fn forward(layer: &Layer, prepared: &[f64], x: &[f64]) -> (Vec<f64>, f64) {
    let mut z = vec![0.0; x.len()];
    let log_det = layer.forward(prepared, x, &mut z);
    (z, log_det)
}

fn distance(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

/// The determinant of a matrix of at most three rows.
fn determinant(m: &[Vec<f64>]) -> f64 {
    match m.len() {
        1 => m[0][0],
        2 => m[0][0] * m[1][1] - m[0][1] * m[1][0],
        _ => (0..3)
            .map(|i| {
                let (j, k) = ((i + 1) % 3, (i + 2) % 3);
                m[0][i] * (m[1][j] * m[2][k] - m[1][k] * m[2][j])
            })
            .sum(),
    }
}

fn kind() -> impl Strategy<Value = FlowKind> {
    prop::sample::select(FlowKind::ALL.to_vec())
}

/// All but the generalised Pareto, whose density has a cusp, and the spline, whose slope bends at its knots: autograd and
/// `tail::tests` look at their gradients.
fn smooth_kind() -> impl Strategy<Value = FlowKind> {
    kind().prop_filter("a cusp", |kind| ![FlowKind::Pareto, FlowKind::Spline].contains(kind))
}

fn vector(bound: f64, len: usize) -> impl Strategy<Value = Vec<f64>> {
    prop::collection::vec(-bound..bound, len)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn the_inverse_undoes_the_transform(kind in kind(), dim in 1..=3usize, raw in vector(4.0, 69), x in vector(20.0, 3)) {
        let layer = Layer::new(kind, dim);
        let prepared = prepare(&layer, &raw);
        let x = &x[..dim];
        let (z, _) = forward(&layer, &prepared, x);
        let mut back = vec![0.0; dim];
        layer.inverse(&prepared, &z, &mut back);
        // The inverse may be steep by up to one over the least slope.
        prop_assert!(distance(&back, x) < 1e-10, "{back:?} {x:?}");
        let (again, _) = forward(&layer, &prepared, &back);
        prop_assert!(distance(&again, &z) < 1e-12 * (1.0 + distance(&z, &vec![0.0; dim])));
    }

    #[test]
    fn the_log_determinant_is_that_of_the_jacobian(kind in kind(), dim in 1..=3usize, raw in vector(3.0, 69), x in vector(4.0, 3)) {
        let layer = Layer::new(kind, dim);
        let prepared = prepare(&layer, &raw);
        let (_, log_det) = forward(&layer, &prepared, &x[..dim]);
        let at = |axis: usize, step: f64| {
            let mut moved = x[..dim].to_vec();
            moved[axis] += step;
            forward(&layer, &prepared, &moved).0
        };
        let h = 1e-4;
        // Five points a derivative: the error falls with h⁴.
        let columns: Vec<Vec<f64>> = (0..dim)
            .map(|axis| {
                let (a, b, c, d) = (at(axis, -2.0 * h), at(axis, -h), at(axis, h), at(axis, 2.0 * h));
                (0..dim).map(|i| (a[i] - 8.0 * b[i] + 8.0 * c[i] - d[i]) / (12.0 * h)).collect()
            })
            .collect();
        let has_kink = match kind {
            FlowKind::Radial => distance(&x[..dim], &prepared[2..]) < 10.0 * h,
            // A spline's slope bends at its knots, the ends' first of all.
            FlowKind::Spline => (0..dim).any(|axis| {
                let knots = &prepared[27 * axis..][..9];
                knots.iter().any(|knot| (x[axis] - knot).abs() < 10.0 * h)
            }),
            FlowKind::Pareto => x[..dim].iter().zip(&prepared).any(|(x, m)| (x - m).abs() < 10.0 * h),
            _ => false,
        };
        if has_kink {
            return Ok(());
        }
        let numeric = determinant(&columns);
        prop_assert!((numeric - log_det.exp()).abs() < 1e-6 * log_det.exp().max(1.0), "{numeric} {}", log_det.exp());
    }

    #[test]
    fn one_dimensional_transforms_increase(kind in kind(), raw in vector(30.0, 23), x in -50.0..50.0f64, gap in 0.0..10.0f64) {
        let layer = Layer::new(kind, 1);
        let prepared = prepare(&layer, &raw);
        let ((low, _), (high, _)) = (forward(&layer, &prepared, &[x]), forward(&layer, &prepared, &[x + gap]));
        prop_assert!(low[0] <= high[0]);
        prop_assert!(gap < 1e-3 || low[0] < high[0]);
    }

    #[test]
    fn everything_is_finite_for_extreme_parameters_and_points(
        kinds in prop::collection::vec(kind(), 1..6),
        dim in 1..=3usize,
        signs in vector(1.0, 345),
        raw_magnitude in 0.0..1e3f64,
        x in vector(1e6, 3),
    ) {
        let stack = Stack::new(&kinds, dim);
        let mut ws = stack.workspace();
        stack.prepare(signs.iter().map(|sign| sign * raw_magnitude), &mut ws);
        let mut grad = vec![f64::NAN; stack.num_params()];
        let log_density = stack.log_density_grad(&x[..dim], &mut grad, &mut ws);
        prop_assert!(log_density.is_finite());
        prop_assert!(grad.iter().chain(ws.grad_data()).all(|g| g.is_finite()), "{grad:?}");
        if kinds.iter().filter(|kind| kind.is_tail()).count() > 1 {
            return Ok(()); // two tails on top of each other take a few deviations beyond what a number can hold
        }
        let z: Vec<f64> = x[..dim].iter().map(|x| x * 1e-5).collect();
        prop_assert!(stack.inverse(&z, &mut ws).iter().all(|x| x.is_finite()));
    }

    #[test]
    fn the_gradient_is_that_of_the_value(
        kinds in prop::collection::vec(smooth_kind(), 1..5),
        dim in 1..=3usize,
        raw in vector(1.5, 276),
        x in vector(2.0, 3),
    ) {
        let stack = Stack::new(&kinds, dim);
        let raw = &raw[..stack.num_params()];
        let mut ws = stack.workspace();
        let mut value = |raw: &[f64], x: &[f64]| {
            stack.prepare(raw.iter().copied(), &mut ws);
            stack.log_density(x, &mut ws)
        };
        let h = 1e-5;
        let mut numeric = vec![];
        for i in 0..raw.len() {
            let (mut low, mut high) = (raw.to_vec(), raw.to_vec());
            low[i] -= h;
            high[i] += h;
            numeric.push((value(&high, &x[..dim]) - value(&low, &x[..dim])) / (2.0 * h));
        }
        for i in 0..dim {
            let (mut low, mut high) = (x[..dim].to_vec(), x[..dim].to_vec());
            low[i] -= h;
            high[i] += h;
            numeric.push((value(raw, &high) - value(raw, &low)) / (2.0 * h));
        }
        let mut grad = vec![0.0; raw.len()];
        stack.prepare(raw.iter().copied(), &mut ws);
        stack.log_density_grad(&x[..dim], &mut grad, &mut ws);
        grad.extend_from_slice(ws.grad_data());
        let size = 1.0 + grad.iter().fold(0f64, |size, g| size.max(g.abs()));
        // Near a radial centre the numeric derivative steps over the kink: the exact test is against autograd.
        prop_assert!(distance(&grad, &numeric) < 1e-3 * size * size, "{grad:?} {numeric:?}");
    }
}

#[test]
fn every_transform_but_a_tail_starts_as_the_identity() {
    for kind in [FlowKind::Affine, FlowKind::Planar, FlowKind::Radial, FlowKind::Spline] {
        for dim in 1..=3 {
            let stack = Stack::new(&[kind; 4], dim);
            let mut ws = stack.workspace();
            stack.prepare(stack.initial(&[0.0; 3], &[1.0; 3]), &mut ws);
            let x = [0.3, -2.0, 7.0];
            let (z, log_det) = stack.forward(&x[..dim], &mut ws);
            assert!(
                distance(z, &x[..dim]) < 1e-13 && log_det.abs() < 1e-13,
                "{kind:?} {dim}: {z:?} {log_det}"
            );
        }
    }
}

#[test]
fn a_stack_starts_where_and_as_wide_as_it_is_told() {
    for last in [FlowKind::Affine, FlowKind::Tail] {
        let stack = Stack::new(&[FlowKind::Radial, last], 2);
        let mut ws = stack.workspace();
        stack.prepare(stack.initial(&[3.0, -1e4], &[0.1, 250.0]), &mut ws);
        let (z, _) = stack.forward(&[3.0, -1e4], &mut ws);
        assert!(z.iter().all(|z| z.abs() < 1e-12), "{last:?}: {z:?}");
        let (z, _) = stack.forward(&[3.0 + 1e-3, -1e4 + 2.5], &mut ws);
        assert!(z.iter().all(|z| (z - 1e-2).abs() < 1e-7), "{last:?}: {z:?}");
    }
}

#[test]
fn centers_spread_over_the_bulk() {
    let stack = Stack::new(&[FlowKind::Radial, FlowKind::Radial, FlowKind::Affine, FlowKind::Radial], 1);
    let raw = stack.initial(&[0.0], &[1.0]);
    let centers: Vec<f64> =
        stack.layers().filter(|(_, raw)| raw.len() == 3).map(|(_, place)| raw[place.end - 1]).collect();
    assert_eq!(centers, [-1.5, 0.0, 1.5]);
}

#[test]
fn the_radial_inverse_holds_at_the_centre_and_far_from_it() {
    let layer = Layer::new(FlowKind::Radial, 2);
    for raw in [[3.0, 3.0, 1.0, -1.0], [-20.0, -900.0, 0.0, 0.0], [900.0, 900.0, 5.0, 5.0]] {
        let prepared = prepare(&layer, &raw);
        for x in [[raw[2], raw[3]], [raw[2] + 1e-9, raw[3]], [1e6, -1e6], [1e12, 0.0]] {
            let (z, _) = forward(&layer, &prepared, &x);
            let mut back = [0.0; 2];
            layer.inverse(&prepared, &z, &mut back);
            assert!(distance(&back, &x) <= 1e-12 * (1.0 + x[0].abs()), "{raw:?}: {x:?} became {back:?}");
        }
    }
}

#[test]
fn a_planar_transform_without_direction_or_bend_is_well_behaved() {
    let layer = Layer::new(FlowKind::Planar, 2);
    for raw in [[0.0, 0.0, 1e3, -1e3, 1.0], [1e-30, 0.0, -1e3, 1e3, 1.0], [1e-6, 1e-6, -1e3, -1e3, 0.0]] {
        let prepared = prepare(&layer, &raw);
        let (z, log_det) = forward(&layer, &prepared, &[0.5, 0.5]);
        assert!(log_det.is_finite() && z.iter().all(|z| z.abs() < 3e3), "{raw:?}: {z:?} {log_det}");
    }
}
