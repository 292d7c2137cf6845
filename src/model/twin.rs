//! The net's twin in libtorch: gradients by automatic differentiation, the oracle of `backprop`.
//!
//! It holds no state: weights go in and gradients come out, as plain vectors. libtorch runs the net forward to the
//! density parameters o, the caller gives the loss's gradient in o, and the backward pass of Σ o·gradient carries
//! it into the weights.

use std::sync::Once;

use tch::{Kind, TchError, Tensor};

use crate::{
    config::Activation,
    model::{
        inputs::{Row, squash},
        net::Shape,
    },
};

/// Computes gradients of a net of one shape.
pub struct Twin {
    shape: Shape,
    /// Inputs of the hidden layers, rows × inputs, one-hot columns included.
    inputs: Vec<f32>,
    /// Inputs of the linear path, rows × dense inputs.
    dense: Vec<f32>,
    outputs: Vec<f32>,
    gradient: Vec<f32>,
}

impl Twin {
    /// A twin of this shape. libtorch is kept on one thread for the whole process: its sums would
    /// otherwise depend on the machine's number of cores.
    #[must_use]
    pub fn new(shape: Shape) -> Self {
        static ONE_THREAD: Once = Once::new();
        ONE_THREAD.call_once(|| {
            tch::set_num_threads(1);
            tch::set_num_interop_threads(1);
        });
        Self { shape, inputs: vec![], dense: vec![], outputs: vec![], gradient: vec![] }
    }

    /// The net's layout.
    #[must_use]
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// The gradient in `weights` of Σ o·g over the rows, where `loss` maps the outputs o
    /// (rows × outputs) to g of the same length.
    ///
    /// # Errors
    /// What libtorch reports; nothing of it is kept.
    pub fn gradient(
        &mut self,
        weights: &[f32],
        rows: &[Row],
        loss: impl FnOnce(&[f32], &mut [f32]),
    ) -> Result<&[f32], TchError> {
        let flat = Tensor::f_from_slice(weights)?.f_set_requires_grad(true)?;
        let outputs = self.forward(&flat, rows)?;
        let len = rows.len() * self.shape.num_outputs();
        self.outputs.resize(len, 0.0);
        outputs.f_view([-1])?.f_copy_data(&mut self.outputs, len)?;
        let mut grad_outputs = vec![0.0; len];
        loss(&self.outputs, &mut grad_outputs);
        let grad_outputs = Tensor::f_from_slice(&grad_outputs)?.f_view_as(&outputs)?;
        (outputs.f_mul(&grad_outputs)?).f_sum(Kind::Float)?.f_backward()?;
        self.gradient.resize(weights.len(), 0.0);
        flat.f_grad()?.f_copy_data(&mut self.gradient, weights.len())?;
        Ok(&self.gradient)
    }

    /// The outputs, rows × outputs, of the net that `flat` holds.
    fn forward(&mut self, flat: &Tensor, rows: &[Row]) -> Result<Tensor, TchError> {
        self.lay_out(rows);
        let part = |range: &std::ops::Range<usize>| flat.f_narrow(0, range.start as i64, range.len() as i64);
        let shape = &self.shape;
        let num_rows = rows.len() as i64;
        let dense = Tensor::f_from_slice(&self.dense)?.f_view([num_rows, shape.num_dense() as i64])?;
        let mut x = Tensor::f_from_slice(&self.inputs)?.f_view([num_rows, shape.num_inputs() as i64])?;
        for (index, layer) in shape.layers().iter().enumerate() {
            let matrix = part(&layer.weights)?.f_view([layer.inputs as i64, layer.outputs as i64])?;
            x = part(&layer.bias)?.f_addmm(&x, &matrix)?;
            if index + 1 < shape.layers().len() {
                x = match shape.activation() {
                    Activation::Tanh => x.f_tanh()?,
                    Activation::Relu => x.f_relu()?,
                    Activation::Silu => x.f_silu()?,
                    Activation::Gelu => x.f_gelu("none")?,
                };
            }
        }
        if shape.linear().is_empty() {
            return Ok(x);
        }
        let locations: Vec<i64> = shape.locations().iter().map(|&l| l as i64).collect();
        let matrix = part(&shape.linear())?.f_view([shape.num_dense() as i64, locations.len() as i64])?;
        x.f_index_add(1, &Tensor::f_from_slice(&locations)?, &dense.f_matmul(&matrix)?)
    }

