//! Numerical building blocks: functions of one variable, the standard normal in log space, quadrature, products of matrices.

pub mod matrix;
pub mod normal;
pub mod quadrature;
pub mod scalar;
pub mod single;
pub mod vector;
