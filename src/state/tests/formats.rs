//! That what was saved comes back, today and in later versions, and that nothing else does.

use std::{fs, path::Path};

use proptest::prelude::*;

use super::*;
use crate::{
    model::{baseline::SavedBaseline, calibrator::SavedCalibrator, saved::SavedFeature},
    operator::{
        order::Order,
        saved::{Counts, WaitingEntry},
    },
    state::{
        seal::{Kind, VERSION},
        topic::{StateTopic, Unusable, import_records, snapshot_records},
    },
};

fn standardiser(center: f64, scale: f64) -> Standardiser {
    Standardiser::new(Normaliser { center, scale }, &[center - scale, center, center + scale])
}

/// A snapshot made of plain numbers, the same on every machine and in every version.
fn golden() -> Snapshot {
    let config = config(&[]);
    let mut operator = Operator::new(&config, Positions::new()).saved();
    let num_weights = operator.model.learner.trained.len();
    let spread = |scale: f32| (0..num_weights).map(|i| scale * (i as f32 - 20.0)).collect::<Vec<f32>>();
    let learner = &mut operator.model.learner;
    (learner.trained, learner.averaged) = (spread(0.125), spread(0.0625));
    learner.moments = [spread(0.5), (0..num_weights).map(|i| i as f32).collect()];
    (learner.optimizer_steps, learner.batches, learner.records, learner.updates) = (3, 4, 64, 3);
    operator.model.features = vec![
        SavedFeature::Number(standardiser(0.25, 1.5)),
        SavedFeature::Category(vec!["up".into(), "naïve".into()]),
        SavedFeature::Cycle,
    ];
    operator.model.targets = vec![standardiser(-0.5, 2.0)];
    operator.model.baseline = Some(SavedBaseline {
        records: 2,
        first: vec![1.5, -0.75],
        unit: standardiser(-0.25, 2.5),
        params: vec![0.5, -0.125, -3.0, -2.0],
        log_odds: -20.5,
    });
    operator.model.calibrator =
        Some(SavedCalibrator { records: 7, params: [0.25, -0.5, 0.0, 0.125, 0.0, 0.0, 0.5, 1.0] });
    operator.model.recent = vec![Labelled {
        features: vec![Cell::Number(0.5), Cell::Null, Cell::Number(23.0)],
        target: vec![2.5],
    }];
    operator.epoch = 2;
    operator.positions =
        Positions::from([(0, Position::at(1_000)), (7, Position { offset: 1 << 40, row: 3 })]);
    operator.stream_time_us = 1_357_035_420_000_000;
    operator.labelled = vec![
        Labelled {
            features: vec![Cell::Number(-1.5), Cell::Text("up".into()), Cell::Null],
            target: vec![0.75],
        },
        Labelled { features: vec![Cell::Null, Cell::Null, Cell::Number(6.0)], target: vec![-1e300] },
    ];
    operator.waiting = vec![
        WaitingEntry::Expired { due_us: 1_357_035_421_000_000 },
        WaitingEntry::Known {
            partition: 0,
            at: Position::at(990),
            due_us: 1_357_035_422_000_000,
            is_bet_on: false,
        },
    ];
    operator.counts =
        Counts { scored: 990, rejected: 10, learned: 64, expired: 1, skipped: 1, loss_nats: Some(1.25) };
    let about = About {
        tailwater: "0.1.0".to_owned(),
        libtorch: "2.13.0".to_owned(),
        group: "golden".to_owned(),
        generation: 5,
        written_ms: 1_700_000_000_000,
        config_hash: "0123456789abcdef".to_owned(),
        config: vec![Fact { key: "model.hidden".to_owned(), value: "[4]".to_owned() }],
    };
    Snapshot { about, operator }
}

