//! What is not as it should be is told in one clear line each, with the remedy, and ends the process at once.

use std::time::Duration;

use tailwater::flights;

use crate::{
    cluster::{Cluster, PATIENCE, Record, unique},
    process::{Finished, Setup, example},
};

/// A setup with some flights to score.
fn setup(cluster: &Cluster) -> Setup<'_> {
    let setup = Setup::new(cluster, 1);
    let flights = flights::json_records().unwrap().take(100);
    cluster.produce(&setup.input, flights.map(|flight| Record::new(0, flight.unwrap())));
    setup
}

/// Asserts that a command failed within seconds, and gives its lines on standard error without logs: one a fault.
pub fn told(finished: &Finished, code: i32) -> Vec<&str> {
    assert_eq!(finished.code, Some(code), "{finished:?}");
    assert!(finished.took < PATIENCE / 2, "{finished:?}");
    // A line of the log begins with its time.
    finished.stderr.lines().filter(|line| !line.starts_with("20")).collect()
}

#[test]
fn an_unreachable_broker_is_told_with_what_to_look_at() {
    let cluster = Cluster::connect();
    let setup = setup(&cluster);
    // Nothing listens on the port for TCP multiplexers.
    let nowhere = ["kafka.brokers=127.0.0.1:1"];
    let finished = setup.finish(&["check"], &nowhere);
    let lines = told(&finished, 1);
    assert_eq!(lines.len(), 1, "{finished:?}");
    assert_tells_where(lines[0].strip_prefix("tailwater: ").unwrap());

    // It may be up later: `run` says it and waits, alive and not ready, until it is told to end.
    let process = setup.start(&nowhere);
    process.wait_until("told", |process| !process.status()["last_error"].is_null());
    assert_tells_where(process.status()["last_error"]["message"].as_str().unwrap());
    assert_eq!(
        (process.role().as_str(), process.get("/livez").0, process.get("/readyz").0),
        ("starting", 200, 503)
    );
    process.stop();
}

fn assert_tells_where(error: &str) {
    assert!(error.starts_with("no broker answers at 127.0.0.1:1 ("), "{error}");
    assert!(error.contains("Connection refused") && error.contains("check kafka.brokers"), "{error}");
}

#[test]
fn all_missing_topics_are_told_at_once_each_with_the_command_that_makes_it() {
    let cluster = Cluster::connect();
    let missing = |name| unique(&format!("missing-{name}"));
    let setup = Setup {
        cluster: &cluster,
        config: example(),
        group: unique("group"),
        input: missing("flights"),
        output: missing("risk"),
        outcomes: missing("outcomes"),
        rejected: missing("rejected"),
        state: missing("state"),
    };
    for subcommand in ["run", "check"] {
        let finished = setup.finish(&[subcommand], &[]);
        let lines = told(&finished, 1);
        let later =
            "`tailwater check --create` makes it once the partitions of input.topic are known, or by hand";
        let state = "1 --config cleanup.policy=compact --config segment.bytes=16777216 --config \
                     min.cleanable.dirty.ratio=0.1 --config delete.retention.ms=3600000 --config retention.ms=-1";
        let expected = [
            ("input.topic", &setup.input, "create it", "N"),
            ("output.topic", &setup.output, later, "N --config retention.ms=604800000"),
            ("output.outcomes", &setup.outcomes, later, "N"),
            ("output.rejected", &setup.rejected, later, "N --config max.message.bytes=1114112"),
            ("state.topic", &setup.state, "`tailwater check --create` makes it, or by hand", state),
        ];
        assert_eq!(lines.len(), expected.len(), "{finished:?}");
        for (line, (key, topic, remedy, partitions)) in lines.iter().zip(expected) {
            let brokers = cluster.brokers();
            let told = format!(
                "{key}: topic '{topic}' does not exist; {remedy}: kafka-topics.sh --bootstrap-server {brokers} \
                 --create --topic {topic} --partitions {partitions}"
            );
            assert_eq!(line.trim_start_matches("tailwater: "), told);
        }
    }
}

