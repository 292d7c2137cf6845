//! density