fn golden_progress() -> Progress {
    let mut order = Order::default();
    for (partition, offset) in [(0, 1), (7, 1 << 40), (0, 1_000)] {
        order.push(partition, Position::at(offset));
    }
    Progress {
        group: "golden".to_owned(),
        term: 3,
        epoch: 2,
        positions: Positions::from([(0, Position::at(1_002)), (7, Position { offset: 1 << 40, row: 4 })]),
        positions_before: Positions::from([(0, Position::at(1_000))]),
        snapshots: vec![
            Named { generation: 5, checksum: u128::MAX - 1 },
            Named { generation: 4, checksum: 9 },
        ],
        generation: 5,
        order_before: order.clone(),
        order,
        imported: Some(1 << 100),
        imports_from: 77,
    }
}

/// Bytes that every later version has to read. They are written where they are missing, which is right only for a new
/// version of the format: what was released stays as it is.
fn golden_bytes(name: &str, written: &[u8]) -> Vec<u8> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("TAILWATER_WRITE_GOLDEN").is_some() && !file.exists() {
        fs::write(&file, written).unwrap();
    }
    fs::read(&file).unwrap_or_else(|error| panic!("{name}: {error}; TAILWATER_WRITE_GOLDEN=1 writes it"))
}

#[test]
fn the_first_format_is_read_and_written_as_ever() {
    assert_eq!(VERSION, 1, "keep these files, and add those of the new version");
    let (snapshot, progress) = (golden(), golden_progress());
    let bytes = golden_bytes("state-v1.state", &snapshot.to_bytes());
    assert_eq!(Snapshot::from_bytes(&bytes).unwrap(), snapshot);
    assert!(snapshot.to_bytes() == bytes, "its bytes are others than they were");
    let bytes = golden_bytes("progress-v1.bin", &progress.to_bytes());
    assert_eq!(Progress::from_bytes(&bytes).unwrap(), progress);
    assert!(progress.to_bytes() == bytes, "its bytes are others than they were");

    // An operator goes on from it.
    let restored = Operator::restore(&config(&[]), snapshot.operator, Positions::new(), &Order::default());
    assert_eq!(restored.unwrap().epoch(), 2);
    // By which whoever compares two states knows that they are the same.
    assert_eq!(super::super::snapshot::hash(&golden().operator), "314832134f5de678e9442d9d7db028e5");
}

#[test]
fn what_another_version_wrote_is_told_from_what_is_damaged() {
    let bytes = golden().to_bytes();
    let versioned = |version: u16| {
        let mut bytes = bytes.clone();
        bytes[9..11].copy_from_slice(&version.to_le_bytes());
        Snapshot::from_bytes(&bytes).unwrap_err()
    };
    assert_eq!(versioned(2), SealError::Newer { found: 2 });
    assert_eq!(versioned(0), SealError::Older { found: 0 });
    assert!(versioned(2).to_string().contains("a newer tailwater wrote it (format 2, and this one reads 1)"));
    assert_eq!(Progress::from_bytes(&bytes), Err(SealError::Foreign(Kind::Progress)));
    assert_eq!(Snapshot::from_bytes(b"PK\x03\x04"), Err(SealError::Foreign(Kind::Snapshot)));
    assert_eq!(Snapshot::from_bytes(b""), Err(SealError::Foreign(Kind::Snapshot)));
    let foreign = SealError::Foreign(Kind::Snapshot).to_string();
    assert_eq!(foreign, "it is no snapshot of tailwater's");
}

#[test]
fn at_every_length_that_is_too_short_it_is_told_so() {
    let bytes = golden_progress().to_bytes();
    for len in 0..bytes.len() {
        let error = Progress::from_bytes(&bytes[..len]).unwrap_err();
        if len < 8 {
            assert_eq!(error, SealError::Foreign(Kind::Progress), "{len}");
        } else {
            assert!(matches!(error, SealError::Truncated { found, .. } if found == len), "{len}: {error}");
        }
    }
    let longer = [&bytes[..], b"x"].concat();
    assert_eq!(Progress::from_bytes(&longer), Err(SealError::Corrupt));
}

