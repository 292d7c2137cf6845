//! What a saved state holds, as `tailwater inspect` tells it: as text (`text`), and as JSON, whose keys are those of the
//! fields here. Their names and meanings stay; later versions may add to them.

use std::time::Duration;

use serde::Serialize;

use super::{Named, Progress, Snapshot, recovery, snapshot, store::Store, topic::StateTopic};
use crate::{
    config::{Config, FeatureKind},
    density::Densities,
    model::{
        self,
        normaliser::Normaliser,
        saved::{SavedFeature, SavedLearner},
    },
    operator::{
        place::{Position, Positions},
        saved::WaitingEntry,
    },
    record::time::rfc3339,
};

pub(crate) mod text;

/// How many values of a vocabulary are shown.
const FIRST_VALUES: usize = 8;

/// What a group's state holds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GroupReport {
    /// The consumer group.
    pub group: String,
    /// The state topic.
    pub topic: String,
    /// Where the group stands; `None`: it has no state.
    pub progress: Option<ProgressReport>,
    /// The snapshots that the progress record names, the newest first.
    pub snapshots: Vec<KeptSnapshot>,
    /// The import that the next start takes over; `None`: there is none, or it was taken over.
    pub import: Option<ImportReport>,
    /// The newest snapshot that is in order.
    pub snapshot: Option<SnapshotReport>,
}

/// What a file holds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FileReport {
    /// The file.
    pub file: String,
    /// The snapshot in it.
    pub snapshot: SnapshotReport,
}

/// Where a group stands.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ProgressReport {
    /// The term of leadership that wrote it.
    pub term: u64,
    /// Which life of the model it is in.
    pub epoch: u32,
    /// The number of the last snapshot that was written.
    pub generation: u64,
    /// By input partition.
    pub partitions: Vec<PartitionProgress>,
    /// How many offsets lie between the newest snapshot in order and the progress record: what a restart learns again.
    /// `None` without such a snapshot.
    pub records_since_snapshot: Option<u64>,
    /// How many runs of one partition each the order since the newest snapshot has.
    pub runs_since_snapshot: usize,
    /// Which import was taken over last, in hexadecimal.
    pub imported: Option<String>,
}

/// Where a group stands in an input partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct PartitionProgress {
    /// The partition.
    pub partition: i32,
    /// The next offset to take.
    pub offset: i64,
    /// The next row to take of the message there.
    pub row: u32,
    /// The next offset to take at the newest snapshot in order.
    pub snapshot_offset: Option<i64>,
}

/// A snapshot as the progress record names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KeptSnapshot {
    /// Its number.
    pub generation: u64,
    /// The checksum of its envelope, in hexadecimal.
    pub checksum: String,
    /// Why it can't be used; `None`: it is in order.
    pub problem: Option<String>,
}

/// An import that waits to be taken over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ImportReport {
    /// Which import it is, in hexadecimal.
    pub id: String,
    /// The group whose model it is.
    pub group: Option<String>,
    /// The number of the snapshot.
    pub generation: Option<u64>,
    /// The SGD steps of its model.
    pub updates: Option<u64>,
    /// Why it can't be taken over; `None`: it can.
    pub problem: Option<String>,
}

/// What a snapshot holds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SnapshotReport {
    /// The consumer group that it is of.
    pub group: String,
    /// Its number.
    pub generation: u64,
    /// The version of tailwater that wrote it.
    pub tailwater: String,
    /// The version of libtorch that it learned with.
    pub libtorch: String,
    /// When it was written, in RFC 3339.
    pub written: String,
    /// How long ago that is.
    pub age_seconds: u64,
    /// Its size.
    pub bytes: usize,
    /// The hash of what changes the numbers, in the config that it was saved with.
    pub config_hash: String,
    /// The hash of the operator's state: equal where two go on alike to the bit.
    pub state_hash: String,
    /// Which life of the model it is.
    pub epoch: u32,
    /// SGD steps taken.
    pub updates: u64,
    /// Mini-batches seen.
    pub batches: u64,
    /// Labelled records seen in them.
    pub records: u64,
    /// The loss of the last mini-batch, in nats of the target's own unit.
    pub loss_nats: Option<f64>,
    /// `warmup`: the normalisers are not set yet; `learning`.
    pub stage: &'static str,
    /// Labelled records of the warm-up, or of the unfinished mini-batch.
    pub labelled: usize,
    /// How many end the warm-up (`learn.warmup`), or make a mini-batch (`learn.batch`).
    pub labelled_full: Option<usize>,
    /// What was done in this life of the model.
    pub counts: CountsReport,
    /// Stream time, in RFC 3339; `None` before the first event.
    pub stream_time: Option<String>,
    /// The next row to take of each input partition.
    pub offsets: Vec<Place>,
    /// What waits for targets.
    pub waiting: WaitingReport,
    /// The target.
    pub target: TargetReport,
    /// The features, in the order of the inputs.
    pub features: Vec<FeatureReport>,
    /// The sizes of the weights.
    pub weights: WeightsReport,
    /// The keys of the config that it was saved with, as far as they matter to it.
    pub config: Vec<crate::config::Fact>,
}

