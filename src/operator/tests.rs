#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;
use crate::{
    config::Config,
    model::{learner::Taken, noise::Draws, normaliser::Normaliser, standardiser::Standardiser},
    record::{RejectReason, Target},
    score::Published,
};

const CONFIG: &str = r#"
[kafka]
brokers = "none"
group = "test"
[input]
topic = "in"
[features]
x = "number"
kind = { kind = "category", size = 4 }
[target]
fields = ["y"]
wait = "1h"
[model]
flows = ["radial", "affine"]
hidden = [8]
[learn]
batch = 16
warmup = 64
rate = 0.01
[score]
exceed = [1.0]
quantiles = [0.5, 0.9]
shortfall = [0.9]
[output]
topic = "out"
"#;

fn config(sets: &[&str]) -> Config {
    let sets: Vec<String> = sets.iter().map(ToString::to_string).collect();
    Config::from_parts(CONFIG, "test.toml", &sets, std::iter::empty()).unwrap()
}

fn operator(config: &Config, partitions: &[i32]) -> Operator {
    Operator::new(config, partitions.iter().map(|&p| (p, Position::at(0))).collect())
}

const SECOND_US: i64 = 1_000_000;

/// An event a second, each with a target that is known `delay_s` seconds later.
fn event(offset: i64, delay_s: Option<i64>) -> Event {
    let mut draws = Draws::new(11, 0, offset as usize);
    let (x, noise) = (draws.normal(), draws.normal());
    let time_us = offset * SECOND_US;
    Event {
        partition: 0,
        offset,
        row: 0,
        last: true,
        timestamp_ms: Some(time_us / 1000),
        time_us,
        key: None,
        features: [Cell::Number(x), Cell::Text(if x > 0.0 { "up" } else { "down" }.into())].into(),
        carry: [].into(),
        thresholds: [].into(),
        segment: None,
        target: Some(Target {
            values: [2.0 * x + 0.5 * noise].into(),
            known: delay_s.map_or(Known::WithEvent, |delay| Known::At(time_us + delay * SECOND_US)),
        }),
    }
}

/// Everything that the operator wants done about these events of partition 0.
fn run(config: &Config, events: &[Event]) -> Vec<Action> {
    let mut operator = operator(config, &[0]);
    let mut actions = Vec::new();
    for event in events {
        operator.push(Input::Record(Record::from(event.clone())));
        while operator.take(&mut actions).is_some() {}
    }
    actions
}

fn scores(actions: &[Action]) -> Vec<&Scored> {
    let mut scores = Vec::new();
    for action in actions {
        if let Action::Score(scored) = action {
            scores.push(scored);
        }
    }
    scores
}

/// The bits of everything that a score says.
fn bits(scored: &Scored) -> (i64, u64, Vec<u64>, Vec<u32>) {
    let score = &scored.score;
    (
        scored.event.offset,
        score.updates,
        score.figures.iter().map(|f| f.to_bits()).collect(),
        score.params.iter().map(|p| p.to_bits()).collect(),
    )
}

/// Where targets come later, every seventh event has none.
fn without_some_targets(mut event: Event, delay: Option<i64>) -> Event {
    event.target.take_if(|_| delay.is_some() && event.offset % 7 == 3);
    event
}

#[test]
fn what_is_published_does_not_depend_on_how_many_scores_are_worked_out_together() {
    let default = ["model.flows=['radial', 'radial', 'tail']", "score.shortfall=[0.9]"];
    let rounded = [default[0], "target.step=0.25"];
    let others = ["model.flows=['spline', 'pareto']", default[1]];
    let without_figures = ["score.quantiles=[]", "score.exceed=[]"];
    for (delay, sets) in [
        (None, default),
        (Some(5), default),
        (Some(5), others),
        // Longer than the blocks: targets are judged ahead.
        (Some(300), default),
        (Some(300), rounded),
        (Some(300), without_figures),
    ] {
        let config = config(&sets);
        // Some have no target at all.
        let events: Vec<Event> =
            (0..1_200).map(|i| event(i, delay)).map(|e| without_some_targets(e, delay)).collect();
        let one_by_one = run(&config, &events);
        let mut operator = operator(&config, &[0]);
        let (mut together, mut rest) = (Vec::new(), &events[..]);
        for size in [1, 5, 64, 7, 200].into_iter().cycle() {
            let (block, after) = rest.split_at(size.min(rest.len()));
            let before = together.len();
            for event in block {
                operator.push(Input::Record(Record::from(event.clone())));
                while operator.take_next(&mut together).is_some() {}
            }
            operator.complete(&together[before..]);
            rest = after;
            if rest.is_empty() {
                break;
            }
        }
        assert!(operator.model().updates() > 10);
        assert_eq!(one_by_one.len(), together.len());
        for (one, other) in one_by_one.iter().zip(&together) {
            // Numbers are told with all of their digits.
            assert_eq!(format!("{one:?}"), format!("{other:?}"), "{delay:?} {sets:?}");
        }
    }
}

