//! New centers and scales of inputs and targets, without a change of the function that the net computes.
//!
//! The idea is Pop-Art's (van Hasselt et al. 2016, "Learning values across many orders of magnitude", proposition 1): what a new unit does
//! to a value the weights next to it undo. Here that holds for the inputs too, as far as hidden layers see them as they are (the squash
//! bends what is beyond three scales), for the weights' moving average, and for the optimiser's moments: the first
//! exactly, since it is linear in the gradients, the second as if an input's value and its mean were independent.

use super::{net::Shape, standardiser::Rescaling};

/// Weights and their average, and the optimiser's moments of them.
pub struct Weights<'a> {
    /// Weights of which each is to go on as before.
    pub values: [&'a mut [f32]; 2],
    /// First and second moment of the gradient.
    pub moments: Option<[&'a mut [f32]; 2]>,
}

impl Weights<'_> {
    /// Changes the weights at these places and their moments, or nothing where that would not leave all of them finite; whether it did.
    fn change(&mut self, places: &[usize], change: impl FnOnce(&mut Self)) -> bool {
        let mut before = Vec::new();
        self.slices().for_each(|slice| before.extend(places.iter().map(|&at| slice[at])));
        change(self);
        let is_finite = self.slices().all(|slice| places.iter().all(|&at| slice[at].is_finite()));
        if !is_finite {
            for (slice, before) in self.slices().zip(before.chunks_exact(places.len())) {
                places.iter().zip(before).for_each(|(&at, &before)| slice[at] = before);
            }
        }
        is_finite
    }

    fn slices(&mut self) -> impl Iterator<Item = &mut [f32]> {
        self.values.iter_mut().chain(self.moments.iter_mut().flatten()).map(|slice| &mut **slice)
    }
}

/// Makes up for a dense input's new unit; the indicator of a missing value stands behind it, where the value is 0 in every unit. Whether it
/// could: else nothing has changed.
pub fn input(
    shape: &Shape,
    at: usize,
    Rescaling { ratio, shift }: Rescaling,
    weights: &mut Weights<'_>,
) -> bool {
    let places: Vec<[usize; 3]> = shape
        .dense_row(at)
        .zip(shape.dense_row(at + 1))
        .map(|((weight, bias), (indicator, _))| [weight, bias, indicator])
        // Where nothing is learned from the inputs there is nothing to make up for.
        .filter(|[weight, ..]| !shape.frozen().contains(weight))
        .collect();
    let change = |weights: &mut Weights<'_>| {
        for values in &mut weights.values {
            // W z + b = (ratio W) z′ + (b + shift W); and where the value is missing, V + b stays as it is.
            for &[weight, bias, indicator] in &places {
                let moved = shift * f64::from(values[weight]);
                values[bias] = (f64::from(values[bias]) + moved) as f32;
                values[indicator] = (f64::from(values[indicator]) - moved) as f32;
                values[weight] = (ratio * f64::from(values[weight])) as f32;
            }
        }
        if let Some([first, second]) = &mut weights.moments {
            for &[weight, bias, indicator] in &places {
                // The gradient in W′ is Σ δ z′ = (Σ δ z − shift Σ δ) / ratio over the rows that have a value.
                let present = f64::from(first[bias]) - f64::from(first[indicator]);
                first[weight] = ((f64::from(first[weight]) - shift * present) / ratio) as f32;
                let of_bias = shift * shift * f64::from(second[bias]);
                second[weight] = ((f64::from(second[weight]) + of_bias) / (ratio * ratio)) as f32;
            }
        }
    };
    weights.change(places.as_flattened(), change)
}

