//! Where a term of leadership begins: a pure decision from what is known of the state, the group and the input.

use std::{collections::BTreeMap, fmt, ops::Range};

use super::{
    progress::Progress,
    seal::SealError,
    snapshot::{About, Named, Snapshot},
    store,
    topic::{Import, Unusable},
};
use crate::{
    config::{Change, Config, Difference, OnMismatch},
    model::{FIRST_EPOCH, Model},
    operator::{
        Operator,
        place::{Position, Positions},
        saved::{SavedOperator, WaitingEntry},
    },
};

/// What brokers know of the input's partitions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionFacts {
    /// The group's committed offset; `None` where it has none.
    pub committed: Option<i64>,
    /// The offsets that are there.
    pub available: Range<i64>,
    /// Where `input.start` says to begin.
    pub start: i64,
}

/// The same of all of them.
pub type InputFacts = BTreeMap<i32, PartitionFacts>;

/// A file that a group without state starts from.
#[derive(Debug, Clone, PartialEq)]
pub struct Initial {
    /// Its name.
    pub file: String,
    /// What it holds.
    pub snapshot: Snapshot,
}

/// How far the snapshots go that a term may begin from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SavedUntil {
    /// To where it begins.
    Here,
    /// Not so far, and the written order leads on from there: the first commit between records saves the state, so that a process that crashes
    /// again and again does not have more to learn again each time.
    Earlier,
    /// None of its model and all its partitions: nothing could go on from a first commit that brings no snapshot.
    Never,
}

/// How a term begins.
pub struct Beginning {
    /// The operator, which may have to catch up first.
    pub operator: Operator,
    /// The place from which each partition is to be read.
    pub read_from: Positions,
    /// What the first commit of the term says.
    pub progress: Progress,
    /// About the snapshot that it begins with; `None`: it has a new model.
    pub about: Option<About>,
    /// How far its snapshots go.
    pub saved_until: SavedUntil,
    /// The events that wait, whose published scores are to be read again: by partition their places.
    pub waiting: BTreeMap<i32, Vec<Position>>,
    /// How many records are read again before it has caught up, at most.
    pub num_replayed: u64,
    /// How the config differs from the one that the state was saved with: where a new model begins for it, the changes
    /// that need one.
    pub changes: Vec<Difference>,
    /// What else somebody should know, in words.
    pub notes: Vec<String>,
}

/// Why a term can't begin. Each says what to do.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Mismatch {
    /// The state is another group's.
    #[error(
        "state.topic holds the state of group '{found}', and kafka.group is '{group}': give each group a state topic of \
         its own, or correct kafka.group"
    )]
    Foreign {
        /// Whose it is.
        found: String,
        /// The config's group.
        group: String,
    },
    /// The progress record can't be read.
    #[error("the progress record in state.topic can't be used: {error}{FRESH}")]
    Progress {
        /// Why.
        error: SealError,
    },
    /// The config needs a new model.
    #[error(
        "the config does not fit the saved model: {}; put that back, or begin a new model{FRESH}",
        told(.0)
    )]
    Config(Vec<Difference>),
    /// No snapshot can be used.
    #[error(
        "none of the saved snapshots can be used ({}); put one back (tailwater state import), or begin a new model{FRESH}",
        .0.join("; ")
    )]
    Snapshots(Vec<String>),
    /// The group's offset is not that of the state.
    #[error(
        "the group's offset of '{topic}' partition {partition} is {group_offset}, and the state's is {state_offset}: it was \
         reset by hand, or another program commits for group '{group}'. To go on where the state ends, stop all processes of \
         the group and: \
         kafka-consumer-groups.sh --bootstrap-server {brokers} --group {group} --topic {topic}:{partition} \
         --reset-offsets --to-offset {state_offset} --execute. To begin a new model at the group's offsets{FRESH}"
    )]
    Offset {
        /// The input topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// `kafka.group`.
        group: String,
        /// `kafka.brokers`.
        brokers: String,
        /// What the group has committed.
        group_offset: i64,
        /// Where the state is.
        state_offset: i64,
    },
    /// Retention has removed input that is needed.
    #[error(
        "'{topic}' partition {partition} begins at offset {begins} and is needed from {needed} on: retention has removed \
         {what}. Keep the topic for longer (retention.ms), and begin a new model where the input begins{FRESH}"
    )]
    Removed {
        /// The input topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// Its first offset.
        begins: i64,
        /// The first offset that is needed.
        needed: i64,
        /// What is missing.
        what: &'static str,
    },
    /// The input ends before the place where the state or the group is.
    #[error(
        "the offset {at} of '{topic}' partition {partition} is out of its range: the partition ends at {ends}, so the \
         topic was made anew, or lost records. To begin where the topic now begins, stop all processes of the group and: kafka-consumer-groups.sh \
         --bootstrap-server {brokers} --group {group} --topic {topic} --reset-offsets --to-earliest --execute; where there \
         is a saved state, that takes a new model{FRESH}"
    )]
    Ends {
        /// The input topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// Where it ends.
        ends: i64,
        /// Where the state or the group is.
        at: i64,
        /// `kafka.group`.
        group: String,
        /// `kafka.brokers`.
        brokers: String,
    },
    /// The initial file does not fit.
    #[error("state.initial {file}: {why}")]
    Initial {
        /// The file.
        file: String,
        /// Why not.
        why: String,
    },
    /// The model that was imported does not fit.
    #[error(
        "the model that was imported can't take over: {why}. Import another one, or take it back: tailwater state \
         import --withdraw"
    )]
    Import {
        /// Why not.
        why: String,
    },
    /// There is no model to score with.
    #[error(
        "learn.enabled is false and there is no saved model to score with; name one with state.initial, or let it learn"
    )]
    NoModel,
}

