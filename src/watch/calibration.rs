//! Which outcomes are bet on, and the e-processes that they are bet with.

use serde::{Deserialize, Serialize};

use super::e_process::{Cash, EProcess};

/// An e-process a figure, over the same groups of events.
///
/// A bet may only know what was known when its event was scored. Where targets come late, those of many events are under way at once, so
/// a group is what was scored from its first event on until the first of its targets came; its bets are placed side by side, and the next
/// group begins when all its targets have come. A group has no more members than its stake was divided for: as many as there were candidates
/// for the last one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    processes: Vec<(String, EProcess)>,
    /// The stake is divided for so many members.
    size: u64,
    /// Events scored while the group took members.
    candidates: u64,
    members: u64,
    /// Members whose targets have come.
    settled: u64,
}

impl Calibration {
    /// Of figures with these names.
    #[must_use]
    pub fn new(names: Vec<String>) -> Self {
        Self {
            processes: names.into_iter().map(|name| (name, EProcess::default())).collect(),
            size: 1,
            candidates: 0,
            members: 0,
            settled: 0,
        }
    }

    /// Goes on with these figures: those that there are keep their processes, others begin.
    pub(super) fn keep(&mut self, names: &[String]) {
        let known = std::mem::take(&mut self.processes);
        let process = |name: &String| known.iter().find(|(known, _)| known == name).cloned();
        self.processes =
            names.iter().map(|name| process(name).unwrap_or((name.clone(), EProcess::default()))).collect();
    }

    /// Whether it can be gone on from.
    pub(super) fn is_valid(&self) -> bool {
        self.size > 0
            && self.settled <= self.members
            && self.members <= self.size
            && self.members <= self.candidates
            && (self.members == 0 || self.settled < self.members)
            && self.processes.iter().all(|(_, process)| process.is_valid())
    }

    /// Members whose targets are still to come.
    pub(super) fn num_under_way(&self) -> u64 {
        self.members - self.settled
    }

    /// An event was scored whose target will come: whether it becomes a member of the group.
    pub(super) fn admit(&mut self) -> bool {
        if self.settled > 0 {
            return false;
        }
        self.candidates += 1;
        let is_member = self.members < self.size;
        self.members += u64::from(is_member);
        is_member
    }

    /// The target of a member came, at this stream time (µs since 1970): of each figure's event the probability that was said, and whether
    /// it happened.
    pub(super) fn settle(&mut self, promised: impl Iterator<Item = (f64, bool)>, time_us: i64) {
        let share = 1.0 / self.size as f64;
        for ((_, process), (p, has_happened)) in self.processes.iter_mut().zip(promised) {
            process.bet(p, has_happened, share);
        }
        self.end_member(time_us);
    }

    /// The target of a member is not to come any more: its share of the stake stays where it is.
    pub(super) fn give_up(&mut self, time_us: i64) {
        self.end_member(time_us);
    }

    fn end_member(&mut self, time_us: i64) {
        self.settled += 1;
        if self.settled >= self.members {
            let cash = Cash::of(self.processes.first().map_or(0, |(_, process)| process.groups()));
            self.processes.iter_mut().for_each(|(_, process)| process.end_group(time_us, cash));
            self.size = self.candidates;
            (self.candidates, self.members, self.settled) = (0, 0, 0);
        }
    }

    /// The e-value of each figure.
    pub fn e_values(&self) -> impl Iterator<Item = (&str, f64)> {
        self.processes.iter().map(|(name, process)| (name.as_str(), process.e_value()))
    }

    /// How often one has reached the alarm.
    #[must_use]
    pub fn alarms(&self) -> u64 {
        self.processes.iter().map(|(_, process)| process.alarms()).sum()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;
    use crate::model::noise::Draws;

    /// The e-value where each target comes `delay` events later.
    fn run(delay: usize, truth: f64, num_events: usize) -> f64 {
        let mut calibration = Calibration::new(vec!["figure".to_owned()]);
        let mut under_way = VecDeque::new();
        for nth in 0..num_events {
            under_way.push_back(calibration.admit());
            if under_way.len() > delay && under_way.pop_front() == Some(true) {
                let happened = Draws::new(7, 0, nth).uniform() < truth;
                calibration.settle(std::iter::once((0.1, happened)), nth as i64);
            }
            assert!(calibration.is_valid());
        }
        calibration.e_values().next().map_or(f64::NAN, |(_, e)| e)
    }

    #[test]
    fn without_delay_every_event_is_bet_on() {
        let mut calibration = Calibration::new(vec!["figure".to_owned()]);
        for _ in 0..10 {
            assert!(calibration.admit());
            calibration.settle(std::iter::once((0.5, true)), 0);
        }
        assert!(calibration.e_values().all(|(_, e)| e > 5.0));
    }

    #[test]
    fn what_is_under_way_at_once_makes_a_group() {
        let mut calibration = Calibration::new(vec!["figure".to_owned()]);
        let settle = |calibration: &mut Calibration| calibration.settle(std::iter::once((0.5, true)), 0);
        assert_eq!([0; 3].map(|_| calibration.admit()), [true, false, false]);
        settle(&mut calibration);
        // Three were under way, so the next stake is divided for three.
        assert_eq!([0; 4].map(|_| calibration.admit()), [true, true, true, false]);
        settle(&mut calibration);
        assert!(!calibration.admit(), "what came after the first target is known to late events");
        settle(&mut calibration);
        settle(&mut calibration);
        assert!(calibration.admit());
    }

    #[test]
    fn a_group_ends_though_a_target_was_given_up() {
        let mut calibration = Calibration::new(vec!["figure".to_owned()]);
        assert!(calibration.admit());
        calibration.give_up(0);
        assert!(calibration.e_values().all(|(_, e)| e == 1.0) && calibration.admit());
        calibration.settle(std::iter::once((0.5, true)), 0);
        assert!(calibration.is_valid() && calibration.admit());
    }

    #[test]
    fn a_wrong_forecast_is_seen_through_delays() {
        for delay in [0, 1, 30] {
            assert!(run(delay, 0.1, 50_000) < 1000.0, "{delay}");
            let told = run(delay, 0.2, 50_000);
            assert!(told > 1000.0, "{delay}: {told}");
        }
    }

    #[test]
    fn figures_that_are_named_anew_begin_and_the_others_go_on() {
        let mut calibration = Calibration::new(vec!["a".to_owned(), "b".to_owned()]);
        for _ in 0..10 {
            calibration.admit();
            calibration.settle([(0.5, true), (0.5, false)].into_iter(), 0);
        }
        let before: Vec<(String, f64)> = calibration.e_values().map(|(n, e)| (n.to_owned(), e)).collect();
        calibration.keep(&["c".to_owned(), "a".to_owned()]);
        let after: Vec<(String, f64)> = calibration.e_values().map(|(n, e)| (n.to_owned(), e)).collect();
        assert_eq!(after, [("c".to_owned(), 1.0), before[0].clone()]);
    }
}