#[test]
fn topics_with_too_few_or_too_many_partitions_are_told() {
    let cluster = Cluster::connect();
    let setup = Setup::new(&cluster, 3);
    let output = cluster.create_topic("narrow", 2);
    let state = cluster.create_topic("wide", 2);
    let setup = Setup { output, state, ..setup };
    for subcommand in ["run", "check"] {
        let finished = setup.finish(&[subcommand], &[]);
        let lines = told(&finished, 1);
        assert_eq!(lines.len(), 2, "{finished:?}");
        assert!(
            lines[0].contains(&format!("'{}' has 2 partitions and needs 3", setup.output)),
            "{finished:?}"
        );
        assert!(
            lines[1].contains(&format!("'{}' has 2 partitions and needs 1", setup.state)),
            "{finished:?}"
        );
    }
}

#[test]
fn a_missing_right_to_read_the_input_is_told() {
    let cluster = Cluster::connect();
    let setup = setup(&cluster);
    cluster.deny(&setup.input, "Read");
    for subcommand in ["run", "check"] {
        let finished = setup.finish(&[subcommand], &[]);
        let lines = told(&finished, 1);
        assert_eq!(lines.len(), 1, "{finished:?}");
        assert!(lines[0].contains(&setup.input) && lines[0].contains("the right to READ it"), "{finished:?}");
    }
}

#[test]
fn a_missing_right_to_make_a_topic_is_told_and_the_others_are_made() {
    let cluster = Cluster::connect();
    let setup = Setup { output: unique("risk"), outcomes: unique("outcomes"), ..setup(&cluster) };
    let finished = cluster.with_creation_denied(&setup.output, || setup.finish(&["check", "--create"], &[]));
    let lines = told(&finished, 1);
    assert_eq!(lines.len(), 1, "{finished:?}");
    let expected =
        format!("tailwater: output.topic: no right to CREATE topic '{}'; grant it: ", setup.output);
    assert!(lines[0].starts_with(&expected), "{finished:?}");
    assert!(
        lines[0].ends_with(&format!("--operation CREATE --topic {}", setup.output))
            && lines[0].contains("kafka-acls.sh"),
        "{finished:?}"
    );
    assert!(finished.stdout.contains(&format!("created    topic '{}'", setup.outcomes)), "{finished:?}");
}

#[test]
fn a_state_topic_that_is_not_compacted_alone_is_told_by_check_where_the_broker_lets_it_know() {
    let cluster = Cluster::connect();
    for policy in ["delete", "compact,delete"] {
        let state = cluster.create_topic_with("state", 1, &[("cleanup.policy", policy)]);
        let setup = Setup { state, ..setup(&cluster) };
        let finished = setup.finish(&["check"], &[]);
        let lines = told(&finished, 1);
        assert_eq!(lines.len(), 1, "{finished:?}");
        let (brokers, state) = (cluster.brokers(), &setup.state);
        assert_eq!(
            lines[0],
            format!(
                "tailwater: state.topic: topic '{state}' has cleanup.policy={policy} and needs compact, or brokers \
                 delete the state with time; set it: kafka-configs.sh --bootstrap-server {brokers} --alter \
                 --entity-type topics --entity-name {state} --add-config cleanup.policy=compact"
            )
        );
        cluster.deny(state, "DescribeConfigs");
        assert_eq!(setup.finish(&["check"], &[]).code, Some(0));
    }
}

#[test]
fn a_missing_right_to_write_the_scores_is_told_and_nothing_is_committed() {
    let cluster = Cluster::connect();
    let setup = setup(&cluster);
    cluster.deny(&setup.output, "Write");
    let finished = setup.finish(&["run"], &[]);
    let lines = told(&finished, 1);
    assert_eq!(lines.len(), 1, "{finished:?}");
    assert!(lines[0].contains(&setup.output) && lines[0].contains("the right to WRITE"), "{finished:?}");
    assert!(cluster.committed(&setup.group, &setup.input).values().all(|&offset| offset == 0));
}