#[test]
fn an_event_is_scored_by_a_model_that_has_learned_from_no_target_that_was_not_yet_known() {
    let config = config(&[]);
    let events: Vec<Event> = (0..400).map(|i| event(i, Some(5 + (i * 7919) % 60))).collect();
    let truth = run(&config, &events);
    for cut in [100, 150, 222, 399] {
        let now_us = events[cut].time_us;
        // Whatever is known only from now on is made something else …
        let changed: Vec<Event> = events
            .iter()
            .map(|event| {
                let mut event = event.clone();
                let target = event.target.as_mut().unwrap();
                if matches!(target.known, Known::At(at_us) if at_us >= now_us) {
                    target.values[0] += 1e3;
                }
                event
            })
            .collect();
        let other = run(&config, &changed);
        let (truth, other) = (scores(&truth), scores(&other));
        // … and no score up to now is another for it.
        for index in 0..=cut {
            assert_eq!(bits(truth[index]), bits(other[index]), "event {index}, cut at {cut}");
        }
        // The change is one that would have shown.
        if cut < 300 {
            assert_ne!(bits(truth[399]), bits(other[399]), "cut at {cut}");
        }
    }
}

#[test]
fn a_target_known_at_the_very_moment_of_an_event_is_not_learned_from_before_it() {
    let mut operator = operator(&config(&[]), &[0]);
    let mut actions = Vec::new();
    // Event 1 comes exactly when the target of event 0 is known; event 2 after.
    for offset in 0..3 {
        operator.push(Input::Record(Record::from(event(offset, Some(1)))));
        operator.take(&mut actions).unwrap();
    }
    let order: Vec<_> = actions
        .iter()
        .map(|action| match action {
            Action::Score(scored) => ("score", scored.event.offset),
            Action::Outcome(outcome) => ("outcome", outcome.event.offset),
            _ => ("other", 0),
        })
        .collect();
    assert_eq!(order, [("score", 0), ("score", 1), ("outcome", 0), ("score", 2)]);
}

/// Of several targets each outcome takes a millisecond, and a night's come due with the first event of the morning.
#[test]
fn many_targets_that_come_due_at_once_are_released_some_at_a_time() {
    let num_waiting = 3 * RELEASED_AT_ONCE + 5;
    let mut operator = operator(&config(&["learn.warmup=50"]), &[0]);
    let mut actions = Vec::new();
    for offset in 0..num_waiting as i64 {
        operator.push(Input::Record(Record::from(event(offset, Some(1_000 - offset)))));
        assert!(operator.take(&mut actions).unwrap().is_whole);
    }
    actions.clear();
    operator.push(Input::Record(Record::from(event(2_000, None))));
    for part in 1..=3 {
        let taken = operator.take(&mut actions).unwrap();
        assert!(!taken.is_whole && operator.is_amid());
        assert_eq!(operator.num_waiting(), num_waiting - part * RELEASED_AT_ONCE);
        let stands_at = operator.positions()[&0].offset;
        assert_eq!(stands_at, num_waiting as i64, "before the event");
    }
    assert!(operator.take(&mut actions).unwrap().is_whole && !operator.is_amid());
    assert_eq!(operator.positions()[&0].offset, 2_001);
    let scores_at = actions.iter().position(|action| matches!(action, Action::Score(_))).unwrap();
    let outcomes = actions.iter().filter(|action| matches!(action, Action::Outcome(_))).count();
    assert!(outcomes == num_waiting && scores_at == actions.len() - 1, "all of it before the event's score");
}

#[test]
fn mini_batches_are_the_labelled_records_in_the_order_in_which_their_targets_became_known() {
    // Event i is known at i + delay: later events of short delays overtake earlier ones of long delays.
    let events: Vec<Event> = (0..200).map(|i| event(i, Some(if i % 2 == 0 { 40 } else { 2 }))).collect();
    let actions = run(&config(&["learn.warmup=32"]), &events);
    let mut known_us = Vec::new();
    let mut learned = 0;
    for action in &actions {
        match action {
            Action::Outcome(outcome) => known_us.push(outcome.target_time_us),
            Action::Learned { records, step } => {
                assert_ne!(step.taken, Taken::Skipped(crate::model::learner::Skip::Loss));
                learned += records;
                // Never more than is known, and never a full batch left lying.
                assert!(learned <= known_us.len() && known_us.len() < learned + 32);
            }
            _ => {}
        }
    }
    assert!(known_us.is_sorted());
    assert_eq!(learned, known_us.len() / 16 * 16);
    assert!(learned > 100);
}

