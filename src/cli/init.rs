//! `tailwater init`: a config guessed from a file or a topic.

use std::{
    io::ErrorKind,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use clap::Args;

use super::{replay::shell_quoted as shell, state};
use crate::{
    config::{Config, FieldPath, InputFormat, Property, Start, properties, quoted},
    init::{self, Origin, Sample, Wishes},
    kafka::{preflight, reader::ReadError, topics::Role},
    replay::source::{
        Piece,
        file::FileSource,
        topic::{RangeReader, Ranges},
    },
};

/// How long may be spent on reading.
const PATIENCE: Duration = Duration::from_secs(20);
/// So many records of a topic are read at most, its last.
const MAX_MESSAGES: i64 = 20_480;
/// What an Arrow IPC stream begins with.
const ARROW_CONTINUATION: [u8; 4] = [0xFF; 4];
/// A terminal of unknown width.
const USUAL_WIDTH: usize = 100;

#[derive(Debug, Args)]
pub(super) struct InitArgs {
    /// Look at this file: .ndjson, .csv, .parquet or .arrow, each also with .zst behind it
    #[arg(short, long, value_name = "FILE", conflicts_with_all = ["brokers", "topic", "sets"], required_unless_present = "topic")]
    input: Option<PathBuf>,
    /// The brokers of the topic to look at
    #[arg(long, value_name = "HOST:PORT", requires = "topic")]
    brokers: Option<String>,
    /// Look at the last records of this topic
    #[arg(long, value_name = "NAME", requires = "brokers")]
    topic: Option<String>,
    /// Set a property of the Kafka client, for instance 'kafka.properties."security.protocol"=ssl'; may be given often
    #[arg(long = "set", value_name = "KEY=VALUE")]
    sets: Vec<String>,
    /// What is to be predicted: a field, dotted where it is nested
    #[arg(long, value_name = "FIELD")]
    target: Option<String>,
    /// The field of event time
    #[arg(long, value_name = "FIELD")]
    time: Option<String>,
    /// The config to write; - for standard output
    #[arg(short, long, value_name = "FILE", default_value = "tailwater.toml")]
    out: PathBuf,
    /// Overwrite the config
    #[arg(long)]
    force: bool,
}

/// Looks, guesses, says what was found and writes it.
pub(super) fn run(args: &InitArgs) -> anyhow::Result<()> {
    let to_stdout = args.out == Path::new("-");
    if !to_stdout && !args.force && args.out.exists() {
        bail!(exists(&args.out));
    }
    let field = |option: &str, text: &Option<String>| {
        let parse = |text: &String| {
            FieldPath::parse(text)
                .with_context(|| format!("{option} {text}: must be a field, such as amount or claim.amount"))
        };
        text.as_ref().map(parse).transpose()
    };
    let wishes = Wishes { target: field("--target", &args.target)?, time: field("--time", &args.time)? };
    let environment: Vec<(String, String)> = std::env::vars_os()
        .filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)))
        .collect();
    let (sample, origin) = match (&args.input, &args.topic, &args.brokers) {
        (Some(file), ..) => (of_file(file)?, Origin::File { name: file.display().to_string() }),
        (None, Some(topic), Some(brokers)) => of_topic(brokers, topic, &args.sets, &environment)?,
        _ => bail!("name a file with --input, or a topic with --brokers and --topic"),
    };
    let name = origin.name().to_owned();
    let draft = init::draft(&sample, origin, &wishes, &environment).with_context(|| name)?;
    let terminal = if to_stdout { console::Term::stderr() } else { console::Term::stdout() };
    let width = terminal.size_checked().map_or(USUAL_WIDTH, |(_, columns)| usize::from(columns));
    let told = init::tell(&draft, width.clamp(60, 140));
    if to_stdout {
        eprint!("{told}");
        print!("{}", draft.text);
        return Ok(());
    }
    state::write(&args.out, draft.text.as_bytes(), args.force).map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => exists(&args.out),
        _ => anyhow::anyhow!("{} can't be written: {error}", args.out.display()),
    })?;
    print!("{told}");
    println!("\n{}", next(&args.out, args.input.as_deref()));
    Ok(())
}

fn exists(file: &Path) -> anyhow::Error {
    anyhow::anyhow!("{} exists; overwrite it with --force, or name another file with --out", file.display())
}

/// The commands that come next.
fn next(out: &Path, input: Option<&Path>) -> String {
    let out = shell(&out.display().to_string());
    let input =
        input.map_or_else(String::new, |file| format!(" --input {}", shell(&file.display().to_string())));
    format!(
        "wrote {out}: read it, and correct it where it is wrong. Then:\n\
         \x20 tailwater replay -c {out}{input} --out backtest\n\
         \x20 tailwater check -c {out} --create\n\
         \x20 tailwater run -c {out}"
    )
}

fn of_file(file: &Path) -> anyhow::Result<Sample> {
    let name = || file.display().to_string();
    let mut source = FileSource::open(file, MAX_LINE_BYTES).with_context(name)?;
    let mut sample = Sample::default();
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE
        && let Some(piece) = source.read().with_context(name)?
    {
        sample.add(&piece).with_context(name)?;
    }
    Ok(sample)
}

/// A longer line would be rejected: the default of `input.max_bytes`.
const MAX_LINE_BYTES: usize = 1 << 20;

