//! A replay: records of a file or of a topic's range, through the same operator as live, by one model or several side by side.
//!
//! ```text
//!             ┌─► lane: decode, operator ──scores──► judge: targets, scores.parquet, backtest ─┐
//! source ─────┤                                                                                ├─► summary
//!  pieces     └─► lane …                    ──scores──► judge …                               ─┘
//! ```
//! Each lane and each judge is a thread, and the channels between them are bounded: what is in memory does not depend on how long the
//! input is. Nothing of a live group is touched: no group is joined, no offset committed, no state read or written.
//!
//! A lane takes its records in the order in which a live operator would that has all of them at hand.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{self, SyncSender},
    },
    thread,
};

use rdkafka::error::KafkaError;

use crate::{
    backtest::Backtest,
    config::{Config, Start},
    kafka::{self, backlog::Backlog},
    operator::place::Position,
    score::arrow::EncodeError,
    state::recovery::{Initial, Mismatch},
};

mod compare;
mod judge;
mod lane;
pub mod source;

use compare::Comparer;
pub use compare::Pair;
use judge::Judge;
pub use lane::Done;
use lane::Lane;
use source::{
    Piece,
    file::{FileError, FileSource},
    topic::{RangeReader, Ranges},
};

/// At most this many pieces wait for a lane, or lists of scores for a judge.
const MAX_WAITING: usize = 8;

/// Where an event stands in the input: its partition, and its place there.
pub type Place = (i32, Position);

/// What is replayed.
#[derive(Debug, Clone)]
pub enum Source {
    /// A file.
    File(PathBuf),
    /// Ranges of the first model's input topic.
    Topic(Ranges),
}

impl Source {
    /// The first offset of each partition.
    fn starts(&self) -> BTreeMap<i32, i64> {
        match self {
            Self::File(_) => BTreeMap::from([(0, 0)]),
            Self::Topic(ranges) => ranges.iter().map(|(&partition, &(from, _))| (partition, from)).collect(),
        }
    }
}

/// How it is replayed.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Of a file, which event times.
    pub span: Span,
    /// Targets that become known at this time or later are not learned from, µs since 1970.
    pub learn_until_us: Option<i64>,
    /// How often the input is gone through: all passes but the last one only learn, up to `learn_until_us`.
    pub passes: u32,
    /// Seconds of event time to a second; `None`: as fast as it goes.
    pub speed: Option<f64>,
}

/// A span of event times, µs since 1970: from the first one up to the last one, which is not part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The first one.
    pub from_us: i64,
    /// The one after it.
    pub until_us: i64,
}

impl Default for Span {
    fn default() -> Self {
        Self { from_us: i64::MIN, until_us: i64::MAX }
    }
}

impl Span {
    fn contains(self, time_us: i64) -> bool {
        (self.from_us..self.until_us).contains(&time_us)
    }
}

/// A model that is replayed.
pub struct Contender {
    /// Its config.
    pub config: Config,
    /// What it begins with.
    pub initial: Option<Initial>,
    /// The file that its scores go to.
    pub scores: PathBuf,
    /// What they are held against.
    pub backtest: Backtest,
}

/// What came of it.
pub struct Replayed {
    /// Of each model, what it did and how its scores held.
    pub models: Vec<(Done, Backtest)>,
    /// Each further model beside the first.
    pub pairs: Vec<Pair>,
    /// The offsets that the first model has taken of each partition: the first, and the one after the last.
    pub ranges: Ranges,
    /// It was interrupted before the end.
    pub is_partial: bool,
}

/// How far a replay is.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    /// The pass, from 1.
    pub pass: u32,
    /// Records read in this pass.
    pub records: u64,
    /// How much of the input was read, in a unit that the source chooses.
    pub read: u64,
    /// How much of it there is.
    pub all: u64,
}

/// Why a replay failed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The file can't be read.
    #[error("{}: {error}", .file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// Why not.
        error: FileError,
    },
    /// The topic can't be read.
    #[error("'{topic}' can't be read: {error}{}", kafka::reader::remedy(.error))]
    Topic {
        /// The topic.
        topic: String,
        /// librdkafka's reason.
        error: KafkaError,
    },
    /// A table holds what can't be read.
    #[error("the input can't be read: {0}")]
    Undecodable(String),
    /// The model that it begins with does not fit.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Mismatch(Vec<Mismatch>),
    /// A file of results can't be written.
    #[error("{} can't be written: {reason}; give it room, or name another folder with --out", .file.display())]
    Write {
        /// The file.
        file: PathBuf,
        /// Why not.
        reason: String,
    },
    /// A batch could not be encoded.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// It was interrupted before anything was judged.
    #[error("interrupted in pass {pass} of {passes}, before anything was judged: there are no results")]
    Interrupted {
        /// The pass.
        pass: u32,
        /// How many there were to be.
        passes: u32,
    },
    /// A pass was too short to learn anything.
    #[error(
        "pass {pass} did not get past the warm-up: let it learn from more of the input (--learn-until), or lower learn.warmup"
    )]
    Warmup {
        /// The pass.
        pass: u32,
    },
    /// A thread could not be started, or panicked.
    #[error("{0}")]
    Thread(String),
}