#[test]
fn the_warm_up_is_scored_from_the_first_target_on_and_figures_are_ordered() {
    let events: Vec<Event> = (0..300).map(|i| event(i, None)).collect();
    let actions = run(&config(&[]), &events);
    for scored in scores(&actions) {
        let score = &scored.score;
        let realized = score.realized.clone();
        let is_warm = scored.event.offset >= 64;
        assert_eq!(score.status, if is_warm { Status::Ok } else { Status::Warmup });
        if scored.event.offset == 0 {
            assert!(score.params.is_empty() && score.figures.iter().all(|f| f.is_nan()));
            assert!(
                realized.log_score.is_nan() && realized.pits[0].is_nan() && !realized.targets[0].is_nan()
            );
        } else {
            let [p, q50, q90, es90] = *score.figures else { panic!("four figures") };
            assert!((0.0..=1.0).contains(&p) && q50 < q90 && q90 < es90);
            assert!(realized.log_score.is_finite() && (0.0..=1.0).contains(&realized.pits[0]));
        }
    }
}

#[test]
fn a_simple_stream_is_learned() {
    let events: Vec<Event> = (0..6000).map(|i| event(i, None)).collect();
    let actions = run(&config(&["learn.noise=off", "learn.rate=0.02"]), &events);
    let late = &scores(&actions)[5000..];
    let mean = late.iter().map(|s| s.score.realized.log_score).sum::<f64>() / late.len() as f64;
    // The truth is a normal of standard deviation 0.5: log density −½ log(2πe) − log 0.5 = −0.726 nats on average.
    assert!((-0.80..-0.68).contains(&mean), "mean log score {mean}");
    let above = late.iter().filter(|s| s.score.realized.targets[0] > s.score.figures[2]).count();
    assert!(
        (0.06..0.14).contains(&(above as f64 / late.len() as f64)),
        "{above} of {} above q90",
        late.len()
    );
}

#[test]
fn an_event_whose_target_does_not_come_within_the_wait_expires() {
    let mut events: Vec<Event> = (0..3).map(|i| event(i, Some(2 * 3600))).collect();
    let mut late = event(3, None);
    late.time_us = 3 * 3600 * SECOND_US;
    events.push(late);
    let actions = run(&config(&[]), &events);
    assert_eq!(actions.iter().filter(|a| matches!(a, Action::Expired)).count(), 3);
    assert_eq!(actions.iter().filter(|a| matches!(a, Action::Outcome(_))).count(), 0);
    assert_eq!(scores(&actions).len(), 4);
}

#[test]
fn no_more_events_wait_than_the_bound_and_the_rest_expire() {
    let mut waiting = Waiting::default();
    let held = Held {
        event: Arc::new(event(0, None)),
        score: Arc::new(Score {
            held_back: Default::default(),
            epoch: 1,
            updates: 0,
            status: Status::Warmup,
            figures: [].into(),
            params: [].into(),
            realized: crate::score::Realized::unknown(1),
        }),
        is_bet_on: false,
    };
    for due_us in 0..waiting::MAX_WAITING as i64 {
        waiting.hold(Due::Known(held.clone(), due_us), due_us).unwrap();
    }
    assert!(waiting.hold(Due::Expired, 0).is_err());
    assert!(waiting.release(1).is_some());
    assert!(waiting.hold(Due::Expired, 0).is_ok());
    assert_eq!(waiting.len(), waiting::MAX_WAITING);
}

#[test]
fn among_partitions_the_lowest_time_goes_first_and_an_empty_one_is_waited_for() {
    let mut operator = operator(&config(&[]), &[0, 1]);
    assert_eq!(operator.positions(), &Positions::from([(0, Position::at(0)), (1, Position::at(0))]));
    let mut actions = Vec::new();
    let at = |partition, offset, time_us| Event { partition, time_us, ..event(offset, None) };
    operator.push(Input::Record(Record::from(at(0, 0, 20))));
    operator.push(Input::Record(Record::from(at(0, 1, 5))));
    assert_eq!(operator.take(&mut actions), None, "partition 1 may hold something older");
    operator.push(Input::Record(Record::from(at(1, 0, 10))));
    assert_eq!(operator.take(&mut actions).unwrap().partition, 1);
    assert_eq!(operator.take(&mut actions), None, "partition 1 is unheard of again");
    operator.push(Input::Ended(1));
    assert_eq!(operator.take(&mut actions).unwrap().partition, 0);
    assert_eq!(
        operator.take(&mut actions).unwrap().partition,
        0,
        "within a partition the order is the offsets'"
    );
    let order: Vec<_> = scores(&actions).iter().map(|s| (s.event.partition, s.event.offset)).collect();
    assert_eq!(order, [(1, 0), (0, 0), (0, 1)]);
    assert_eq!(operator.positions(), &Positions::from([(0, Position::at(2)), (1, Position::at(1))]));
    assert_eq!(operator.stream_time_us(), Some(20));
}

