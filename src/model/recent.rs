//! The records learned from last, for further steps on them.

use std::{collections::VecDeque, sync::Arc};

use super::{noise::Draws, saved::Labelled};
use crate::record::Event;

/// So many are kept.
pub const NUM_RECENT: usize = 1_024;
/// A record that so many came after is drawn e times less often than the newest.
const DECAY: f64 = 400.0;

/// Labelled events, the newest last.
#[derive(Debug, Clone, Default)]
pub struct Recent(VecDeque<Arc<Event>>);

impl Recent {
    /// Takes note of events that are learned from, without what is of no use for that; the oldest are forgotten.
    pub fn add(&mut self, events: &[Arc<Event>]) {
        self.0.extend(events.iter().map(|event| Labelled::of(event).into_event()));
        let surplus = self.0.len().saturating_sub(NUM_RECENT);
        self.0.drain(..surplus);
    }

    /// Draws so many, each anew, the newest the most often; there is at least one.
    pub fn sample(&self, count: usize, draws: &mut Draws) -> Vec<Arc<Event>> {
        let newest = self.0.len() - 1;
        // Of an exponential distribution what lies within.
        let within = -(-(self.0.len() as f64) / DECAY).exp_m1();
        let age = |draws: &mut Draws| (-DECAY * (-within * draws.uniform()).ln_1p()) as usize;
        (0..count).map(|_| self.0[newest - age(draws).min(newest)].clone()).collect()
    }

    /// All of them, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Event> {
        self.0.iter().map(Arc::as_ref)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn event(nth: usize) -> Arc<Event> {
        Labelled { features: vec![], target: vec![nth as f64] }.into_event()
    }

    fn nth(event: &Event) -> usize {
        event.target.as_ref().unwrap().values[0] as usize
    }

    #[test]
    fn the_newest_are_kept_and_drawn_the_most_often() {
        let mut recent = Recent::default();
        let events: Vec<_> = (0..NUM_RECENT + 500).map(event).collect();
        events.chunks(100).for_each(|chunk| recent.add(chunk));
        assert_eq!(nth(recent.iter().next().unwrap()), 500);
        let drawn = recent.sample(20_000, &mut Draws::new(1, 1, 0));
        let share = |range: std::ops::Range<usize>| {
            drawn.iter().filter(|event| range.contains(&nth(event))).count() as f64 / 20_000.0
        };
        let end = NUM_RECENT + 500;
        assert!((share(500..end) - 1.0).abs() < 1e-9);
        let ratio = share(end - 200..end) / share(end - 600..end - 400);
        assert!((ratio - 1f64.exp()).abs() < 0.2, "{ratio}");
        // With few there are, all of them are drawn.
        let mut few = Recent::default();
        few.add(&[event(0), event(1)]);
        let drawn = few.sample(100, &mut Draws::new(1, 1, 0));
        assert!((0..2).all(|wanted| drawn.iter().any(|event| nth(event) == wanted)));
    }
}
