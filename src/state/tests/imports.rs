//! Imports: a group goes on, from its place on, with a model that was saved elsewhere or before.

use super::{
    recovery::{Group, snapshot_of_warmup},
    *,
};
use crate::{
    model::saved::SavedModel,
    operator::{Action, order::Order},
    state::{
        recovery::Mismatch,
        topic::{Import, Unusable},
    },
};

const ID: u128 = 77;

/// A model of another group, that has learned from fewer records.
fn foreign() -> Snapshot {
    let config = config(&["kafka.group=elsewhere", "input.topic=other", "learn.rate=0.1"]);
    snapshot(&config, 9, &operator(&config, 120))
}

fn with_import(snapshot: Result<Snapshot, Unusable>) -> Group {
    Group { import: Some(Import { id: ID, snapshot }), ..Group::new() }
}

#[test]
fn an_imported_model_takes_over_once_the_group_has_caught_up() {
    let group = with_import(Ok(foreign()));
    let mut beginning = group.begin().unwrap();
    assert_eq!(
        beginning.notes,
        ["the imported model (snapshot 9 of group 'elsewhere') takes over from here on, in epoch 2"]
    );
    assert_eq!((beginning.read_from[&0], beginning.num_replayed), (Position::at(119), 61));
    let progress = &beginning.progress;
    assert_eq!((progress.term, progress.epoch, progress.imported), (2, 2, Some(ID)));
    assert_eq!(progress.positions, group.progress.positions);
    assert!(progress.snapshots.is_empty() && progress.order == Order::default(), "the first commit saves it");
    assert_eq!(progress.generation, 5);

    // It catches up with its own model …
    let operator = &mut beginning.operator;
    assert_eq!(take(operator, 119..179), 60);
    assert_eq!(operator.epoch(), 1);
    // … of which the last replayed and the first new record may come together.
    for offset in [179, 180] {
        operator.push(Input::Record(Record::from(event(offset))));
    }
    let mut actions = Vec::new();
    assert!(operator.take(&mut actions).unwrap().is_replayed);
    actions.clear();
    assert!(!operator.take(&mut actions).unwrap().is_replayed);
    let scored = actions.iter().find_map(|action| match action {
        Action::Score(scored) => Some(scored),
        _ => None,
    });
    let scored = scored.unwrap();
    assert_eq!((scored.event.offset, scored.score.epoch), (180, 2));
    let updates = foreign().operator.model.learner.updates;
    assert_eq!(scored.score.updates, updates);

    let saved = operator.saved();
    let truth = super::operator(&group.config, 181).saved();
    assert_eq!((saved.positions, saved.waiting), (truth.positions, truth.waiting), "what waits is kept");
    assert_eq!(saved.labelled, truth.labelled, "and so is the unfinished mini-batch");
    assert_eq!(saved.counts.scored, 1, "counts are of this life");
    // What was learned from the target that came since is the baseline's.
    let model = SavedModel { baseline: foreign().operator.model.baseline, ..saved.model };
    assert_eq!(model, foreign().operator.model);
    assert_eq!(operator.take_order().num_runs(), 1, "what was replayed is written down already");
}

#[test]
fn an_import_that_was_taken_over_is_not_taken_again() {
    let mut group = with_import(Ok(foreign()));
    group.progress.imported = Some(ID);
    let beginning = group.begin().unwrap();
    assert_eq!(beginning.notes, [""; 0]);
    assert_eq!((beginning.progress.epoch, beginning.progress.imported), (1, Some(ID)));
    assert_eq!(beginning.progress.snapshots, group.progress.snapshots);
    // Nor is one told of that is in pieces since.
    group.import = Some(Import { id: ID, snapshot: Err(Unusable::Missing) });
    assert_eq!(group.begin().unwrap().notes, [""; 0]);
}

#[test]
fn an_import_in_pieces_is_told_and_the_group_goes_on_without() {
    let group = with_import(Err(Unusable::PartMissing { index: 1, num_parts: 3 }));
    let beginning = group.begin().unwrap();
    assert_eq!(
        beginning.notes,
        ["the model that was imported is not taken over: part 1 of 3 is missing; import it again"]
    );
    assert_eq!((beginning.progress.epoch, beginning.progress.imported), (1, None));
}

#[test]
fn an_import_that_does_not_fit_stops_the_start_and_can_be_taken_back() {
    let config = config(&["model.hidden=[8]"]);
    let other = snapshot(&config, 1, &operator(&config, 120));
    for (snapshot, why) in [
        (other, "the config does not fit its model: model.hidden: was [8], is [4]"),
        (snapshot_of_warmup(&Group::new().config), "its model is still in its warm-up"),
    ] {
        for mode in ["fail", "fresh"] {
            let group = with_import(Ok(snapshot.clone())).with(&[&format!("state.on_mismatch={mode}")]);
            let [refused] = group.refused().try_into().unwrap();
            assert!(
                refused.starts_with(&format!("the model that was imported can't take over: {why}")),
                "{refused}"
            );
            assert!(refused.ends_with("take it back: tailwater state import --withdraw"), "{refused}");
        }
    }
}

#[test]
fn a_group_without_state_begins_with_what_was_imported() {
    let group = with_import(Ok(foreign())).with(&["learn.enabled=false"]);
    let beginning = group.begin_from(Ok(None)).unwrap();
    assert!(beginning.operator.model().is_ready() && !beginning.operator.is_restoring());
    assert_eq!((beginning.progress.epoch, beginning.progress.imported), (1, Some(ID)));
    assert_eq!(beginning.notes[0], "the imported model (snapshot 9 of group 'elsewhere') goes on here");
}

#[test]
fn an_import_takes_the_place_of_snapshots_that_can_not_be_used() {
    let mut group = with_import(Ok(foreign()));
    group.lost = vec![4, 5];
    let beginning = group.begin().unwrap();
    assert_eq!(beginning.read_from, Positions::from([(0, Position::at(180))]), "nothing is scored twice");
    assert_eq!((beginning.operator.epoch(), beginning.progress.epoch), (2, 2));
    assert!(beginning.notes[0].contains("in the place of what was saved (number 5: it is truncated"));
    // Places are of no use where the input is another.
    let config = ["input.topic=other"];
    let group = with_import(Ok(foreign())).with(&config);
    assert!(matches!(group.begin().err().unwrap()[..], [Mismatch::Config(_)]));
}

#[test]
fn an_imported_model_is_the_new_one_that_a_changed_config_needs() {
    let sets = ["model.hidden=[8]"];
    let config = config(&sets);
    let trained = snapshot(&config, 1, &operator(&config, 120));
    let group = with_import(Ok(trained)).with(&sets);
    let beginning = group.begin().unwrap();
    assert_eq!(beginning.read_from, Positions::from([(0, Position::at(180))]));
    assert!(beginning.notes[0].contains("in the place of what was saved (model.hidden: was [4], is [8])"));
    assert_eq!(beginning.progress.epoch, 2);
}

#[test]
fn where_the_progress_record_is_lost_an_import_of_unknown_age_is_not_taken() {
    let group = with_import(Ok(foreign())).with(&["state.on_mismatch=fresh"]);
    let beginning = group.begin_from(Err(SealError::Corrupt)).unwrap();
    assert!(!beginning.operator.model().is_ready());
    assert_eq!(beginning.progress.imported, Some(ID));
    assert!(beginning.notes[0].contains("whether it was taken over before is not known; import it again"));
}
