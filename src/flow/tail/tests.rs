#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;
use crate::flow::RawParams;

/// u, log ∂u/∂w, and back.
fn there_and_back<S: Shape>(shape: S, w: f64, index: f64) -> (f64, f64, f64) {
    let (u, log_slope) = shape.to_base(w, index);
    (u, log_slope, shape.to_data(u, index))
}

/// Asserts that a shape inverts, that its slope is that of its value, and that its derivatives are those of both.
fn assert_right<S: Shape + std::fmt::Debug>(shape: S, w: f64, index: f64) {
    let case = format!("{shape:?} at w = {w:e} with index {index:e}");
    let (u, log_slope, back) = there_and_back(shape, w, index);
    // In the far tail a rounding of u moves w by as much as the inverse is steep there.
    let steepness = (u * (-log_slope).exp() / w).max(1.0);
    assert!((back / w - 1.0).abs() < 1e-12 * steepness, "{case}: came back as {back:e}");
    // Five points a derivative.
    let numeric =
        |f: &dyn Fn(f64) -> f64, h: f64| (f(-2.0 * h) - 8.0 * f(-h) + 8.0 * f(h) - f(2.0 * h)) / (12.0 * h);
    let by = shape.derivatives(w, index);
    let (step_w, step_index) = (1e-3 * w, 1e-3 * index);
    let pairs = [
        (by.u_by_w, numeric(&|h| shape.to_base(w + h, index).0, step_w), u / w),
        (by.u_by_index, numeric(&|h| shape.to_base(w, index + h).0, step_index), u / index),
        (by.l_by_w, numeric(&|h| shape.to_base(w + h, index).1, step_w), (1.0 + log_slope.abs()) / w),
        (
            by.l_by_index,
            numeric(&|h| shape.to_base(w, index + h).1, step_index),
            (1.0 + log_slope.abs()) / index,
        ),
    ];
    for (nth, (told, numeric, size)) in pairs.into_iter().enumerate() {
        assert!(
            (told - numeric).abs() < 1e-8 * size.max(numeric.abs()),
            "{case}: {nth}: {told:e} {numeric:e}"
        );
    }
    assert!((by.u_by_w.ln() - log_slope).abs() < 1e-9 * (1.0 + log_slope.abs()), "{case}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_shape_inverts_and_its_derivatives_are_those_of_its_value(
        log10_w in -6.0..6.0f64,
        log10_index in -3.0..0.3f64,
    ) {
        let (w, index) = (10f64.powf(log10_w), 10f64.powf(log10_index));
        assert_right(Pareto, w, index);
        assert_right(Lambert, w, index);
        assert_right(Wallace, w, index);
    }

    #[test]
    fn everything_is_finite_at_a_target_a_million_scales_away(
        raw in prop::collection::vec(-1e3..1e3f64, 4),
        log10_x in -300.0..6.0f64,
        sign in prop::sample::select(vec![-1.0, 1.0]),
    ) {
        assert_finite(Tail::new(1, Pareto), &raw, sign * 10f64.powf(log10_x));
        assert_finite(Tail::new(1, Lambert), &raw, sign * 10f64.powf(log10_x));
        assert_finite(Tail::new(1, Wallace), &raw, sign * 10f64.powf(log10_x));
    }
}

/// Asserts that value, inverse and gradient are finite `scaled` scales away from the location.
fn assert_finite<S: Shape>(tail: Tail<S>, raw: &[f64], scaled: f64) {
    let mut prepared = [0.0; 5];
    let raw_params = RawParams::of(raw);
    tail.prepare(raw_params.all(), &mut prepared);
    let x = [prepared[0] + scaled / prepared[2]];
    let (mut z, mut back) = ([f64::NAN], [f64::NAN]);
    let log_det = tail.forward(&prepared, &x, &mut z);
    tail.inverse(&prepared, &z, &mut back);
    let (mut grad_x, mut grad_raw) = ([f64::NAN], [f64::NAN; 4]);
    let grad = Grad { z: &[-z[0]], log_det: 1.0 };
    tail.backward(At { raw: raw_params.all(), prepared: &prepared, x: &x }, grad, &mut grad_x, &mut grad_raw);
    let all = [z[0], log_det, back[0], grad_x[0]].into_iter().chain(grad_raw);
    assert!(all.clone().all(f64::is_finite), "{raw:?} at {scaled:e}: {:?}", all.collect::<Vec<_>>());
}