/// The last messages of a topic.
fn of_topic(
    brokers: &str,
    topic: &str,
    sets: &[String],
    environment: &[(String, String)],
) -> anyhow::Result<(Sample, Origin)> {
    for set in sets {
        if !set.starts_with("kafka.properties.") {
            bail!(
                "--set {}: only kafka.properties can be set here",
                set.split('=').next().unwrap_or_default()
            );
        }
    }
    // As much of a config as a reader needs.
    let text = format!(
        "kafka = {{ brokers = {}, group = \"init\" }}\ninput.topic = {}\nfeatures.x = \"number\"\ntarget.fields = [\"y\"]\n\
         output.topic = \"init-scores\"\n",
        quoted(brokers),
        quoted(topic)
    );
    let variables = environment.iter().filter(|(name, _)| !name.starts_with("TAILWATER__"));
    let config = Config::from_parts(&text, "--brokers, --topic and --set", sets, variables.cloned())?;
    preflight::inspect_role(&config, Role::Input).map_err(super::check::told)?;
    let messages = read(&config).map_err(|error| ReadError::Read { topic: topic.to_owned(), error })?;
    let first = messages.iter().find_map(|piece| match piece {
        Piece::Messages(messages) => messages.iter().find_map(|message| message.payload.as_deref()),
        _ => None,
    });
    let is_arrow = first.is_some_and(|payload| payload.starts_with(&ARROW_CONTINUATION));
    let mut sample = Sample::of_messages(if is_arrow { InputFormat::Arrow } else { InputFormat::Json });
    for piece in &messages {
        sample.add(piece)?;
    }
    let origin = Origin::Topic {
        brokers: quoted(brokers),
        name: topic.to_owned(),
        properties: properties(sets).into_iter().map(written).collect(),
    };
    Ok((sample, origin))
}

/// Reads the end of each partition, within bounds of time and memory.
fn read(config: &Config) -> rdkafka::error::KafkaResult<Vec<Piece>> {
    /// Enough for a sample.
    const MAX_BYTES: usize = 64 << 20;
    let ranges = RangeReader::ranges(config, Start::Earliest, Start::Latest)?;
    let mut reader = RangeReader::open(config, &ends(ranges, MAX_MESSAGES))?;
    let begun = Instant::now();
    let mut pieces = Vec::new();
    let mut num_bytes = 0;
    while num_bytes < MAX_BYTES
        && let Some(piece) = reader.read(&|| begun.elapsed() < PATIENCE, &|_| false)?
    {
        if let Piece::Messages(messages) = &piece {
            num_bytes += messages.iter().map(|message| message.num_bytes()).sum::<usize>();
        }
        pieces.push(piece);
    }
    Ok(pieces)
}

/// The ends of the partitions, of so many messages together: what a short partition leaves, the longer ones get.
fn ends(ranges: Ranges, max_messages: i64) -> Ranges {
    let mut ranges: Vec<_> = ranges.into_iter().filter(|(_, (from, until))| from < until).collect();
    ranges.sort_by_key(|(_, (from, until))| until - from);
    let mut left = max_messages;
    let mut num_left = ranges.len() as i64;
    let end = |(partition, (from, until)): (i32, (i64, i64))| {
        let len = (until - from).min((left / num_left).max(1));
        left -= len;
        num_left -= 1;
        (partition, (until - len, until))
    };
    ranges.into_iter().map(end).collect()
}

/// A property as it is written down: not where its value may be a secret in plain text.
fn written(property: Property) -> (String, Option<String>) {
    const PLAIN: [&str; 5] =
        ["security.protocol", "sasl.mechanism", "sasl.mechanisms", "ssl.ca.location", "client.id"];
    let Property { name, value, is_reference } = property;
    let is_safe = is_reference || PLAIN.contains(&name.as_str());
    (name, is_safe.then_some(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is written of one `--set` of a property.
    fn of(set: &str) -> (String, Option<String>) {
        let mut all = properties(&[format!("kafka.properties.{set}")]);
        assert_eq!(all.len(), 1, "{set}");
        written(all.remove(0))
    }

    #[test]
    fn what_may_be_a_secret_is_not_written_down() {
        for set in [
            "\"sasl.password\"=hunter2",
            "sasl.password='hunter2'",
            "sasl.password=\"x",
            "sasl.password=${USER}:hunter2",
            "sasl.password=${X}rest",
            "sasl.password=\"${X}rest\"",
            "sasl.password=$${X}",
            "sasl.password=${a b}",
            "sasl.password=${X}${Y}",
            "sasl.password={ file",
            "sasl.password=12345",
        ] {
            assert_eq!(of(set), ("sasl.password".to_owned(), None), "{set}");
        }
    }

    #[test]
    fn references_and_plain_properties_are_written_as_toml() {
        for (set, name, value) in [
            ("sasl.password=${X}", "sasl.password", "\"${X}\""),
            ("sasl.password='${X}'", "sasl.password", "\"${X}\""),
            ("sasl.password = { file = '/run/x' }", "sasl.password", "{ file = \"/run/x\" }"),
            ("\"security.protocol\" =ssl", "security.protocol", "\"ssl\""),
            ("'client.id'='a\\b'", "client.id", "\"a\\\\b\""),
            ("client.id=\"x", "client.id", "\"\\\"x\""),
            ("client.id=007", "client.id", "\"007\""),
        ] {
            assert_eq!(of(set), (name.to_owned(), Some(value.to_owned())), "{set}");
        }
    }

    #[test]
    fn the_ends_of_long_partitions_get_what_short_and_empty_ones_leave() {
        let ranges = Ranges::from([(0, (5, 5)), (1, (0, 10)), (2, (100, 1_000)), (3, (0, 2_000))]);
        let expected = Ranges::from([(1, (0, 10)), (2, (955, 1_000)), (3, (1_955, 2_000))]);
        assert_eq!(ends(ranges.clone(), 100), expected);
        assert_eq!(ends(ranges, 10_000), Ranges::from([(1, (0, 10)), (2, (100, 1_000)), (3, (0, 2_000))]));
        assert_eq!(ends(Ranges::from([(0, (5, 5))]), 100), Ranges::new());
    }
}
