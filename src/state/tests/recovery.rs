//! Where a term begins, and when it can't.

use super::*;
use crate::{
    model::FIRST_EPOCH,
    operator::order::Order,
    state::{
        recovery::{Beginning, Initial, InputFacts, Mismatch, PartitionFacts, begin},
        topic::{Import, Unusable},
    },
};

/// A group with two snapshots, at offsets 100 and 150, whose last commit is at 180.
pub(super) struct Group {
    pub config: Config,
    /// The newest first.
    pub snapshots: Vec<Snapshot>,
    pub progress: Progress,
    pub input: InputFacts,
    pub import: Option<Import>,
    pub initial: Option<Initial>,
    /// The generations that can't be read.
    pub lost: Vec<u64>,
}

impl Group {
    pub fn new() -> Self {
        let config = config(&[]);
        let mut operator = operator(&config, 100);
        operator.take_order();
        let start = Positions::from([(0, Position::at(100))]);
        let mut progress = Progress::begin("test", FIRST_EPOCH, start, None);
        let mut snapshots = Vec::new();
        for (generation, end) in [(4, 150), (5, 180)] {
            let snapshot = snapshot(&config, generation, &operator);
            progress.cut(named(&snapshot));
            snapshots.insert(0, snapshot);
            let at = operator.positions()[&0].offset;
            take(&mut operator, at..end);
            progress.advance(operator.positions().clone(), operator.take_order(), true);
        }
        progress.generation = 5;
        let facts = PartitionFacts { committed: Some(180), available: 0..200, start: 0 };
        let input = InputFacts::from([(0, facts)]);
        Self { config, snapshots, progress, input, import: None, initial: None, lost: Vec::new() }
    }

    pub fn with(mut self, sets: &[&str]) -> Self {
        self.config = config(sets);
        self
    }

    pub fn partition(&mut self) -> &mut PartitionFacts {
        self.input.get_mut(&0).unwrap()
    }

    pub fn begin_from(
        &self,
        progress: Result<Option<Progress>, SealError>,
    ) -> Result<Beginning, Vec<Mismatch>> {
        let fetch = |wanted: Named| {
            let found = self.snapshots.iter().find(|s| s.about.generation == wanted.generation);
            let bytes = found.map(Snapshot::to_bytes).ok_or(Unusable::Missing)?;
            Ok(if self.lost.contains(&wanted.generation) { bytes[..50].to_vec() } else { bytes })
        };
        begin(&self.config, progress, fetch, self.import.clone(), &|| Ok(self.initial.clone()), &self.input)
    }

    pub fn begin(&self) -> Result<Beginning, Vec<Mismatch>> {
        self.begin_from(Ok(Some(self.progress.clone())))
    }

    /// The mismatches, in words.
    pub fn refused(&self) -> Vec<String> {
        self.begin().err().unwrap_or_default().iter().map(ToString::to_string).collect()
    }

    /// The one mismatch, in words.
    fn refusal(&self) -> String {
        let [refused] = self.refused().try_into().unwrap();
        refused
    }
}

const FRESH: &str = "run once with --set state.on_mismatch=fresh";

#[test]
fn a_group_goes_on_where_its_last_commit_ended() {
    let group = Group::new();
    let mut beginning = group.begin().unwrap();
    assert_eq!(beginning.notes, [""; 0]);
    assert_eq!(beginning.changes, []);
    assert_eq!(beginning.about.as_ref().unwrap().generation, 5);
    // Those that wait since 119 are read again; what was taken up to 180 is learned again.
    assert_eq!(beginning.read_from, Positions::from([(0, Position::at(119))]));
    assert_eq!(beginning.num_replayed, 61);
    assert_eq!(beginning.waiting[&0].len(), 31);
    beginning.operator.set_published(published(&group.config, 200));
    assert_eq!(take(&mut beginning.operator, 119..200), 61);
    assert_eq!(
        beginning.operator.saved(),
        operator(&group.config, 200).saved(),
        "as if it had never stopped"
    );
    let progress = beginning.progress;
    assert_eq!((progress.term, progress.epoch, progress.generation), (2, 1, 5));
    assert_eq!(progress.snapshots, group.progress.snapshots);
    assert_eq!(progress.order, group.progress.order);
}