/// The key whose change makes the saved places those of another topic.
const INPUT_TOPIC: &str = "input.topic";

const FRESH: &str = ": run once with --set state.on_mismatch=fresh";

pub(super) fn told(differences: &[Difference]) -> String {
    differences.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

impl Mismatch {
    /// Whether a new model is a way out.
    fn allows_fresh(&self) -> bool {
        !matches!(self, Self::Foreign { .. } | Self::Initial { .. } | Self::Import { .. } | Self::NoModel)
    }
}

/// An import that is still to be taken over.
struct Pending {
    id: u128,
    snapshot: Snapshot,
}

/// Decides how a term begins. `fetch` gives the bytes of a snapshot that the progress record names.
///
/// # Errors
/// Everything that does not fit, at once, where `state.on_mismatch` does not allow a new model for it.
pub fn begin(
    config: &Config,
    progress: Result<Option<Progress>, SealError>,
    fetch: impl Fn(Named) -> Result<Vec<u8>, Unusable>,
    import: Option<Import>,
    initial: &dyn Fn() -> Result<Option<Initial>, Mismatch>,
    input: &InputFacts,
) -> Result<Beginning, Vec<Mismatch>> {
    let is_fresh_allowed = config.state.on_mismatch == OnMismatch::Fresh;
    let (pending, mut notes) = pending(import.as_ref(), &progress);
    let (mismatches, before) = match progress {
        Ok(None) => {
            let faults = out_of_range(config, input);
            if !faults.is_empty() && !is_fresh_allowed {
                return Err(faults);
            }
            return fresh(config, input, None, pending, initial, notes);
        }
        Ok(Some(progress)) => match go_on(config, &progress, fetch, pending.as_ref(), input) {
            Ok(mut beginning) => {
                notes.append(&mut beginning.notes);
                return Ok(Beginning { notes, ..beginning });
            }
            Err(mismatches) => (mismatches, Some(progress)),
        },
        Err(error) => (vec![Mismatch::Progress { error }], None),
    };
    if !is_fresh_allowed || !mismatches.iter().all(Mismatch::allows_fresh) {
        return Err(mismatches);
    }
    let mut changes = Vec::new();
    for mismatch in mismatches {
        if let Mismatch::Config(differences) = mismatch {
            notes.push("a new model begins: the config does not fit the saved one".to_owned());
            changes = differences;
        } else {
            let told = mismatch.to_string();
            notes.push(format!("a new model begins: {}", told.strip_suffix(FRESH).unwrap_or(&told)));
        }
    }
    let was_unread = before.is_none();
    let mut beginning = fresh(config, input, before.as_ref(), pending, initial, notes)?;
    beginning.changes = changes;
    if was_unread {
        beginning.progress.imported = import.map(|import| import.id);
    }
    Ok(beginning)
}

/// The import that is still to be taken over, and what to say of one that can't be.
fn pending(
    import: Option<&Import>,
    progress: &Result<Option<Progress>, SealError>,
) -> (Option<Pending>, Vec<String>) {
    let Some(Import { id, snapshot }) = import else { return (None, Vec::new()) };
    let note = match (progress, snapshot) {
        (Ok(Some(progress)), _) if progress.imported == Some(*id) => return (None, Vec::new()),
        (Err(_), _) => "whether it was taken over before is not known".to_owned(),
        (_, Err(error)) => error.to_string(),
        (_, Ok(snapshot)) => return (Some(Pending { id: *id, snapshot: snapshot.clone() }), Vec::new()),
    };
    let note = format!("the model that was imported is not taken over: {note}; import it again");
    (None, vec![note])
}

fn go_on(
    config: &Config,
    progress: &Progress,
    fetch: impl Fn(Named) -> Result<Vec<u8>, Unusable>,
    pending: Option<&Pending>,
    input: &InputFacts,
) -> Result<Beginning, Vec<Mismatch>> {
    if progress.group != config.kafka.group {
        let group = config.kafka.group.clone();
        return Err(vec![Mismatch::Foreign { found: progress.group.clone(), group }]);
    }
    let mut mismatches = misplaced(config, progress, input);
    let successor = pending.and_then(|pending| match fit(config, &pending.snapshot) {
        Ok(model) => Some((pending, model)),
        Err(why) => {
            mismatches.push(Mismatch::Import { why });
            None
        }
    });
    let added: Positions = input
        .iter()
        .filter(|(partition, _)| !progress.positions.contains_key(partition))
        // A partition that came since holds nothing that was scored, so it is read from its beginning.
        .map(|(&partition, facts)| (partition, Position::at(facts.available.start)))
        .collect();
    let mut positions = progress.positions.clone();
    positions.extend(&added);
    let mut problems = Vec::new();
    for (nth, &named) in progress.snapshots.iter().enumerate() {
        let generation = named.generation;
        let opened = fetch(named).and_then(|bytes| store::open(&config.kafka.group, named, &bytes));
        let snapshot = match opened {
            Ok(snapshot) => snapshot,
            Err(problem) => {
                problems.push(format!("number {generation}: {problem}"));
                continue;
            }
        };
        let (new_model, changes): (Vec<_>, Vec<_>) = config
            .differences(&snapshot.about.config)
            .into_iter()
            .partition(|difference| difference.change == Change::NewModel);
        if !new_model.is_empty() {
            // An import is such a new model, but its places have to be the saved ones.
            if successor.is_some() && new_model.iter().all(|difference| difference.key != INPUT_TOPIC) {
                problems = vec![told(&new_model)];
                break;
            }
            mismatches.push(Mismatch::Config(new_model));
            return Err(mismatches);
        }
        let saved = &snapshot.operator;
        if let Some(later) = progress.positions.keys().find(|p| !saved.positions.contains_key(p)) {
            problems.push(format!("number {generation}: it is from before partition {later} was there"));
            continue;
        }
        if !config.learn.enabled && saved.model.targets.is_empty() && successor.is_none() {
            mismatches.push(Mismatch::NoModel);
            return Err(mismatches);
        }
        let order = progress.order_since(nth);
        let mut operator = match Operator::restore(config, snapshot.operator.clone(), added.clone(), &order) {
            Ok(operator) => operator,
            Err(misfit) => {
                problems.push(format!("number {generation}: {misfit}"));
                continue;
            }
        };
        mismatches.extend(removed(config, &snapshot.operator.positions, progress, input));
        if !mismatches.is_empty() {
            return Err(mismatches);
        }
        let mut notes: Vec<String> = problems
            .iter()
            .map(|problem| format!("the one before is used instead of snapshot {problem}"))
            .collect();
        let saved_until = match order.num_runs() {
            _ if !added.is_empty() || successor.is_some() => SavedUntil::Never,
            0 => SavedUntil::Here,
            _ => SavedUntil::Earlier,
        };
        let progress = match successor {
            Some((pending, model)) => {
                notes.push(format!("{} takes over from here on, in epoch {}", pending, progress.epoch + 1));
                operator.adopt(model, progress.epoch + 1);
                pending.taken_over(progress, &positions)
            }
            None => progress.next_term(positions.clone()),
        };
        let mut read_from = snapshot.operator.read_from();
        read_from.extend(&added);
        return Ok(Beginning {
            operator,
            num_replayed: num_between(&read_from, &positions),
            read_from: within(read_from, input),
            progress,
            waiting: waiting(&snapshot.operator),
            about: Some(snapshot.about),
            saved_until,
            changes,
            notes,
        });
    }
    let Some((pending, model)) = successor else {
        mismatches.push(Mismatch::Snapshots(problems));
        return Err(mismatches);
    };
    // Nothing of what was saved is needed but the place.
    mismatches.extend(removed(config, &progress.positions, progress, input));
    if !mismatches.is_empty() {
        return Err(mismatches);
    }
    let mut operator = Operator::new(config, positions.clone());
    operator.adopt(model, progress.epoch + 1);
    let note = format!(
        "{pending} takes over from here on, in epoch {}, in the place of what was saved ({}): events that still wait \
         for their targets get no outcome",
        progress.epoch + 1,
        problems.join("; ")
    );
    Ok(Beginning {
        operator,
        read_from: positions.clone(),
        progress: pending.taken_over(progress, &positions),
        about: None,
        saved_until: SavedUntil::Never,
        waiting: BTreeMap::new(),
        num_replayed: 0,
        changes: Vec::new(),
        notes: vec![note],
    })
}

impl Pending {
    /// Where the group stands that goes on with it. The snapshots before are another life's: none of them leads to where
    /// this one will be.
    fn taken_over(&self, before: &Progress, positions: &Positions) -> Progress {
        let progress = Progress::begin(&before.group, before.epoch + 1, positions.clone(), Some(before));
        Progress { imported: Some(self.id), ..progress }
    }
}

impl fmt::Display for Pending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let About { group, generation, .. } = &self.snapshot.about;
        write!(f, "the imported model (snapshot {generation} of group '{group}')")
    }
}

