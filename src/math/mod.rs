//! Numerical building blocks: functions of one variable, the standard normal in log space, quadrature.

pub mod normal;
pub mod quadrature;
pub mod scalar;
pub mod vector;
