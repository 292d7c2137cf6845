//! What `inspect` tells.

use super::{recovery::Group, *};
use crate::state::{
    report::{GroupReport, SnapshotReport},
    topic::{StateTopic, import_records, snapshot_records},
};

const NOW_MS: i64 = 1_700_000_003_500;

fn topic(group: &Group) -> StateTopic {
    let mut topic = StateTopic::default();
    topic.put(b"progress", Some(&group.progress.to_bytes()));
    for snapshot in &group.snapshots {
        for record in snapshot_records(named(snapshot), &snapshot.to_bytes()) {
            topic.put(record.key.as_bytes(), Some(&record.value));
        }
    }
    topic
}

#[test]
fn a_group_is_told_with_its_newest_snapshot_in_order() {
    let group = Group::new();
    let mut topic = topic(&group);
    let report = GroupReport::new(&group.config, &topic, NOW_MS).unwrap();
    let progress = report.progress.as_ref().unwrap();
    assert_eq!((progress.records_since_snapshot, progress.partitions[0].offset), (Some(30), 180));
    assert_eq!(progress.partitions[0].snapshot_offset, Some(150));
    let text = report.to_string();
    for line in [
        "group      'test', state topic 'test-state'",
        "progress   term 1, epoch 1",
        "           30 records in 1 run since the snapshot, which a restart learns again",
        "snapshots  5  in order",
        "           4  in order",
        "snapshot   5 of group 'test'",
        "written    2023-11-14T22:13:20.000000Z, 3 s ago",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }

    topic.put(b"snapshot-2-0", None);
    for record in import_records(1, &group.snapshots[1].to_bytes()) {
        topic.put(record.key.as_bytes(), Some(&record.value));
    }
    let report = GroupReport::new(&group.config, &topic, NOW_MS).unwrap();
    assert_eq!(report.snapshot.as_ref().unwrap().generation, 4);
    assert_eq!(report.snapshots[0].problem.as_deref(), Some("part 0 of 1 is missing"));
    let text = report.to_string();
    assert!(
        text.contains("snapshots  5  can't be used: part 0 of 1 is missing\n           4  in order\n"),
        "{text}"
    );
    assert!(
        text.contains(
            "import     snapshot 4 of group 'test', 4 updates: takes over when the leader next starts\n"
        ),
        "{text}"
    );

    let none = GroupReport::new(&group.config, &StateTopic::default(), NOW_MS).unwrap();
    assert_eq!(
        none.to_string(),
        "group      'test', state topic 'test-state'\nprogress   none: the group has no state yet\n"
    );
}

#[test]
fn a_snapshot_is_told_with_names_layers_and_what_waits() {
    let group = Group::new();
    let snapshot = &group.snapshots[0];
    let report = SnapshotReport::new(snapshot, snapshot.to_bytes().len(), NOW_MS);
    let text = report.to_string();
    for line in [
        "model      epoch 1, 7 updates in 7 mini-batches of 112 labelled records",
        "           7 of 16 labelled records in the unfinished mini-batch",
        "counts     scored 150, rejected 0, learned 112, expired 0, batches skipped 0",
        "stream     time 1970-01-01T00:02:29.000000Z",
        "           partition 0: next offset 150",
        "waiting    31 events for targets",
        "           the oldest is partition 0, offset 119, due 1970-01-01T00:02:29.000000Z",
        "           place.kind  category  2 of 4 known: down up",
        "           hour        cycle",
        "           hidden 1  9 × 4   ",
        "config     input.topic",
    ] {
        assert!(text.lines().any(|found| found.starts_with(line)), "{line}\n{text}");
    }
    let json = serde_json::to_value(&report).unwrap();
    for (pointer, expected) in [
        ("/group", "\"test\""),
        ("/generation", "5"),
        ("/age_seconds", "3"),
        ("/written", "\"2023-11-14T22:13:20.000000Z\""),
        ("/stage", "\"learning\""),
        ("/labelled_full", "16"),
        ("/counts/scored", "150"),
        ("/waiting/oldest/offset", "119"),
        ("/features/1/kind", "\"category\""),
        ("/features/1/first/0", "\"down\""),
        ("/offsets/0/offset", "150"),
        ("/weights/layers/0/name", "\"hidden 1\""),
        ("/weights/layers/2/name", "\"linear\""),
        ("/config/0/key", "\"input.topic\""),
    ] {
        assert_eq!(json.pointer(pointer).unwrap().to_string(), expected, "{pointer}\n{json:#}");
    }
    let layers = &report.weights.layers;
    let squares = |norm: fn(&crate::state::report::LayerReport) -> f64| {
        layers.iter().map(|layer| norm(layer).powi(2)).sum::<f64>()
    };
    assert!((squares(|l| l.trained) - report.weights.trained.powi(2)).abs() < 1e-9, "layers are all of it");
    assert_eq!(report.state_hash, crate::state::snapshot::hash(&snapshot.operator));
}

#[test]
fn a_snapshot_of_the_warm_up_or_of_an_unknown_config_is_told_without_what_is_not_known() {
    let config = config(&[]);
    let mut cold = snapshot(&config, 1, &operator(&config, 40));
    cold.about.config.retain(|fact| !fact.key.starts_with("model."));
    cold.about.config.push(Fact { key: "model.kind".into(), value: "\"unheard-of\"".into() });
    let report = SnapshotReport::new(&cold, 0, NOW_MS);
    assert_eq!(report.features[1].name, "2");
    assert!(report.weights.layers.is_empty() && report.weights.trained > 0.0);
    let text = report.to_string();
    assert!(text.contains("           9 of 64 labelled records in the warm-up\n"), "{text}");
    assert!(text.contains("target     –: no center and scale before the warm-up has ended\n"), "{text}");

    // A new line in a value can't bring keys of its own.
    let facts = [Fact { key: "model.seed".into(), value: "1\n[kafka.properties]\nx = 1".into() }];
    assert_eq!(Config::of_model(&facts), None);
}
