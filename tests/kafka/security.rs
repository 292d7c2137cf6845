//! A broker that asks who is there: TLS, SCRAM, and the least set of rights.

use std::{
    fs,
    sync::{Arc, Mutex, Weak},
};

use tailwater::flights;

use crate::{
    broker::{Broker, Options},
    cluster::{Cluster, Record, Rule},
    faults::told,
    process::{Finished, Process, Setup},
};

/// Of every user; nothing that is shown may hold it.
const PASSWORD: &str = "s3cr3t-of-ann";

/// A right that is needed, and what is told when it is missing.
struct Right {
    /// As Kafka names them: the resource's kind, and what may be done to it.
    kind: &'static str,
    operation: &'static str,
    /// The resource's name.
    of: for<'a> fn(&'a Setup<'_>) -> &'a str,
    told: &'static str,
    /// It is missed only when a process starts again.
    at_restart: bool,
}

/// All that a principal needs, from the start over a restart to committed offsets. READ and WRITE bring DESCRIBE with
/// them. The README lists the same.
const LEAST_RIGHTS: [Right; 9] = [
    right("Topic", "Read", |s| &s.input, "input.topic: no right to READ"),
    right("Topic", "Write", |s| &s.output, "the right to WRITE to the topics that are written (output.topic"),
    right("Topic", "Write", |s| &s.outcomes, "output.outcomes: no right to WRITE"),
    right("Topic", "Write", |s| &s.rejected, "output.rejected: no right to WRITE"),
    right("Topic", "Read", |s| &s.state, "the right to READ it"),
    right("Topic", "Write", |s| &s.state, "the right to WRITE to the topics that are written (output.topic"),
    right("Group", "Read", |s| &s.group, "the right to READ the group"),
    right("TransactionalId", "Write", |s| &s.group, "no right to transactions"),
    // The scores of events that still wait are read again.
    Right { at_restart: true, ..right("Topic", "Read", |s| &s.output, "the right to READ it") },
];

const fn right(
    kind: &'static str,
    operation: &'static str,
    of: for<'a> fn(&'a Setup<'_>) -> &'a str,
    told: &'static str,
) -> Right {
    Right { kind, operation, of, told, at_restart: false }
}

/// One user with all of these rights, and one for each right that it lacks.
fn user(lacking: Option<usize>) -> String {
    lacking.map_or("ann".to_owned(), |right| format!("ann-without-{right}"))
}

/// One broker for all of these tests: it goes with the last of them.
fn broker() -> Arc<Broker> {
    static SHARED: Mutex<Weak<Broker>> = Mutex::new(Weak::new());
    let mut shared = SHARED.lock().unwrap();
    shared.upgrade().unwrap_or_else(|| {
        let names: Vec<String> =
            [None].into_iter().chain((0..LEAST_RIGHTS.len()).map(Some)).map(user).collect();
        let users: Vec<_> = names.iter().map(|name| (&name[..], PASSWORD)).collect();
        let broker = Arc::new(Broker::start(&Options { users: &users, ..Options::default() }));
        *shared = Arc::downgrade(&broker);
        broker
    })
}

/// Gives a user all rights, or all but one.
fn grant(setup: &Setup<'_>, lacking: Option<usize>) {
    let principal = format!("User:{}", user(lacking));
    let granted = LEAST_RIGHTS.iter().enumerate().filter(|(right, _)| Some(*right) != lacking);
    let rules: Vec<_> = granted
        .map(|(_, right)| Rule {
            principal: &principal,
            resource: (right.kind, (right.of)(setup)),
            operation: right.operation,
            is_allowed: true,
        })
        .collect();
    setup.cluster.add_rules(&rules);
}

/// What a client sets to be let in; the password as the config writes it.
fn client(broker: &Broker, user: &str, password: &str) -> [String; 2] {
    let ca = broker.ca();
    [
        format!("kafka.brokers={}", broker.secure_brokers()),
        format!(
            r#"kafka.properties={{"security.protocol"="SASL_SSL","ssl.ca.location"="{}","sasl.mechanism"="SCRAM-SHA-512","sasl.username"="{user}","sasl.password"={password}}}"#,
            ca.display()
        ),
    ]
}

/// A topic with a thousand flights, more than a day of them, so that targets of the first become known; and a record
/// of no use.
fn input(cluster: &Cluster) -> String {
    let topic = cluster.create_topic("flights", 1);
    let flights = flights::json_records().unwrap().take(1_000).map(|flight| Record::new(0, flight.unwrap()));
    cluster.produce(&topic, flights.chain([Record::new(0, "{}")]));
    topic
}

fn wait_until_committed(setup: &Setup<'_>, process: &Process) {
    process.wait_until("committed to the end", |_| {
        setup.cluster.committed(&setup.group, &setup.input).get(&0) == Some(&1_001)
    });
}