#[test]
fn a_reject_passes_through_in_its_place_and_its_offset_is_passed() {
    let mut operator = operator(&config(&[]), &[0]);
    let mut actions = Vec::new();
    operator.push(Input::Record(Record::Reject(Box::new(Reject {
        partition: 0,
        offset: 7,
        row: 0,
        last: true,
        key: None,
        payload: None,
        reason: RejectReason::Empty,
        detail: String::new(),
    }))));
    operator.push(Input::Record(Record::from(event(8, None))));
    operator.take(&mut actions).unwrap();
    assert!(matches!(&actions[..], [Action::Reject(reject)] if reject.offset == 7));
    assert_eq!(operator.positions()[&0], Position::at(8));
    assert_eq!(operator.stream_time_us(), None);
}

#[test]
fn an_offset_is_passed_with_the_last_row_of_its_message() {
    let mut operator = operator(&config(&[]), &[0]);
    let mut actions = Vec::new();
    for (row, last) in [(0, false), (1, true)] {
        operator.push(Input::Record(Record::from(Event { row, last, ..event(4, None) })));
        operator.take(&mut actions).unwrap();
        let next = if last { Position::at(5) } else { Position { offset: 4, row: 1 } };
        assert_eq!(operator.positions()[&0], next);
    }
}

#[test]
fn a_step_that_is_not_finite_is_skipped_and_counted_and_the_stream_goes_on() {
    let mut events: Vec<Event> = (0..600).map(|i| event(i, None)).collect();
    for event in &mut events[100..116] {
        event.target.as_mut().unwrap().values[0] = f64::MAX;
    }
    let actions = run(&config(&["learn.clip=1e300"]), &events);
    let skipped =
        |a: &&Action| matches!(a, Action::Learned { step, .. } if matches!(step.taken, Taken::Skipped(_)));
    assert!(actions.iter().filter(skipped).count() >= 1);
    let last = scores(&actions).last().unwrap().score.clone();
    assert!(last.params.iter().all(|p| p.is_finite()));
    assert!(last.realized.log_score.is_finite());
    assert!(last.updates > 20);
}

#[test]
fn without_learning_nothing_is_learned() {
    let events: Vec<Event> = (0..200).map(|i| event(i, None)).collect();
    let mut config = config(&[]);
    config.learn.enabled = false;
    assert!(!run(&config, &events).iter().any(|a| matches!(a, Action::Learned { .. })));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// Promise 2: scores don't depend on how events were grouped.
    #[test]
    fn scores_do_not_depend_on_how_records_were_grouped(groups in prop::collection::vec(1usize..40, 1..30)) {
        let config = config(&[]);
        let events: Vec<Event> = (0..300)
            .map(|i| Event { partition: (i % 3) as i32, offset: i / 3, ..event(i, Some(i % 30)) })
            .collect();
        let one_by_one = in_groups(&config, &events, &[1]);
        let grouped = in_groups(&config, &events, &groups);
        prop_assert_eq!(one_by_one, grouped);
    }
}

/// The scores' bits, where so many events at a time are pushed before any is taken.
fn in_groups(config: &Config, events: &[Event], sizes: &[usize]) -> Vec<(i64, u64, Vec<u64>, Vec<u32>)> {
    let mut operator = operator(config, &[0, 1, 2]);
    let mut actions = Vec::new();
    let mut sizes = sizes.iter().cycle();
    let mut rest = events;
    while !rest.is_empty() {
        let (group, later) = rest.split_at((*sizes.next().unwrap()).min(rest.len()));
        for event in group {
            operator.push(Input::Record(Record::from(event.clone())));
        }
        while operator.take(&mut actions).is_some() {}
        rest = later;
    }
    for partition in 0..3 {
        operator.push(Input::Ended(partition));
    }
    while operator.take(&mut actions).is_some() {}
    let scores = scores(&actions);
    assert_eq!(scores.len(), events.len());
    scores.iter().map(|scored| bits(scored)).collect()
}

/// A stream over three partitions, with rejects, messages of two rows, and targets that come later.
fn mixed_stream() -> Vec<Record> {
    let mut records = Vec::new();
    for i in 0..600 {
        let (partition, offset) = ((i % 3) as i32, i / 3);
        let event = |row, last| Event { partition, offset, row, last, ..event(i, Some(i * 7919 % 90)) };
        match i % 50 {
            13 => records.push(Record::Reject(Box::new(Reject {
                partition,
                offset,
                row: 0,
                last: true,
                key: None,
                payload: None,
                reason: RejectReason::Empty,
                detail: String::new(),
            }))),
            20 => records.extend([(0, false), (1, true)].map(|(row, last)| Record::from(event(row, last)))),
            _ => records.push(Record::from(event(0, true))),
        }
    }
    records
}

/// Pushes records in groups and takes what can be taken after each; gives what was taken for the first time.
fn drive(operator: &mut Operator, records: &[Record], group: usize) -> Vec<Action> {
    let mut all = Vec::new();
    for group in records.chunks(group) {
        group.iter().for_each(|record| operator.push(Input::Record(record.clone())));
        let mut actions = Vec::new();
        while let Some(taken) = operator.take(&mut actions) {
            if taken.is_replayed {
                actions.clear();
            }
            all.append(&mut actions);
        }
    }
    all
}

