//! The net's gradient over a mini-batch: forward to the density parameters o, then Σ o·gradient back into the weights.
//!
//! Layers are matrix products over all rows at once. A category is a row of the first matrix that is added on the way forward and added
//! to on the way back: there are no one-hot columns. Nothing is kept between calls but space.

use crate::{
    math::{
        matrix::{Matrix, Multiplier},
        vector::Loops,
    },
    model::{
        activation::activate_with_slopes,
        inputs::{Row, squash},
        net::Shape,
    },
};

/// Computes gradients of a net of one shape.
pub struct Backprop {
    shape: Shape,
    /// What each layer takes, rows × its dense inputs.
    inputs: Vec<Vec<f32>>,
    /// How each hidden layer's outputs change with their sums, rows × outputs.
    slopes: Vec<Vec<f32>>,
    outputs: Vec<f32>,
    /// With respect to the sums of a layer, and of the one before it.
    grads: [Vec<f32>; 2],
    /// The gradient in the weights of the linear path to one location.
    linear: Vec<f32>,
    gradient: Vec<f32>,
    multiplier: Multiplier,
}

impl Backprop {
    /// For a net of this shape.
    #[must_use]
    pub fn new(shape: Shape) -> Self {
        let num_layers = shape.layers().len();
        Self {
            inputs: vec![vec![]; num_layers],
            slopes: vec![vec![]; num_layers - 1],
            outputs: vec![],
            grads: [vec![], vec![]],
            linear: vec![],
            gradient: vec![0.0; shape.num_weights()],
            multiplier: Multiplier::default(),
            shape,
        }
    }

    /// The net's layout.
    #[must_use]
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// The gradient that was computed last.
    pub fn gradient_mut(&mut self) -> &mut [f32] {
        &mut self.gradient
    }

    /// Computes the gradient in `weights` of Σ o·g over the rows, where `loss` maps the outputs o (rows × outputs) to g of the same
    /// length.
    pub fn run(&mut self, weights: &[f32], rows: &[Row], loss: impl FnOnce(&[f32], &mut [f32])) {
        self.forward(weights, rows);
        let grad_outputs = &mut self.grads[0];
        grad_outputs.clear();
        grad_outputs.resize(self.outputs.len(), 0.0);
        loss(&self.outputs, grad_outputs);
        self.backward(weights, rows);
    }

    /// Leaves the outputs in `self.outputs`.
    fn forward(&mut self, weights: &[f32], rows: &[Row]) {
        let Self { shape, inputs, slopes, outputs, multiplier, .. } = self;
        inputs[0].clear();
        rows.iter().for_each(|row| inputs[0].extend(row.dense.iter().map(|&x| squash(x))));
        for (nth, layer) in shape.layers().iter().enumerate() {
            let width = layer.outputs;
            let matrix = &weights[layer.weights.clone()];
            outputs.clear();
            rows.iter().for_each(|_| outputs.extend_from_slice(&weights[layer.bias.clone()]));
            let dense = if nth == 0 { shape.num_dense() } else { layer.inputs };
            let (left, right) =
                (Matrix::new(&inputs[nth], dense), Matrix::new(&matrix[..dense * width], width));
            multiplier.add(left, right, outputs, width);
            if nth == 0 {
                for (sums, row) in outputs.chunks_exact_mut(width).zip(rows) {
                    for input in categories(shape, row) {
                        add(sums, &matrix[input * width..][..width]);
                    }
                }
            }
            if let Some(slopes) = slopes.get_mut(nth) {
                slopes.clear();
                slopes.resize(outputs.len(), 0.0);
                activate_with_slopes(shape.activation(), outputs, slopes);
                std::mem::swap(&mut inputs[nth + 1], outputs);
            }
        }
        AddLinear { shape, linear: &weights[shape.linear()], rows, outputs }.run();
    }

    /// Leaves the gradient in `self.gradient`, from that in the outputs in `self.grads[0]`.
    fn backward(&mut self, weights: &[f32], rows: &[Row]) {
        Backward { of: self, weights, rows }.run();
    }
}

/// The way back.
struct Backward<'a> {
    of: &'a mut Backprop,
    weights: &'a [f32],
    rows: &'a [Row],
}

