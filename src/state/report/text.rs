//! Reports as text: a label, then what belongs to it.

use std::{fmt, time::Duration};

use super::{
    FileReport, GroupReport, ImportReport, KeptSnapshot, LearnedReport, Place, ProgressReport,
    SnapshotReport, TargetReport,
};
use crate::text::{age, counted, thousands};

/// Writes a labelled line; lines that follow without a label stand under it.
pub(crate) fn line(f: &mut fmt::Formatter<'_>, label: &str, text: fmt::Arguments<'_>) -> fmt::Result {
    writeln!(f, "{label:<10} {text}")
}

/// Writes rows below each other, the first beside the label; columns after the first `num_texts` are right-aligned.
pub(crate) fn table(
    f: &mut fmt::Formatter<'_>,
    label: &str,
    rows: &[Vec<String>],
    num_texts: usize,
) -> fmt::Result {
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    for (index, row) in rows.iter().enumerate() {
        let cell = |(column, cell): (usize, &String)| match width(column) {
            width if column < num_texts => format!("{cell:<width$}"),
            width => format!("{cell:>width$}"),
        };
        let cells: Vec<String> = row.iter().enumerate().map(cell).collect();
        line(f, if index == 0 { label } else { "" }, format_args!("{}", cells.join("  ").trim_end()))?;
    }
    Ok(())
}

/// A figure that is to be read, not computed with.
fn figure(value: f64) -> String {
    let size = value.abs();
    if size != 0.0 && !(1e-3..1e7).contains(&size) {
        return format!("{value:.3e}");
    }
    let digits = if size >= 1000.0 { 1 } else { 4 };
    let text = format!("{value:.digits$}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

impl fmt::Display for FileReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        line(f, "file", format_args!("{}", self.file))?;
        self.snapshot.fmt(f)
    }
}

impl fmt::Display for GroupReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { group, topic, progress, snapshots, import, snapshot } = self;
        line(f, "group", format_args!("'{group}', state topic '{topic}'"))?;
        match progress {
            Some(progress) => progress.fmt(f)?,
            None => line(f, "progress", format_args!("none: the group has no state yet"))?,
        }
        for (index, KeptSnapshot { generation, problem, .. }) in snapshots.iter().enumerate() {
            let label = if index == 0 { "snapshots" } else { "" };
            match problem {
                None => line(f, label, format_args!("{generation}  in order"))?,
                Some(problem) => line(f, label, format_args!("{generation}  can't be used: {problem}"))?,
            }
        }
        if let Some(import) = import {
            line(f, "import", format_args!("{import}"))?;
        }
        let Some(snapshot) = snapshot else { return Ok(()) };
        writeln!(f)?;
        snapshot.fmt(f)
    }
}

impl fmt::Display for ProgressReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { term, epoch, records_since_snapshot, runs_since_snapshot, .. } = self;
        line(f, "progress", format_args!("term {}, epoch {epoch}", thousands(*term)))?;
        if let Some(records) = records_since_snapshot {
            let (records, runs) = (counted(*records, "record"), counted(*runs_since_snapshot as u64, "run"));
            line(
                f,
                "",
                format_args!("{records} in {runs} since the snapshot, which a restart learns again"),
            )?;
        }
        let header = ["partition", "next offset", "snapshot's"].map(str::to_owned).to_vec();
        let rows = self.partitions.iter().map(|p| {
            let snapshot = p.snapshot_offset.map_or_else(|| "–".to_owned(), thousands);
            vec![p.partition.to_string(), offset(p.offset, p.row), snapshot]
        });
        table(f, "offsets", &[header].into_iter().chain(rows).collect::<Vec<_>>(), 0)
    }
}

impl fmt::Display for ImportReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let (Some(group), Some(generation), Some(updates)) = (&self.group, self.generation, self.updates) {
            write!(f, "snapshot {generation} of group '{group}', {}: ", counted(updates, "update"))?;
        }
        match &self.problem {
            None => f.write_str("takes over when the leader next starts"),
            Some(problem) => write!(f, "can't take over: {problem}"),
        }
    }
}

impl fmt::Display for SnapshotReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let age = age(Duration::from_secs(self.age_seconds));
        line(f, "snapshot", format_args!("{} of group '{}'", self.generation, self.group))?;
        line(f, "written", format_args!("{}, {age} ago", self.written))?;
        line(f, "", format_args!("by tailwater {} with libtorch {}", self.tailwater, self.libtorch))?;
        line(f, "size", format_args!("{} bytes", thousands(self.bytes)))?;
        line(f, "hashes", format_args!("state {}", self.state_hash))?;
        line(f, "", format_args!("config {}", self.config_hash))?;
        self.write_learning(f)?;
        self.write_stream(f)?;
        self.write_inputs(f)?;
        self.write_weights(f)?;
        let facts: Vec<_> =
            self.config.iter().map(|fact| vec![fact.key.clone(), fact.value.clone()]).collect();
        table(f, "config", &facts, 2)
    }
}

