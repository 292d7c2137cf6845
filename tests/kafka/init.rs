//! `tailwater init` on a topic, and that its config checks and runs.

use std::{path::Path, process::Command};

use arrow::array::Array;
use tailwater::flights;

use crate::{
    cluster::{Cluster, Record, unique},
    process::{Finished, Setup},
    scores::rows,
};

const NUM_FLIGHTS: usize = 4_000;

fn init(cluster: &Cluster, topic: &str, out: &Path, more: &[&str]) -> Finished {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tailwater"));
    command.args(["init", "--brokers", cluster.brokers(), "--topic", topic, "--out"]).arg(out).args(more);
    Finished::of(command.env_remove("TAILWATER_LOG"))
}

#[test]
fn a_topic_that_nobody_has_seen_before_is_scored_by_the_config_that_is_made_of_it() {
    let cluster = Cluster::connect();
    let arrow: Vec<Vec<u8>> = flights::batches(100)
        .unwrap()
        .take(NUM_FLIGHTS / 100)
        .map(|batch| {
            let batch = batch.unwrap();
            let mut writer = arrow::ipc::writer::StreamWriter::try_new(Vec::new(), &batch.schema()).unwrap();
            writer.write(&batch).unwrap();
            writer.into_inner().unwrap()
        })
        .collect();
    let json: Vec<Vec<u8>> = flights::json_records().unwrap().take(NUM_FLIGHTS).map(Result::unwrap).collect();
    for (format, messages) in [("json", json), ("arrow", arrow)] {
        let setup = Setup::new(&cluster, 2);
        let of_both = messages.into_iter().enumerate();
        cluster.produce(&setup.input, of_both.map(|(n, message)| Record::new((n % 2) as i32, message)));
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("tailwater.toml");
        let made = init(&cluster, &setup.input, &config, &["--set", "kafka.properties.client.id=init"]);
        assert_eq!(made.code, Some(0), "{made:?}");
        assert!(made.stdout.contains("arr_delay is a GUESS"), "{format}: {made:?}");
        let text = std::fs::read_to_string(&config).unwrap();
        assert!(text.contains("[kafka.properties]") && text.contains("\"client.id\" = \"init\""), "{text}");

        let setup = Setup { config, ..setup };
        let checked = setup.finish(&["check"], &[]);
        assert_eq!(checked.code, Some(0), "{checked:?}");
        assert!(checked.stdout.contains("records    ok"), "{format}: {checked:?}");
        let process = setup.start(&["learn.warmup=512"]);
        process.wait_until_scored(NUM_FLIGHTS);
        process.stop();
        let scores = rows(&cluster, &setup.output);
        let q99 = scores.column_by_name("q99").unwrap();
        assert!(q99.null_count() < NUM_FLIGHTS / 2, "{format}: {} of {}", q99.null_count(), q99.len());
    }
}

#[test]
fn a_topic_that_is_missing_empty_or_of_words_is_told_with_the_remedy() {
    let cluster = Cluster::connect();
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("tailwater.toml");
    let empty = cluster.create_topic("empty", 2);
    let words = cluster.create_topic("words", 1);
    cluster.produce(&words, [Record::new(0, "some words")]);
    for (topic, remedy) in
        [(unique("missing"), "does not exist"), (empty, "no record"), (words, "as a JSON object")]
    {
        let finished = init(&cluster, &topic, &out, &[]);
        assert_eq!(finished.code, Some(1), "{finished:?}");
        assert!(finished.stderr.contains(&topic) && finished.stderr.contains(remedy), "{finished:?}");
        assert!(!out.exists());
    }
    let nobody = Command::new(env!("CARGO_BIN_EXE_tailwater"))
        .args(["init", "--brokers", "127.0.0.1:1", "--topic", "flights", "--out"])
        .arg(&out)
        .output()
        .unwrap();
    let said = String::from_utf8(nobody.stderr).unwrap();
    assert!(nobody.status.code() == Some(1) && said.contains("check kafka.brokers"), "{said}");
}