/// Where the state, the group and the input do not agree on places.
fn misplaced(config: &Config, progress: &Progress, input: &InputFacts) -> Vec<Mismatch> {
    let mut mismatches = Vec::new();
    for (&partition, &position) in &progress.positions {
        let at = position.offset;
        let Some(facts) = input.get(&partition) else {
            mismatches.push(ends(config, partition, 0, at));
            continue;
        };
        let before = progress.positions_before.get(&partition).map_or(at, |position| position.offset);
        match facts.committed {
            Some(offset) if !(before..=at).contains(&offset) => mismatches.push(Mismatch::Offset {
                topic: config.input.topic.clone(),
                partition,
                group: config.kafka.group.clone(),
                brokers: config.kafka.brokers.clone(),
                group_offset: offset,
                state_offset: at,
            }),
            _ => {}
        }
        if at > facts.available.end {
            mismatches.push(ends(config, partition, facts.available.end, at));
        }
    }
    mismatches
}

/// Input that has to be read again, or for the first time, and is no longer there.
fn removed(config: &Config, cut: &Positions, progress: &Progress, input: &InputFacts) -> Vec<Mismatch> {
    let mut mismatches = Vec::new();
    for (&partition, &at) in &progress.positions {
        let Some(facts) = input.get(&partition) else { continue };
        let begins = facts.available.start;
        let cut = cut.get(&partition).copied().unwrap_or(at);
        let (needed, what) = if begins > at.offset {
            (at.offset, "records that were not scored yet")
        } else if cut < at && begins > cut.offset {
            (cut.offset, "records that were learned from after the last snapshot")
        } else {
            continue;
        };
        mismatches.push(Mismatch::Removed {
            topic: config.input.topic.clone(),
            partition,
            begins,
            needed,
            what,
        });
    }
    mismatches
}

