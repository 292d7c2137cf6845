//! What `tailwater verify` tells, as text, and as JSON, whose keys are those of the fields here.

use std::{fmt, time::Duration};

use serde::{Serialize, Serializer};

use super::super::state::now_ms;
use crate::{
    operator::{
        ledger::{Labelled, Ledger},
        place::{Position, Positions},
    },
    record::time::rfc3339,
    score::{Score, whole::Differing},
    state::{
        About,
        history::Unprovable,
        report::{
            Place,
            text::{line, offset, table},
        },
    },
    text::{age, counted, thousands},
};

/// What came of it.
#[derive(Debug, Serialize)]
#[serde(tag = "verdict", rename_all = "lowercase")]
pub(super) enum Verdict {
    /// Every bit is what it should be.
    Verified(Report),
    /// Not every bit is.
    Differs(Report),
    /// Nobody can say.
    Unverifiable {
        #[serde(flatten)]
        place: Place,
        #[serde(serialize_with = "as_text")]
        why: Unprovable,
    },
}

/// A row that was recomputed.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// The event's place.
    #[serde(flatten)]
    pub place: Place,
    /// Event time, in RFC 3339.
    pub time: String,
    /// How many columns were compared.
    pub columns: usize,
    /// The columns that are other ones than what was published.
    pub differing: Vec<Differing>,
    /// How often the row was published in this life of the model.
    pub published: usize,
    /// That is more often than it may have been.
    pub is_repeated: bool,
    /// What it was recomputed from.
    pub origin: Origin,
    /// How many records were taken again, the row's own included.
    pub taken: u64,
    /// The model that scored it.
    pub model: ModelReport,
    /// The records that the model had learned from last, the newest first.
    pub learned: Vec<LearnedReport>,
    /// Why bits may differ though nobody has changed them.
    pub notes: Vec<String>,
}

/// The snapshot that a row was recomputed from.
#[derive(Debug, Serialize)]
pub(super) struct Origin {
    /// Its number.
    generation: u64,
    /// The version of tailwater that wrote it.
    tailwater: String,
    /// The version of libtorch that it learned with.
    libtorch: String,
    /// When it was written, in RFC 3339.
    written: String,
    /// How long ago that is.
    age_seconds: u64,
    /// Where it was cut: the next row to take of each input partition.
    offsets: Vec<Place>,
}

/// The model that scored a row.
#[derive(Debug, Serialize)]
pub(super) struct ModelReport {
    /// Which life of the model it was in.
    epoch: u32,
    /// SGD steps.
    updates: u64,
    /// Labelled records in its mini-batches.
    records: u64,
    /// Of them those since the snapshot.
    records_since: u64,
    /// The latest moment at which a target became known that it had learned from since the snapshot, in RFC 3339.
    target_time: Option<String>,
    /// Labelled records of the warm-up or the unfinished mini-batch.
    unlearned: usize,
    /// Events that waited for their targets, the row's own included if it did.
    waiting: usize,
}

/// A record that a model had learned from.
#[derive(Debug, Serialize)]
pub(super) struct LearnedReport {
    /// Its place.
    #[serde(flatten)]
    place: Place,
    /// Event time, in RFC 3339.
    time: String,
    /// When its target became known, in RFC 3339.
    target_time: String,
}

/// A place in the input.
pub(super) fn place(partition: i32, at: Position) -> Place {
    Place { partition, offset: at.offset, row: at.row }
}

/// A time in µs since 1970.
pub(super) fn time(us: i64) -> String {
    rfc3339(us).to_string()
}

