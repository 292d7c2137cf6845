//! `tailwater verify`: a published row is recomputed from the log, the written order and the nearest snapshot, and compared.

use std::sync::Arc;

use anyhow::{anyhow, bail};
use clap::Args;
use rdkafka::{Message as _, error::KafkaError};

use super::{ConfigArgs, check, inspect, state};
use crate::{
    config::{Config, Guarantee},
    kafka::{
        offsets, preflight,
        reader::{self, ReadError},
        score_log,
    },
    operator::place::Position,
    record::{Decoder, Event},
    run::{
        recompute::{Recomputed, recompute},
        spec,
    },
    score::whole::WholeRow,
    state::{
        About,
        history::{self, Course, History, Lead, Unprovable, Wanted},
    },
};

mod report;

use report::{LearnedReport, ModelReport, Origin, Report, Verdict, place};

#[derive(Debug, Args)]
pub(super) struct VerifyArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// The input partition of the row's event
    #[arg(long, value_name = "P", value_parser = clap::value_parser!(i32).range(0..))]
    partition: i32,
    /// Its offset there
    #[arg(long, value_name = "O", value_parser = clap::value_parser!(i64).range(0..))]
    offset: i64,
    /// The row within the message, where one holds many
    #[arg(long, value_name = "R", default_value_t = 0)]
    row: u32,
    /// How many of the records are listed that the model had learned from last, as far as that was since the snapshot
    #[arg(long, value_name = "N", default_value_t = 10)]
    learned: usize,
    /// Print it as JSON
    #[arg(long)]
    json: bool,
}

/// Recomputes a row and compares it with what was published. The group is not joined, and nothing is written.
pub(super) fn run(args: &VerifyArgs) -> anyhow::Result<()> {
    let config = args.config.load()?;
    let layout = preflight::inspect(&config).map_err(check::told)?;
    if !layout.input_partitions.contains(&args.partition) {
        bail!("'{}' has no partition {}", config.input.topic, args.partition);
    }
    let at = Position { offset: args.offset, row: args.row };
    let wanted = Wanted { partition: args.partition, at, epoch: None };
    let verdict = match verify(&config, wanted, args.learned) {
        Ok(report) => Verdict::of(report),
        Err(error) => Verdict::Unverifiable { place: place(args.partition, at), why: error.downcast()? },
    };
    // What can't be said of a row is an error's text, for people.
    if args.json || !matches!(verdict, Verdict::Unverifiable { .. }) {
        inspect::print(&verdict, args.json)?;
    }
    verdict.problem().map_or(Ok(()), |problem| Err(anyhow!("row {} {problem}", verdict.place())))
}

/// Fails with [`Unprovable`] where the row can't be recomputed, and with anything else where it could not be tried.
fn verify(config: &Config, wanted: Wanted, num_listed: usize) -> anyhow::Result<Report> {
    let Wanted { partition, at, .. } = wanted;
    let event = event(config, wanted)?;
    let output = &config.output.topic;
    let of_output = |error| unreadable(output, error);
    let mut published = score_log::rows_of(config, partition, at).map_err(of_output)?;
    let wanted = Wanted { epoch: published.last().and_then(WholeRow::epoch), ..wanted };
    let lead = lead(config, wanted)?;
    // A group that was set back to earlier offsets, with a new model, publishes again what the one before it has.
    published.retain(|row| row.epoch() == wanted.epoch);
    let Some(last) = published.last() else { bail!(Unprovable::Unpublished { topic: output.clone() }) };

    let available = offsets::available(config, lead.positions.keys().copied())
        .map_err(|error| unreadable(&config.input.topic, error))?;
    let mut course = lead.follow(config, &available, num_listed)?;
    let num_waiting: usize = course.waiting.values().map(Vec::len).sum();
    let scores = score_log::published(config, &course.waiting, &mut || true).map_err(of_output)?;
    let mut scores = scores.unwrap_or_default();
    // What a later life of the model has published of them is not what it was learned by.
    scores.retain(|_, score| score.epoch <= course.operator.epoch());
    if scores.len() < num_waiting {
        bail!(Unprovable::Scores { topic: output.clone(), num_missing: num_waiting - scores.len() });
    }
    course.operator.set_published(scores);
    tracing::info!(snapshot = course.about.generation, "taking records again, up to the row");
    let (origin, notes) = (Origin::new(&course.about, &course.cut), notes(config, &course, last));
    let Some(Recomputed { scored, ledger, num_taken, num_waiting }) = recompute(config, course, wanted)?
    else {
        bail!(Unprovable::Passed)
    };
    let recomputed = WholeRow::of(&scored, &spec::schemas(config).0, last)?;
    Ok(Report {
        place: place(partition, at),
        time: report::time(event.time_us),
        columns: recomputed.num_columns(),
        differing: last.differing(&recomputed),
        published: published.len(),
        is_repeated: published.len() > 1 && config.delivery.guarantee == Guarantee::ExactlyOnce,
        origin,
        taken: num_taken,
        model: ModelReport::new(&scored.score, &ledger, num_waiting),
        learned: ledger.last().map(LearnedReport::new).collect(),
        notes,
    })
}

/// The event of the row.
fn event(config: &Config, wanted: Wanted) -> anyhow::Result<Arc<Event>> {
    let Wanted { partition, at, .. } = wanted;
    let of_input = |error| unreadable(&config.input.topic, error);
    let available = offsets::available(config, std::iter::once(partition)).map_err(of_input)?;
    let available = available.get(&partition).cloned().unwrap_or_default();
    let message = match available.contains(&at.offset) {
        true => offsets::first_message(config, partition, at.offset).map_err(of_input)?,
        false => None,
    };
    let mut records = Vec::new();
    if let Some(message) = &message {
        Decoder::new(config).decode(&reader::borrow(message), &mut records);
    }
    let message = message.map(|message| (message.offset(), &records[..]));
    Ok(history::event_at(config, wanted, &available, message)?)
}

/// What leads to the row.
fn lead(config: &Config, wanted: Wanted) -> anyhow::Result<Lead> {
    let log = state::open(config)?;
    let mut history = History::new(config, wanted);
    log.read_each(|key, value| history.put(key, value)).map_err(|error| state::unreadable(config, &error))?;
    Ok(history.finish()?)
}

fn unreadable(topic: &str, error: KafkaError) -> anyhow::Error {
    ReadError::Read { topic: topic.to_owned(), error }.into()
}

/// Why bits may differ though nobody has changed them.
fn notes(config: &Config, course: &Course, published: &WholeRow) -> Vec<String> {
    let mut notes = Vec::new();
    let (then, now) = (&course.about, About::new(config, 0, 0));
    if (&then.tailwater, &then.libtorch) != (&now.tailwater, &now.libtorch) {
        notes.push(format!(
            "the snapshot was written by tailwater {} with libtorch {}, and this is {} with {}: bits may differ",
            then.tailwater, then.libtorch, now.tailwater, now.libtorch
        ));
    }
    if let Some(version) = published.version.as_ref().filter(|version| **version != now.tailwater) {
        notes.push(format!(
            "tailwater {version} published the row, and this is {}: bits may differ",
            now.tailwater
        ));
    }
    // Where the row itself tells, that counts: the snapshot may be from before a change that the row is from after.
    if *published.config.as_ref().unwrap_or(&then.config_hash) != now.config_hash {
        let changes: Vec<String> = course.changes.iter().map(ToString::to_string).collect();
        let changes = if changes.is_empty() { String::new() } else { format!(" ({})", changes.join("; ")) };
        notes
            .push(format!("the row was scored with another config{changes}: verify it with the one of then"));
    }
    notes
}