impl Loops for Backward<'_> {
    #[inline(always)]
    fn call(self) {
        let Self { of, weights, rows } = self;
        let Backprop {
            shape, inputs, slopes, grads: [grad, grad_before], linear, gradient, multiplier, ..
        } = of;
        gradient.fill(0.0);
        for (nth, &location) in shape.locations().iter().enumerate() {
            linear.clear();
            linear.resize(shape.num_dense(), 0.0);
            for (grad, row) in grad.chunks_exact(shape.num_outputs()).zip(rows) {
                for (sum, &x) in linear.iter_mut().zip(&row.dense) {
                    *sum += x * grad[location];
                }
            }
            let column = gradient[shape.linear()].iter_mut().skip(nth).step_by(shape.locations().len());
            column.zip(&*linear).for_each(|(sum, &total)| *sum = total);
        }
        for (nth, layer) in shape.layers().iter().enumerate().rev() {
            let width = layer.outputs;
            for grad in grad.chunks_exact(width) {
                add(&mut gradient[layer.bias.clone()], grad);
            }
            let dense = if nth == 0 { shape.num_dense() } else { layer.inputs };
            let sums = &mut gradient[layer.weights.clone()];
            let (left, right) = (Matrix::new(&inputs[nth], dense).transposed(), Matrix::new(grad, width));
            multiplier.add(left, right, &mut sums[..dense * width], width);
            if nth == 0 {
                for (grad, row) in grad.chunks_exact(width).zip(rows) {
                    for input in categories(shape, row) {
                        add(&mut sums[input * width..][..width], grad);
                    }
                }
                return;
            }
            let matrix = Matrix::new(&weights[layer.weights.clone()], width).transposed();
            grad_before.clear();
            grad_before.resize(rows.len() * dense, 0.0);
            multiplier.add(Matrix::new(grad, width), matrix, grad_before, dense);
            for (grad, slope) in grad_before.iter_mut().zip(&slopes[nth - 1]) {
                *grad *= slope;
            }
            std::mem::swap(grad, grad_before);
        }
    }
}

/// The linear path from the dense inputs to the locations.
struct AddLinear<'a> {
    shape: &'a Shape,
    linear: &'a [f32],
    rows: &'a [Row],
    outputs: &'a mut [f32],
}

impl Loops for AddLinear<'_> {
    #[inline(always)]
    fn call(self) {
        let Self { shape, linear, rows, outputs } = self;
        for (out, row) in outputs.chunks_exact_mut(shape.num_outputs()).zip(rows) {
            shape.add_linear(linear, &row.dense, out);
        }
    }
}

/// The rows of the first matrix that the row's categories are.
fn categories(shape: &Shape, row: &Row) -> impl Iterator<Item = usize> {
    let numbers = row.categories.iter().enumerate();
    numbers.filter_map(|(feature, &number)| shape.category_row(feature, number))
}