/// Makes up for a target's new unit, by its location and log scale among the outputs. Whether it could: else nothing has changed.
pub fn target(
    shape: &Shape,
    [location, log_scale]: [usize; 2],
    Rescaling { ratio, shift }: Rescaling,
    weights: &mut Weights<'_>,
) -> bool {
    let bias = shape.output_bias().start;
    let places: Vec<usize> = shape
        .output_column(location)
        .chain(shape.linear_column(location))
        .chain([bias + location, bias + log_scale])
        .collect();
    let (_, scaled) = places.split_last().expect("the log scale's");
    weights.change(&places, |weights| {
        for values in &mut weights.values {
            for &at in scaled {
                values[at] = (f64::from(values[at]) / ratio) as f32;
            }
            values[bias + location] = (f64::from(values[bias + location]) - shift / ratio) as f32;
            values[bias + log_scale] = (f64::from(values[bias + log_scale]) - ratio.ln()) as f32;
        }
        if let Some([first, second]) = &mut weights.moments {
            for &at in scaled {
                first[at] = (f64::from(first[at]) * ratio) as f32;
                second[at] = (f64::from(second[at]) * ratio * ratio) as f32;
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        config::{Activation, FlowKind},
        density::{Density, Learnable, Nfn},
        model::{
            inputs::{NO_CATEGORY, Row},
            net::Workspace,
            noise::Draws,
            twin::Twin,
        },
    };

    fn net() -> (Nfn, Shape) {
        let density = Nfn::new(&[FlowKind::Radial, FlowKind::Tail], 1);
        let shape = Shape::new(4, &[3], &[8, 8], Activation::Tanh, &density.roles());
        (density, shape)
    }

    fn drawn(shape: &Shape, seed: u64) -> Vec<f32> {
        let mut draws = Draws::new(seed, 0, 0);
        (0..shape.num_weights()).map(|_| 0.3 * draws.normal() as f32).collect()
    }

    /// log p(y) of a row, y in normalised units.
    fn log_density(density: &Nfn, shape: &Shape, weights: &[f32], row: &Row, y: f64) -> f64 {
        let (mut params, mut ws) = (vec![0.0; shape.num_outputs()], density.workspace());
        shape.forward(weights, row, &mut params, &mut Workspace::default());
        density.load(&params, &mut ws);
        density.log_density(&[y], &mut ws)
    }

    /// What a first moment is an average of.
    fn gradient(shape: &Shape, weights: &[f32], rows: &[Row], by_outputs: &[f32]) -> Vec<f32> {
        let mut twin = Twin::new(shape.clone());
        let gradient = twin.gradient(weights, rows, |_, out| out.copy_from_slice(by_outputs));
        gradient.expect("libtorch computes").to_vec()
    }

    fn assert_near(found: &[f32], expected: &[f32]) {
        for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
            assert!((found - expected).abs() < 1e-3 * (1.0 + expected.abs()), "{at}: {found} {expected}");
        }
    }

    #[test]
    fn a_first_moment_becomes_that_of_the_gradient_in_the_new_unit() {
        for hidden in [&[8, 8][..], &[]] {
            let density = Nfn::new(&[FlowKind::Radial, FlowKind::Tail], 2);
            let shape = Shape::new(4, &[3], hidden, Activation::Tanh, &density.roles());
            let weights = drawn(&shape, 1);
            let mut draws = Draws::new(2, 0, 0);
            let rescaling = Rescaling { ratio: 1.7, shift: -0.4 };
            let (mut rows, mut renewed) = (Vec::new(), Vec::new());
            for nth in 0..40 {
                let z = 2.0 * draws.uniform() - 1.0;
                let row =
                    |value: [f32; 2]| Row { dense: [[0.3, 0.0], value].concat(), categories: vec![nth % 3] };
                let missing = nth % 5 == 0;
                rows.push(row(if missing { [0.0, 1.0] } else { [z as f32, 0.0] }));
                let z = (z - rescaling.shift) / rescaling.ratio;
                renewed.push(row(if missing { [0.0, 1.0] } else { [z as f32, 0.0] }));
            }
            let by_outputs: Vec<f32> = (0..40 * shape.num_outputs()).map(|_| draws.normal() as f32).collect();
            let change = |change: &dyn Fn(&mut Weights<'_>) -> bool| {
                let (mut values, mut average) = (weights.clone(), drawn(&shape, 3));
                let mut first = gradient(&shape, &weights, &rows, &by_outputs);
                let mut second = first.iter().map(|g| g * g).collect::<Vec<f32>>();
                let moments = Some([&mut first[..], &mut second[..]]);
                assert!(change(&mut Weights { values: [&mut values, &mut average], moments }));
                assert!(second.iter().all(|moment| *moment >= 0.0));
                (values, first)
            };
            let (values, first) = change(&|weights| input(&shape, 2, rescaling, weights));
            assert_near(&first, &gradient(&shape, &values, &renewed, &by_outputs));

            // Of the second target: its location's derivative is in the new unit, too.
            let unit = density.unit().expect("a tail has a location");
            let place = [unit.locations[1], unit.log_scales[1]];
            let (values, first) = change(&|weights| target(&shape, place, rescaling, weights));
            let mut by_new = by_outputs.clone();
            by_new
                .iter_mut()
                .skip(place[0])
                .step_by(shape.num_outputs())
                .for_each(|by| *by *= rescaling.ratio as f32);
            assert_near(&first, &gradient(&shape, &values, &rows, &by_new));
        }
    }

    /// A change to another unit; whether it could be made.
    type Change<'a> = &'a dyn Fn(&mut Weights<'_>, Rescaling) -> bool;

    #[test]
    fn what_would_not_stay_finite_does_not_change() {
        let (density, shape) = net();
        let weights = drawn(&shape, 1);
        let unit = density.unit().expect("a tail has a location");
        let changes: [Change<'_>; 2] =
            [&|weights, rescaling| input(&shape, 2, rescaling, weights), &|weights, rescaling| {
                target(&shape, [unit.locations[0], unit.log_scales[0]], rescaling, weights)
            }];
        for change in changes {
            for ratio in [1e-60, 1e60] {
                let (mut values, mut average) = (weights.clone(), weights.clone());
                let (mut first, mut second) = (weights.clone(), weights.clone());
                let mut all =
                    Weights { values: [&mut values, &mut average], moments: Some([&mut first, &mut second]) };
                assert!(!change(&mut all, Rescaling { ratio, shift: 0.5 }), "{ratio}");
                assert_eq!([values, average, first, second], [&weights[..]; 4], "{ratio}");
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Within three scales, and wherever a value is missing.
        #[test]
        fn a_new_unit_changes_nothing_of_what_the_net_computes(
            seed: u64, ratio in 0.2f64..5.0, shift in -3.0f64..3.0, x in -2.9f64..2.9, y in -20.0f64..20.0, category in 0u32..4,
        ) {
            let rescaling = Rescaling { ratio, shift };
            let renewed = (x - shift) / ratio;
            prop_assume!(renewed.abs() < 2.9);
            let (density, shape) = net();
            let weights = drawn(&shape, seed);
            let categories = vec![if category == 3 { NO_CATEGORY } else { category }];
            let row = |present: bool, x: f64| {
                let value = if present { [x as f32, 0.0] } else { [0.0, 1.0] };
                Row { dense: [[0.5, 0.0], value].concat(), categories: categories.clone() }
            };
            let (mut of_input, mut average) = (weights.clone(), weights.clone());
            let values = [&mut of_input[..], &mut average[..]];
            let could = input(&shape, 2, rescaling, &mut Weights { values, moments: None });
            prop_assert!(could);
            prop_assert_eq!(&of_input, &average);
            for present in [true, false] {
                let before = log_density(&density, &shape, &weights, &row(present, x), y);
                let after = log_density(&density, &shape, &of_input, &row(present, renewed), y);
                prop_assert!((after - before).abs() < 1e-4 * (1.0 + before.abs()), "{before} {after}");
            }

            let unit = density.unit().expect("a tail has a location");
            let (mut of_target, mut average) = (weights.clone(), weights.clone());
            let values = [&mut of_target[..], &mut average[..]];
            let place = [unit.locations[0], unit.log_scales[0]];
            let could = target(&shape, place, rescaling, &mut Weights { values, moments: None });
            prop_assert!(could);
            let before = log_density(&density, &shape, &weights, &row(true, x), y);
            let after = log_density(&density, &shape, &of_target, &row(true, x), (y - shift) / ratio) - ratio.ln();
            prop_assert!((after - before).abs() < 1e-4 * (1.0 + before.abs()), "{before} {after}");
        }
    }
}
