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
    config::{Config, FieldPath, InputFormat, Start, quoted},
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
        properties: sets.iter().filter_map(|set| property(set)).collect(),
    };
    Ok((sample, origin))
}

/// Reads the end of each partition, within bounds of time and memory.
fn read(config: &Config) -> rdkafka::error::KafkaResult<Vec<Piece>> {
    /// Enough for a sample.
    const MAX_BYTES: usize = 64 << 20;
    let ranges = RangeReader::ranges(config, Start::Earliest, Start::Latest)?;
    let each = MAX_MESSAGES / i64::try_from(ranges.len()).unwrap_or(i64::MAX).max(1);
    let last =
        |(partition, (from, until)): (i32, (i64, i64))| (partition, (from.max(until - each.max(1)), until));
    let ranges: Ranges = ranges.into_iter().map(last).collect();
    let mut reader = RangeReader::open(config, &ranges)?;
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

/// A property as it is written down: not where its value may be a secret in plain text.
fn property(set: &str) -> Option<(String, Option<String>)> {
    const PLAIN: [&str; 5] =
        ["security.protocol", "sasl.mechanism", "sasl.mechanisms", "ssl.ca.location", "client.id"];
    let (key, value) = set.split_once('=')?;
    let name = key.strip_prefix("kafka.properties.")?.replace(['"', '\''], "");
    let value = value.trim();
    let is_reference = value.starts_with("${") || value.starts_with("\"${") || value.starts_with("{ file");
    let written = (PLAIN.contains(&name.as_str()) || is_reference)
        .then(|| if value.starts_with(['"', '{']) { value.to_owned() } else { quoted(value) });
    Some((name, written))
}
