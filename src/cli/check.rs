//! `tailwater check`: whether a config would run, before it does.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use clap::Args;

use super::{ConfigArgs, state};
use crate::{
    config::{Change, Config, Difference},
    kafka::{
        admin::Admin,
        membership::Membership,
        offsets,
        preflight::{self, Fault, Layout},
        reader::{self, ReadError},
        tail::Tail,
        topics,
    },
    record::{Decoder, Record},
    run,
    score::columns::Columns,
    state::recovery::{Beginning, Mismatch},
    text::{self, counted},
};

/// How many records are decoded for show.
const SAMPLE: usize = 10;
/// How often state and offsets that don't fit each other are looked at again.
const LOOKS_AGAIN: usize = 20;
/// How long it may take until all brokers know of a topic that was made.
const SETTLE: Duration = Duration::from_secs(10);

#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Look at the config only; ask no broker
    #[arg(long)]
    offline: bool,
    /// Make the topics that are missing, all but the input
    #[arg(long, conflicts_with = "offline")]
    create: bool,
}

/// Prints what is right, line by line, and fails with everything that is wrong.
pub(super) fn run(args: &CheckArgs) -> anyhow::Result<()> {
    let config = args.config.load()?;
    let columns = Columns::new(&config);
    let figures: Vec<&str> = columns.figures().map(String::as_str).collect();
    println!("config     ok: {} features, figures {}", config.features.len(), figures.join(" "));
    println!("           hash of what changes the numbers: {}", config.hash());
    if args.offline {
        return Ok(());
    }
    let mut inspected = preflight::inspect(&config);
    if args.create
        && let Err(faults) = &inspected
    {
        inspected = create(&config, faults);
    }
    let layout = inspected.map_err(told)?;
    let admin = Admin::new(&config.kafka)?;
    if let Some(fault) = preflight::inspect_state_policy(&config, &admin) {
        bail!(fault);
    }
    println!("brokers    ok: {} at {}", layout.num_brokers, config.kafka.brokers);
    println!(
        "topics     ok: {} input partitions (the right to write shows with the first score)",
        layout.input_partitions.len()
    );
    let membership = check_group(&config, &layout.input_partitions)?;
    check_state(&config, &membership, &layout.input_partitions)?;
    show_retention(&config, &admin);
    decode_sample(&config)
}

/// All faults, a line each.
pub(super) fn told(faults: Vec<Fault>) -> anyhow::Error {
    let lines: Vec<String> = faults.iter().map(ToString::to_string).collect();
    anyhow::anyhow!("{}", lines.join("\ntailwater: "))
}

/// Makes the topics that are missing, with a line for each, and looks again.
fn create(config: &Config, faults: &[Fault]) -> Result<Layout, Vec<Fault>> {
    let admin = Admin::new(&config.kafka).map_err(|fault| vec![fault])?;
    let missing = |name: &str| {
        faults.iter().find_map(|fault| match fault {
            Fault::MissingTopic { topic, partitions, .. } if topic == name => *partitions,
            _ => None,
        })
    };
    let mut there = Vec::new();
    let mut refused = Vec::new();
    for topic in topics::of(config) {
        let Some(partitions) = missing(topic.name) else { continue };
        match admin.create(&topic, partitions) {
            Ok(made) => {
                if made {
                    println!("created    topic '{}': {}", topic.name, topic.described(partitions));
                }
                there.push(topic.name);
            }
            Err(fault) => refused.push(fault),
        }
    }
    let mut inspected = settled(config, &there);
    if let Err(faults) = &mut inspected {
        // Why a topic could not be made says more than that it is missing.
        for fault in faults {
            if let Some(refused) = refused.iter().find(|refused| refused.topic() == fault.topic()) {
                *fault = refused.clone();
            }
        }
    }
    inspected
}

/// Looks until all brokers know of topics that were just made.
fn settled(config: &Config, made: &[&str]) -> Result<Layout, Vec<Fault>> {
    let deadline = Instant::now() + SETTLE;
    loop {
        let inspected = preflight::inspect(config);
        let of_made = |fault: &Fault| fault.topic().is_some_and(|topic| made.contains(&topic));
        let unsettled = inspected.as_ref().is_err_and(|faults| faults.iter().any(of_made));
        if !unsettled || Instant::now() >= deadline {
            return inspected;
        }
        thread::sleep(Duration::from_millis(100));
    }
}

fn check_group(config: &Config, partitions: &[i32]) -> anyhow::Result<Membership> {
    let group = &config.kafka.group;
    let looked = Membership::look(config)
        .and_then(|membership| membership.committed(partitions).map(|committed| (membership, committed)));
    match looked {
        Ok((membership, committed)) => {
            let known = committed.values().filter(|offset| offset.is_some()).count();
            println!(
                "group      ok: '{group}' has committed offsets of {known} of {} partitions",
                partitions.len()
            );
            Ok(membership)
        }
        Err(error) => bail!(
            "kafka.group: offsets of group '{group}' can't be read: {error}; grant READ on it: kafka-acls.sh \
             --bootstrap-server {} --add --allow-principal User:NAME --operation READ --group {group}",
            config.kafka.brokers
        ),
    }
}