/// A byte of each region of an envelope: magic, kind, version, length, payload, checksum.
fn position(num_bytes: usize) -> impl Strategy<Value = usize> {
    let payload = 19..num_bytes - 16;
    prop_oneof![0..8usize, Just(8), 9..11usize, 11..19usize, payload, num_bytes - 16..num_bytes]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn a_snapshot_with_any_bits_flipped_is_an_error(
        at in position(golden().to_bytes().len()),
        flip in 1u8..=255,
    ) {
        let mut bytes = golden().to_bytes();
        bytes[at] ^= flip;
        prop_assert!(Snapshot::from_bytes(&bytes).is_err());
    }

    #[test]
    fn a_progress_record_with_any_bits_flipped_is_an_error(
        at in position(golden_progress().to_bytes().len()),
        flip in 1u8..=255,
    ) {
        let mut bytes = golden_progress().to_bytes();
        bytes[at] ^= flip;
        prop_assert!(Progress::from_bytes(&bytes).is_err());
    }

    #[test]
    fn a_truncated_snapshot_is_an_error(len in 0..golden().to_bytes().len()) {
        prop_assert!(Snapshot::from_bytes(&golden().to_bytes()[..len]).is_err());
    }

    /// Whoever makes a checksum that fits can make the payload anything: it is still a value or an error.
    #[test]
    fn any_payload_under_a_checksum_that_fits_is_a_value_or_an_error(
        at in 19..golden().to_bytes().len() - 16,
        flip in 1u8..=255,
    ) {
        let mut bytes = golden().to_bytes();
        bytes[at] ^= flip;
        reseal(&mut bytes);
        if let Ok(snapshot) = Snapshot::from_bytes(&bytes) {
            let config = config(&[]);
            // Nor does anything that is made of it panic.
            super::super::report::SnapshotReport::new(&snapshot, bytes.len(), 0).to_string();
            drop(Operator::restore(&config, snapshot.operator, Positions::new(), &Order::default()));
        }
    }

    #[test]
    fn a_state_topic_with_a_damaged_record_gives_what_was_saved_or_an_error(
        record in 0..4usize,
        at in any::<prop::sample::Index>(),
        flip in 1u8..=255,
    ) {
        let (snapshot, progress) = (golden(), golden_progress());
        let named = named(&snapshot);
        let mut records = snapshot_records(named, &snapshot.to_bytes());
        records.extend(import_records(1, &snapshot.to_bytes()));
        prop_assert_eq!(records.len(), 4);
        let value = &mut records[record].value;
        let at = at.index(value.len());
        value[at] ^= flip;
        let mut topic = StateTopic::default();
        topic.put(b"progress", Some(&progress.to_bytes()));
        records.iter().for_each(|record| topic.put(record.key.as_bytes(), Some(&record.value)));
        let opened = topic.snapshot(named).and_then(|bytes| Ok(Snapshot::from_bytes(&bytes)?));
        prop_assert_eq!(opened.is_err(), record < 2);
        let imported = topic.import().unwrap().snapshot;
        prop_assert_eq!(imported.is_err(), record >= 2);
        prop_assert!(opened.into_iter().chain(imported).all(|found| found == snapshot));
    }
}

/// Makes an envelope's checksum fit its bytes.
fn reseal(bytes: &mut [u8]) {
    let (rest, checksum) = bytes.split_last_chunk_mut::<16>().unwrap();
    *checksum = xxhash_rust::xxh3::xxh3_128(rest).to_le_bytes();
}