#[test]
fn flights_are_scored_over_tls_and_scram_and_the_password_is_never_shown() {
    let broker = broker();
    let cluster = Cluster::at(broker.brokers());
    let input = input(&cluster);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    fs::write(&file, format!("{PASSWORD}\n")).unwrap();
    for password in [r#""${PASSWORD}""#, &format!(r#"{{file="{}"}}"#, file.display())] {
        let setup = Setup::on_input(&cluster, &input);
        grant(&setup, None);
        let sets = client(&broker, &user(None), password);
        let sets = [&sets[0], &sets[1], r#"kafka.properties."debug"="security,conf""#];
        let command = |subcommand| {
            let mut command = setup.command(&[subcommand], &sets);
            command.env("PASSWORD", PASSWORD).env("TAILWATER_LOG", "debug");
            command
        };
        let process = Process::start(&mut command("run"));
        wait_until_committed(&setup, &process);
        for path in ["/status", "/metrics"] {
            assert!(!process.get(path).1.contains(PASSWORD), "{path}");
        }
        let log = process.stop();
        assert!(log.contains("SCRAM-SHA-512") && !log.contains(PASSWORD), "{log}");
        let finished = Finished::of(&mut command("check"));
        assert_eq!(finished.code, Some(0), "{finished:?}");
        assert!(!format!("{finished:?}").contains(PASSWORD), "{finished:?}");
    }
}

#[test]
fn a_wrong_password_is_told_and_not_shown() {
    let broker = broker();
    let cluster = Cluster::at(broker.brokers());
    let setup = Setup::new(&cluster, 1);
    let wrong = format!("not-{PASSWORD}");
    let sets = client(&broker, &user(None), &format!("\"{wrong}\""));
    for subcommand in ["run", "check"] {
        let finished = setup.finish(&[subcommand], &[&sets[0], &sets[1]]);
        assert!(!format!("{finished:?}").contains(PASSWORD), "{finished:?}");
        let lines = told(&finished, 1);
        assert_eq!(lines.len(), 1, "{finished:?}");
        let begin = format!("tailwater: this client is not let in at {} (", broker.secure_brokers());
        assert!(lines[0].starts_with(&begin), "{finished:?}");
        assert!(lines[0].contains("invalid credentials with SASL mechanism SCRAM-SHA-512"), "{finished:?}");
        assert!(lines[0].contains("check its name, its secret and sasl.mechanism: sasl.*"), "{finished:?}");
    }
}

#[test]
fn a_broker_whose_authority_is_not_trusted_is_told() {
    let broker = broker();
    let cluster = Cluster::at(broker.brokers());
    let setup = Setup::new(&cluster, 1);
    let sets = client(&broker, &user(None), &format!("\"{PASSWORD}\""));
    // Those of the system are trusted then, who know nothing of this one.
    let sets = [&sets[0], &sets[1], r#"kafka.properties."ssl.ca.location"="probe""#];
    for subcommand in ["run", "check"] {
        let finished = setup.finish(&[subcommand], &sets);
        assert!(!format!("{finished:?}").contains(PASSWORD), "{finished:?}");
        let lines = told(&finished, 1);
        assert_eq!(lines.len(), 1, "{finished:?}");
        assert!(lines[0].contains("certificate verify failed"), "{finished:?}");
        assert!(
            lines[0].contains("check ssl.ca.location, other ssl.* and security.protocol"),
            "{finished:?}"
        );
    }
}

#[test]
fn the_least_set_of_rights_is_enough_and_any_right_that_is_missing_is_told() {
    let broker = broker();
    let cluster = Cluster::at(broker.brokers());
    let input = input(&cluster);
    for lacking in [None].into_iter().chain((0..LEAST_RIGHTS.len()).map(Some)) {
        let setup = Setup::on_input(&cluster, &input);
        grant(&setup, lacking);
        let sets = client(&broker, &user(lacking), &format!("\"{PASSWORD}\""));
        let sets = [&sets[0][..], &sets[1], "learn.warmup=128"];
        let Some(right) = lacking.map(|right| &LEAST_RIGHTS[right]) else {
            let process = setup.start(&sets);
            wait_until_committed(&setup, &process);
            process.stop();
            // It starts again, too.
            let process = setup.start(&sets);
            process.wait_until_leading();
            process.stop();
            for topic in [&setup.output, &setup.outcomes, &setup.rejected] {
                assert!(
                    !cluster.consume(topic).is_empty(),
                    "nothing came to {topic}: no right to it was needed"
                );
            }
            continue;
        };
        if right.at_restart {
            let process = setup.start(&sets);
            wait_until_committed(&setup, &process);
            process.stop();
        }
        let finished = setup.finish(&["run"], &sets);
        let lines = told(&finished, 1);
        assert_eq!(lines.len(), 1, "{finished:?}");
        assert!(lines[0].contains(right.told), "{}: {finished:?}", right.operation);
        assert!(lines[0].contains((right.of)(&setup)), "what it is about is not named: {finished:?}");
    }
}
