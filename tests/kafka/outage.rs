//! Brokers that go and come back, a disk that takes nothing, and an end in the middle of a backlog.

use std::{
    thread,
    time::{Duration, Instant},
};

use crate::{
    broker::{Broker, Options},
    cluster::Cluster,
    feed::{assert_published_once, feed_while, wait_until_done},
    process::{Process, Setup, setting},
};

/// Transactions that are short, and snapshots that come often.
const SETS: [&str; 4] =
    ["state.interval=700ms", "delivery.commit=60ms", "delivery.timeout=8s", "learn.warmup=512"];

fn broker() -> Broker {
    Broker::start(&Options { properties: &[("group.min.session.timeout.ms", "500")], ..Options::default() })
}

fn num_committed(process: &Process) -> u64 {
    process.metric("tailwater_transactions_total{result=\"committed\"}") as u64
}

fn wait_until_committing(process: &Process) {
    let before = num_committed(process);
    process.wait_until("committing", |process| num_committed(process) >= before + 10);
}

/// Kills the broker `TAILWATER_OUTAGES` times in a row.
fn outages(session: &str) {
    let mut broker = broker();
    let cluster = Cluster::at(broker.brokers());
    let setup = Setup::new(&cluster, 2);
    let sets = [&SETS[..], &[session]].concat();
    let num_outages = setting("TAILWATER_OUTAGES", 3);
    let process = feed_while(&setup, || {
        let mut process = setup.start(&sets);
        for outage in 0..num_outages {
            wait_until_committing(&process);
            broker.kill();
            let killed = Instant::now();
            // It is up in 4 s or so; every third outage outlasts a transaction and whoever asks for topics.
            thread::sleep(Duration::from_secs(8 * u64::from(outage % 3 == 2)));
            broker.start_again();
            let (up, before) = (Instant::now(), num_committed(&process));
            process.wait_until("committing again", |process| num_committed(process) > before);
            println!(
                "outage {}: {:.1} s without a broker; the next commit came {:.1} s after it was back",
                outage + 1,
                (up - killed).as_secs_f64(),
                up.elapsed().as_secs_f64()
            );
            process.wait_until_leading();
            assert!(!process.has_ended(), "{}", process.stderr());
        }
        process
    });
    wait_until_done(&setup, &process);
    let stderr = process.stop();
    let published = assert_published_once(&setup, &sets);
    println!("{num_outages} outages, {} records, {} terms", published.num_records, published.last().term);
    // A broker that is away makes dozens of errors a second.
    assert!(stderr.lines().count() < 100 + 20 * num_outages as usize, "{stderr}");
}

/// Promise 4, where the lease is lost each time.
#[test]
fn a_broker_that_is_killed_again_and_again_costs_a_wait_and_nothing_else() {
    outages(r#"kafka.properties={"session.timeout.ms"="2000","heartbeat.interval.ms"="200"}"#);
}

/// The same where the transaction is still open when the broker is back, and the lease is still held.
#[test]
fn a_broker_that_is_back_before_it_is_missed_costs_a_wait_and_nothing_else() {
    outages(r#"kafka.properties={"session.timeout.ms"="30000"}"#);
}