/// How the next term would begin, which is found out as a leader does, and without its doing anything.
fn check_state(config: &Config, membership: &Membership, partitions: &[i32]) -> anyhow::Result<()> {
    let mut log = state::open(config)?;
    let mut look = || -> anyhow::Result<_> {
        let topic = log.read_to_end(&mut || true).map_err(|error| state::unreadable(config, &error))?;
        let topic = topic.context("reading the state was interrupted")?;
        let input = offsets::input_facts(config, membership, partitions, &mut || true);
        let input = input.map_err(|error| ReadError::start(config, error))?;
        Ok(run::decide(config, topic, &input.context("reading the offsets was interrupted")?))
    };
    let mut decision = look()?;
    for _ in 0..LOOKS_AGAIN {
        // A leader that is at work may have committed between the two looks; offsets that were moved by hand stay where they are.
        let is_moved = |mismatch: &Mismatch| matches!(mismatch, Mismatch::Offset { .. });
        if !decision.as_ref().is_err_and(|mismatches| mismatches.iter().any(is_moved)) {
            break;
        }
        decision = look()?;
    }
    match decision {
        Ok(beginning) => show_state(&beginning),
        Err(mismatches) => {
            let mut lines = Vec::new();
            for mismatch in mismatches {
                if let Mismatch::Config(differences) = &mismatch {
                    show_changes(differences, "\"fail\" stops the start");
                }
                lines.push(mismatch.to_string());
            }
            bail!("{}", lines.join("\ntailwater: "))
        }
    }
    Ok(())
}

fn show_state(beginning: &Beginning) {
    let Beginning { about, changes, notes, operator, .. } = beginning;
    match about {
        Some(about) => {
            let age = u64::try_from(state::now_ms() - about.written_ms).unwrap_or(0);
            println!(
                "state      ok: snapshot {}, {} old, {}{}",
                about.generation,
                text::age(Duration::from_millis(age)),
                counted(operator.model().updates(), "update"),
                if changes.is_empty() { "; nothing in the config changes it" } else { "" },
            );
        }
        None if notes.is_empty() => println!("state      none: the group begins with a new model"),
        None => {}
    }
    notes.iter().for_each(|note| println!("state      {note}"));
    show_changes(changes, "\"fresh\" begins one");
}

/// A line for each difference, with what it does.
fn show_changes(differences: &[Difference], on_mismatch: &str) {
    for difference in differences {
        let outcome = match difference.change {
            Change::NewModel => format!("needs a new model: state.on_mismatch = {on_mismatch}"),
            Change::Noted | Change::Free => format!("{}: applies from the restart on", difference.change),
        };
        println!("state      {difference} ({outcome})");
    }
}

/// Retention is shown where the broker tells it; that needs a right that running does not.
fn show_retention(config: &Config, admin: &Admin) {
    let wait = config.target.wait;
    let topics = [
        (&config.input.topic, format!("an event may wait {wait:?} for its target")),
        (&config.output.topic, format!("scores that are up to {wait:?} old are read again after a restart")),
    ];
    for (topic, need) in topics {
        match retention(admin, topic) {
            Ok(Some(retention)) if retention < wait => {
                println!("retention  short: '{topic}' keeps {retention:?}, but {need} (target.wait)");
            }
            Ok(Some(retention)) => println!("retention  ok: '{topic}' keeps {retention:?}"),
            Ok(None) => println!("retention  ok: '{topic}' keeps everything"),
            Err(error) => println!("retention  unknown: '{topic}': {error}"),
        }
    }
}

/// How long a topic is kept; `None`: forever.
fn retention(admin: &Admin, topic: &str) -> Result<Option<Duration>, String> {
    let value = admin.setting(topic, "retention.ms")?;
    let retention_ms: i64 = value.parse().map_err(|_| format!("retention.ms is {value:?}"))?;
    Ok(u64::try_from(retention_ms).ok().map(Duration::from_millis))
}

fn decode_sample(config: &Config) -> anyhow::Result<()> {
    let topic = &config.input.topic;
    let mut messages = Tail::new(&config.kafka, topic, SAMPLE as i64)
        .and_then(|mut tail| tail.read())
        .map_err(|error| ReadError::Read { topic: topic.clone(), error })?;
    messages.truncate(SAMPLE);
    if messages.is_empty() {
        println!("records    none in '{topic}' yet");
        return Ok(());
    }
    let mut decoder = Decoder::new(config);
    let mut records = Vec::new();
    for message in &messages {
        decoder.decode(&reader::borrow(message), &mut records);
    }
    let rejects: Vec<_> = records
        .iter()
        .filter_map(|record| match record {
            Record::Event(_) => None,
            Record::Reject(reject) => Some(reject),
        })
        .collect();
    let with_target = records.iter().filter(|r| matches!(r, Record::Event(e) if e.target.is_some())).count();
    println!(
        "records    {}: of the last {}, {} can be scored and {with_target} hold a target",
        if rejects.is_empty() { "ok" } else { "some rejected" },
        records.len(),
        records.len() - rejects.len(),
    );
    for reject in &rejects {
        println!(
            "           rejected {}/{}: {}: {}",
            reject.partition,
            reject.offset,
            reject.reason.label(),
            reject.detail
        );
    }
    if rejects.len() == records.len() {
        bail!(
            "none of the last {} records of '{topic}' can be used; compare them with [features] and [target]",
            records.len()
        );
    }
    Ok(())
}
