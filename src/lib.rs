//! tailwater reads feature and target records from Kafka, learns p(target | features) online with a
//! Normalizing Flow Network, and publishes tail probabilities, quantiles and expected shortfall.
//!
//! # Map
//! ```text
//! kafka::reader ─► record ──► operator ─────────► score ──► kafka::publisher
//!  (own thread)    decoding    order, hold, batch   figures,  (own thread)
//!                               │        ▲          Arrow
//!                       mini-   ▼        │ weights
//!                       batch  model::learner ───────────► model::net, density (Rust)
//! ```
//! | module | holds |
//! |---|---|
//! | [`math`] | the normal distribution in log space, quadrature, products of matrices, elementary functions in vectors |
//! | [`flow`] | transforms from data to base and their stack: value, log-determinant, inverse, gradients |
//! | [`density`] | distributions of the target behind one trait |
//! | [`model`] | features to inputs, the net's forward pass and its gradient, optimiser, noise |
//! | [`record`] | formats, decoding, rejects |
//! | [`operator`] | the pure core: order, hold-back, mini-batches, scores; saved and restored |
//! | [`state`] | what is saved, in which form, and how a term of leadership begins from it |
//! | [`score`] | figures of a distribution, columns, batches |
//! | [`kafka`] | clients, leadership, reader, transactional publisher, state log, embedded cluster |
//! | [`run`] | the threads and channels of a running operator |
//! | [`replay`] | records of a file or a topic's range through the operator, without a live group |
//! | [`backtest`] | whether the tails held: tests, scores, summary, report |
//! | [`init`] | a config guessed from a sample: profiles of fields, guesses, their text |
//! | [`flights`] | the bundled data |
//! | [`crash`] | named points at which tests let the process crash |
//! | [`config`], [`cli`], [`metrics`], [`http`] | the edges |
//!
//! # Invariants
//! - `math`, `flow`, `density`, `model`, `record`, `operator` and `score` do no I/O and read no clock.
//! - An event is scored by a model that has learned from no target that was not known before it.
//! - A score is a function of its event and the weights alone, not of what else is in a batch.
//! - Parameters are finite at all times; no record stops the stream.
//! - Every queue is bounded.
//! - One transaction carries all that belongs to a commit; a restored operator goes on to the bit.

pub mod backtest;
pub mod cli;
pub mod config;
pub mod crash;
pub mod density;
pub mod flights;
pub mod flow;
pub mod http;
pub mod init;
pub mod kafka;
pub mod math;
pub mod metrics;
pub mod model;
pub mod operator;
pub mod record;
pub mod replay;
pub mod run;
pub mod score;
pub mod state;
pub mod text;
pub mod watch;

/// Events and scores have a dozen small parts each, with which the system's allocator takes longer.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