/// The scores among these, as they are read again.
pub(crate) fn published(actions: &[Action]) -> PublishedScores {
    let published = |scored: &&Scored| {
        let Score { epoch, updates, ref params, .. } = *scored.score;
        let place = (scored.event.partition, scored.event.position());
        (place, Published { epoch, updates, params: params.clone() })
    };
    scores(actions).iter().map(published).collect()
}

/// Everything that is published, to the bit.
fn told(actions: &[Action]) -> Vec<String> {
    let bits = |values: &[f64]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
    let realized = |r: &crate::score::Realized| bits(&[r.targets[0], r.log_score, r.pits[0]]);
    let tell = |action: &Action| match action {
        Action::Score(s) => format!(
            "score {} {:?} {} {:?} {:?} {:?}",
            s.event.partition,
            s.event.position(),
            s.score.updates,
            bits(&s.score.figures),
            s.score.params,
            realized(&s.score.realized),
        ),
        Action::Outcome(o) => format!(
            "outcome {} {:?} {} {} {:?}",
            o.event.partition,
            o.event.position(),
            o.score.updates,
            o.target_time_us,
            realized(o.realized()),
        ),
        Action::Reject(r) => format!("reject {} {}", r.partition, r.offset),
        Action::Learned { records, step } => format!("learned {records} {:x}", step.loss_nats.to_bits()),
        Action::Expired => "expired".to_owned(),
    };
    actions.iter().map(tell).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Promise 4: learning survives a crash to the bit. The operator is saved at one point, crashes at a later one, and
    /// goes on from what was saved, the published scores and the written order alone.
    #[test]
    fn a_restored_operator_goes_on_as_if_it_had_never_stopped(
        saved_after in 1usize..600,
        crashed_after in 0usize..300,
        group in 1usize..50,
        regroup in 1usize..50,
        warmup in prop::sample::select(vec![64, 500]),
        steps in 1usize..4,
        calibrate in prop::sample::select(vec!["off", "online"]),
    ) {
        let sets = [
            format!("learn.warmup={warmup}"),
            format!("learn.steps={steps}"),
            format!("score.calibrate={calibrate:?}"),
        ];
        let config = config(&["target.wait=70s", &sets[0], &sets[1], &sets[2]]);
        let records = mixed_stream();
        let crashed_after = (saved_after + crashed_after).min(records.len());

        let mut operator = operator(&config, &[0, 1, 2]);
        let mut before = drive(&mut operator, &records[..saved_after], group);
        let saved = operator.saved();
        let bytes = postcard::to_stdvec(&saved).unwrap();
        let saved: SavedOperator = postcard::from_bytes(&bytes).unwrap();
        operator.take_order();
        before.extend(drive(&mut operator, &records[saved_after..crashed_after], group));
        let order = operator.take_order();
        let mut truth = drive(&mut operator, &records[crashed_after..], group);
        (0..3).for_each(|partition| operator.push(Input::Ended(partition)));
        while operator.take(&mut truth).is_some() {}

        // The input is read again from the oldest message that is needed, in other groups.
        let from = saved.read_from();
        let again: Vec<Record> =
            records.iter().filter(|r| r.position().offset >= from[&r.partition()].offset).cloned().collect();
        let mut restored = Operator::restore(&config, saved, Positions::new(), &order).unwrap();
        restored.set_published(published(&before));
        let mut after = drive(&mut restored, &again, regroup);
        (0..3).for_each(|partition| restored.push(Input::Ended(partition)));
        let mut rest = Vec::new();
        while let Some(taken) = restored.take(&mut rest) {
            if taken.is_replayed {
                rest.clear();
            }
            after.append(&mut rest);
        }
        prop_assert!(told(&truth) == told(&after), "what is published differs");
        let bytes = |operator: &Operator| postcard::to_stdvec(&operator.saved()).unwrap();
        prop_assert!(bytes(&operator) == bytes(&restored), "the states differ at the end");
    }
}

/// Between what was published before and what was not, it stands where the last commit stood.
#[test]
fn an_operator_has_caught_up_before_it_takes_anything_new() {
    let config = config(&[]);
    let records: Vec<Record> = (0..400).map(|offset| Record::from(event(offset, Some(20)))).collect();
    let mut operator = operator(&config, &[0]);
    drive(&mut operator, &records[..200], 1);
    let saved = operator.saved();
    operator.take_order();
    drive(&mut operator, &records[200..300], 1);

    let order = operator.take_order();
    let from = saved.read_from()[&0].offset as usize;
    let mut restored = Operator::restore(&config, saved, Positions::new(), &order).unwrap();
    records[from..].iter().for_each(|record| restored.push(Input::Record(record.clone())));
    let mut num_caught_up = 0;
    while let Some(taken) = restored.catch_up(&mut Vec::new()) {
        assert!(taken.is_replayed);
        num_caught_up += usize::from(taken.is_whole);
    }
    assert_eq!(num_caught_up, 300 - from);
    assert!(!restored.is_restoring());
    assert_eq!(restored.positions(), operator.positions());
    assert_eq!(restored.model().updates(), operator.model().updates());
    let mut actions = Vec::new();
    while restored.take(&mut actions).is_some() {}
    assert_eq!(scores(&actions).len(), 100);
    assert!(restored.model().updates() > operator.model().updates());
}