    /// Writes the rows as dense matrices.
    fn lay_out(&mut self, rows: &[Row]) {
        let width = self.shape.num_inputs();
        self.dense.clear();
        self.inputs.clear();
        self.inputs.resize(rows.len() * width, 0.0);
        for (row, inputs) in rows.iter().zip(self.inputs.chunks_exact_mut(width.max(1))) {
            self.dense.extend_from_slice(&row.dense);
            for (input, &x) in inputs.iter_mut().zip(&row.dense) {
                *input = squash(x);
            }
            for (feature, &number) in row.categories.iter().enumerate() {
                if let Some(input) = self.shape.category_row(feature, number) {
                    inputs[input] = 1.0;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::density::Role::{Conditional, Location};
    use crate::model::{inputs::NO_CATEGORY, net::Workspace, noise::Draws};

    fn net(activation: Activation) -> (Shape, Vec<f32>, Vec<Row>) {
        let shape = Shape::new(
            6,
            &[4, 3],
            &[16, 8],
            activation,
            &[Conditional, Location, Conditional, Location, Conditional],
        );
        let mut draws = Draws::new(3, 9, 0);
        let weights = (0..shape.num_weights()).map(|_| 0.5 * draws.normal() as f32).collect();
        let rows = (0..32u32)
            .map(|i| Row {
                // Every fourth row brings inputs far outside of the ordinary.
                dense: (0..6).map(|_| draws.normal() as f32 * if i % 4 == 0 { 30.0 } else { 1.0 }).collect(),
                categories: vec![i % 4, if i % 5 == 0 { NO_CATEGORY } else { i % 3 }],
            })
            .collect();
        (shape, weights, rows)
    }

    #[test]
    fn the_rust_forward_pass_agrees_with_libtorch_to_1e_5() {
        for activation in [Activation::Tanh, Activation::Relu, Activation::Silu, Activation::Gelu] {
            let (shape, weights, rows) = net(activation);
            let mut workspace = Workspace::default();
            let mut twin = Twin::new(shape.clone());
            let mut theirs = vec![];
            twin.gradient(&weights, &rows, |outputs, _| theirs = outputs.to_vec()).unwrap();
            for (row, theirs) in rows.iter().zip(theirs.chunks_exact(5)) {
                let mut ours = [0.0; 5];
                shape.forward(&weights, row, &mut ours, &mut workspace);
                for (a, b) in ours.iter().zip(theirs) {
                    assert!((a - b).abs() <= 1e-5 * b.abs().max(1.0), "{activation:?}: {a} against {b}");
                }
            }
        }
    }

    #[test]
    fn the_gradient_is_that_of_the_rust_forward_pass() {
        let (shape, mut weights, rows) = net(Activation::Tanh);
        // L = Σ o²/2 over a few ordinary rows, whose gradient in o is o itself.
        let rows: Vec<Row> =
            rows.into_iter().filter(|r| r.dense.iter().all(|x| x.abs() < 4.0)).take(6).collect();
        let loss = |weights: &[f32]| {
            let mut workspace = Workspace::default();
            let mut out = [0.0; 5];
            let mut sum = 0.0;
            for row in &rows {
                shape.forward(weights, row, &mut out, &mut workspace);
                sum += out.iter().map(|o| 0.5 * f64::from(*o).powi(2)).sum::<f64>();
            }
            sum
        };
        let mut twin = Twin::new(shape.clone());
        let gradient = twin.gradient(&weights, &rows, |o, g| g.copy_from_slice(o)).unwrap().to_vec();
        let mut compared = 0;
        for at in (0..weights.len()).step_by(7) {
            let (before, step) = (weights[at], 1e-2);
            weights[at] = before + step;
            let above = loss(&weights);
            weights[at] = before - step;
            let below = loss(&weights);
            weights[at] = before;
            let numeric = (above - below) / (2.0 * f64::from(step));
            let error = (numeric - f64::from(gradient[at])).abs();
            assert!(
                error <= 2e-2 * numeric.abs().max(1.0),
                "weight {at}: {numeric} against {}",
                gradient[at]
            );
            compared += 1;
        }
        assert!(compared > 30);
    }
}