/// What was done in this life of the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct CountsReport {
    /// Events scored.
    pub scored: u64,
    /// Records rejected.
    pub rejected: u64,
    /// Labelled records learned from.
    pub learned: u64,
    /// Events whose target did not come in time.
    pub expired: u64,
    /// Mini-batches that moved no weight.
    pub skipped_batches: u64,
}

/// A place in the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Place {
    /// The partition.
    pub partition: i32,
    /// The message's offset.
    pub offset: i64,
    /// The row within the message.
    pub row: u32,
}

/// What waits for targets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WaitingReport {
    /// Events whose target will become known.
    pub events: usize,
    /// Events whose target comes too late; they are counted as expired then.
    pub expiring: usize,
    /// Of the events the one that came first.
    pub oldest: Option<OldestWaiting>,
}

/// An event that waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OldestWaiting {
    /// Where it stands in the input.
    #[serde(flatten)]
    pub place: Place,
    /// When its target is known, in RFC 3339.
    pub due: String,
}

/// The target.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TargetReport {
    /// Its fields.
    pub fields: Vec<String>,
    /// What is subtracted from each; none in the warm-up.
    pub centers: Vec<f64>,
    /// What each is divided by; none in the warm-up.
    pub scales: Vec<f64>,
}

/// A feature.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FeatureReport {
    /// Its name; its number where the config that it was saved with can't be read.
    pub name: String,
    /// What it has learned.
    #[serde(flatten)]
    pub learned: LearnedReport,
}

/// What a feature has learned.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum LearnedReport {
    /// A number.
    Number {
        /// What is subtracted.
        center: f64,
        /// What is divided by.
        scale: f64,
    },
    /// A cycle learns nothing.
    Cycle,
    /// A category.
    Category {
        /// How many values have a number of their own.
        known: usize,
        /// How many can have one.
        size: Option<usize>,
        /// The first of them.
        first: Vec<String>,
    },
}

/// The sizes of the weights, as Euclidean norms.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct WeightsReport {
    /// How many weights there are.
    pub count: usize,
    /// Of the weights that are trained.
    pub trained: f64,
    /// Of their moving average, which scores.
    pub averaged: f64,
    /// Of the optimiser's first moments; `None` where it has none.
    pub first_moments: Option<f64>,
    /// Of its second moments.
    pub second_moments: Option<f64>,
    /// The optimiser's steps.
    pub optimizer_steps: u64,
    /// By layer; empty where the config that it was saved with can't be read.
    pub layers: Vec<LayerReport>,
}

/// A layer of the net.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LayerReport {
    /// `hidden 1` and so on, `output`, and `linear` for the path from the inputs to the location.
    pub name: String,
    /// Its inputs.
    pub inputs: usize,
    /// Its outputs.
    pub outputs: usize,
    /// The norm of the weights that are trained.
    pub trained: f64,
    /// The norm of their moving average.
    pub averaged: f64,
}

impl GroupReport {
    /// What the state topic of the config's group says, and its snapshots, as of a time in ms since 1970.
    ///
    /// # Errors
    /// When its progress record is not in order.
    pub fn new(config: &Config, state: &StateTopic, now_ms: i64) -> Result<Self, super::SealError> {
        let progress = state.progress()?;
        let store = Store::new(config, state);
        let named = progress.as_ref().map_or(&[][..], |progress| &progress.snapshots);
        let opened: Vec<_> = named.iter().map(|&named| (named, store.open(named))).collect();
        let newest = opened.iter().find_map(|(_, opened)| opened.as_ref().ok());
        let cut = newest.map(|(snapshot, _)| &snapshot.operator.positions);
        let kept = |(named, opened): &(Named, Result<_, super::topic::Unusable>)| KeptSnapshot {
            generation: named.generation,
            checksum: hex(named.checksum),
            problem: opened.as_ref().err().map(ToString::to_string),
        };
        Ok(Self {
            group: config.kafka.group.clone(),
            topic: config.state.topic.clone(),
            snapshots: opened.iter().map(kept).collect(),
            import: import(config, state, progress.as_ref()),
            snapshot: newest.map(|(snapshot, bytes)| SnapshotReport::new(snapshot, bytes.len(), now_ms)),
            progress: progress.as_ref().map(|progress| ProgressReport::new(progress, cut)),
        })
    }
}