/// sums += terms
#[inline(always)]
fn add(sums: &mut [f32], terms: &[f32]) {
    for (sum, term) in sums.iter_mut().zip(terms) {
        *sum += term;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::{
        config::Activation,
        density::Role::{self, Conditional, Location},
        model::{inputs::NO_CATEGORY, net::Workspace, noise::Draws, twin::Twin},
    };

    const ACTIVATIONS: [Activation; 4] =
        [Activation::Tanh, Activation::Relu, Activation::Silu, Activation::Gelu];

    /// Dense inputs, columns of categories, hidden layers, and what the outputs are.
    type Layout<'a> = (usize, &'a [usize], &'a [usize], &'a [Role]);

    /// With dense inputs and categories, with one of both alone; with one layer and with more; with and without locations.
    fn nets(activation: Activation) -> Vec<(Shape, Vec<f32>, Vec<Row>)> {
        const LOCATIONS: [Role; 5] = [Conditional, Location, Conditional, Location, Conditional];
        let layouts: [Layout<'_>; 6] = [
            (6, &[4, 3], &[16, 8], &LOCATIONS),
            (5, &[], &[9], &LOCATIONS[..2]),
            (0, &[4, 3], &[7, 5, 3], &LOCATIONS),
            (3, &[4, 3], &[33], &[Conditional; 9]),
            // Widths of which as much as there can be stands beyond a row's end.
            (9, &[], &[4, 24, 1, 25], &[Conditional; 4]),
            (0, &[4, 3], &[12], &[Conditional; 17]),
        ];
        layouts
            .map(|(num_dense, columns, hidden, roles)| net(activation, num_dense, columns, hidden, roles))
            .into()
    }

    fn net(
        activation: Activation,
        num_dense: usize,
        columns: &[usize],
        hidden: &[usize],
        roles: &[Role],
    ) -> (Shape, Vec<f32>, Vec<Row>) {
        let shape = Shape::new(num_dense, columns, hidden, activation, roles);
        let mut draws = Draws::new(3, 9, 0);
        let weights = (0..shape.num_weights()).map(|_| 0.5 * draws.normal() as f32).collect();
        let rows = (0..33u32)
            .map(|i| Row {
                // Every fourth row brings inputs far outside of the ordinary.
                dense: (0..num_dense)
                    .map(|_| draws.normal() as f32 * if i % 4 == 0 { 30.0 } else { 1.0 })
                    .collect(),
                categories: [i % 4, if i % 5 == 0 { NO_CATEGORY } else { i % 3 }][..columns.len()].to_vec(),
            })
            .collect();
        (shape, weights, rows)
    }

    /// The largest difference, beside the largest number.
    fn difference(actual: &[f32], expected: &[f32]) -> f32 {
        assert_eq!(actual.len(), expected.len());
        let size = expected.iter().fold(1f32, |size, x| size.max(x.abs()));
        actual.iter().zip(expected).map(|(a, b)| (a - b).abs() / size).fold(0.0, f32::max)
    }

    /// L = Σ o²/2, whose gradient in o is o itself.
    fn run(backprop: &mut Backprop, weights: &[f32], rows: &[Row]) -> (Vec<f32>, Vec<f32>) {
        let mut outputs = vec![];
        backprop.run(weights, rows, |o, g| {
            outputs = o.to_vec();
            g.copy_from_slice(o);
        });
        (outputs, backprop.gradient_mut().to_vec())
    }

    #[test]
    fn outputs_and_gradients_are_autograds() {
        for (activation, (shape, weights, rows)) in ACTIVATIONS
            .into_iter()
            .flat_map(|activation| nets(activation).into_iter().map(move |net| (activation, net)))
        {
            let mut twin = Twin::new(shape.clone());
            let mut expected = vec![];
            let gradient = twin.gradient(&weights, &rows, |o, g| {
                expected = o.to_vec();
                g.copy_from_slice(o);
            });
            let (outputs, own_gradient) = run(&mut Backprop::new(shape), &weights, &rows);
            assert!(difference(&outputs, &expected) < 1e-5, "{activation:?}");
            assert!(difference(&own_gradient, gradient.unwrap()) < 1e-5, "{activation:?}");
        }
    }

    #[test]
    fn outputs_are_those_of_the_forward_pass_that_scores() {
        for (shape, weights, rows) in ACTIVATIONS.into_iter().flat_map(nets) {
            let mut workspace = Workspace::default();
            let (outputs, _) = run(&mut Backprop::new(shape.clone()), &weights, &rows);
            for (row, told) in rows.iter().zip(outputs.chunks_exact(shape.num_outputs())) {
                let mut expected = vec![0.0; shape.num_outputs()];
                shape.forward(&weights, row, &mut expected, &mut workspace);
                assert_eq!(told, expected, "{:?}", shape.activation());
            }
        }
    }

    #[test]
    fn nothing_is_kept_from_one_batch_to_the_next() {
        for (shape, weights, rows) in ACTIVATIONS.into_iter().flat_map(nets) {
            let mut backprop = Backprop::new(shape.clone());
            run(&mut backprop, &weights, &rows);
            let again = run(&mut backprop, &weights, &rows[..5]);
            assert_eq!(again, run(&mut Backprop::new(shape), &weights, &rows[..5]));
        }
    }

    #[test]
    fn what_is_not_a_number_shows() {
        for activation in ACTIVATIONS {
            let (shape, weights, mut rows) = nets(activation).swap_remove(0);
            rows[3].dense[2] = f32::NAN;
            let (outputs, gradient) = run(&mut Backprop::new(shape.clone()), &weights, &rows);
            assert!(outputs[3 * shape.num_outputs()].is_nan(), "{activation:?}");
            assert!(gradient.iter().any(|g| g.is_nan()), "{activation:?}");
        }
    }
}
