//! `inspect`, `state export`, `state import`, and what `check` says of a saved state.

use std::{collections::BTreeMap, fs, process::Command, time::Duration};

use arrow::{array::Array, datatypes::UInt32Type};
use serde_json::Value;
use tailwater::flights;

use crate::{
    cluster::{Cluster, Record},
    process::{Finished, Setup},
    scores::{column, first_places, places, rows},
};

/// Flights from one to another, as records of partition 0.
fn flights(from: usize, to: usize) -> Vec<Record> {
    let flights = flights::json_records().unwrap().skip(from).take(to - from);
    flights.map(|flight| Record::new(0, flight.unwrap())).collect()
}

const SETS: [&str; 1] = ["learn.warmup=128"];

impl Setup<'_> {
    /// Scores all flights up to this one, and stops.
    fn score_up_to(&self, from: usize, to: usize) -> String {
        self.cluster.produce(&self.input, flights(from, to));
        let process = self.start(&SETS);
        process.wait_until_scored(to - from);
        process.stop()
    }

    /// What a subcommand that succeeds has to say.
    fn succeed(&self, subcommand: &[&str]) -> Finished {
        let finished = self.finish(subcommand, &SETS);
        assert_eq!(finished.code, Some(0), "{finished:?}");
        finished
    }

    fn fail(&self, subcommand: &[&str], sets: &[&str]) -> Finished {
        let finished = self.finish(subcommand, sets);
        assert_eq!(finished.code, Some(1), "{finished:?}");
        finished
    }

    fn inspect(&self) -> Value {
        serde_json::from_str(&self.succeed(&["inspect", "--json"]).stdout).unwrap()
    }
}