#[test]
fn a_group_without_state_begins_where_it_is_told_with_a_new_model() {
    let mut group = Group::new();
    for (committed, available, start, expected) in [
        (None, 10..200, 10, 10),
        (None, 10..200, 200, 200),
        (Some(50), 10..200, 10, 50), // it committed before it had a state
    ] {
        *group.partition() = PartitionFacts { committed, available, start };
        let beginning = group.begin_from(Ok(None)).unwrap();
        assert_eq!(beginning.read_from, Positions::from([(0, Position::at(expected))]));
        assert!(!beginning.operator.is_restoring() && beginning.about.is_none());
        let progress = beginning.progress;
        assert_eq!((progress.term, progress.epoch, progress.snapshots), (1, FIRST_EPOCH, vec![]));
        assert_eq!(beginning.notes.len(), usize::from(committed.is_some()));
    }
    let group = group.with(&["learn.enabled=false"]);
    assert_eq!(group.begin_from(Ok(None)).err(), Some(vec![Mismatch::NoModel]));
}

#[test]
fn a_group_without_state_goes_on_with_the_model_of_a_file() {
    let mut group = Group::new();
    let mut snapshot = group.snapshots[0].clone();
    snapshot.operator.epoch = 3;
    group.initial = Some(Initial { file: "history.state".into(), snapshot });
    let beginning = group.begin_from(Ok(None)).unwrap();
    assert!(beginning.operator.model().is_ready());
    assert_eq!((beginning.operator.epoch(), beginning.progress.epoch), (3, 3));
    assert_eq!(beginning.notes[0], "the model of history.state goes on here");

    let cold = snapshot_of_warmup(&group.config);
    group.initial = Some(Initial { file: "cold.state".into(), snapshot: cold });
    let refused = group.begin_from(Ok(None)).err().unwrap();
    assert!(
        refused[0].to_string().starts_with("state.initial cold.state: its model is still in its warm-up")
    );
}

pub(super) fn snapshot_of_warmup(config: &Config) -> Snapshot {
    snapshot(config, 1, &operator(config, 10))
}

#[test]
fn the_newest_snapshot_that_is_in_order_is_used_and_it_is_told() {
    let mut group = Group::new();
    group.lost = vec![5];
    let mut beginning = group.begin().unwrap();
    assert_eq!(beginning.about.as_ref().unwrap().generation, 4);
    let [note] = &beginning.notes[..] else { panic!("{:?}", beginning.notes) };
    assert!(
        note.starts_with("the one before is used instead of snapshot number 5: it is truncated: 50 bytes of"),
        "{note}"
    );
    beginning.operator.set_published(published(&group.config, 200));
    take(&mut beginning.operator, 69..200);
    assert_eq!(beginning.operator.saved(), operator(&group.config, 200).saved());

    group.lost = vec![5, 4];
    let refused = group.refusal();
    assert!(
        refused.starts_with("none of the saved snapshots can be used (number 5: it is truncated"),
        "{refused}"
    );
    assert!(refused.contains("; number 4: it is truncated") && refused.contains(FRESH), "{refused}");
    assert!(refused.contains("put one back (tailwater state import)"), "{refused}");
    group.snapshots.clear();
    assert!(group.refusal().contains("(number 5: it is not there; number 4: it is not there)"));
}

#[test]
fn a_snapshot_of_another_group_or_of_another_time_is_none_of_its_own() {
    let mut group = Group::new();
    group.snapshots[0].about.written_ms += 1;
    let beginning = group.begin().unwrap();
    assert!(beginning.notes[0].ends_with("number 5: it is another one of the same number"));
    group.snapshots[0].about.group = "other".into();
    assert!(group.begin().unwrap().notes[0].ends_with("number 5: it is of group 'other'"));
}

#[test]
fn the_state_of_another_group_is_never_taken_nor_overwritten() {
    for mode in ["fail", "fresh"] {
        let group = Group::new().with(&["kafka.group=mine", &format!("state.on_mismatch={mode}")]);
        assert_eq!(
            group.refusal(),
            "state.topic holds the state of group 'test', and kafka.group is 'mine': give each group a state topic of \
             its own, or correct kafka.group"
        );
    }
}

