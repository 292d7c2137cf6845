//! `tailwater state`: takes a snapshot out of a group's state, and brings one in.

use std::{
    fs::{self, File},
    io::{ErrorKind, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use rdkafka::error::KafkaError;

use super::ConfigArgs;
use crate::{
    config::Config,
    kafka::{preflight, reader, state_log::StateLog, state_writer, topics::Role},
    state::{
        Snapshot,
        recovery::{self, Mismatch},
        store::Store,
        topic::{self, StateTopic},
    },
    text::{counted, thousands},
};

#[derive(Debug, Subcommand)]
pub(super) enum StateCommand {
    /// Write the group's newest snapshot to a file
    Export(ExportArgs),
    /// Let the group go on with the model of a file, from its current place on, when its leader next starts
    Import(ImportArgs),
}

#[derive(Debug, Args)]
pub(super) struct ExportArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// The file to write
    #[arg(short, long, value_name = "FILE")]
    out: PathBuf,
    /// Write the snapshot of this number instead of the newest
    #[arg(long, value_name = "N")]
    generation: Option<u64>,
    /// Overwrite the file
    #[arg(long)]
    force: bool,
}

#[derive(Debug, Args)]
pub(super) struct ImportArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// A file that `tailwater state export` or a replay wrote, or one of `state.dir`
    #[arg(value_name = "FILE", required_unless_present = "withdraw", conflicts_with = "withdraw")]
    file: Option<PathBuf>,
    /// Take back an import that no leader has taken over yet
    #[arg(long)]
    withdraw: bool,
}

pub(super) fn run(command: &StateCommand) -> anyhow::Result<()> {
    match command {
        StateCommand::Export(args) => export(args),
        StateCommand::Import(args) => import(args),
    }
}

fn export(args: &ExportArgs) -> anyhow::Result<()> {
    let config = args.config.load()?;
    let mut log = open(&config)?;
    let state = read_whole(&config, &mut log)?;
    let store = Store::new(&config, state);
    let mut problems = Vec::new();
    let mut found = None;
    for named in candidates(&config, state, &store)? {
        if args.generation.is_some_and(|generation| generation != named.generation) {
            continue;
        }
        match store.open(named) {
            Ok(opened) => {
                found = Some(opened);
                break;
            }
            Err(problem) => problems.push(format!("number {}: {problem}", named.generation)),
        }
    }
    let Some((snapshot, bytes)) = found else {
        let all: Vec<String> = store.all().iter().map(|named| named.generation.to_string()).collect();
        match (args.generation, problems.is_empty()) {
            (_, false) => bail!("no snapshot can be exported: {}", problems.join("; ")),
            (_, true) if all.is_empty() => bail!("group '{}' has no snapshot yet", config.kafka.group),
            (Some(generation), true) => {
                bail!("there is no snapshot {generation}; there are: {}", all.join(", "))
            }
            (None, true) => bail!(
                "the group's progress record names no snapshot; choose one of {} with --generation",
                all.join(", ")
            ),
        }
    };
    for problem in problems {
        eprintln!("tailwater: not exported, since it can't be used: snapshot {problem}");
    }
    let name = args.out.display();
    write(&args.out, &bytes, args.force).map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => {
            anyhow::anyhow!("{name} exists; overwrite it with --force, or name another file")
        }
        _ => anyhow::anyhow!("{name} can't be written: {error}"),
    })?;
    eprintln!("tailwater: wrote {} to {name}: {} bytes", told(&snapshot), thousands(bytes.len()));
    Ok(())
}

/// The snapshots to look at, the best first: those that the progress record names, then whatever else is there.
fn candidates(
    config: &Config,
    state: &StateTopic,
    store: &Store<'_>,
) -> anyhow::Result<Vec<crate::state::Named>> {
    let progress = state
        .progress()
        .with_context(|| format!("the progress record in '{}' can't be used", config.state.topic))
        .or_else(|error| if store.all().is_empty() { Err(error) } else { Ok(None) })?;
    let mut named = progress.map(|progress| progress.snapshots).unwrap_or_default();
    let others: Vec<_> = store.all().into_iter().filter(|other| !named.contains(other)).collect();
    named.extend(others);
    Ok(named)
}

