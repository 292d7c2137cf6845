//! The events that were least likely.

use super::summary::WorstEvent;
use crate::{
    record::{Cell, number_text, time},
    score::Scored,
};

/// How many are kept.
const MAX_WORST: usize = 10;

/// Keeps the events with the lowest log scores.
#[derive(Debug, Default)]
pub struct Worst(Vec<Scored>);

impl Worst {
    /// Looks at an event that was judged.
    pub fn push(&mut self, scored: &Scored) {
        let log_score = scored.score.realized.log_score;
        let at = self.0.partition_point(|other| other.score.realized.log_score <= log_score);
        if at < MAX_WORST {
            self.0.insert(at, scored.clone());
            self.0.truncate(MAX_WORST);
        }
    }

    /// Them, the least likely first. `carried` are the names of the carried fields, and `highest` is the highest quantile's column and its place
    /// among the figures.
    pub fn finish(&self, carried: &[String], highest: Option<(&str, usize)>) -> Vec<WorstEvent> {
        self.0.iter().map(|scored| told(scored, carried, highest)).collect()
    }
}

fn told(scored: &Scored, carried: &[String], highest: Option<(&str, usize)>) -> WorstEvent {
    let (event, score) = (&scored.event, &scored.score);
    let carried = carried.iter().zip(&event.carry);
    WorstEvent {
        partition: event.partition,
        offset: event.offset,
        row: event.row,
        time: time::rfc3339(event.time_us).to_string(),
        key: event.key.as_ref().and_then(|key| String::from_utf8(key.to_vec()).ok()),
        carried: carried.filter_map(|(name, cell)| Some((name.clone(), cell_text(cell)?))).collect(),
        target: score.realized.targets.to_vec(),
        log_score: score.realized.log_score,
        pit: score.realized.pits.to_vec(),
        quantile: highest.map(|(column, figure)| (column.to_owned(), score.figures[figure])),
    }
}

/// A cell as text; `None` of a null.
pub fn cell_text(cell: &Cell) -> Option<String> {
    match cell {
        Cell::Null => None,
        Cell::Number(number) => Some(number_text(*number).into()),
        Cell::Text(text) => Some(text.to_string()),
    }
}
