//! tailwater reads feature and target records from Kafka, learns p(target | features) online with a
//! Normalizing Flow Network, and publishes tail probabilities, quantiles and expected shortfall.

pub mod backtest;
pub mod cli;
pub mod config;
pub mod density;
pub mod flights;
pub mod flow;
pub mod http;
pub mod kafka;
pub mod math;
pub mod metrics;
pub mod model;
pub mod operator;
pub mod record;
pub mod run;
pub mod score;
