//! Tests on a real Apache Kafka: `make test`, or `scripts/kafka.sh with cargo test --release --test kafka`.

#![allow(clippy::unwrap_used, missing_docs)]

mod cluster;
mod flights;
mod harness;
mod process;
mod scores;
