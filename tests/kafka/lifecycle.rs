//! Stopping, starting again, and standing by.

use std::time::{Duration, Instant};

use tailwater::flights;

use crate::{
    cluster::{Cluster, Record},
    process::{Process, Setup},
    scores::{first_places, places, rows},
};

/// The first flights, as records of one partition.
fn flights(num_flights: usize) -> Vec<Record> {
    let flights = flights::json_records().unwrap().take(num_flights);
    flights.map(|flight| Record::new(0, flight.unwrap())).collect()
}

#[test]
fn a_stop_under_load_ends_in_good_order_and_the_next_start_goes_on_where_it_ended() {
    const NUM_FLIGHTS: usize = 150_000;
    let cluster = Cluster::connect();
    let setup = Setup::new(&cluster, 1);
    cluster.produce(&setup.input, flights(NUM_FLIGHTS));

    let process = setup.start(&[]);
    process.wait_until_scored(1_000);
    process.stop();
    let committed = cluster.committed(&setup.group, &setup.input)[&0] as usize;
    assert!((1_000..NUM_FLIGHTS).contains(&committed), "{committed} is not in the middle of it");
    assert!(
        places(&rows(&cluster, &setup.output)) == first_places(committed),
        "what it scored, it committed"
    );

    let process = setup.start(&[]);
    process.wait_until_scored(NUM_FLIGHTS - committed);
    process.stop();
    assert!(places(&rows(&cluster, &setup.output)) == first_places(NUM_FLIGHTS), "each once");
    assert_eq!(cluster.committed(&setup.group, &setup.input)[&0] as usize, NUM_FLIGHTS);
}

/// A process whose scores are never acknowledged: their topic was removed after it had looked for it, and librdkafka
/// goes on waiting for it to appear.
fn never_acknowledged(setup: &Setup<'_>, sets: &[&str]) -> Process {
    let patient = r#"kafka.properties={"topic.metadata.propagation.max.ms"="300000"}"#;
    let process = setup.start(&[&[patient], sets].concat());
    process.wait_until_leading();
    setup.cluster.delete_topic(&setup.output);
    setup.cluster.produce(&setup.input, flights(1_000));
    process.wait_until_scored(1);
    process
}

#[test]
fn a_second_signal_ends_a_drain_that_cannot_finish() {
    let cluster = Cluster::connect();
    let setup = Setup::new(&cluster, 1);
    let process = never_acknowledged(&setup, &[]);
    process.terminate();
    process.wait_until("draining", |process| process.role() == "draining");
    assert_eq!(process.get("/readyz").0, 503);
    assert_eq!(process.get("/livez").0, 200);
    let begun = Instant::now();
    process.terminate();
    let (code, stderr) = process.wait();
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains("second signal: exiting at once"), "{stderr}");
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    // The start of the term was committed, and nothing after it: nothing was acknowledged.
    assert!(cluster.committed(&setup.group, &setup.input).values().all(|&offset| offset == 0));
}

#[test]
fn a_drain_that_cannot_finish_is_ended_by_its_deadline() {
    let cluster = Cluster::connect();
    let setup = Setup::new(&cluster, 1);
    let process = never_acknowledged(&setup, &["delivery.drain=2s"]);
    let begun = Instant::now();
    process.terminate();
    let (code, stderr) = process.wait();
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains("delivery.drain"), "{stderr}");
    assert!(begun.elapsed() >= Duration::from_secs(2), "{:?}", begun.elapsed());
}

#[test]
fn of_two_one_leads_and_the_other_takes_over_when_it_ends() {
    const NUM_FLIGHTS: usize = 20_000;
    let cluster = Cluster::connect();
    let setup = Setup::new(&cluster, 1);
    let mut first_half = flights(NUM_FLIGHTS);
    let second_half = first_half.split_off(NUM_FLIGHTS / 2);
    cluster.produce(&setup.input, first_half);

    let leader = setup.start(&[]);
    leader.wait_until_leading();
    let standby = setup.start(&[]);
    standby.wait_until("standing by", |process| process.role() == "standby");
    assert_eq!(standby.get("/readyz").0, 200);
    leader.wait_until_scored(NUM_FLIGHTS / 2);
    assert_eq!((leader.role().as_str(), standby.role().as_str()), ("leading", "standby"));
    assert_eq!(standby.num_scored(), 0);

    leader.stop();
    standby.wait_until_leading();
    cluster.produce(&setup.input, second_half);
    standby.wait_until_scored(NUM_FLIGHTS / 2);
    standby.stop();
    assert!(places(&rows(&cluster, &setup.output)) == first_places(NUM_FLIGHTS), "each once, in order");
}

#[test]
fn after_a_crash_the_standby_takes_over_and_misses_nothing() {
    const NUM_FLIGHTS: usize = 100_000;
    let cluster = Cluster::connect();
    let setup = Setup::new(&cluster, 1);
    cluster.produce(&setup.input, flights(NUM_FLIGHTS));
    // The shortest that the broker allows a crashed member to be waited for.
    let sets = [r#"kafka.properties={"session.timeout.ms"="6000"}"#];
    let leader = setup.start(&sets);
    let standby = setup.start(&sets);
    leader.wait_until("scoring", |process| process.num_scored() + standby.num_scored() >= 1_000);
    let (leader, standby) = if leader.role() == "leading" { (leader, standby) } else { (standby, leader) };
    leader.crash();
    assert!(
        cluster.committed(&setup.group, &setup.input).get(&0).is_none_or(|&end| end < NUM_FLIGHTS as i64)
    );
    standby.wait_until("at the end", |_| {
        cluster.committed(&setup.group, &setup.input).get(&0) == Some(&(NUM_FLIGHTS as i64))
    });
    standby.stop();
    assert!(places(&rows(&cluster, &setup.output)) == first_places(NUM_FLIGHTS), "each once, in order");
}
