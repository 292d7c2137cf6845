//! The net that maps a row of inputs to a row of density parameters: its layout, and its forward pass in Rust.
//!
//! The hidden layers see squashed inputs. Beside them runs a linear path from the dense inputs to the location
//! parameters alone: a heavy-tailed feature (a departure delay) can move the location by any amount, which
//! saturated hidden units could not.
//!
//! Weights stand in one flat vector: for each layer its matrix (inputs × outputs, row-major) and its bias, then
//! the linear path's matrix (dense inputs × locations). The first matrix has a row for each dense input, then one for
//! each category of each category feature. Stored by input, a category is one row to add, and sums over
//! inputs have the same order for every event, whatever it is batched with (promise 2 of the design).

use std::ops::Range;

use crate::{
    config::Activation,
    density::Role,
    math::vector::Loops,
    model::{
        activation::activate,
        inputs::{NO_CATEGORY, Row, squash},
        noise::Draws,
    },
};

/// The draw stream that initial weights come from; mini-batches count their steps from 1.
const INITIAL_STEP: u64 = 0;

/// The net's layout.
#[derive(Debug, Clone, PartialEq)]
pub struct Shape {
    num_dense: usize,
    /// Where each category feature's rows begin in the first matrix.
    category_rows: Vec<usize>,
    layers: Vec<Layer>,
    activation: Activation,
    /// The outputs that take the linear path.
    locations: Vec<usize>,
    linear: Range<usize>,
    /// Weights that keep the value that they start with.
    frozen: Vec<usize>,
}

/// One fully connected layer's place in the flat vector.
#[derive(Debug, Clone, PartialEq)]
pub struct Layer {
    /// Rows of the matrix.
    pub inputs: usize,
    /// Columns of the matrix.
    pub outputs: usize,
    /// The matrix, row-major.
    pub weights: Range<usize>,
    /// The bias, right after the matrix: the forward pass reads on into it.
    pub bias: Range<usize>,
}

/// Room for the forward pass of one row.
#[derive(Debug, Clone, Default)]
pub struct Workspace {
    squashed: Vec<f32>,
    layers: [Vec<f32>; 2],
}

impl Shape {
    /// A net of `num_dense` dense inputs and category features of so many columns each.
    #[must_use]
    pub fn new(
        num_dense: usize,
        category_columns: &[usize],
        hidden: &[usize],
        activation: Activation,
        roles: &[Role],
    ) -> Self {
        let mut at = 0;
        let mut take = |len: usize| {
            at += len;
            at - len..at
        };
        let mut inputs = num_dense;
        let mut category_rows = Vec::new();
        for columns in category_columns {
            category_rows.push(inputs);
            inputs += columns;
        }
        let mut layers = Vec::new();
        for &outputs in hidden.iter().chain([&roles.len()]) {
            let (weights, bias) = (take(inputs * outputs), take(outputs));
            layers.push(Layer { inputs, outputs, weights, bias });
            inputs = outputs;
        }
        let locations: Vec<usize> =
            (0..roles.len()).filter(|&output| roles[output] == Role::Location).collect();
        let linear = take(num_dense * locations.len());
        let frozen = frozen(&layers[layers.len() - 1], roles);
        Self { num_dense, category_rows, layers, activation, locations, linear, frozen }
    }

    /// The length of the flat vector.
    #[must_use]
    pub fn num_weights(&self) -> usize {
        self.linear.end
    }

    /// Dense inputs and one-hot columns together.
    #[must_use]
    pub fn num_inputs(&self) -> usize {
        self.layers[0].inputs
    }

    /// Dense inputs.
    #[must_use]
    pub fn num_dense(&self) -> usize {
        self.num_dense
    }

    /// Density parameters.
    #[must_use]
    pub fn num_outputs(&self) -> usize {
        self.layers[self.layers.len() - 1].outputs
    }

    /// The fully connected layers, first to last.
    #[must_use]
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// The hidden layers' activation.
    #[must_use]
    pub fn activation(&self) -> Activation {
        self.activation
    }

    /// The outputs that take the linear path.
    #[must_use]
    pub fn locations(&self) -> &[usize] {
        &self.locations
    }