/// `tailwater inspect` without a config.
fn inspect_file(arguments: &[&str]) -> Finished {
    let output =
        Command::new(env!("CARGO_BIN_EXE_tailwater")).arg("inspect").args(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Finished {
        code: output.status.code(),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
        took: Duration::ZERO,
    }
}

#[test]
fn a_group_goes_on_with_an_older_model_that_was_exported_and_imported() {
    let cluster = Cluster::connect();
    let setup = Setup::new(&cluster, 1);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("old.state");
    let file = file.to_str().unwrap();

    assert!(setup.inspect()["progress"].is_null());
    let refused = setup.fail(&["state", "export", "--out", file], &SETS);
    assert!(refused.stderr.contains("has no snapshot yet"), "{refused:?}");

    setup.score_up_to(0, 1_000);
    let exported = setup.succeed(&["state", "export", "--out", file]);
    assert!(
        exported.stdout.is_empty() && exported.stderr.contains("tailwater: wrote snapshot "),
        "{exported:?}"
    );
    let old = setup.inspect();
    assert_eq!(old["progress"]["partitions"][0]["offset"], 1_000);
    assert_eq!(old["progress"]["records_since_snapshot"], 0);
    let of_file: Value = serde_json::from_str(&inspect_file(&["--json", file]).stdout).unwrap();
    assert_eq!(of_file["snapshot"]["state_hash"], old["snapshot"]["state_hash"]);
    assert!(of_file["snapshot"]["updates"].as_u64().unwrap() > 10);
    let refused = setup.fail(&["state", "export", "--out", file], &SETS);
    assert!(refused.stderr.contains("exists; overwrite it with --force"), "{refused:?}");
    setup.succeed(&["state", "export", "--force", "--out", file]);

    setup.score_up_to(1_000, 2_000);
    let newer = setup.inspect();
    assert_ne!(newer["snapshot"]["state_hash"], old["snapshot"]["state_hash"]);

    let imported = setup.succeed(&["state", "import", file]);
    assert!(
        imported.stderr.ends_with("it takes over, in epoch 2, when the leader next starts: restart it\n"),
        "{imported:?}"
    );
    let pending = setup.inspect();
    assert_eq!(pending["import"]["updates"], old["snapshot"]["updates"]);
    assert_eq!(pending["import"]["problem"], Value::Null);
    let check = setup.succeed(&["check"]);
    assert!(check.stdout.contains("takes over from here on, in epoch 2\n"), "{check:?}");

    let stderr = setup.score_up_to(2_000, 3_000);
    assert!(stderr.contains("takes over from here on, in epoch 2"), "{stderr}");
    let rows = rows(&cluster, &setup.output);
    assert!(places(&rows) == first_places(3_000), "every flight once");
    let epochs = column::<UInt32Type>(&rows, "epoch");
    assert!(
        epochs[..2_000].iter().all(|&epoch| epoch == 1) && epochs[2_000..].iter().all(|&epoch| epoch == 2)
    );

    let after = setup.inspect();
    assert_eq!((&after["progress"]["epoch"], &after["import"]), (&Value::from(2), &Value::Null));
    assert_eq!(after["snapshot"]["counts"]["scored"], 1_000, "of this life of the model");
    let updates = |state: &Value| state["snapshot"]["updates"].as_u64().unwrap();
    assert!(updates(&after) > updates(&old));

    // Taken over once, it is not taken again; and nothing is left to take back.
    setup.score_up_to(3_000, 3_100);
    assert_eq!(setup.inspect()["progress"]["epoch"], 2);
    let refused = setup.fail(&["state", "import", "--withdraw"], &SETS);
    assert!(refused.stderr.contains("was taken over already"), "{refused:?}");
    assert_eq!(cluster.committed(&setup.group, &setup.input), BTreeMap::from([(0, 3_100)]));
}

#[test]
fn an_import_while_the_leader_runs_on_is_taken_over_at_the_next_start() {
    let cluster = Cluster::connect();
    let setup = Setup::new(&cluster, 1);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("old.state");
    let file = file.to_str().unwrap();
    setup.score_up_to(0, 1_000);
    setup.succeed(&["state", "export", "--out", file]);

    let process = setup.start(&SETS);
    process.wait_until_leading();
    setup.succeed(&["state", "import", file]);
    // So much comes after it that whoever reads back from the end finds progress and snapshot long before the import.
    cluster.produce(&setup.state, (0..1_000).map(|_| Record::new(0, "").with_key("none of tailwater's")));
    cluster.produce(&setup.input, flights(1_000, 1_500));
    process.wait_until_scored(500);
    let stderr = process.stop();
    assert!(!stderr.contains("takes over"), "{stderr}");

    cluster.produce(&setup.input, flights(1_500, 1_510));
    let process = setup.start(&SETS);
    process.wait_until_scored(10);
    process.stop();
    let epochs = column::<UInt32Type>(&rows(&cluster, &setup.output), "epoch");
    assert_eq!(epochs.len(), 1_510);
    assert!(
        epochs[..1_500].iter().all(|&epoch| epoch == 1) && epochs[1_500..].iter().all(|&epoch| epoch == 2)
    );
}

#[test]
fn a_group_without_state_begins_with_an_imported_model_and_scores_at_once() {
    let cluster = Cluster::connect();
    let first = Setup::new(&cluster, 1);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("moved.state");
    let file = file.to_str().unwrap();
    first.score_up_to(0, 1_000);
    first.succeed(&["state", "export", "--out", file]);

    let second = Setup::new(&cluster, 1);
    let misfit = second.fail(&["state", "import", file], &["model.hidden=[8]"]);
    assert!(misfit.stderr.contains("the config does not fit its model: model.hidden: was [16, 16], is [8]"));
    let imported = second.succeed(&["state", "import", file]);
    assert!(imported.stderr.contains("the group begins with it when it starts"), "{imported:?}");
    second.succeed(&["state", "import", "--withdraw"]);
    assert_eq!(second.inspect()["import"], Value::Null);
    second.succeed(&["state", "import", file]);
    second.score_up_to(1_000, 1_050);
    let rows = rows(&cluster, &second.output);
    assert_eq!(rows.column_by_name("q50").unwrap().null_count(), 0, "there is no warm-up");
    assert!(places(&rows) == first_places(50));
}

#[test]
fn inspect_says_what_is_wrong_with_a_file() {
    let cluster = Cluster::connect();
    let setup = Setup::new(&cluster, 1);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.state");
    let file = path.to_str().unwrap();
    setup.score_up_to(0, 300);
    setup.succeed(&["state", "export", "--out", file]);
    let good = fs::read(&path).unwrap();
    let text = inspect_file(&[file]).stdout;
    assert!(text.contains("\nfeatures   dep_delay   number    center "), "{text}");

    let newer = [&good[..9], &2u16.to_le_bytes(), &good[11..]].concat();
    let mut corrupt = good.clone();
    corrupt[good.len() / 2] ^= 1;
    for (bytes, why) in [
        (&good[..good.len() - 1], "it is truncated: "),
        (&corrupt, "it is corrupt: its checksum does not fit its bytes"),
        (&newer, "a newer tailwater wrote it (format 2, and this one reads 1)"),
        (b"\x7fELF", "it is no snapshot of tailwater's"),
        (b"", "it is no snapshot of tailwater's"),
    ] {
        fs::write(&path, bytes).unwrap();
        let finished = inspect_file(&[file]);
        assert_eq!((finished.code, finished.stdout.as_str()), (Some(1), ""), "{finished:?}");
        assert!(finished.stderr.contains(&format!("can't be used: {why}")), "{finished:?}");
        let refused = setup.fail(&["state", "import", file], &SETS);
        assert!(refused.stderr.contains(&format!("can't be imported: {why}")), "{refused:?}");
    }
    let finished = inspect_file(&["/nowhere/b.state"]);
    assert!(finished.code == Some(1) && finished.stderr.contains("can't be read"), "{finished:?}");
    assert_eq!(inspect_file(&[]).code, Some(2), "neither a file nor a config");
}

#[test]
fn check_tells_what_a_config_does_to_the_state_and_fails_where_run_would() {
    let cluster = Cluster::connect();
    let setup = Setup::new(&cluster, 1);
    setup.score_up_to(0, 300);
    let state = |finished: &Finished| -> Vec<String> {
        let lines = finished.stdout.lines().filter_map(|line| line.strip_prefix("state      "));
        lines.map(str::to_owned).collect()
    };
    let [line] = state(&setup.succeed(&["check"])).try_into().unwrap();
    assert!(
        line.starts_with("ok: snapshot ") && line.ends_with("; nothing in the config changes it"),
        "{line}"
    );

    let finished = setup.finish(&["check"], &[SETS[0], "learn.rate=0.002"]);
    assert_eq!(finished.code, Some(0), "{finished:?}");
    let lines = state(&finished);
    assert_eq!(lines[1], "learn.rate: was 0.001, is 0.002 (noted: applies from the restart on)");

    let sets = [SETS[0], "model.hidden=[64, 64]"];
    let refused = setup.fail(&["check"], &sets);
    assert_eq!(
        state(&refused),
        [
            "model.hidden: was [16, 16], is [64, 64] (needs a new model: state.on_mismatch = \"fail\" stops the start)"
        ]
    );
    let run = setup.fail(&["run"], &sets);
    let told = |finished: &Finished| finished.stderr.lines().last().unwrap().to_owned();
    assert_eq!(told(&refused), told(&run), "what run says");
    let finished = setup.finish(&["check"], &[sets[0], sets[1], "state.on_mismatch=fresh"]);
    assert_eq!(finished.code, Some(0), "{finished:?}");
    assert!(state(&finished)[1].ends_with("(needs a new model: state.on_mismatch = \"fresh\" begins one)"));

    cluster.commit(&setup.group, &setup.input, 0, 7);
    let refused = setup.fail(&["check"], &SETS);
    assert!(refused.stderr.contains("--reset-offsets --to-offset 300 --execute"), "{refused:?}");
}