/// The import that the next start takes over.
fn import(config: &Config, state: &StateTopic, progress: Option<&Progress>) -> Option<ImportReport> {
    let import = state.import()?;
    if progress.is_some_and(|progress| progress.imported == Some(import.id)) {
        return None;
    }
    let problem = match &import.snapshot {
        Ok(snapshot) => recovery::fit(config, snapshot).err(),
        Err(error) => Some(error.to_string()),
    };
    let snapshot = import.snapshot.ok();
    let about = snapshot.as_ref().map(|snapshot| &snapshot.about);
    Some(ImportReport {
        id: hex(import.id),
        group: about.map(|about| about.group.clone()),
        generation: about.map(|about| about.generation),
        updates: snapshot.as_ref().map(|snapshot| snapshot.operator.model.learner.updates),
        problem,
    })
}

impl ProgressReport {
    fn new(progress: &Progress, cut: Option<&Positions>) -> Self {
        let partition = |(&partition, position): (&i32, &Position)| PartitionProgress {
            partition,
            offset: position.offset,
            row: position.row,
            snapshot_offset: cut.and_then(|cut| cut.get(&partition)).map(|position| position.offset),
        };
        let partitions: Vec<_> = progress.positions.iter().map(partition).collect();
        // A partition that came after the snapshot counts from its first run, which nobody knows any more.
        let between = |p: &PartitionProgress| match p.snapshot_offset {
            Some(from) => u64::try_from(p.offset.saturating_sub(from)).unwrap_or(0),
            None => 0,
        };
        Self {
            term: progress.term,
            epoch: progress.epoch,
            generation: progress.generation,
            records_since_snapshot: cut.map(|_| partitions.iter().map(between).sum()),
            runs_since_snapshot: progress.order.num_runs(),
            imported: progress.imported.map(hex),
            partitions,
        }
    }
}

impl SnapshotReport {
    /// What a snapshot of so many bytes holds, as of a time in ms since 1970.
    #[must_use]
    pub fn new(snapshot: &Snapshot, bytes: usize, now_ms: i64) -> Self {
        let Snapshot { about, operator } = snapshot;
        let config = Config::of_model(&about.config);
        let learner = &operator.model.learner;
        let age = Duration::from_millis(u64::try_from(now_ms.saturating_sub(about.written_ms)).unwrap_or(0));
        let counts = &operator.counts;
        let targets = &operator.model.targets;
        let is_ready = !targets.is_empty();
        Self {
            group: about.group.clone(),
            generation: about.generation,
            tailwater: about.tailwater.clone(),
            libtorch: about.libtorch.clone(),
            written: rfc3339(about.written_ms.saturating_mul(1_000)).to_string(),
            age_seconds: age.as_secs(),
            bytes,
            config_hash: about.config_hash.clone(),
            state_hash: snapshot::hash(operator),
            epoch: operator.epoch,
            updates: learner.updates,
            batches: learner.batches,
            records: learner.records,
            loss_nats: counts.loss_nats,
            stage: if is_ready { "learning" } else { "warmup" },
            labelled: operator.labelled.len(),
            labelled_full: {
                let key = if is_ready { "learn.batch" } else { "learn.warmup" };
                let fact = about.config.iter().find(|fact| fact.key == key);
                fact.and_then(|fact| fact.value.parse().ok())
            },
            counts: CountsReport {
                scored: counts.scored,
                rejected: counts.rejected,
                learned: counts.learned,
                expired: counts.expired,
                skipped_batches: counts.skipped,
            },
            stream_time: (operator.stream_time_us > i64::MIN)
                .then(|| rfc3339(operator.stream_time_us).to_string()),
            offsets: operator.positions.iter().map(|(&partition, &at)| Place::new(partition, at)).collect(),
            waiting: WaitingReport::new(&operator.waiting),
            target: TargetReport {
                fields: config
                    .as_ref()
                    .map(|config| config.target.fields.iter().map(ToString::to_string).collect())
                    .unwrap_or_default(),
                centers: targets.iter().map(|target| target.normaliser().center).collect(),
                scales: targets.iter().map(|target| target.normaliser().scale).collect(),
            },
            features: features(&operator.model.features, config.as_ref()),
            weights: WeightsReport::new(learner, config.as_ref()),
            config: about.config.clone(),
        }
    }
}

