//! `tailwater check`: whether a config would run, before it does.

use std::time::Duration;

use anyhow::bail;
use clap::Args;
use rdkafka::{
    ClientConfig, Message as _,
    admin::{AdminClient, AdminOptions, ResourceSpecifier},
    client::DefaultClientContext,
};

use super::ConfigArgs;
use crate::{
    config::Config,
    kafka::{client, membership::Membership, preflight, reader::ReadError, tail::Tail},
    record::{self, Decoder, Record},
    score::columns::Columns,
};

/// How many records are decoded for show.
const SAMPLE: usize = 10;
const TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Look at the config only; ask no broker
    #[arg(long)]
    offline: bool,
}

/// Prints what is right, line by line, and fails with everything that is wrong.
pub(super) fn run(args: &CheckArgs) -> anyhow::Result<()> {
    let config = args.config.load()?;
    let columns = Columns::new(&config);
    let figures: Vec<_> =
        [&columns.exceed, &columns.quantiles, &columns.shortfall].into_iter().flatten().cloned().collect();
    println!("config     ok: {} features, figures {}", config.features.len(), figures.join(" "));
    println!("           hash of what changes the numbers: {}", config.hash());
    if args.offline {
        return Ok(());
    }
    let layout = match preflight::inspect(&config) {
        Ok(layout) => layout,
        Err(faults) => {
            let lines: Vec<String> = faults.iter().map(ToString::to_string).collect();
            bail!("{}", lines.join("\ntailwater: "));
        }
    };
    println!("brokers    ok: {} at {}", layout.num_brokers, config.kafka.brokers);
    println!(
        "topics     ok: {} input partitions (the right to write shows with the first score)",
        layout.input_partitions.len()
    );
    check_group(&config, &layout.input_partitions)?;
    show_retention(&config);
    decode_sample(&config)
}

fn check_group(config: &Config, partitions: &[i32]) -> anyhow::Result<()> {
    let group = &config.kafka.group;
    let committed = Membership::look(config).and_then(|membership| membership.committed(partitions));
    match committed {
        Ok(committed) => {
            let known = committed.values().filter(|offset| offset.is_some()).count();
            println!(
                "group      ok: '{group}' has committed offsets of {known} of {} partitions",
                partitions.len()
            );
            Ok(())
        }
        Err(error) => bail!(
            "kafka.group: offsets of group '{group}' can't be read: {error}; grant READ on it: kafka-acls.sh \
             --bootstrap-server {} --add --allow-principal User:NAME --operation READ --group {group}",
            config.kafka.brokers
        ),
    }
}

/// Retention is shown where the broker tells it; that needs a right that running does not.
fn show_retention(config: &Config) {
    match retention(config) {
        Ok(Some(retention)) if retention < config.target.wait => println!(
            "retention  short: '{}' keeps {retention:?}, but an event may wait {:?} for its target (target.wait)",
            config.input.topic, config.target.wait
        ),
        Ok(Some(retention)) => println!("retention  ok: '{}' keeps {retention:?}", config.input.topic),
        Ok(None) => println!("retention  ok: '{}' keeps everything", config.input.topic),
        Err(error) => println!("retention  unknown: {error}"),
    }
}

/// How long the input is kept; `None`: forever.
fn retention(config: &Config) -> anyhow::Result<Option<Duration>> {
    let settings: ClientConfig = client::base(&config.kafka);
    let admin: AdminClient<DefaultClientContext> = settings.create()?;
    let options = AdminOptions::new().request_timeout(Some(TIMEOUT));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let topic = ResourceSpecifier::Topic(&config.input.topic);
    let described = runtime.block_on(admin.describe_configs([&topic], &options))?;
    let Some(resource) = described.into_iter().next() else { bail!("the broker told nothing") };
    let resource = resource.map_err(|code| anyhow::anyhow!("{code}"))?;
    let value = resource.entry_map().get("retention.ms").and_then(|entry| entry.value.clone());
    let retention_ms: i64 =
        value.ok_or_else(|| anyhow::anyhow!("the broker told no retention.ms"))?.parse()?;
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
        decoder.decode(
            &record::Message {
                partition: message.partition(),
                offset: message.offset(),
                timestamp_ms: message.timestamp().to_millis(),
                key: message.key(),
                payload: message.payload(),
            },
            &mut records,
        );
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
