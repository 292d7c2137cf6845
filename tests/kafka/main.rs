//! Tests on a real Apache Kafka: `make test`, or `scripts/kafka.sh with cargo test --release --test kafka`.

#![allow(clippy::unwrap_used, missing_docs)]

mod backpressure;
mod broker;
mod cluster;
mod commands;
mod crash;
mod faults;
mod feed;
mod flights;
mod grouping;
mod harness;
mod init;
mod leadership;
mod lifecycle;
mod oidc;
mod outage;
mod partitions;
mod process;
mod prometheus;
mod proxy;
mod recovery;
mod replay;
mod scores;
mod scraper;
mod security;
mod sizes;
mod state_commands;
mod targets;
mod uncrashed;
mod verify;
mod wire;
mod years;