impl Place {
    fn new(partition: i32, at: Position) -> Self {
        Self { partition, offset: at.offset, row: at.row }
    }
}

impl WaitingReport {
    fn new(waiting: &[WaitingEntry]) -> Self {
        let known = waiting.iter().filter_map(|entry| match *entry {
            WaitingEntry::Known { partition, at, due_us, .. } => Some((partition, at, due_us)),
            WaitingEntry::Expired { .. } => None,
        });
        let events = known.clone().count();
        // They stand in the order in which they came.
        let oldest = known.clone().next().map(|(partition, at, due_us)| OldestWaiting {
            place: Place::new(partition, at),
            due: rfc3339(due_us).to_string(),
        });
        Self { events, expiring: waiting.len() - events, oldest }
    }
}

fn features(saved: &[SavedFeature], config: Option<&Config>) -> Vec<FeatureReport> {
    let named = config.filter(|config| config.features.len() == saved.len());
    let feature = |(index, saved): (usize, &SavedFeature)| {
        let feature = named.map(|config| &config.features[index]);
        let learned = match saved {
            SavedFeature::Number(standardiser) => {
                let Normaliser { center, scale } = *standardiser.normaliser();
                LearnedReport::Number { center, scale }
            }
            SavedFeature::Cycle => LearnedReport::Cycle,
            SavedFeature::Category(values) => LearnedReport::Category {
                known: values.len(),
                size: feature.and_then(|feature| match feature.kind {
                    FeatureKind::Category { size } => Some(size),
                    _ => None,
                }),
                first: values.iter().take(FIRST_VALUES).map(ToString::to_string).collect(),
            },
        };
        let name = feature.map_or_else(|| (index + 1).to_string(), |feature| feature.name.clone());
        FeatureReport { name, learned }
    };
    saved.iter().enumerate().map(feature).collect()
}

impl WeightsReport {
    fn new(learner: &SavedLearner, config: Option<&Config>) -> Self {
        let SavedLearner { trained, averaged, moments: [first, second], optimizer_steps, .. } = learner;
        let moments = |values: &[f32]| (!values.is_empty()).then(|| norm(values));
        Self {
            count: trained.len(),
            trained: norm(trained),
            averaged: norm(averaged),
            first_moments: moments(first),
            second_moments: moments(second),
            optimizer_steps: *optimizer_steps,
            layers: config.map(|config| layers(trained, averaged, config)).unwrap_or_default(),
        }
    }
}

fn layers(trained: &[f32], averaged: &[f32], config: &Config) -> Vec<LayerReport> {
    let densities = Densities::new(config);
    let shape = model::shape(config, densities.net.as_ref());
    if [trained.len(), averaged.len()] != [shape.num_weights(); 2] {
        return Vec::new();
    }
    let last = shape.layers().len() - 1;
    let layer = |name, inputs, outputs, range: std::ops::Range<usize>| LayerReport {
        name,
        inputs,
        outputs,
        trained: norm(&trained[range.clone()]),
        averaged: norm(&averaged[range]),
    };
    let mut layers: Vec<LayerReport> = shape
        .layers()
        .iter()
        .enumerate()
        .map(|(index, l)| {
            let name = if index == last { "output".to_owned() } else { format!("hidden {}", index + 1) };
            // A layer's bias follows its matrix.
            layer(name, l.inputs, l.outputs, l.weights.start..l.bias.end)
        })
        .collect();
    if !shape.linear().is_empty() {
        layers.push(layer("linear".to_owned(), shape.num_dense(), shape.locations().len(), shape.linear()));
    }
    layers
}

/// The Euclidean norm.
fn norm(values: &[f32]) -> f64 {
    values.iter().map(|&value| f64::from(value) * f64::from(value)).sum::<f64>().sqrt()
}

fn hex(number: u128) -> String {
    format!("{number:032x}")
}