/// Committed offsets of a group without state that the input does not have.
fn out_of_range(config: &Config, input: &InputFacts) -> Vec<Mismatch> {
    let mut mismatches = Vec::new();
    for (&partition, facts) in input {
        let Some(at) = facts.committed else { continue };
        if at > facts.available.end {
            mismatches.push(ends(config, partition, facts.available.end, at));
        } else if at < facts.available.start {
            mismatches.push(Mismatch::Removed {
                topic: config.input.topic.clone(),
                partition,
                begins: facts.available.start,
                needed: at,
                what: "records that were not scored yet",
            });
        }
    }
    mismatches
}

fn ends(config: &Config, partition: i32, ends: i64, at: i64) -> Mismatch {
    Mismatch::Ends {
        topic: config.input.topic.clone(),
        partition,
        ends,
        at,
        group: config.kafka.group.clone(),
        brokers: config.kafka.brokers.clone(),
    }
}

/// A new model, or the imported one, or that of `state.initial`, at the group's offsets.
fn fresh(
    config: &Config,
    input: &InputFacts,
    before: Option<&Progress>,
    pending: Option<Pending>,
    initial: &dyn Fn() -> Result<Option<Initial>, Mismatch>,
    mut notes: Vec<String>,
) -> Result<Beginning, Vec<Mismatch>> {
    let position = |partition: &i32, facts: &PartitionFacts| {
        // What was scored is not scored again: offsets may have expired, and a message may be half taken.
        let before = before.and_then(|before| before.positions.get(partition)).copied();
        let position = match (facts.committed, before) {
            (Some(offset), Some(before)) if before.offset == offset => before,
            (Some(offset), _) => Position::at(offset),
            (None, Some(before)) => before,
            (None, None) => return Position::at(facts.start),
        };
        let begins = Position::at(facts.available.start);
        // The topic was made anew, or retention was faster.
        if position.offset > facts.available.end { begins } else { position.max(begins) }
    };
    let positions: Positions =
        input.iter().map(|(partition, facts)| (*partition, position(partition, facts))).collect();
    let mut operator = Operator::new(config, positions.clone());
    let mut epoch = before.map_or(FIRST_EPOCH, |before| before.epoch + 1);
    let mut about = None;
    let imported = pending.as_ref().map(|pending| pending.id);
    let given = match pending {
        Some(pending) => Some((pending.to_string(), pending.snapshot)),
        None => {
            initial().map_err(|mismatch| vec![mismatch])?.map(|Initial { file, snapshot }| (file, snapshot))
        }
    };
    if let Some((name, snapshot)) = given {
        let model = fit(config, &snapshot).map_err(|why| {
            vec![match imported {
                Some(_) => Mismatch::Import { why },
                None => Mismatch::Initial { file: name.clone(), why },
            }]
        })?;
        epoch = epoch.max(snapshot.operator.epoch);
        operator.adopt(model, epoch);
        notes.push(match imported {
            Some(_) => format!("{name} goes on here"),
            None => format!("the model of {name} goes on here"),
        });
        about = Some(snapshot.about);
    } else if !config.learn.enabled {
        return Err(vec![Mismatch::NoModel]);
    } else {
        operator.set_epoch(epoch);
    }
    if before.is_none() && input.values().any(|facts| facts.committed.is_some_and(|offset| offset > 0)) {
        notes.push(format!(
            "group '{}' has committed offsets and no saved state: it goes on there with a new model",
            config.kafka.group
        ));
    }
    let mut progress = Progress::begin(&config.kafka.group, epoch, positions.clone(), before);
    progress.imported = imported.or(progress.imported);
    Ok(Beginning {
        operator,
        read_from: positions,
        progress,
        about,
        saved_until: SavedUntil::Never,
        waiting: BTreeMap::new(),
        num_replayed: 0,
        changes: Vec::new(),
        notes,
    })
}