#[test]
fn each_side_has_its_own_index_and_the_middle_slope_one() {
    let raw = [3.0, 0.0, raw_index(0.05), raw_index(0.5)];
    let tails: [(&dyn Transform, &str); 3] = [
        (&Tail::new(1, Pareto), "pareto"),
        (&Tail::new(1, Lambert), "lambert"),
        (&Tail::new(1, Wallace), "wallace"),
    ];
    for (tail, name) in tails {
        let mut prepared = [0.0; 5];
        tail.prepare(RawParams::of(&raw).all(), &mut prepared);
        let base = |x: f64| {
            let mut z = [0.0];
            let log_det = tail.forward(&prepared, &[x], &mut z);
            (z[0], log_det)
        };
        let (z, log_det) = base(3.0);
        assert!(z == 0.0 && log_det.abs() < 1e-15, "{name}: {z} {log_det}");
        let (below, above) = (base(3.0 - 1e4).0, base(3.0 + 1e4).0);
        assert!(below < -above && above > 3.0, "{name}: {below} {above}");
        // Far out, the survival function falls by the index for each factor of the distance.
        let index = (1e9f64 / 1e8).ln()
            / (crate::math::normal::log_sf(base(1e8).0) - crate::math::normal::log_sf(base(1e9).0));
        assert!((index - 0.5).abs() < 0.02, "{name}: {index}");
    }
}

#[test]
fn it_rises_to_the_end_of_what_numbers_hold() {
    fn rises<S: Shape + std::fmt::Debug>(shape: S, index: f64) {
        let mut last = 0.0;
        for exponent in 0..=308 {
            let (u, log_slope) = shape.to_base(10f64.powi(exponent), index);
            assert!(
                u > last && u.is_finite() && log_slope.is_finite(),
                "{shape:?} {index} 1e{exponent}: {u} {log_slope}"
            );
            last = u;
        }
        assert!(shape.to_base(f64::INFINITY, index).0 == f64::INFINITY);
    }
    for index in [0.01, 0.3, 1.0, 1.99] {
        rises(Pareto, index);
        rises(Lambert, index);
        rises(Wallace, index);
    }
}

#[test]
fn it_works_axis_by_axis() {
    let tail = Tail::new(2, Pareto);
    let raw = [0.5, -1.0, 0.3, -0.2, raw_index(0.1), raw_index(0.2), raw_index(0.3), raw_index(0.4)];
    let mut prepared = [0.0; 10];
    tail.prepare(RawParams::of(&raw).all(), &mut prepared);
    let x = [4.0, -3.0];
    let mut z = [0.0; 2];
    let log_det = tail.forward(&prepared, &x, &mut z);
    let mut sum = 0.0;
    for axis in 0..2 {
        let own: Vec<f64> = (0..4).map(|i| raw[2 * i + axis]).collect();
        let (single, mut own_prepared, mut own_z) = (Tail::new(1, Pareto), [0.0; 5], [0.0]);
        single.prepare(RawParams::of(&own).all(), &mut own_prepared);
        sum += single.forward(&own_prepared, &x[axis..=axis], &mut own_z);
        assert_eq!(own_z[0], z[axis]);
    }
    assert_eq!(sum, log_det);
    let mut back = [0.0; 2];
    tail.inverse(&prepared, &z, &mut back);
    assert!(back.iter().zip(x).all(|(back, x)| (back - x).abs() < 1e-13 * x.abs()), "{back:?}");
}