#[test]
fn a_missing_right_to_the_group_is_told() {
    let cluster = Cluster::connect();
    for operation in ["Read", "Describe"] {
        let setup = setup(&cluster);
        cluster.deny_group(&setup.group, operation);
        let finished = setup.finish(&["run"], &[]);
        let lines = told(&finished, 1);
        assert_eq!(lines.len(), 1, "{finished:?}");
        assert!(lines[0].contains("the right to READ the group"), "{finished:?}");
    }
}

#[test]
fn a_topic_that_may_not_even_be_described_is_told() {
    let cluster = Cluster::connect();
    let setup = setup(&cluster);
    cluster.deny(&setup.rejected, "Describe");
    for subcommand in ["run", "check"] {
        let finished = setup.finish(&[subcommand], &[]);
        let lines = told(&finished, 1);
        assert_eq!(lines.len(), 1, "{finished:?}");
        let remedy = format!("--operation WRITE --topic {}", setup.rejected);
        assert!(lines[0].contains("output.rejected: no right") && lines[0].contains(&remedy), "{finished:?}");
    }
}

#[test]
fn a_wrong_config_is_told_whole_before_any_broker_is_asked() {
    let cluster = Cluster::connect();
    let setup = Setup { input: "no such topic".into(), ..Setup::new(&cluster, 1) };
    let wrong = ["learn.batch=-5", "score.quantiles=[0.5,1.5]", "learn.rte=1", "kafka.brokers=127.0.0.1:1"];
    for subcommand in ["run", "check", "peek"] {
        let finished = setup.finish(&[subcommand], &wrong);
        let text = told(&finished, 78).join("\n");
        for key in ["input.topic", "learn.batch", "score.quantiles[1]", "learn.rte"] {
            assert!(text.contains(key), "no word of {key}: {finished:?}");
        }
        assert!(text.contains("4 errors"), "{finished:?}");
        assert!(finished.took < Duration::from_secs(10), "{finished:?}");
    }
}

#[test]
fn a_committed_offset_out_of_range_ends_the_run_with_the_remedy_and_skips_nothing() {
    let cluster = Cluster::connect();
    let setup = setup(&cluster);
    // As if retention had removed what comes next, or the topic had been made anew.
    cluster.commit(&setup.group, &setup.input, 0, 5_000);
    let finished = setup.finish(&["run"], &[]);
    let lines = told(&finished, 1);
    assert_eq!(lines.len(), 1, "{finished:?}");
    assert!(lines[0].contains("out of its range") && lines[0].contains("--reset-offsets"), "{finished:?}");
    assert_eq!(cluster.committed(&setup.group, &setup.input)[&0], 5_000);
    assert_eq!(cluster.consume(&setup.output), []);
}

#[test]
fn a_refused_property_is_told_by_its_name_and_its_value_which_may_be_a_secret_is_not() {
    let cluster = Cluster::connect();
    let setup = setup(&cluster);
    let refused = [
        ("sasl.pasword", &[r#"kafka.properties."sasl.pasword"="hunter2""#][..]),
        ("security.protocol", &[r#"kafka.properties."security.protocol"="hunter2""#]),
        (
            "sasl.mechanism",
            &[
                r#"kafka.properties."security.protocol"="sasl_plaintext""#,
                r#"kafka.properties."sasl.mechanism"="hunter2""#,
            ],
        ),
    ];
    for (name, sets) in refused {
        for subcommand in ["run", "check", "peek"] {
            let finished = setup.finish(&[subcommand], sets);
            assert!(!format!("{finished:?}").contains("hunter2"), "{finished:?}");
            let lines = told(&finished, 1);
            assert_eq!(lines.len(), 1, "{finished:?}");
            assert!(lines[0].contains(name), "{finished:?}");
        }
    }
}