/// An input that is open.
enum Open {
    File { source: FileSource, file: PathBuf, is_ended: bool },
    Topic { reader: RangeReader, topic: String },
}

impl Open {
    fn new(source: &Source, config: &Config) -> Result<Self, ReplayError> {
        Ok(match source {
            Source::File(file) => {
                let source = FileSource::open(file, config.input.max_bytes)
                    .map_err(|error| ReplayError::File { file: file.clone(), error })?;
                Self::File { source, file: file.clone(), is_ended: false }
            }
            Source::Topic(ranges) => {
                let topic = config.input.topic.clone();
                let reader = RangeReader::open(config, ranges)
                    .map_err(|error| ReplayError::Topic { topic: topic.clone(), error })?;
                Self::Topic { reader, topic }
            }
        })
    }

    fn read(
        &mut self,
        keep_on: &dyn Fn() -> bool,
        is_full: &dyn Fn(i32) -> bool,
    ) -> Result<Option<Piece>, ReplayError> {
        match self {
            Self::File { is_ended: true, .. } => Ok(None),
            Self::File { source, file, is_ended } => {
                let piece = source.read().map_err(|error| ReplayError::File { file: file.clone(), error })?;
                Ok(Some(piece.unwrap_or_else(|| {
                    *is_ended = true;
                    Piece::Ended { partition: 0, until: source.next() }
                })))
            }
            Self::Topic { reader, topic } => reader
                .read(keep_on, is_full)
                .map_err(|error| ReplayError::Topic { topic: topic.clone(), error }),
        }
    }

    fn progress(&self) -> (u64, u64) {
        match self {
            Self::File { source, .. } => source.progress(),
            Self::Topic { reader, .. } => reader.progress(),
        }
    }
}

/// Replays `source` by each of the models; `columns` says of each further one which of its scores are which of the first's. `tell` is
/// told how far it is. Where `keep_on` says no, it ends with what it has.
///
/// # Errors
/// When the input can't be read, a model does not fit, or results can't be written.
pub fn run(
    source: &Source,
    mut contenders: Vec<Contender>,
    columns: Vec<Vec<(usize, usize)>>,
    options: &Options,
    keep_on: &(dyn Fn() -> bool + Sync),
    tell: &mut dyn FnMut(Progress),
) -> Result<Replayed, ReplayError> {
    // What a pass before the last one learns is all that is wanted of it.
    let before = Span {
        until_us: options.span.until_us.min(options.learn_until_us.unwrap_or(i64::MAX)),
        ..options.span
    };
    for pass in 1..options.passes {
        let lanes = contenders.iter().map(|one| (&one.config, one.initial.as_ref(), None)).collect();
        let passed = run_pass(source, lanes, options, before, pass, keep_on, tell)?;
        if passed.is_partial {
            return Err(ReplayError::Interrupted { pass, passes: options.passes });
        }
        let learned: Vec<Done> = passed.models.into_iter().map(|(done, _)| done).collect();
        for (contender, done) in contenders.iter_mut().zip(learned) {
            if done.snapshot.operator.model.targets.is_empty() {
                return Err(ReplayError::Warmup { pass });
            }
            let file = format!("what pass {pass} has learned");
            contender.initial = Some(Initial { file, snapshot: done.snapshot });
        }
    }
    let comparer = Mutex::new(Comparer::new(columns));
    let is_compared = contenders.len() > 1;
    let mut entrants = Vec::new();
    let mut backtests: Vec<Backtest> = Vec::new();
    let mut kept = Vec::new();
    for Contender { config, initial, scores, backtest } in contenders {
        backtests.push(backtest);
        kept.push((config, initial, scores));
    }
    for (nth, ((config, initial, scores), backtest)) in kept.iter().zip(backtests).enumerate() {
        let comparer = is_compared.then_some((&comparer, nth));
        entrants.push((config, initial.as_ref(), Some(Judge::new(config, scores, backtest, comparer)?)));
    }
    let Passed { models: judged, is_partial } =
        run_pass(source, entrants, options, options.span, options.passes.max(1), keep_on, tell)?;
    let mut models = Vec::new();
    for (done, backtest) in judged {
        models.push((done, backtest.expect("the last pass is judged").finish()?));
    }
    let comparer = comparer.into_inner().unwrap_or_else(PoisonError::into_inner);
    let ranges = models.first().map(|(done, _)| ranges(source, done)).unwrap_or_default();
    Ok(Replayed { models, pairs: comparer.finish(), ranges, is_partial })
}

