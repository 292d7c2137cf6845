//! What leads to a row, and when nothing does.

use super::*;
use crate::{
    model::FIRST_EPOCH,
    operator::{Action, ledger::Ledger},
    record::{Reject, RejectReason},
    score::{Score, Scored},
    state::{
        history::{Course, History, Lead, Unprovable, Wanted, event_at},
        topic::{PROGRESS_KEY, snapshot_records},
    },
};

const NUM_EVENTS: i64 = 200;
/// Events to a commit, and to a snapshot.
const COMMIT: i64 = 10;
const SAVED: i64 = 50;

/// What a group has left that has taken 200 events of partition 0, in one life of the model.
struct Past {
    config: Config,
    records: Vec<(String, Vec<u8>)>,
    /// What it published.
    scores: Vec<Scored>,
    operator: Operator,
    progress: Progress,
}

impl Past {
    fn new() -> Self {
        let config = config(&[]);
        let start = Positions::from([(0, Position::at(0))]);
        let operator = Operator::new(&config, start.clone());
        let progress = Progress::begin("test", FIRST_EPOCH, start, None);
        let mut past = Self { config, records: Vec::new(), scores: Vec::new(), operator, progress };
        past.go_on(NUM_EVENTS);
        past
    }

    /// Takes events up to this one, with a snapshot before the first.
    fn go_on(&mut self, end: i64) {
        let start = self.operator.positions()[&0].offset;
        self.commit(true);
        for offset in start..end {
            let mut actions = Vec::new();
            self.operator.push(Input::Record(Record::from(event(offset))));
            while self.operator.take(&mut actions).is_some() {}
            self.scores.extend(actions.into_iter().filter_map(|action| match action {
                Action::Score(scored) => Some(scored),
                _ => None,
            }));
            if (offset + 1) % COMMIT == 0 {
                self.commit((offset + 1) % SAVED == 0);
            }
        }
    }

    fn commit(&mut self, saves: bool) {
        let (positions, order) = (self.operator.positions().clone(), self.operator.take_order());
        self.progress.advance(positions, order, true);
        if saves {
            let snapshot = snapshot(&self.config, self.progress.generation + 1, &self.operator);
            let records = snapshot_records(named(&snapshot), &snapshot.to_bytes());
            self.records.extend(records.into_iter().map(|record| (record.key, record.value)));
            self.progress.cut(named(&snapshot));
        }
        self.records.push((PROGRESS_KEY.to_owned(), self.progress.to_bytes()));
    }

    /// Begins another life of the model at this offset.
    fn begin_anew(&mut self, offset: i64) {
        let start = Positions::from([(0, Position::at(offset))]);
        self.operator = Operator::new(&self.config, start.clone());
        self.operator.set_epoch(self.progress.epoch + 1);
        self.progress = Progress::begin("test", self.progress.epoch + 1, start, Some(&self.progress));
    }

    /// Compacts all but so many of the last records.
    fn compact(&mut self, num_kept: usize) {
        let tail = self.records.split_off(self.records.len() - num_kept);
        let is_last = |index: usize| {
            let key = &self.records[index].0;
            !self.records[index + 1..].iter().chain(&tail).any(|(later, _)| later == key)
        };
        let kept: Vec<_> = (0..self.records.len())
            .filter(|&index| is_last(index))
            .map(|i| self.records[i].clone())
            .collect();
        self.records = [kept, tail].concat();
    }

    fn lead(&self, wanted: Wanted) -> Result<Lead, Unprovable> {
        let mut history = History::new(&self.config, wanted);
        for (key, value) in &self.records {
            if history.put(key.as_bytes(), Some(value)) {
                break;
            }
        }
        history.finish()
    }

    fn course(&self, offset: i64) -> Course {
        let available = [(0, 0..NUM_EVENTS)].into();
        let lead = self.lead(row(offset)).unwrap();
        let mut course = lead.follow(&self.config, &available, 1_000).unwrap();
        course.operator.set_published(published(&self.config, NUM_EVENTS));
        course
    }

    fn refusal(&self, wanted: Wanted) -> String {
        self.lead(wanted).unwrap_err().to_string()
    }
}

fn row(offset: i64) -> Wanted {
    Wanted { partition: 0, at: Position::at(offset), epoch: None }
}

/// Takes a course to its row.
fn arrive(course: &mut Course, offset: i64) -> Scored {
    for next in course.read_from[&0].offset..NUM_EVENTS {
        course.operator.push(Input::Record(Record::from(event(next))));
    }
    let mut actions = Vec::new();
    while course.operator.take(&mut actions).is_some_and(|taken| taken.is_replayed) {
        for action in actions.drain(..) {
            match action {
                Action::Score(scored) if scored.event.offset == offset => return scored,
                action => course.ledger.see(&action),
            }
        }
    }
    panic!("the course does not come by {offset}");
}