#[test]
fn a_message_that_was_half_taken_is_gone_on_with_at_its_next_row() {
    let config = config(&[]);
    let rows = [(0, false), (1, false), (2, true)];
    let message = rows.map(|(row, last)| Record::from(Event { row, last, ..event(0, None) }));
    let mut operator = operator(&config, &[0]);
    drive(&mut operator, &message[..2], 1);
    let saved = operator.saved();
    let restored = Operator::restore(&config, saved, Positions::new(), &Order::default()).unwrap();
    // A leader looks for something to take before anything was read.
    for (mut operator, looks) in [(restored, true), (operator, false)] {
        assert!(!looks || operator.take(&mut Vec::new()).is_none());
        let actions = drive(&mut operator, &message, 1);
        let rows: Vec<_> = scores(&actions).iter().map(|scored| scored.event.row).collect();
        assert_eq!(rows, [2]);
    }
}

#[test]
fn what_is_no_record_is_passed_once_all_before_it_is_taken_and_again_by_who_follows() {
    let config = config(&[]);
    let records = |offsets: std::ops::Range<i64>| offsets.map(|i| Record::from(event(i, None)));
    let mut operator = operator(&config, &[0, 1]);
    let saved = operator.saved();
    operator.push(Input::ReadUntil { partition: 1, offset: 7 });
    records(0..100).for_each(|record| operator.push(Input::Record(record)));
    operator.push(Input::ReadUntil { partition: 0, offset: 101 });
    let positions = |at| Positions::from([(0, Position::at(at)), (1, Position::at(7))]);
    // Partition 1 may have something earlier.
    assert!(operator.take(&mut Vec::new()).is_none());
    assert_eq!(*operator.positions(), positions(0));
    operator.push(Input::Ended(1));
    for num_taken in 1..=100 {
        assert!(operator.take(&mut Vec::new()).is_some());
        assert_eq!(*operator.positions(), positions(num_taken));
    }
    assert!(operator.take(&mut Vec::new()).is_none());
    assert_eq!(*operator.positions(), positions(101));
    assert_eq!(operator.num_runs(), 2, "each partition's place has moved");
    records(101..120).for_each(|record| operator.push(Input::Record(record)));
    while operator.take(&mut Vec::new()).is_some() {}
    assert_eq!(*operator.positions(), positions(120));

    let order: Vec<u8> = operator.take_order().into();
    let order = Order::try_from(order).unwrap();
    let mut follower = Operator::restore(&config, saved, Positions::new(), &order).unwrap();
    let all = records(0..100).chain(records(101..120));
    all.for_each(|record| follower.push(Input::Record(record)));
    follower.push(Input::Ended(1));
    while follower.take(&mut Vec::new()).is_some() {}
    assert_eq!(follower.saved(), operator.saved());
}

#[test]
fn an_event_that_waits_and_is_gone_from_the_input_is_given_up_and_the_rest_goes_on() {
    let config = config(&["learn.warmup=32"]);
    let events: Vec<Record> = (0..200).map(|i| Record::from(event(i, Some(30)))).collect();
    let mut operator = operator(&config, &[0]);
    drive(&mut operator, &events[..100], 10);
    let saved = operator.saved();
    assert_eq!(operator.num_waiting(), 31);
    let mut restored = Operator::restore(&config, saved, Positions::new(), &Order::default()).unwrap();
    // Retention has removed the first of them, and no scores are left.
    let actions = drive(&mut restored, &events[75..], 10);
    assert_eq!(actions.iter().filter(|a| matches!(a, Action::Expired)).count(), 6);
    let outcomes = actions.iter().filter_map(|a| match a {
        Action::Outcome(o) if o.event.offset < 100 => Some(o.realized().clone()),
        _ => None,
    });
    assert!(outcomes.clone().all(|r| r.log_score.is_nan() && r.targets[0].is_finite()));
    assert_eq!(outcomes.count(), 25);
    assert_eq!(scores(&actions).len(), 100);
}