/// Writes a file as a whole or not at all.
pub(super) fn write(file: &Path, bytes: &[u8], force: bool) -> std::io::Result<()> {
    if !force {
        // Made only if it is not there: nobody else's is overwritten.
        let mut made = File::create_new(file)?;
        return made.write_all(bytes).and_then(|()| made.sync_all()).inspect_err(|_| {
            fs::remove_file(file).ok();
        });
    }
    let mut partial = file.as_os_str().to_owned();
    partial.push(".partial");
    let partial = PathBuf::from(partial);
    let write = || {
        let mut made = File::create(&partial)?;
        made.write_all(bytes)?;
        made.sync_all()?;
        fs::rename(&partial, file)
    };
    write().inspect_err(|_| {
        fs::remove_file(&partial).ok();
    })
}

fn import(args: &ImportArgs) -> anyhow::Result<()> {
    let config = args.config.load()?;
    let mut log = open(&config)?;
    let state = read_whole(&config, &mut log)?;
    let Some(file) = &args.file else { return withdraw(&config, state) };
    let name = file.display();
    let bytes = fs::read(file).with_context(|| format!("{name} can't be read"))?;
    let snapshot = Snapshot::from_bytes(&bytes).with_context(|| format!("{name} can't be imported"))?;
    recovery::fit(&config, &snapshot).map_err(|why| anyhow::anyhow!("{name} can't be imported: {why}"))?;
    let progress = state
        .progress()
        .with_context(|| format!("the progress record in '{}' can't be used", config.state.topic))?;
    if let Some(progress) = &progress
        && progress.group != config.kafka.group
    {
        bail!(Mismatch::Foreign { found: progress.group.clone(), group: config.kafka.group.clone() });
    }
    let records = topic::import_records(now_ms(), &bytes);
    let num_parts = records.len() - 1;
    let mut stale = state.import_keys();
    stale.retain(|key| !records.iter().any(|record| record.key == *key));
    let records = records.into_iter().map(|record| (record.key, Some(record.value))).collect();
    state_writer::write(&config, records)?;
    // Parts of a longer one before it are of no more use.
    state_writer::write(&config, stale.into_iter().map(|key| (key, None)).collect())?;
    eprintln!(
        "tailwater: imported {} into '{}' ({})",
        told(&snapshot),
        config.state.topic,
        counted(num_parts as u64, "part")
    );
    match progress {
        Some(progress) => eprintln!(
            "tailwater: it takes over, in epoch {}, when the leader next starts: restart it",
            progress.epoch + 1
        ),
        None => eprintln!("tailwater: the group begins with it when it starts"),
    }
    Ok(())
}

fn withdraw(config: &Config, state: &StateTopic) -> anyhow::Result<()> {
    let topic = &config.state.topic;
    let taken = state.progress().ok().flatten().and_then(|progress| progress.imported);
    match state.import() {
        None => bail!("there is no import in '{topic}'"),
        Some(import) if Some(import.id) == taken => bail!(
            "the import in '{topic}' was taken over already; to go back, import a snapshot from before it (tailwater \
             state export writes one)"
        ),
        Some(_) => {}
    }
    // The manifest sorts before the parts: without it they are nothing.
    state_writer::write(config, state.import_keys().into_iter().map(|key| (key, None)).collect())?;
    eprintln!("tailwater: the import was taken back; a leader that has started since it has taken it over");
    Ok(())
}

fn told(snapshot: &Snapshot) -> String {
    let about = &snapshot.about;
    let updates = counted(snapshot.operator.model.learner.updates, "update");
    format!("snapshot {} of group '{}' ({updates})", about.generation, about.group)
}

/// Now, in ms since 1970.
pub(super) fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

/// The state topic, to be read outside of the group.
pub(super) fn open(config: &Config) -> anyhow::Result<StateLog> {
    StateLog::new(config).map_err(|reason| anyhow::anyhow!("no Kafka client could be made: {reason}"))
}

/// All of the state topic.
pub(super) fn read_whole<'a>(config: &Config, log: &'a mut StateLog) -> anyhow::Result<&'a StateTopic> {
    preflight::inspect_role(config, Role::State).map_err(super::check::told)?;
    let state = log.read_whole().map_err(|error| unreadable(config, &error))?;
    state.context("reading the state was interrupted")
}

/// Why the state topic can't be read.
pub(super) fn unreadable(config: &Config, error: &KafkaError) -> anyhow::Error {
    anyhow::anyhow!("'{}' can't be read: {error}{}", config.state.topic, reader::remedy(error))
}