/// The model of a snapshot that may have been saved elsewhere, for an operator of this config to go on with.
///
/// # Errors
/// Why it does not fit, in words.
pub fn fit(config: &Config, snapshot: &Snapshot) -> Result<Model, String> {
    let differences = config.differences(&snapshot.about.config).into_iter();
    let new_model: Vec<Difference> = differences
        // The model may come from another topic: its positions are not taken over.
        .filter(|difference| difference.change == Change::NewModel && difference.key != INPUT_TOPIC)
        .collect();
    if !new_model.is_empty() {
        return Err(format!("the config does not fit its model: {}", told(&new_model)));
    }
    if snapshot.operator.model.targets.is_empty() {
        return Err(
            "its model is still in its warm-up; let it learn for longer before it is saved".to_owned()
        );
    }
    let mut model = Model::new(config);
    model.restore(snapshot.operator.model.clone()).map_err(|misfit| misfit.to_string())?;
    Ok(model)
}

pub(super) fn waiting(saved: &SavedOperator) -> BTreeMap<i32, Vec<Position>> {
    let mut waiting: BTreeMap<i32, Vec<Position>> = BTreeMap::new();
    for entry in &saved.waiting {
        if let WaitingEntry::Known { partition, at, .. } = *entry {
            waiting.entry(partition).or_default().push(at);
        }
    }
    waiting
}

/// Waiting events whose input is gone are given up: they were scored, and only their targets go unlearned.
fn within(read_from: Positions, input: &InputFacts) -> Positions {
    let clamp = |partition: &i32, at: Position| match input.get(partition) {
        Some(facts) => at.max(Position::at(facts.available.start)),
        None => at,
    };
    read_from.into_iter().map(|(partition, at)| (partition, clamp(&partition, at))).collect()
}

fn num_between(from: &Positions, to: &Positions) -> u64 {
    let between = |(partition, from): (&i32, &Position)| {
        let to = to.get(partition).map_or(from.offset, |to| to.offset);
        u64::try_from(to - from.offset).unwrap_or(0)
    };
    from.iter().map(between).sum()
}