#[test]
fn any_row_is_recomputed_from_the_nearest_snapshot_before_it() {
    let past = Past::new();
    for (offset, cut) in [(0, 0), (9, 0), (49, 0), (50, 50), (123, 100), (149, 100), (150, 150), (199, 150)] {
        let mut course = past.course(offset);
        assert_eq!(course.cut, Positions::from([(0, Position::at(cut))]), "{offset}");
        let (scored, published) = (arrive(&mut course, offset), &past.scores[offset as usize]);
        assert_eq!(scored.event, published.event);
        // Of the debug's text, since NaN is a null here; what is known only later may have come meanwhile.
        let published_with_it =
            |score: &Score| format!("{:?}", Score { held_back: Default::default(), ..score.clone() });
        assert_eq!(published_with_it(&scored.score), published_with_it(&published.score), "{offset}");
    }
}

#[test]
fn it_is_told_what_the_model_had_learned_from() {
    let past = Past::new();
    let mut course = past.course(199);
    arrive(&mut course, 199);
    let ledger = &course.ledger;
    // Targets are known after 30 seconds, and mini-batches are of 16; at the snapshot those up to 111 were learned from, and
    // seven were left over, of which it does not say where they came from.
    assert_eq!((ledger.records(), ledger.records_since(), ledger.num_unlearned()), (160, 48, 9));
    let last: Vec<i64> = ledger.last().map(|labelled| labelled.at.offset).collect();
    assert_eq!(last, (119..160).rev().collect::<Vec<_>>());
    assert_eq!(ledger.known_us(), Some((159 + 30) * SECOND_US));
    assert_eq!(course.operator.num_waiting(), 31);

    let lead = past.lead(row(199)).unwrap();
    let mut course = lead.follow(&past.config, &[(0, 0..NUM_EVENTS)].into(), 3).unwrap();
    course.operator.set_published(published(&past.config, NUM_EVENTS));
    arrive(&mut course, 199);
    assert_eq!(course.ledger.last().map(|labelled| labelled.at.offset).collect::<Vec<_>>(), [159, 158, 157]);
}

#[test]
fn the_account_of_what_was_learned_from_agrees_with_the_operator() {
    let config = config(&[]);
    for known in [None, Some(Known::WithEvent)] {
        let mut operator = Operator::new(&config, Positions::from([(0, Position::at(0))]));
        let mut ledger = Ledger::new(&operator.saved(), 1);
        for offset in 0..150 {
            let mut event = event(offset);
            let target = event.target.as_mut().unwrap();
            target.known = known.unwrap_or(target.known);
            let mut actions = Vec::new();
            operator.push(Input::Record(Record::from(event)));
            while operator.take(&mut actions).is_some() {}
            actions.iter().for_each(|action| ledger.see(action));
            let saved = operator.saved();
            assert_eq!(
                (ledger.records(), ledger.num_unlearned()),
                (saved.model.learner.records, saved.labelled.len())
            );
        }
        assert!(ledger.records() > 100, "{known:?}");
        let last = ledger.last().next().unwrap();
        assert_eq!(last.at.offset, ledger.records() as i64 - 1);
        let wait_us = if known.is_some() { 0 } else { 30 * SECOND_US };
        assert_eq!(
            (last.known_us, ledger.known_us()),
            (last.time_us + wait_us, Some(last.time_us + wait_us))
        );
    }
}

#[test]
fn where_compaction_has_removed_what_led_there_it_is_told_from_where_on_rows_can_be_verified() {
    let mut past = Past::new();
    // The commits from 150 on are left, the first of which names the snapshots at 150 and 100.
    past.compact(8);
    let from =
        "no snapshot from before it is left: rows of this partition can be verified from offset 100 on";
    assert_eq!(past.refusal(row(20)), from);
    assert_eq!(past.refusal(row(99)), from);
    arrive(&mut past.course(100), 100);
    past.records.retain(|(key, _)| !key.starts_with("snapshot-0"));
    assert_eq!(
        past.refusal(row(100)),
        "no snapshot from before it is left (number 3: it is not there): rows of this partition can be verified from \
         offset 150 on"
    );
    // Of the records in which the order stands, a later one will do.
    past.records.retain(|(key, _)| key != PROGRESS_KEY);
    past.records.push((PROGRESS_KEY.to_owned(), past.progress.to_bytes()));
    let mut course = past.course(155);
    assert_eq!(course.about.generation, 4);
    arrive(&mut course, 155);

    past.records.retain(|(key, _)| key == PROGRESS_KEY);
    let refused = past.refusal(row(150));
    assert!(
        refused.ends_with(
            "(number 5: it is not there; number 4: it is not there): none is left that leads to any row"
        ),
        "{refused}"
    );
}