#[test]
fn a_large_snapshot_is_cut_into_parts_and_one_that_is_gone_is_named() {
    let mut snapshot = golden();
    snapshot.about.config_hash = "x".repeat(3 * topic::PART_BYTES);
    let named = named(&snapshot);
    let records = snapshot_records(named, &snapshot.to_bytes());
    let keys: Vec<&str> = records.iter().map(|record| record.key.as_str()).collect();
    assert_eq!(keys, ["snapshot-2-0", "snapshot-2-1", "snapshot-2-2", "snapshot-2-3", "snapshot-2"]);
    let mut topic = StateTopic::default();
    records.iter().for_each(|record| topic.put(record.key.as_bytes(), Some(&record.value)));
    assert_eq!(topic.snapshot(named).unwrap(), snapshot.to_bytes());
    let other = Named { generation: 8, ..named };
    assert_eq!(topic.snapshot(other), Err(Unusable::Another(5)));
    assert_eq!(topic.snapshot(Named { generation: 6, checksum: 0 }), Err(Unusable::Missing));
    topic.put(b"snapshot-2-1", None);
    assert_eq!(topic.snapshot(named), Err(Unusable::PartMissing { index: 1, num_parts: 4 }));
    assert_eq!(topic.snapshots(), [named]);
}

#[test]
fn what_is_not_tailwaters_in_the_state_topic_is_left_alone() {
    let mut topic = StateTopic::default();
    for key in [&b"offsets"[..], b"important", b"\xff", b""] {
        topic.put(key, Some(b"x"));
    }
    assert_eq!((topic.progress(), topic.import(), topic.snapshots()), (Ok(None), None, vec![]));
    topic.put(b"progress", Some(b"x"));
    assert_eq!(topic.progress(), Err(SealError::Foreign(Kind::Progress)));
}

#[test]
fn reading_back_goes_on_until_an_import_since_the_last_term_can_not_be_missed() {
    let (snapshot, mut progress) = (golden(), golden_progress());
    let named = named(&snapshot);
    progress.snapshots = vec![named];
    let mut topic = StateTopic::default();
    assert!(!topic.is_sufficient(0));
    topic.put(b"progress", Some(&progress.to_bytes()));
    assert!(!topic.is_sufficient(0), "the snapshot is missing");
    for record in snapshot_records(named, &snapshot.to_bytes()) {
        topic.put(record.key.as_bytes(), Some(&record.value));
    }
    assert_eq!([77, 78].map(|start| topic.is_sufficient(start)), [true, false]);
    // The manifest was read, and the parts before it were not yet.
    let import = import_records(1, &snapshot.to_bytes());
    topic.put(import[1].key.as_bytes(), Some(&import[1].value));
    assert!(!topic.is_sufficient(77) && !topic.is_import_whole());
    topic.put(import[0].key.as_bytes(), Some(&import[0].value));
    assert!(topic.is_sufficient(77) && topic.is_import_whole());
    // One that was taken over need not be there any more.
    progress.imported = topic.import().map(|import| import.id);
    topic.put(b"progress", Some(&progress.to_bytes()));
    topic.put(import[0].key.as_bytes(), None);
    assert!(topic.is_sufficient(77));
}

#[test]
fn the_same_file_imported_again_is_another_import() {
    let bytes = golden().to_bytes();
    let id = |written_ms| {
        let mut topic = StateTopic::default();
        for record in import_records(written_ms, &bytes) {
            topic.put(record.key.as_bytes(), Some(&record.value));
        }
        assert_eq!(topic.import_keys(), ["import", "import-0"]);
        topic.import().unwrap().id
    };
    assert_ne!(id(1), id(2));
}

#[test]
fn a_directory_keeps_the_last_three_snapshots_of_its_group() {
    let path = tempfile::tempdir().unwrap();
    let directory = directory::Directory::new(path.path(), "a/group");
    let other = directory::Directory::new(path.path(), "a/group-b");
    for generation in 1..=5 {
        for directory in [&directory, &other] {
            directory.write(Named { generation, checksum: 0 }, b"x").unwrap();
        }
        directory.prune(generation);
    }
    assert_eq!(directory.generations(), [5, 4, 3]);
    assert_eq!(other.generations(), [5, 4, 3, 2, 1]);
    let read = |generation| directory.read(Named { generation, checksum: 0 });
    assert_eq!((read(5), read(2)), (Ok(b"x".to_vec()), Err(Unusable::Missing)));
}