impl SnapshotReport {
    fn write_learning(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { epoch, updates, batches, records, labelled, counts, .. } = self;
        let (updates, batches) = (counted(*updates, "update"), counted_batches(*batches));
        let records = counted(*records, "labelled record");
        line(f, "model", format_args!("epoch {epoch}, {updates} in {batches} of {records}"))?;
        if let Some(loss) = self.loss_nats {
            line(f, "", format_args!("loss of the last mini-batch: {} nats", figure(loss)))?;
        }
        let full = self.labelled_full.map(|full| format!(" of {}", thousands(full))).unwrap_or_default();
        let what = if self.stage == "warmup" { "the warm-up" } else { "the unfinished mini-batch" };
        line(f, "", format_args!("{}{full} labelled records in {what}", thousands(*labelled)))?;
        let counts = [
            ("scored", counts.scored),
            ("rejected", counts.rejected),
            ("learned", counts.learned),
            ("expired", counts.expired),
            ("batches skipped", counts.skipped_batches),
        ];
        let counts: Vec<_> =
            counts.iter().map(|(name, count)| format!("{name} {}", thousands(*count))).collect();
        line(f, "counts", format_args!("{}", counts.join(", ")))
    }

    fn write_stream(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = self.stream_time.as_deref().unwrap_or("no event yet");
        line(f, "stream", format_args!("time {time}"))?;
        for Place { partition, offset: at, row } in &self.offsets {
            line(f, "", format_args!("partition {partition}: next offset {}", offset(*at, *row)))?;
        }
        let waiting = &self.waiting;
        let events = counted(waiting.events as u64, "event");
        let expiring = match waiting.expiring {
            0 => String::new(),
            expiring => format!(", and {} that will expire", thousands(expiring)),
        };
        line(f, "waiting", format_args!("{events} for targets{expiring}"))?;
        let Some(oldest) = &waiting.oldest else { return Ok(()) };
        let Place { partition, offset: at, row } = oldest.place;
        let at = offset(at, row);
        line(f, "", format_args!("the oldest is partition {partition}, offset {at}, due {}", oldest.due))
    }

    fn write_inputs(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let TargetReport { fields, centers, scales } = &self.target;
        if centers.is_empty() {
            let names = if fields.is_empty() { "–".to_owned() } else { fields.join(", ") };
            line(f, "target", format_args!("{names}: no center and scale before the warm-up has ended"))?;
        }
        for (nth, (center, scale)) in centers.iter().zip(scales).enumerate() {
            let name = fields.get(nth).map_or("–", String::as_str);
            line(f, "target", format_args!("{name}: center {}, scale {}", figure(*center), figure(*scale)))?;
        }
        let rows = self.features.iter().map(|feature| {
            let (kind, learned) = match &feature.learned {
                LearnedReport::Number { center, scale } => {
                    ("number", format!("center {}, scale {}", figure(*center), figure(*scale)))
                }
                LearnedReport::Cycle => ("cycle", String::new()),
                LearnedReport::Category { known, size, first } => {
                    let size = size.map(|size| format!(" of {}", thousands(size))).unwrap_or_default();
                    let shown =
                        if first.is_empty() { String::new() } else { format!(": {}", first.join(" ")) };
                    let rest = if first.len() < *known { " …" } else { "" };
                    ("category", format!("{}{size} known{shown}{rest}", thousands(*known)))
                }
            };
            vec![feature.name.clone(), kind.to_owned(), learned]
        });
        table(f, "features", &rows.collect::<Vec<_>>(), 3)
    }

    fn write_weights(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let weights = &self.weights;
        let header = ["norm of", "shape", "trained", "averaged"].map(str::to_owned).to_vec();
        let layers = weights.layers.iter().map(|layer| {
            let shape = format!("{} × {}", thousands(layer.inputs), thousands(layer.outputs));
            vec![layer.name.clone(), shape, figure(layer.trained), figure(layer.averaged)]
        });
        let total = vec![
            "all".to_owned(),
            thousands(weights.count),
            figure(weights.trained),
            figure(weights.averaged),
        ];
        table(f, "weights", &[header].into_iter().chain(layers).chain([total]).collect::<Vec<_>>(), 1)?;
        let (Some(first), Some(second)) = (weights.first_moments, weights.second_moments) else {
            return Ok(());
        };
        let steps = counted(weights.optimizer_steps, "step");
        line(f, "", format_args!("moments {} and {} after {steps}", figure(first), figure(second)))
    }
}

fn counted_batches(batches: u64) -> String {
    format!("{} mini-batch{}", thousands(batches), if batches == 1 { "" } else { "es" })
}

pub(crate) fn offset(offset: i64, row: u32) -> String {
    if row == 0 { thousands(offset) } else { format!("{} row {row}", thousands(offset)) }
}