fn as_text<S: Serializer>(value: &impl fmt::Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

impl Verdict {
    /// What is to be said of a row that was recomputed.
    pub fn of(report: Report) -> Self {
        if report.differing.is_empty() && !report.is_repeated {
            Self::Verified(report)
        } else {
            Self::Differs(report)
        }
    }

    /// The place of the row, as people write it.
    pub fn place(&self) -> String {
        let (Self::Verified(Report { place, .. })
        | Self::Differs(Report { place, .. })
        | Self::Unverifiable { place, .. }) = self;
        let Place { partition, offset, row } = place;
        if *row == 0 { format!("{partition}:{offset}") } else { format!("{partition}:{offset}:{row}") }
    }

    /// Why it is not verified.
    pub fn problem(&self) -> Option<String> {
        match self {
            Self::Verified(_) => None,
            Self::Differs(report) => Some(report.problem()),
            Self::Unverifiable { why, .. } => Some(format!("can't be verified: {why}")),
        }
    }
}

impl Report {
    fn problem(&self) -> String {
        let differs = format!("differs in {} of {} columns", self.differing_columns(), self.columns);
        let repeated = format!("was published {} times", self.published);
        match (self.differing.is_empty(), self.is_repeated) {
            (false, true) => format!("{differs}, and {repeated}"),
            (false, false) => differs,
            (true, _) => repeated,
        }
    }

    /// Items of one list are one column.
    fn differing_columns(&self) -> usize {
        let column = |differing: &Differing| differing.column.split('[').next().map(str::to_owned);
        let mut columns: Vec<_> = self.differing.iter().map(column).collect();
        columns.dedup();
        columns.len()
    }
}

impl Origin {
    /// A snapshot that was cut here.
    pub fn new(about: &About, cut: &Positions) -> Self {
        Self {
            generation: about.generation,
            tailwater: about.tailwater.clone(),
            libtorch: about.libtorch.clone(),
            written: time(about.written_ms.saturating_mul(1000)),
            age_seconds: u64::try_from(now_ms() - about.written_ms).unwrap_or(0) / 1000,
            offsets: cut.iter().map(|(&partition, &at)| place(partition, at)).collect(),
        }
    }
}

impl ModelReport {
    /// The model that gave a score, by its account.
    pub fn new(score: &Score, ledger: &Ledger, num_waiting: usize) -> Self {
        Self {
            epoch: score.epoch,
            updates: score.updates,
            records: ledger.records(),
            records_since: ledger.records_since(),
            target_time: ledger.known_us().map(time),
            unlearned: ledger.num_unlearned(),
            waiting: num_waiting,
        }
    }
}

impl LearnedReport {
    /// A labelled record.
    pub fn new(labelled: &Labelled) -> Self {
        let &Labelled { partition, at, time_us, known_us } = labelled;
        Self { place: place(partition, at), time: time(time_us), target_time: time(known_us) }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = self.place();
        match self {
            Self::Verified(report) => {
                let columns = report.columns;
                line(f, "row", format_args!("{place} verified: {columns} columns are equal bit for bit"))?;
                report.fmt(f)
            }
            Self::Differs(report) => {
                line(f, "row", format_args!("{place} {}", report.problem()))?;
                report.fmt(f)
            }
            Self::Unverifiable { why, .. } => {
                line(f, "row", format_args!("{place} can't be verified: {why}"))
            }
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        line(f, "", format_args!("event time {}", self.time))?;
        if !self.differing.is_empty() {
            let header = ["column", "published", "recomputed"].map(str::to_owned).to_vec();
            let value = |value: &Option<String>| value.clone().unwrap_or_else(|| "–".to_owned());
            let rows = self
                .differing
                .iter()
                .map(|d| vec![d.column.clone(), value(&d.published), value(&d.recomputed)]);
            table(f, "differs", &[header].into_iter().chain(rows).collect::<Vec<_>>(), 1)?;
        }
        for note in &self.notes {
            line(f, "note", format_args!("{note}"))?;
        }
        self.write_origin(f)?;
        self.write_model(f)
    }
}

impl Report {
    fn write_origin(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Origin { generation, tailwater, libtorch, written, age_seconds, offsets } = &self.origin;
        let age = age(Duration::from_secs(*age_seconds));
        line(f, "from", format_args!("snapshot {generation}, written {written}, {age} ago"))?;
        line(f, "", format_args!("by tailwater {tailwater} with libtorch {libtorch}"))?;
        for Place { partition, offset: at, row } in offsets {
            line(f, "", format_args!("partition {partition}: next offset {}", offset(*at, *row)))?;
        }
        let taken = counted(self.taken, "record");
        line(f, "", format_args!("and {taken} taken again in the written order, up to this one"))
    }

    fn write_model(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ModelReport { epoch, updates, records, records_since, target_time, unlearned, waiting } =
            &self.model;
        let (updates, records) = (counted(*updates, "update"), counted(*records, "labelled record"));
        line(
            f,
            "model",
            format_args!(
                "epoch {epoch}, {updates} on {records}, {} of them since the snapshot",
                thousands(*records_since)
            ),
        )?;
        if let Some(target_time) = target_time {
            line(f, "", format_args!("it had learned from targets known up to {target_time}"))?;
        }
        let (unlearned, waiting) =
            (counted(*unlearned as u64, "labelled record"), counted(*waiting as u64, "event"));
        line(
            f,
            "",
            format_args!(
                "not yet from {unlearned} that made no full mini-batch, nor from {waiting} that waited for targets"
            ),
        )?;
        if self.learned.is_empty() {
            return Ok(());
        }
        let header = ["partition", "offset", "event time", "target known"].map(str::to_owned).to_vec();
        let rows = self.learned.iter().map(|LearnedReport { place, time, target_time }| {
            let at = offset(place.offset, place.row);
            vec![place.partition.to_string(), at, time.clone(), target_time.clone()]
        });
        table(f, "learned", &[header].into_iter().chain(rows).collect::<Vec<_>>(), 0)
    }
}
