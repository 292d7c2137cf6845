//! Who leads, where the leader is killed, stopped, cut off or asked to end: another one takes over, and one that comes
//! back stands by and publishes nothing.

use std::time::{Duration, Instant};

use crate::{
    broker::{Broker, Options},
    cluster::Cluster,
    feed::{Feed, assert_published_once, feed_while, wait_until_done},
    process::{Process, Setup},
};

/// Transactions that are short, and snapshots that come often.
const SETS: [&str; 4] =
    ["state.interval=700ms", "delivery.commit=60ms", "delivery.timeout=3s", "learn.warmup=512"];

/// How long a group waits for a word of a member.
const SESSION_TIMEOUT: Duration = Duration::from_millis(1500);

/// How group and members talk.
#[derive(Debug, Clone, Copy)]
enum Protocol {
    Classic,
    /// KIP-848.
    Consumer,
}

impl Protocol {
    fn broker(self) -> Broker {
        // With the newer protocol it is the brokers that set the times.
        let properties = [
            ("group.min.session.timeout.ms", "500"),
            ("group.consumer.min.session.timeout.ms", "500"),
            ("group.consumer.session.timeout.ms", "1500"),
            ("group.consumer.min.heartbeat.interval.ms", "100"),
            ("group.consumer.heartbeat.interval.ms", "200"),
        ];
        Broker::start(&Options { properties: &properties, is_proxied: true, ..Options::default() })
    }

    fn sets(self) -> Vec<&'static str> {
        let client = match self {
            Self::Classic => {
                r#"kafka.properties={"session.timeout.ms"="1500","heartbeat.interval.ms"="200"}"#
            }
            Self::Consumer => r#"kafka.properties={"group.protocol"="consumer"}"#,
        };
        SETS.into_iter().chain([client]).collect()
    }
}

fn num_transactions(process: &Process, result: &str) -> u64 {
    process.metric(&format!("tailwater_transactions_total{{result=\"{result}\"}}")) as u64
}

/// Waits until one that stood by has committed something of its own, and tells how long that took.
fn await_takeover(what: &str, begun: Instant, next: &Process, committed_before: u64) {
    next.wait_until("taking over", |next| num_transactions(next, "committed") > committed_before);
    println!(
        "{what}: the other's first commit came {:.2} s later (session timeout {:.1} s)",
        begun.elapsed().as_secs_f64(),
        SESSION_TIMEOUT.as_secs_f64(),
    );
}

/// Waits until one leads, the other stands by, and that stays so.
fn await_order(leader: &Process, standby: &Process) {
    standby.wait_until("standing by", |standby| standby.role() == "standby");
    leader.wait_until_leading();
    // Where they still fought for it, the next few commits would not all come.
    let (committed, aborted) = (num_transactions(leader, "committed"), num_transactions(leader, "aborted"));
    leader.wait_until("going on", |leader| num_transactions(leader, "committed") >= committed + 20);
    assert_eq!((leader.role().as_str(), standby.role().as_str()), ("leading", "standby"));
    assert_eq!(num_transactions(leader, "aborted"), aborted, "it says:\n{}", leader.stderr());
}

fn hand_over_in_every_way(protocol: Protocol) {
    let broker = protocol.broker();
    let cluster = Cluster::at(broker.brokers());
    let setup = Setup::new(&cluster, 2);
    let sets = protocol.sets();
    let proxied = format!("kafka.brokers={}", broker.proxied_brokers());
    let proxied: Vec<_> = sets.iter().copied().chain([&proxied[..]]).collect();
    let last = feed_while(&setup, Feed::Json, || {
        let direct = setup.start(&sets);
        direct.wait_until_leading();
        let cuttable = setup.start(&proxied);
        await_order(&direct, &cuttable);

        let (begun, before) = (Instant::now(), num_transactions(&cuttable, "committed"));
        direct.suspend();
        await_takeover("stopped", begun, &cuttable, before);
        direct.resume();
        await_order(&cuttable, &direct);

        let (begun, before) = (Instant::now(), num_transactions(&direct, "committed"));
        broker.proxy().cut();
        await_takeover("cut off", begun, &direct, before);
        broker.proxy().mend();
        await_order(&direct, &cuttable);

        let (begun, before) = (Instant::now(), num_transactions(&cuttable, "committed"));
        direct.terminate();
        await_takeover("asked to end", begun, &cuttable, before);
        let (code, stderr) = direct.wait();
        assert_eq!(code, Some(0), "{stderr}");

        let direct = setup.start(&sets);
        await_order(&cuttable, &direct);
        let (begun, before) = (Instant::now(), num_transactions(&direct, "committed"));
        cuttable.crash();
        await_takeover("killed", begun, &direct, before);
        direct
    });
    wait_until_done(&setup, &last);
    assert_eq!(last.role(), "leading");
    last.stop();
    let published = assert_published_once(&setup, &sets);
    println!(
        "{protocol:?}: {} records, each scored once, in {} terms",
        published.num_records,
        published.last().term
    );
}

/// Promises 4 and 5.
#[test]
fn however_a_leader_goes_another_takes_over_and_one_that_comes_back_stands_by() {
    hand_over_in_every_way(Protocol::Classic);
}

#[test]
fn however_a_leader_goes_another_takes_over_with_the_newer_protocol_too() {
    hand_over_in_every_way(Protocol::Consumer);
}

/// Standbys come and go while one leads.
fn standbys_come_and_go(protocol: Protocol) {
    const NUM_STANDBYS: u64 = 8;
    let broker = protocol.broker();
    let cluster = Cluster::at(broker.brokers());
    let setup = Setup::new(&cluster, 2);
    let sets = protocol.sets();
    let leader = feed_while(&setup, Feed::Json, || {
        let leader = setup.start(&sets);
        leader.wait_until("committing", |leader| num_transactions(leader, "committed") > 0);
        for standby in 0..NUM_STANDBYS {
            let standing_by = setup.start(&sets);
            standing_by.wait_until("standing by", |standby| standby.role() == "standby");
            let committed = num_transactions(&leader, "committed");
            leader.wait_until("going on", |leader| num_transactions(leader, "committed") >= committed + 20);
            assert_eq!(standing_by.num_scored(), 0);
            // One in two leaves without a word.
            if standby % 2 == 0 {
                drop(standing_by.stop())
            } else {
                standing_by.crash()
            }
            assert_eq!(leader.role(), "leading", "it says:\n{}", leader.stderr());
        }
        leader
    });
    wait_until_done(&setup, &leader);
    let [committed, aborted] = ["committed", "aborted"].map(|result| num_transactions(&leader, result));
    println!(
        "{protocol:?}: {NUM_STANDBYS} standbys came and went; {committed} transactions committed, {aborted} aborted"
    );
    let stderr = leader.stop();
    assert_eq!(aborted, 0, "{stderr}");
    let published = assert_published_once(&setup, &sets);
    assert_eq!(published.last().term, 1, "{stderr}");
}

#[test]
fn a_standby_that_comes_or_goes_takes_nothing_away() {
    standbys_come_and_go(Protocol::Classic);
}

#[test]
fn a_standby_that_comes_or_goes_takes_nothing_away_with_the_newer_protocol_either() {
    standbys_come_and_go(Protocol::Consumer);
}
