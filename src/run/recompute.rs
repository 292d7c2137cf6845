//! Doing again what was done: an operator that was restored takes the input in the written order, up to one row, and
//! nothing of it is published.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, Receiver},
    },
    thread,
};

use super::intake::Intake;
use crate::{
    config::Config,
    kafka::{
        backlog::Backlog,
        reader::{Chunk, MAX_CHUNKS, ReadError, Reader},
    },
    operator::{Action, Operator, ledger::Ledger, place},
    score::Scored,
    state::history::{Course, Wanted},
};

/// A row, and what led to it.
pub struct Recomputed {
    /// The row.
    pub scored: Scored,
    /// What the model had learned from when it scored it.
    pub ledger: Ledger,
    /// How many records were taken again, this one included.
    pub num_taken: u64,
    /// How many events waited for their targets then, this one included if it does.
    pub num_waiting: usize,
}

/// Recomputes a row; `None` where the written order does not come by it.
///
/// # Errors
/// When the input can't be read.
pub fn recompute(config: &Config, course: Course, wanted: Wanted) -> Result<Option<Recomputed>, ReadError> {
    let Course { operator, ledger, read_from, .. } = course;
    let backlog = Arc::new(Backlog::of_bytes(read_from.len()));
    let reader = Reader::start(config, &place::offsets(&read_from), backlog.clone())?.of_these_alone();
    let (sender, chunks) = mpsc::sync_channel(MAX_CHUNKS);
    let is_done = AtomicBool::new(false);
    thread::scope(|scope| {
        let reading = scope.spawn(|| {
            let result = reader.run(&sender, |_| Ok(()), || is_done.load(Ordering::Relaxed), |_| ());
            drop(sender); // so that who follows notices
            result
        });
        let found = follow(operator, ledger, &chunks, Intake::new(config, &backlog), wanted);
        is_done.store(true, Ordering::Relaxed);
        drop(chunks);
        let read = reading.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        // What stopped the reader matters only where it was not read far enough.
        if found.is_none() { read.map(|()| None) } else { Ok(found) }
    })
}

fn follow(
    mut operator: Operator,
    mut ledger: Ledger,
    chunks: &Receiver<Chunk>,
    mut intake: Intake<'_>,
    wanted: Wanted,
) -> Option<Recomputed> {
    let is_wanted =
        |scored: &Scored| (scored.event.partition, scored.event.position()) == (wanted.partition, wanted.at);
    let mut num_taken = 0;
    let mut actions = Vec::new();
    for chunk in chunks {
        intake.add(chunk, &mut operator);
        while let Some(taken) = operator.take(&mut actions) {
            num_taken += u64::from(!actions.is_empty() && taken.is_whole);
            for action in actions.drain(..) {
                match action {
                    Action::Score(scored) if is_wanted(&scored) => {
                        let num_waiting = operator.num_waiting();
                        return Some(Recomputed { scored, ledger, num_taken, num_waiting });
                    }
                    action => ledger.see(&action),
                }
            }
            intake.took(taken, &mut operator);
            if !taken.is_replayed {
                return None;
            }
        }
        if !operator.is_restoring() {
            return None;
        }
    }
    None
}