#[test]
fn calibration_begins_and_ends_with_the_config_and_the_model_goes_on() {
    let sets = ["score.calibrate=\"off\"", "score.calibrate=\"online\""];
    let configs = sets.map(|set| config(&["learn.warmup=64", set]));
    let events: Vec<Record> = (0..400).map(|i| Record::from(event(i, Some(30)))).collect();
    for (before, after) in [(0, 1), (1, 0)] {
        let mut first = operator(&configs[before], &[0]);
        let actions = drive(&mut first, &events[..200], 10);
        let saved = first.saved();
        let (updates, from) = (first.model().updates(), saved.read_from()[&0].offset as usize);
        let mut restored =
            Operator::restore(&configs[after], saved, Positions::new(), &Order::default()).unwrap();
        restored.set_published(published(&actions));
        let actions = drive(&mut restored, &events[from..], 10);
        assert!(restored.model().updates() > updates && scores(&actions).len() == 200);
        // What waited has figures of another length, and none that could be computed.
        for action in &actions {
            let Action::Outcome(outcome) = action else { continue };
            assert_eq!(outcome.realized().log_score.is_nan(), outcome.event.offset < 200);
        }
        let has_map = restored.model().saved().calibrator.map(|saved| saved.records > 0);
        assert_eq!(has_map, (after == 1).then_some(true));
    }
}

#[test]
fn without_learning_a_calibration_stays_as_it_was_saved() {
    let sets = ["learn.warmup=64", "score.calibrate=\"online\""];
    let events: Vec<Record> = (0..400).map(|i| Record::from(event(i, Some(30)))).collect();
    let mut operator = operator(&config(&sets), &[0]);
    drive(&mut operator, &events[..200], 10);
    let saved = operator.saved();
    let model = saved.model.clone();
    assert!(model.calibrator.as_ref().is_some_and(|map| map.records > 0));
    let config = config(&[sets[0], sets[1], "learn.enabled=false"]);
    let from = saved.read_from()[&0].offset as usize;
    let mut frozen = Operator::restore(&config, saved, Positions::new(), &Order::default()).unwrap();
    let actions = drive(&mut frozen, &events[from..], 10);
    assert_eq!(frozen.model().saved(), model);
    // Map, baseline, share and unit stand at the end of a row.
    let ends: Vec<&[f32]> =
        scores(&actions).iter().map(|row| &row.score.params[row.score.params.len() - 17..]).collect();
    assert!(ends.len() > 100 && ends.iter().all(|end| *end == ends[0]));
    assert!(ends[0][..8].iter().any(|&param| param != 0.0), "{:?}", ends[0]);
}

#[test]
fn momentum_changes_what_is_learned() {
    let events: Vec<Record> = (0..400).map(|i| Record::from(event(i, Some(30)))).collect();
    let [without, with] = [0.0, 0.9].map(|momentum| {
        let momentum = format!("learn.momentum={momentum}");
        let mut operator = operator(&config(&["learn.warmup=64", &momentum]), &[0]);
        drive(&mut operator, &events, 10);
        operator.saved().model.learner
    });
    assert!(without.updates == with.updates && without.trained != with.trained);
}

#[test]
fn what_is_watched_goes_on_though_scores_and_events_that_were_bet_on_are_gone() {
    let config = config(&["learn.warmup=32"]);
    let events: Vec<Record> = (0..600).map(|i| Record::from(event(i, Some(30)))).collect();
    let num_bet_on = |operator: &Operator| {
        let saved = operator.saved().waiting;
        saved.iter().filter(|e| matches!(e, WaitingEntry::Known { is_bet_on: true, .. })).count()
    };
    // Groups end and begin, and there are events with bets on at every other moment.
    let mut operator = operator(&config, &[0]);
    drive(&mut operator, &events[..300], 10);
    let mut num_tried = 0;
    for end in 300..360 {
        drive(&mut operator, &events[end..=end], 1);
        if num_bet_on(&operator) < 2 {
            continue;
        }
        num_tried += 1;
        let saved = operator.saved();
        let from = saved.read_from()[&0].offset as usize;
        // Where rows of another life stand in the places of the scores, they are not what was bet on.
        let of_another_life =
            Published { epoch: 0, updates: 9, params: vec![0.1; operator.model.num_params()].into() };
        let others = (from..=end).map(|nth| ((0, Position::at(nth as i64)), of_another_life.clone()));
        for published in [PublishedScores::new(), others.collect()] {
            let mut restored =
                Operator::restore(&config, saved.clone(), Positions::new(), &Order::default()).unwrap();
            restored.set_published(published);
            // Retention has removed the first of them, and no scores are left.
            drive(&mut restored, &events[from + 8..end + 100], 10);
            assert!(!restored.is_restoring());
            let is_bet_on = |nth| {
                drive(&mut restored, &events[nth..=nth], 1);
                num_bet_on(&restored) > 0
            };
            assert!((end + 100..end + 200).any(is_bet_on), "{end}: nothing is bet on any more");
            let (config, saved) = (&config, restored.saved());
            assert!(Operator::restore(config, saved, Positions::new(), &Order::default()).is_ok(), "{end}");
        }
    }
    assert!(num_tried > 10);
}