#[test]
fn a_progress_record_that_can_not_be_read_stops_the_start() {
    let group = Group::new();
    let refused = group.begin_from(Err(SealError::Corrupt)).err().unwrap();
    assert_eq!(
        refused[0].to_string(),
        format!(
            "the progress record in state.topic can't be used: it is corrupt: its checksum does not fit its bytes: {FRESH}"
        )
    );
    let group = group.with(&["state.on_mismatch=fresh"]);
    let beginning = group.begin_from(Err(SealError::Corrupt)).unwrap();
    assert_eq!(beginning.read_from, Positions::from([(0, Position::at(180))]));
    assert!(beginning.notes[0].starts_with("a new model begins: the progress record"));
}

#[test]
fn a_config_that_needs_a_new_model_stops_the_start_or_begins_one() {
    let sets = ["model.hidden=[8]", "learn.rate=0.5"];
    let group = Group::new().with(&sets);
    let refused = group.refusal();
    assert_eq!(
        refused,
        format!(
            "the config does not fit the saved model: model.hidden: was [4], is [8]; put that back, or begin a new \
             model: {FRESH}"
        )
    );
    let group = group.with(&[sets[0], "state.on_mismatch=fresh"]);
    let beginning = group.begin().unwrap();
    assert!(!beginning.operator.is_restoring() && !beginning.operator.model().is_ready());
    assert_eq!(beginning.read_from, Positions::from([(0, Position::at(180))]));
    let progress = beginning.progress;
    assert_eq!((progress.term, progress.epoch, progress.generation), (2, 2, 5));
    assert_eq!(beginning.operator.epoch(), 2);
    assert!(progress.snapshots.is_empty(), "those before are another life's");
    assert_eq!(beginning.notes, ["a new model begins: the config does not fit the saved one"]);
    assert_eq!(beginning.changes.len(), 1);
}

#[test]
fn a_config_that_is_only_noted_is_told_and_goes_on() {
    let beginning = Group::new().with(&["learn.rate=0.5", "state.interval=1s"]).begin().unwrap();
    let changes: Vec<_> = beginning.changes.iter().map(ToString::to_string).collect();
    assert_eq!(changes, ["learn.rate: was 0.001, is 0.5"]);
    assert!(beginning.operator.is_restoring());
}

#[test]
fn offsets_that_were_reset_by_hand_stop_the_start_with_the_way_back() {
    let mut group = Group::new();
    group.partition().committed = Some(20);
    let refused = group.refusal();
    assert!(
        refused.starts_with("the group's offset of 'in' partition 0 is 20, and the state's is 180"),
        "{refused}"
    );
    let command = "kafka-consumer-groups.sh --bootstrap-server broker:9092 --group test --topic in:0 --reset-offsets \
                   --to-offset 180 --execute";
    assert!(refused.contains(command) && refused.ends_with(FRESH), "{refused}");
    let group = group.with(&["state.on_mismatch=fresh"]);
    let beginning = group.begin_from(Ok(Some(group.progress.clone())));
    assert_eq!(beginning.err(), None::<Vec<Mismatch>>);
    let mut group = Group::new().with(&["state.on_mismatch=fresh"]);
    group.partition().committed = Some(20);
    assert_eq!(group.begin().unwrap().read_from, Positions::from([(0, Position::at(20))]));
}

#[test]
fn offsets_that_have_expired_or_that_are_one_commit_behind_are_no_fault() {
    let mut group = Group::new();
    for committed in [None, Some(150)] {
        group.partition().committed = committed;
        assert_eq!(group.progress.positions_before[&0], Position::at(150));
        assert_eq!(group.begin().unwrap().progress.positions, group.progress.positions, "{committed:?}");
    }
}

#[test]
fn a_partition_that_came_since_is_read_from_its_beginning() {
    let mut group = Group::new();
    group.input.insert(1, PartitionFacts { committed: None, available: 7..20, start: 20 });
    let beginning = group.begin().unwrap();
    assert_eq!(beginning.read_from[&1], Position::at(7));
    assert_eq!(beginning.progress.positions[&1], Position::at(7));
    assert_eq!(beginning.num_replayed, 61);
}