#[test]
fn a_row_that_is_not_scored_yet_has_nothing_to_be_verified() {
    let mut past = Past::new();
    assert_eq!(
        past.refusal(row(200)),
        "it is not scored yet: the group's next record of partition 0 is offset 200"
    );
    assert_eq!(
        past.lead(Wanted { partition: 3, ..row(0) }).unwrap_err(),
        Unprovable::NotTaken { partition: 3, next: 0 }
    );
    past.config = config(&["kafka.group=other"]);
    assert_eq!(past.refusal(row(0)), "the state topic holds the state of group 'test'");
    past.records.clear();
    assert_eq!(past.lead(row(0)).unwrap_err(), Unprovable::NoState);
}

#[test]
fn a_row_is_recomputed_in_the_life_of_the_model_that_published_it() {
    let mut past = Past::new();
    past.begin_anew(100);
    past.go_on(NUM_EVENTS);
    let epoch = |epoch, offset| {
        let lead = past.lead(Wanted { epoch, ..row(offset) }).unwrap();
        (lead.snapshot.operator.epoch, lead.snapshot.operator.positions[&0].offset)
    };
    assert_eq!(epoch(Some(1), 123), (1, 100));
    assert_eq!(epoch(Some(2), 149), (2, 100));
    assert_eq!(epoch(Some(2), 155), (2, 150));
    // One that never was is not to be found, and the last life tells what the row should say.
    assert_eq!(epoch(Some(7), 155), (2, 150));
    assert_eq!(epoch(None, 155), (2, 150));
    assert_eq!(epoch(None, 20), (1, 0));
}

#[test]
fn input_that_retention_has_removed_is_told_as_far_as_it_is_needed() {
    let past = Past::new();
    let follow = |available| past.lead(row(123)).unwrap().follow(&past.config, &[(0, available)].into(), 0);
    // From the oldest event that waited at the snapshot, which was cut at 100.
    assert!(follow(69..200).is_ok());
    let refused = follow(70..200).err().unwrap();
    assert_eq!(
        refused.to_string(),
        "retention has removed input that is needed: partition 0 of 'in' begins at offset 70, and is needed from 69 on"
    );
    assert_eq!(follow(0..120).err(), Some(Unprovable::Passed), "the topic was made anew");
}

#[test]
fn a_config_with_another_model_is_refused_and_one_that_changes_less_is_told() {
    let past = Past::new();
    let follow = |sets: &[&str]| {
        let available = [(0, 0..NUM_EVENTS)].into();
        past.lead(row(123)).unwrap().follow(&config(sets), &available, 0)
    };
    assert_eq!(
        follow(&["model.hidden=[8]"]).err().unwrap().to_string(),
        "the config is not that of the model which scored it; set what was set then: model.hidden: was [4], is [8]"
    );
    let changes = follow(&["learn.rate=0.5"]).ok().unwrap().changes;
    assert_eq!(changes[0].to_string(), "learn.rate: was 0.001, is 0.5");
}

#[test]
fn a_partition_that_came_after_the_snapshot_is_read_from_its_beginning() {
    let past = Past::new();
    let mut lead = past.lead(row(123)).unwrap();
    lead.positions.insert(1, Position::at(5));
    lead.order.push(1, Position::at(5));
    // And one that nothing was taken of is not read at all.
    lead.positions.insert(2, Position::at(0));
    let available = [(0, 0..200), (1, 0..9), (2, 0..9)].into();
    let course = lead.follow(&past.config, &available, 0).unwrap();
    assert_eq!(course.read_from, Positions::from([(0, Position::at(69)), (1, Position::at(0))]));
}

#[test]
fn a_place_without_an_event_is_told_for_what_it_is() {
    let config = config(&[]);
    let told = |at: Position, message: Option<(i64, &[Record])>| {
        event_at(&config, Wanted { at, ..row(0) }, &(10..20), message).map_err(|why| why.to_string())
    };
    let record = Record::from(event(12));
    let reject = Record::Reject(Box::new(Reject {
        partition: 0,
        offset: 12,
        row: 0,
        last: true,
        key: None,
        payload: None,
        reason: RejectReason::Undecodable,
        detail: "no JSON".into(),
    }));
    let [record, reject] = [[record], [reject]];
    assert_eq!(*told(Position::at(12), Some((12, &record))).unwrap(), event(12));
    for (at, message, why) in [
        (Position::at(20), None, "partition 0 of 'in' ends at offset 20: there is no such record yet"),
        (Position::at(9), None, "begins at offset 10, and is needed from 9 on"),
        (Position::at(11), Some((12, &record[..])), "that offset holds no record"),
        (Position::at(11), None, "that offset holds no record"),
        (
            Position { offset: 12, row: 1 },
            Some((12, &record[..])),
            "that message holds 1 rows, counted from 0",
        ),
        (
            Position::at(12),
            Some((12, &reject[..])),
            "that record is rejected, not scored: undecodable: no JSON",
        ),
    ] {
        let told = told(at, message).unwrap_err();
        assert!(told.contains(why), "{told}");
    }
}