#[test]
fn a_state_of_another_net_or_with_a_weight_that_is_not_finite_is_refused() {
    let config = config(&[]);
    let mut operator = operator(&config, &[0]);
    let events: Vec<Record> = (0..100).map(|i| Record::from(event(i, None))).collect();
    drive(&mut operator, &events, 10);
    let saved = operator.saved();
    let refused = |change: &dyn Fn(&mut SavedOperator)| {
        let mut saved = saved.clone();
        change(&mut saved);
        Operator::restore(&config, saved, Positions::new(), &Order::default()).err()
    };
    assert_eq!(refused(&|_| ()), None);
    assert!(refused(&|saved| saved.model.learner.trained.truncate(9)).is_some());
    assert!(refused(&|saved| saved.model.learner.averaged[3] = f32::NAN).is_some());
    assert!(refused(&|saved| saved.model.learner.moments[1][0] = -1.0).is_some());
    let without_scale = Standardiser::new(Normaliser { center: 0.0, scale: 0.0 }, &[]);
    assert!(refused(&|saved| saved.model.targets[0] = without_scale).is_some());
    assert!(refused(&|saved| saved.model.features.truncate(1)).is_some());
    assert!(refused(&|saved| saved.labelled[0].features.push(Cell::Null)).is_some());
    assert!(
        refused(&|saved| saved.model.recent.push(Labelled { features: vec![], target: vec![0.0] })).is_some()
    );
    let entry = WaitingEntry::Known { partition: 0, at: Position::at(100), due_us: 0, is_bet_on: false };
    assert!(refused(&|saved| saved.waiting.push(entry)).is_some());
}

/// Two targets: the first as ever, the second about the first.
fn joint_event(offset: i64) -> Event {
    let mut event = event(offset, Some(2));
    let first = event.target.as_ref().unwrap().values[0];
    let second = first + 0.5 * Draws::new(12, 0, offset as usize).normal();
    event.target.as_mut().unwrap().values = vec![first, second].into();
    event
}

#[test]
fn several_targets_are_learned_together_and_restored_to_the_bit() {
    let config = config(&[
        "target.fields=['y', 'z']",
        "score.exceed=[1.0, { both = { y = 1.0, z = 1.0 } }]",
        "score.limit=[3.0]",
        "model.flows=['planar', 'planar', 'radial', 'radial', 'tail']",
    ]);
    let events: Vec<Event> = (0..2_000).map(joint_event).collect();
    let actions = run(&config, &events);
    let scores = scores(&actions);
    // P(Y > 1) of each and of both, two quantiles, a shortfall and a limited expected value of each.
    assert!(scores.iter().all(|s| s.score.figures.len() == 3 + 2 * (2 + 1 + 1)));
    let (mut said, mut seen) = ([0.0; 3], [0.0; 3]);
    for scored in &scores[1_000..] {
        let figures = &scored.score.figures;
        assert!(figures.iter().all(|figure| figure.is_finite()), "{figures:?}");
        assert!(figures[2] <= figures[0].min(figures[1]) + 0.02, "{figures:?}");
        assert!(figures[3] < figures[5] && figures[4] < figures[6], "quantiles cross: {figures:?}");
        let targets = &scored.event.target.as_ref().unwrap().values;
        let above = [targets[0] > 1.0, targets[1] > 1.0, targets[0] > 1.0 && targets[1] > 1.0];
        for i in 0..3 {
            said[i] += figures[i] / 1_000.0;
            seen[i] += f64::from(u8::from(above[i])) / 1_000.0;
        }
    }
    assert!(said.iter().zip(seen).all(|(said, seen)| (said - seen).abs() < 0.03), "{said:?} {seen:?}");
    let realized: Vec<_> = actions
        .iter()
        .filter_map(|action| match action {
            Action::Outcome(outcome) if outcome.event.offset >= 1_000 => Some(outcome.realized()),
            _ => None,
        })
        .collect();
    // The truth has −log(0.5² · 2πe).
    let mean = realized.iter().map(|r| r.log_score).sum::<f64>() / realized.len() as f64;
    assert!(mean > -1.452 - 0.35, "{mean}");
    assert!(realized.iter().flat_map(|r| &r.pits).all(|pit| (0.0..=1.0).contains(pit)));

    // Saved half-way, it goes on with the same scores.
    let (mut first, mut again) = (operator(&config, &[0]), Vec::new());
    for event in &events[..1_500] {
        first.push(Input::Record(Record::from(event.clone())));
        while first.take(&mut Vec::new()).is_some() {}
    }
    let saved = first.saved();
    let from = saved.read_from()[&0].offset as usize;
    let mut restored = Operator::restore(&config, saved, Positions::new(), &Order::default()).unwrap();
    for event in &events[from..] {
        restored.push(Input::Record(Record::from(event.clone())));
        while restored.take(&mut again).is_some() {}
    }
    let again: Vec<_> =
        self::scores(&again).into_iter().filter(|s| s.event.offset >= 1_500).map(bits).collect();
    assert_eq!(again, scores[1_500..].iter().map(|s| bits(s)).collect::<Vec<_>>());
}