/// From where to where a model has come.
fn ranges(source: &Source, done: &Done) -> Ranges {
    let positions = &done.snapshot.operator.positions;
    let range = |(partition, from): (i32, i64)| {
        (partition, (from, positions.get(&partition).map_or(from, |position| position.offset)))
    };
    source.starts().into_iter().map(range).collect()
}

/// What came of a pass.
struct Passed<'a> {
    models: Vec<(Done, Option<Judge<'a>>)>,
    is_partial: bool,
}

/// A model in a pass: its config, what it begins with, and who judges it.
type Entrant<'a> = (&'a Config, Option<&'a Initial>, Option<Judge<'a>>);

fn run_pass<'a>(
    source: &Source,
    entrants: Vec<Entrant<'a>>,
    options: &Options,
    span: Span,
    pass: u32,
    keep_on: &(dyn Fn() -> bool + Sync),
    tell: &mut dyn FnMut(Progress),
) -> Result<Passed<'a>, ReplayError> {
    let starts = source.starts();
    let first = entrants.first().map(|(config, ..)| *config);
    let mut open = Open::new(source, first.expect("there is a model"))?;
    let backlogs: Vec<Backlog> = entrants.iter().map(|_| Backlog::of_records(starts.len())).collect();
    let is_full = |partition| backlogs.iter().any(|backlog| backlog.is_full(partition));
    thread::scope(|scope| {
        let spawn = |name: &str| thread::Builder::new().name(name.to_owned());
        let no_thread =
            |error: std::io::Error| ReplayError::Thread(format!("no thread could be started: {error}"));
        let mut senders = Vec::new();
        let mut threads = Vec::new();
        for ((config, initial, judge), backlog) in entrants.into_iter().zip(&backlogs) {
            let (sender, pieces) = mpsc::sync_channel::<Arc<Piece>>(MAX_WAITING);
            senders.push(sender);
            let (out, judging) = match judge {
                None => (None, None),
                Some(judge) => {
                    let (out, taken) = mpsc::sync_channel(MAX_WAITING);
                    let judging = spawn("judge").spawn_scoped(scope, move || judge.run(&taken));
                    (Some(out), Some(judging.map_err(no_thread)?))
                }
            };
            let starts = &starts;
            let running = spawn("lane").spawn_scoped(scope, move || {
                let lane = Lane::new(config, options, span, initial, starts, backlog, keep_on)?;
                lane.run(&pieces, out.as_ref())
            });
            threads.push((running.map_err(no_thread)?, judging));
        }
        let fed = feed(&mut open, &senders, pass, keep_on, &is_full, tell);
        drop(senders);
        let mut models = Vec::new();
        for (running, judging) in threads {
            // A judge's error comes first: the lane only notices that nobody listens.
            let judged = judging.map(|judging| join("judge", judging.join())).transpose();
            let done = join("lane", running.join());
            models.push((done, judged));
        }
        // Where a lane has failed, feeding it has ended too.
        let mut is_partial = fed?;
        let mut all = Vec::new();
        for (done, judged) in models {
            let judged = judged?;
            let done = done?;
            is_partial |= done.is_cut;
            all.push((done, judged));
        }
        Ok(Passed { models: all, is_partial })
    })
}

/// Reads to the end and hands every piece to every lane; tells whether that was not the end.
fn feed(
    open: &mut Open,
    lanes: &[SyncSender<Arc<Piece>>],
    pass: u32,
    keep_on: &dyn Fn() -> bool,
    is_full: &dyn Fn(i32) -> bool,
    tell: &mut dyn FnMut(Progress),
) -> Result<bool, ReplayError> {
    let mut records = 0;
    while keep_on() {
        let Some(piece) = open.read(keep_on, is_full)? else { break };
        records += piece.num_records() as u64;
        let piece = Arc::new(piece);
        if lanes.iter().any(|lane| lane.send(piece.clone()).is_err()) {
            break; // the lane says why it has ended
        }
        let (read, all) = open.progress();
        tell(Progress { pass, records, read, all });
    }
    Ok(!keep_on())
}

fn join<T>(name: &str, result: thread::Result<Result<T, ReplayError>>) -> Result<T, ReplayError> {
    result.map_err(|_| ReplayError::Thread(format!("the {name} thread panicked; please report this")))?
}

/// The range of a topic between two places, by Kafka's timestamps.
///
/// # Errors
/// When brokers refuse or don't answer.
pub fn topic_range(config: &Config, from: Start, to: Start) -> Result<Source, ReplayError> {
    let topic = || config.input.topic.clone();
    RangeReader::ranges(config, from, to)
        .map(Source::Topic)
        .map_err(|error| ReplayError::Topic { topic: topic(), error })
}