#[test]
fn input_that_retention_has_removed_stops_the_start_and_says_what_is_missing() {
    let mut group = Group::new();
    // Only events that wait are gone: they were scored.
    group.partition().available = 130..200;
    let beginning = group.begin().unwrap();
    assert_eq!(beginning.read_from, Positions::from([(0, Position::at(130))]));
    for (begins, needed, what) in [
        (160, 150, "records that were learned from after the last snapshot"),
        (190, 180, "records that were not scored yet"),
    ] {
        group.partition().available = begins..200;
        let refused = group.refusal();
        let expected = format!(
            "'in' partition 0 begins at offset {begins} and is needed from {needed} on: retention has removed {what}. Keep \
             the topic for longer (retention.ms), and begin a new model where the input begins: {FRESH}"
        );
        assert_eq!(refused, expected);
    }
    let mut group = group.with(&["state.on_mismatch=fresh"]);
    group.partition().available = 190..200;
    assert_eq!(group.begin().unwrap().read_from, Positions::from([(0, Position::at(190))]));
}

#[test]
fn an_input_that_ends_before_the_groups_place_was_made_anew() {
    let mut group = Group::new();
    group.partition().available = 0..100;
    let refused = group.refusal();
    assert!(
        refused
            .starts_with("the offset 180 of 'in' partition 0 is out of its range: the partition ends at 100"),
        "{refused}"
    );
    assert!(refused.contains("--to-earliest --execute") && refused.contains(FRESH), "{refused}");
    // So is one that has lost a partition.
    group.input = InputFacts::new();
    assert!(group.refusal().contains("the partition ends at 0"));
    // A group without state has only its offsets.
    let mut group = Group::new();
    group.partition().available = 0..100;
    assert!(matches!(group.begin_from(Ok(None)).err().unwrap()[..], [Mismatch::Ends { at: 180, .. }]));
    let mut group = group.with(&["state.on_mismatch=fresh"]);
    group.partition().available = 0..100;
    assert_eq!(group.begin_from(Ok(None)).unwrap().read_from, Positions::from([(0, Position::at(0))]));
}

#[test]
fn everything_that_does_not_fit_is_told_at_once() {
    let mut group = Group::new().with(&["model.hidden=[8]"]);
    group.partition().committed = Some(3);
    let refused = group.refused();
    assert_eq!(refused.len(), 2, "{refused:?}");
}

#[test]
fn a_new_model_scores_nothing_again_where_offsets_have_expired_or_a_message_is_half_taken() {
    let mut group = Group::new().with(&["model.hidden=[7]", "state.on_mismatch=fresh"]);
    group.progress.positions = Positions::from([(0, Position { offset: 180, row: 3 })]);
    for (committed, available, expected) in [
        (None, 0..200, Position { offset: 180, row: 3 }),
        (Some(180), 0..200, Position { offset: 180, row: 3 }),
        (Some(120), 0..200, Position::at(120)), // somebody wants it so
        (None, 190..200, Position::at(190)),
        (None, 0..100, Position::at(0)), // the topic was made anew
    ] {
        *group.partition() = PartitionFacts { committed, available, start: 0 };
        let beginning = group.begin().unwrap();
        assert_eq!(beginning.read_from[&0], expected, "{committed:?}");
        assert_eq!(beginning.operator.positions()[&0], expected);
    }
}

#[test]
fn offsets_that_several_commits_could_not_bring_along_are_no_fault() {
    let mut group = Group::new();
    // At least once: two commits that only the progress record has, then a crash, a term, and another one.
    for end in [190, 195] {
        group.progress.advance(Positions::from([(0, Position::at(end))]), Order::default(), false);
    }
    let positions = group.progress.positions.clone();
    group.progress = group.progress.next_term(positions);
    for committed in [150, 180, 190, 195] {
        group.partition().committed = Some(committed);
        assert!(group.refused().iter().all(|told| !told.contains("reset by hand")), "{committed}");
    }
    for committed in [149, 196] {
        group.partition().committed = Some(committed);
        assert!(group.refusal().contains("reset by hand"), "{committed}");
    }
}
