//! While nobody takes what was read, little more is read, and the process stays a member of its group.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use tailwater::{
    config::Config,
    kafka::{
        backlog::{Backlog, MAX_BYTES, MIN_SHARE_BYTES},
        membership::Membership,
        messages::Messages,
        reader::{MAX_CHUNKS, Read, Reader},
    },
};

use crate::{
    cluster::{Cluster, PATIENCE, Record, unique},
    process::Setup,
};

/// What a chunk may bring beyond the bound: the last message may be any size, and here it is small.
const CHUNK_BYTES: usize = MIN_SHARE_BYTES / 2 + 1_024;
/// The shortest that the broker allows a member to be silent, s.
const MAX_SILENCE: u64 = 6;

#[test]
fn a_full_backlog_pauses_reading_and_keeps_the_lead_and_nothing_is_lost() {
    const NUM_RECORDS: i64 = 400_000;
    let cluster = Cluster::connect();
    let setup = Setup::new(&cluster, 1);
    let record = r#"{"departed_at":1357035420,"carrier":"UA"}"#;
    cluster.produce(&setup.input, (0..NUM_RECORDS).map(|_| Record::new(0, record)));
    let sets = [
        format!("kafka.brokers={}", cluster.brokers()),
        format!("kafka.group={}", unique("group")),
        format!(
            r#"kafka.properties={{"session.timeout.ms"="{0}","max.poll.interval.ms"="{0}"}}"#,
            1_000 * MAX_SILENCE
        ),
        format!("input.topic={}", setup.input),
        format!("state.topic={}", setup.state),
    ];
    let example = include_str!("../../examples/flights.toml");
    let config = Config::from_parts(example, "flights.toml", &sets, std::iter::empty()).unwrap();

    let membership = Membership::join(&config).unwrap();
    wait_until("the lead", || {
        membership.poll(Duration::from_millis(50)).unwrap();
        membership.lease().is_held()
    });
    let rebalances = membership.lease().rebalances();
    let backlog = Arc::new(Backlog::of_bytes(1));
    let reader = Reader::start(&config, &[(0, 0)].into(), backlog.clone()).unwrap();
    let (sender, chunks) = mpsc::sync_channel(MAX_CHUNKS);
    let stop = AtomicBool::new(false);
    let (num_paused, num_pauses) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let is_bounded = || {
        let num_bytes = backlog.num(0);
        assert!(num_bytes <= MAX_BYTES + CHUNK_BYTES, "{num_bytes} bytes, where {MAX_BYTES} are allowed");
    };
    thread::scope(|scope| {
        // Ends the reader when an assertion fails, too.
        let _stop = OnDrop(|| stop.store(true, Ordering::Relaxed));
        scope.spawn(|| {
            let result = reader.run(
                &sender,
                |wait| membership.poll(wait),
                || stop.load(Ordering::Relaxed),
                |paused| {
                    let before = num_paused.swap(paused, Ordering::Relaxed);
                    num_pauses.fetch_add(paused.saturating_sub(before), Ordering::Relaxed);
                },
            );
            drop(sender);
            result.unwrap();
        });

        // Nobody takes anything, for longer than a member that does not poll is kept.
        wait_until("the partition to pause", || num_paused.load(Ordering::Relaxed) == 1);
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(MAX_SILENCE + 3) {
            is_bounded();
            assert_eq!(num_paused.load(Ordering::Relaxed), 1);
            thread::sleep(Duration::from_millis(20));
        }
        assert!(backlog.num(0) > MAX_BYTES / 2, "{} bytes", backlog.num(0));

        let mut next_offset = 0;
        let mut work_off_to = |end: i64| {
            while next_offset < end {
                for read in chunks.recv_timeout(PATIENCE).expect("reading goes on").into_parts() {
                    let Read::Messages(mut messages) = read else { continue };
                    let num_bytes = messages.num_bytes();
                    while let Some(message) = messages.take() {
                        assert_eq!(message.offset, next_offset, "in order, none twice, none missing");
                        next_offset += 1;
                    }
                    backlog.remove(0, num_bytes);
                    is_bounded();
                }
            }
        };
        let num_read = backlog.num(0) / (record.len() + Messages::HEAD_BYTES);
        work_off_to(num_read as i64 * 3 / 4);
        wait_until("it to go on and to be full again", || num_pauses.load(Ordering::Relaxed) == 2);
        work_off_to(NUM_RECORDS);
        assert_eq!(backlog.num(0), 0);
        wait_until("the partition to go on", || num_paused.load(Ordering::Relaxed) == 0);
        assert!(membership.lease().is_held());
        assert_eq!(membership.lease().rebalances(), rebalances);
    });
}

struct OnDrop<F: Fn()>(F);

impl<F: Fn()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        self.0();
    }
}

fn wait_until(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "waited for {what}");
        thread::sleep(Duration::from_millis(5));
    }
}