    /// The linear path's matrix in the flat vector.
    #[must_use]
    pub fn linear(&self) -> Range<usize> {
        self.linear.clone()
    }

    /// The weights that are never trained: what would make a [`Role::Global`] parameter depend on the inputs, and all of a
    /// [`Role::Fixed`] one.
    #[must_use]
    pub fn frozen(&self) -> &[usize] {
        &self.frozen
    }

    /// The last layer's bias: the density's parameters where the inputs change nothing.
    #[must_use]
    pub fn output_bias(&self) -> Range<usize> {
        self.layers[self.layers.len() - 1].bias.clone()
    }

    /// The weights that lead to an output along the linear path; none unless it is a location.
    pub fn linear_column(&self, output: usize) -> impl Iterator<Item = usize> {
        let nth = self.locations.iter().position(|&location| location == output);
        nth.into_iter().flat_map(|nth| self.linear.clone().skip(nth).step_by(self.locations.len()))
    }

    /// The weights of the last layer's matrix that lead to an output.
    pub fn output_column(&self, output: usize) -> impl Iterator<Item = usize> {
        let last = &self.layers[self.layers.len() - 1];
        last.weights.clone().skip(output).step_by(last.outputs)
    }

    /// Where a dense input goes: its weights in the first matrix, each with the bias that it adds to, and then the same of the linear
    /// path.
    pub fn dense_row(&self, input: usize) -> impl Iterator<Item = (usize, usize)> {
        let (first, last) = (&self.layers[0], &self.layers[self.layers.len() - 1]);
        let hidden = first.weights.clone().skip(input * first.outputs).zip(first.bias.clone());
        let linear = self.linear.clone().skip(input * self.locations.len());
        hidden.chain(linear.zip(self.locations.iter().map(|&location| last.bias.start + location)))
    }

    /// The first matrix's row of a category, `None` for a missing one.
    #[must_use]
    pub fn category_row(&self, feature: usize, number: u32) -> Option<usize> {
        (number != NO_CATEGORY).then(|| self.category_rows[feature] + number as usize)
    }

    /// Weights to start from: uniform within ±1/√fan-in, a tenth of that in the last layer, whose bias is
    /// `initial`, the density's own starting point. Category rows and the linear path start at 0: a category does
    /// nothing until something was learned about it.
    #[must_use]
    pub fn initial_weights(&self, seed: u64, initial: &[f32]) -> Vec<f32> {
        let mut weights = vec![0.0; self.num_weights()];
        let mut draws = Draws::new(seed, INITIAL_STEP, 0);
        for (index, layer) in self.layers.iter().enumerate() {
            let last = index + 1 == self.layers.len();
            // One category of a feature is on at a time: it counts as one input.
            let (drawn, fan_in) = match index {
                0 => (self.num_dense, self.num_dense + self.category_rows.len()),
                _ => (layer.inputs, layer.inputs),
            };
            let bound = if last { 0.1 } else { 1.0 } / (fan_in.max(1) as f64).sqrt();
            for weight in &mut weights[layer.weights.clone()][..drawn * layer.outputs] {
                *weight = (bound * (2.0 * draws.uniform() - 1.0)) as f32;
            }
            if last {
                self.frozen.iter().for_each(|&at| weights[at] = 0.0);
                weights[layer.bias.clone()].copy_from_slice(initial);
            } else {
                for weight in &mut weights[layer.bias.clone()] {
                    *weight = (bound * (2.0 * draws.uniform() - 1.0)) as f32;
                }
            }
        }
        weights
    }

    /// Adds what takes the linear path from a row's dense inputs; to be inlined into [`Loops`].
    #[inline(always)]
    pub(super) fn add_linear(&self, linear: &[f32], dense: &[f32], out: &mut [f32]) {
        // One location after the other, whose sum stays in a register.
        for (nth, &location) in self.locations.iter().enumerate() {
            let mut sum = 0.0;
            for (&x, weights) in dense.iter().zip(linear.chunks_exact(self.locations.len())) {
                sum = f32::mul_add(x, weights[nth], sum);
            }
            out[location] += sum;
        }
    }

    /// Maps one row of inputs to density parameters (length `num_outputs`).
    ///
    /// Sums run over the inputs in their order, one row at a time, so a row's result does not depend on what
    /// else is scored.
    pub fn forward(&self, weights: &[f32], row: &Row, out: &mut [f32], workspace: &mut Workspace) {
        Forward { shape: self, weights, row, out, workspace }.run();
    }
}

struct Forward<'a> {
    shape: &'a Shape,
    weights: &'a [f32],
    row: &'a Row,
    out: &'a mut [f32],
    workspace: &'a mut Workspace,
}

impl Loops for Forward<'_> {
    #[inline(always)]
    fn call(self) {
        let Self { shape, weights, row, out, workspace: Workspace { squashed, layers: [current, next] } } =
            self;
        squashed.clear();
        squashed.extend(row.dense.iter().map(|&x| squash(x)));
        for (index, layer) in shape.layers.iter().enumerate() {
            // The bias follows the matrix.
            let matrix = &weights[layer.weights.start..];
            next.clear();
            next.extend_from_slice(&weights[layer.bias.clone()]);
            next.resize(num_sums(layer.outputs), 0.0);
            let inputs: &[f32] = if index == 0 { squashed } else { current };
            add_product(next, inputs, matrix, layer.outputs);
            next.truncate(layer.outputs);
            if index == 0 {
                for (feature, &number) in row.categories.iter().enumerate() {
                    if let Some(input) = shape.category_row(feature, number) {
                        let row = &matrix[input * layer.outputs..][..layer.outputs];
                        next.iter_mut().zip(row).for_each(|(sum, weight)| *sum += weight);
                    }
                }
            }
            if index + 1 < shape.layers.len() {
                activate(shape.activation, next);
            }
            std::mem::swap(current, next);
        }
        out.copy_from_slice(current);
        shape.add_linear(&weights[shape.linear.clone()], &row.dense, out);
    }
}

/// So many sums are kept for a layer: of its columns, up to a multiple of eight. What is one too many adds up what stands beyond a row's
/// end: the next row, or after the last one the bias, which is as long as a row. So there may be twice as many as columns, which fewer
/// than four would not reach eight with.
fn num_sums(width: usize) -> usize {
    if width < 4 { width } else { width.next_multiple_of(8) }
}

/// sums += inputs · matrix of some `width`, with which `weights` begin and whose rows beyond the inputs are left out; of more columns
/// than that the sums are nobody's ([`num_sums`]).
#[inline(always)]
fn add_product(sums: &mut [f32], inputs: &[f32], weights: &[f32], width: usize) {
    let mut at = 0;
    while at < sums.len() {
        let (sums, weights) = (&mut sums[at..], &weights[at..]);
        // A sum waits for each of its terms: many at once are as fast as few.
        at += match sums.len() {
            32.. => add_columns::<32>(sums, inputs, weights, width),
            24.. => add_columns::<24>(sums, inputs, weights, width),
            16.. => add_columns::<16>(sums, inputs, weights, width),
            8.. => add_columns::<8>(sums, inputs, weights, width),
            _ => add_columns::<1>(sums, inputs, weights, width),
        };
    }
}

/// The same of N columns, whose sums stay in registers while the inputs are gone through; gives N.
#[inline(always)]
fn add_columns<const N: usize>(sums: &mut [f32], inputs: &[f32], weights: &[f32], width: usize) -> usize {
    let sums = sums.first_chunk_mut::<N>().expect("there are as many");
    let mut kept = *sums;
    for (nth, &x) in inputs.iter().enumerate() {
        for (sum, &weight) in kept.iter_mut().zip(&weights[nth * width..][..N]) {
            *sum = f32::mul_add(x, weight, *sum);
        }
    }
    *sums = kept;
    N
}

/// The weights of the last layer that keep their value.
fn frozen(last: &Layer, roles: &[Role]) -> Vec<usize> {
    let has = |output: usize, wanted: &[Role]| wanted.contains(&roles[output]);
    let matrix = last
        .weights
        .clone()
        .filter(|at| has((at - last.weights.start) % last.outputs, &[Role::Global, Role::Fixed]));
    let bias = last.bias.clone().filter(|at| has(at - last.bias.start, &[Role::Fixed]));
    matrix.chain(bias).collect()
}
