//! `tailwater replay`: a backtest over a file or a topic's range.

use std::{
    fs,
    io::{self, IsTerminal as _},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use super::{ConfigArgs, signals, state};
use crate::{
    backtest::{
        self, Backtest, ScoreName, report,
        summary::{self, Comparison, Difference, InputSummary, Range, RunSummary, Summary},
    },
    config::{Config, FieldPath, Input, Purpose, Start},
    record::time,
    replay::{self, Contender, Options, Pair, Progress, Replayed, Source, Span},
    state::{Snapshot, recovery::Initial},
    text::thousands,
};

/// So many models at once are the most.
const MAX_MODELS: usize = 16;
/// How often it is logged how far a replay is, where there is no terminal for a progress bar.
const LOG_INTERVAL: Duration = Duration::from_secs(10);

#[derive(Debug, Args)]
pub(super) struct ReplayArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// The folder that the results go to, which is made: scores.parquet, summary.json, config.toml, report.html
    #[arg(short, long, value_name = "DIR")]
    out: PathBuf,
    /// Replay this file instead of the input topic: .ndjson, .csv, .parquet or .arrow, each also with .zst behind it
    #[arg(short, long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// Where to begin: earliest, latest, an RFC 3339 time, or an age such as 7d. Of a topic by Kafka's timestamps, of a file by event time
    #[arg(long, value_name = "T", default_value = "earliest")]
    from: String,
    /// Where to end; what is there itself is not replayed
    #[arg(long, value_name = "T", default_value = "latest")]
    to: String,
    /// Begin with the model of this file, as `tailwater state export` or a replay wrote it
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,
    /// Learn nothing: the model of --state scores as it stands
    #[arg(long)]
    no_learn: bool,
    /// Learn only from targets that are known before this time
    #[arg(long, value_name = "T", conflicts_with = "no_learn")]
    learn_until: Option<String>,
    /// Go through the input so often, and judge the last pass; those before only learn, up to --learn-until
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    passes: u32,
    /// Save what was learned to this file, which `state.initial` starts a group from
    #[arg(long, value_name = "FILE")]
    save_state: Option<PathBuf>,
    /// How fast: max, 1x for real time by event time, or another multiple of it such as 60x
    #[arg(long, value_name = "SPEED", default_value = "max", value_parser = parse_speed)]
    speed: Speed,
    /// Replay the model of this config beside the first, over the same records; may be given often
    #[arg(long, value_name = "FILE")]
    compare: Vec<PathBuf>,
    /// Replay a model for each of these values of a key instead of one, for instance model.kind=nfn,mdn,kmn; may be given often
    #[arg(long, value_name = "KEY=V1,V2…")]
    vary: Vec<String>,
    /// Judge events by the values of this field of the input, too; may be given often
    #[arg(long, value_name = "FIELD")]
    by: Vec<String>,
}

/// How fast it goes.
#[derive(Debug, Clone, Copy)]
struct Speed(Option<f64>);

fn parse_speed(text: &str) -> Result<Speed, String> {
    if text == "max" {
        return Ok(Speed(None));
    }
    let number = text.strip_suffix(['x', '×']).and_then(|number| number.parse::<f64>().ok());
    match number {
        Some(number) if number > 0.0 && number.is_finite() => Ok(Speed(Some(number))),
        _ => Err("must be max, or a multiple of real time such as 1x or 60x".to_owned()),
    }
}

/// A model by its name, with its config.
struct Named {
    name: String,
    config: Config,
    /// It is of `--compare`: of its own initial state and --state its own counts.
    is_other: bool,
}

/// Runs a replay, and writes what came of it.
pub(super) fn run(args: &ReplayArgs) -> anyhow::Result<()> {
    let begun = Instant::now();
    let now_us = jiff::Timestamp::now().as_microsecond();
    let [from, to] =
        [("--from", &args.from), ("--to", &args.to)].map(|(name, text)| place(name, text, now_us));
    let (from, to) = (from?, to?);
    let models = models(args)?;
    let initial = args.state.as_deref().map(read_state).transpose()?;
    let options = options(args, &models[0].config, from, to, now_us)?;
    let is_new = make_folder(&args.out)?;
    let source = match &args.input {
        Some(file) => Source::File(file.clone()),
        None => replay::topic_range(&models[0].config, from, to)?,
    };
    let by: Vec<FieldPath> = fields(&args.by)?;
    let mut contenders = Vec::new();
    let mut learned_until_us = Vec::new();
    for (nth, Named { config, is_other, .. }) in models.iter().enumerate() {
        let initial = match (&initial, &config.state.initial) {
            (Some(initial), None) => Some(initial.clone()),
            (Some(initial), Some(_)) if !is_other => Some(initial.clone()),
            (_, Some(file)) => Some(read_state(file)?),
            (None, None) => None,
        };
        learned_until_us.push(initial.as_ref().map(|initial| initial.snapshot.operator.stream_time_us));
        contenders.push(Contender {
            backtest: Backtest::new(config, &by),
            initial,
            scores: args.out.join(scores_file(nth)),
            config: config.clone(),
        });
    }
    let shared = shared_scores(&contenders);
    let columns = shared.iter().map(|pairs| pairs.iter().map(|pair| pair.columns).collect()).collect();
    let is_interrupted = interruption()?;
    let keep_on = || !is_interrupted.load(Ordering::Relaxed);
    let mut shown = Shown::new(args.passes);
    let result =
        replay::run(&source, contenders, columns, &options, &keep_on, &mut |progress| shown.tell(progress));
    shown.finish();
    let replayed = result.inspect_err(|_| {
        if is_new {
            fs::remove_dir(&args.out).ok(); // only where nothing is in it
        }
    })?;
    let first = replayed.models.first().map(|(done, _)| done);
    let num_features = models[0].config.features.len();
    let is_foreign = first.is_some_and(|done| {
        done.records > 0 && done.num_targets == 0 && done.never_seen.len() == num_features
    });
    let state = first.map(|done| done.snapshot.to_bytes());
    let summary = summarise(args, models, replayed, &learned_until_us, &shared, begun.elapsed());
    write_results(&args.out, &summary)?;
    tell(&args.out, &summary);
    if let (Some(file), Some(state)) = (&args.save_state, state) {
        state::write(file, &state, true).with_context(|| format!("{} can't be written", file.display()))?;
    }
    if is_foreign {
        bail!(
            "no record has the target or any feature that {} names: is this the input that it is for? `tailwater init` makes a config out of a \
             file or a topic",
            args.config.config.display()
        );
    }
    Ok(())
}

fn place(name: &str, text: &str, now_us: i64) -> anyhow::Result<Start> {
    Start::parse_with_age(text, now_us).map_err(|error| anyhow::anyhow!("{name} {text}: {error}"))
}

fn options(
    args: &ReplayArgs,
    config: &Config,
    from: Start,
    to: Start,
    now_us: i64,
) -> anyhow::Result<Options> {
    let learn_until_us = match &args.learn_until {
        None => None,
        Some(text) => match place("--learn-until", text, now_us)? {
            Start::At(us) => Some(us),
            Start::Earliest => Some(i64::MIN),
            Start::Latest => None,
        },
    };
    // A topic's range is by offsets already.
    let span = match &args.input {
        None => Span::default(),
        Some(_) => Span {
            from_us: match from {
                Start::Earliest => i64::MIN,
                Start::At(us) => us,
                Start::Latest => bail!("--from latest leaves nothing of a file"),
            },
            until_us: match to {
                Start::Latest => i64::MAX,
                Start::At(us) => us,
                Start::Earliest => bail!("--to earliest leaves nothing of a file"),
            },
        },
    };
    let has_times = span != Span::default() || learn_until_us.is_some() || args.speed.0.is_some();
    if args.input.is_some() && config.input.time.is_none() && (has_times || config.target.time.is_some()) {
        bail!(
            "the records of a file have no time of their own: name the field of event time in input.time, or leave out {}",
            if has_times { "--from, --to, --learn-until and --speed" } else { "target.time" }
        );
    }
    if args.passes > 1 && !config.learn.enabled {
        bail!("--passes {} without learning would do the same again and again: leave it out", args.passes);
    }
    if let Some(folder) = args.save_state.as_deref().and_then(Path::parent)
        && !folder.as_os_str().is_empty()
        && !folder.is_dir()
    {
        bail!("--save-state: there is no folder {}; make it first", folder.display());
    }
    Ok(Options { span, learn_until_us, passes: args.passes, speed: args.speed.0 })
}

fn fields(texts: &[String]) -> anyhow::Result<Vec<FieldPath>> {
    let field = |text: &String| {
        FieldPath::parse(text).with_context(|| format!("--by {text}: must be a field, such as weather.wind"))
    };
    texts.iter().map(field).collect()
}

/// The models, the first one first, with what the options change of their configs.
fn models(args: &ReplayArgs) -> anyhow::Result<Vec<Named>> {
    let purpose = if args.input.is_some() { Purpose::File } else { Purpose::Stream };
    let mut sets: Vec<String> = args.config.sets.clone();
    if args.no_learn {
        sets.push("learn.enabled=false".to_owned());
    }
    let by = fields(&args.by)?;
    let load = |file: &Path, varied: &[String]| -> anyhow::Result<Config> {
        let all: Vec<String> = sets.iter().chain(varied).cloned().collect();
        let mut args = ConfigArgs { config: file.to_owned(), sets: all };
        let config = args.load_for(purpose)?;
        // What events are judged by is carried, which changes no number; whether its column fits among the others is checked.
        let missing = by.iter().filter(|path| !config.output.carry.contains(path));
        let carried: Vec<String> =
            config.output.carry.iter().chain(missing).map(|path| format!("{:?}", path.to_string())).collect();
        if carried.len() == config.output.carry.len() {
            return Ok(config);
        }
        args.sets.push(format!("output.carry=[{}]", carried.join(", ")));
        Ok(args.load_for(purpose)?)
    };
    let mut models = Vec::new();
    for varied in variations(&args.vary)? {
        let name = if varied.is_empty() { file_name(&args.config.config) } else { varied.join(" ") };
        models.push(Named { name, config: load(&args.config.config, &varied)?, is_other: false });
    }
    for file in &args.compare {
        models.push(Named { name: file_name(file), config: load(file, &[])?, is_other: true });
    }
    if models.len() > MAX_MODELS {
        bail!("{} models at once are too many: at most {MAX_MODELS} are replayed side by side", models.len());
    }
    for other in &models[1..] {
        let first = &models[0].config;
        // Where its records come from is for the first to say.
        let Input { topic, start, .. } = first.input.clone();
        let input = Input { topic, start, ..other.config.input.clone() };
        if other.config.target != first.target || input != first.input {
            bail!(
                "{} has another target or reads its input in another way than {}: models that are compared have the same \
                 sections [target] and [input]",
                other.name,
                models[0].name
            );
        }
    }
    Ok(models)
}

fn file_name(path: &Path) -> String {
    path.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned())
}

/// Every combination of the values, each as `KEY=VALUE`; one without any where nothing varies.
fn variations(vary: &[String]) -> anyhow::Result<Vec<Vec<String>>> {
    let mut all: Vec<Vec<String>> = vec![Vec::new()];
    for text in vary {
        let (key, values) =
            text.split_once('=').with_context(|| format!("--vary {text}: must be KEY=VALUE,VALUE…"))?;
        let values = split_values(values);
        all = all
            .iter()
            .flat_map(|sets| {
                values.iter().map(move |value| {
                    let mut sets = sets.clone();
                    sets.push(format!("{key}={value}"));
                    sets
                })
            })
            .collect();
    }
    Ok(all)
}

/// Values between commas, but for those within brackets, braces and quotes.
fn split_values(text: &str) -> Vec<&str> {
    let (mut depth, mut is_quoted, mut from) = (0_i32, false, 0);
    let mut values = Vec::new();
    for (at, c) in text.char_indices() {
        match c {
            '"' => is_quoted = !is_quoted,
            '[' | '{' if !is_quoted => depth += 1,
            ']' | '}' if !is_quoted => depth -= 1,
            ',' if depth == 0 && !is_quoted => {
                values.push(text[from..at].trim());
                from = at + 1;
            }
            _ => {}
        }
    }
    values.push(text[from..].trim());
    values
}

fn read_state(file: &Path) -> anyhow::Result<Initial> {
    let name = file.display().to_string();
    let bytes = fs::read(file).with_context(|| format!("{name} can't be read"))?;
    let snapshot = Snapshot::from_bytes(&bytes).with_context(|| format!("{name} can't be used"))?;
    Ok(Initial { file: name, snapshot })
}

/// Makes the folder of the results, or takes one that is empty; whether it was made.
fn make_folder(folder: &Path) -> anyhow::Result<bool> {
    let name = folder.display();
    match fs::read_dir(folder).map(|mut entries| entries.next().is_none()) {
        Ok(true) => Ok(false),
        Ok(false) => bail!("{name} is not empty: name another folder with --out, or remove what is in it"),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            fs::create_dir_all(folder).with_context(|| format!("{name} can't be made"))?;
            Ok(true)
        }
        Err(error) => Err(error).with_context(|| format!("{name} can't be used as a folder of results")),
    }
}

fn scores_file(nth: usize) -> String {
    numbered("scores", nth, "parquet")
}

/// A file's name; those of further models have a number, from 2.
fn numbered(stem: &str, nth: usize, extension: &str) -> String {
    match nth {
        0 => format!("{stem}.{extension}"),
        _ => format!("{stem}-{}.{extension}", nth + 1),
    }
}

/// A score that two models have.
struct SharedScore {
    key: String,
    title: String,
    /// Its places among the values of the first one's events and of the other's.
    columns: (usize, usize),
}

/// Of each further model, the scores that it shares with the first.
fn shared_scores(contenders: &[Contender]) -> Vec<Vec<SharedScore>> {
    let Some((first, others)) = contenders.split_first() else { return Vec::new() };
    let shared = |other: &Contender| {
        let both = first.backtest.scores().iter().filter_map(|score| {
            // A name may stand for another threshold there, which the title tells.
            let is_same = |other: &&ScoreName| other.key == score.key && other.title == score.title;
            let same = other.backtest.scores().iter().find(is_same)?;
            Some(SharedScore {
                key: score.key.clone(),
                title: score.title.clone(),
                columns: (score.column, same.column),
            })
        });
        both.collect()
    };
    others.iter().map(shared).collect()
}

/// Set when somebody asks it to end: by a first signal. A second one ends the process.
fn interruption() -> anyhow::Result<Arc<AtomicBool>> {
    let is_interrupted = Arc::new(AtomicBool::new(false));
    let flag = is_interrupted.clone();
    signals::on_each(move |name| {
        if flag.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
        eprintln!("tailwater: {name}: writing down what there is so far; a second one exits at once");
    })?;
    Ok(is_interrupted)
}

/// Shows how far it is: on a terminal as a bar, elsewhere as a line now and then.
struct Shown {
    bar: Option<ProgressBar>,
    passes: u32,
    pass: u32,
    begun: Instant,
    next_log: Instant,
}

impl Shown {
    fn new(passes: u32) -> Self {
        let now = Instant::now();
        let bar = io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{bar:32} {percent:>3} %  {msg}  {eta} left");
            ProgressBar::new(1).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        });
        Self { bar, passes, pass: 0, begun: now, next_log: now + LOG_INTERVAL }
    }

    fn tell(&mut self, progress: Progress) {
        if progress.pass != self.pass {
            (self.pass, self.begun) = (progress.pass, Instant::now());
            self.bar.iter().for_each(ProgressBar::reset);
        }
        let rate = progress.records as f64 / self.begun.elapsed().as_secs_f64().max(1e-3);
        match &self.bar {
            Some(bar) => {
                let pass = if self.passes > 1 {
                    format!("pass {} of {}, ", self.pass, self.passes)
                } else {
                    String::new()
                };
                bar.set_length(progress.all.max(1));
                bar.set_position(progress.read);
                bar.set_message(format!(
                    "{pass}{} records, {}/s",
                    thousands(progress.records),
                    thousands(rate as i64)
                ));
            }
            None if Instant::now() >= self.next_log => {
                self.next_log = Instant::now() + LOG_INTERVAL;
                let percent = 100.0 * progress.read as f64 / progress.all.max(1) as f64;
                let (records, pass) = (progress.records, self.pass);
                tracing::info!(
                    pass,
                    records,
                    percent = percent.round(),
                    records_per_second = rate.round(),
                    "replaying"
                );
            }
            None => {}
        }
    }

    fn finish(&self) {
        self.bar.iter().for_each(ProgressBar::finish_and_clear);
    }
}

fn summarise(
    args: &ReplayArgs,
    models: Vec<Named>,
    replayed: Replayed,
    learned_until_us: &[Option<i64>],
    shared: &[Vec<SharedScore>],
    took: Duration,
) -> Summary {
    let caveats = caveats(args, &models, &replayed, learned_until_us);
    let first = replayed.models.first().map(|(done, _)| done.clone());
    let times = replayed.models.first().and_then(|(_, backtest)| backtest.times_us());
    let config = &models[0].config;
    let records = first.as_ref().map_or(0, |done| done.records);
    let mut rejected: Vec<(String, u64)> = first
        .iter()
        .flat_map(|done| &done.rejected)
        .map(|(reason, count)| ((*reason).to_owned(), *count))
        .collect();
    rejected.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let input = InputSummary {
        name: args
            .input
            .as_ref()
            .map_or_else(|| config.input.topic.clone(), |file| file.display().to_string()),
        partitions: replayed
            .ranges
            .iter()
            .map(|(&partition, &(from, until))| Range { partition, from, until })
            .collect(),
        times: times.map(|times| times.map(|us| time::rfc3339(us).to_string())),
        records,
        rejected: rejected.iter().map(|(_, count)| count).sum(),
        rejected_reasons: rejected,
        target: config.target.fields.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
    };
    let comparisons = comparisons(&models, &replayed.pairs, shared);
    let mut summaries = Vec::new();
    for (nth, (Named { name, config, .. }, (done, backtest))) in
        models.into_iter().zip(replayed.models).enumerate()
    {
        summaries.push(backtest.finish(backtest::About {
            name,
            config_hash: config.hash(),
            config: config.to_toml(),
            scores_file: scores_file(nth),
            updates: done.snapshot.operator.model.learner.updates,
        }));
    }
    let seconds = took.as_secs_f64();
    Summary {
        version: summary::VERSION,
        tailwater: env!("CARGO_PKG_VERSION").to_owned(),
        finished_at: jiff::Timestamp::now().to_string(),
        command: command(),
        caveats,
        input,
        run: RunSummary {
            seconds,
            records_per_second: records as f64 * f64::from(args.passes) / seconds,
            peak_bytes: peak_bytes(),
        },
        models: summaries,
        comparisons,
    }
}

/// What limits what the results say.
fn caveats(
    args: &ReplayArgs,
    models: &[Named],
    replayed: &Replayed,
    learned_until_us: &[Option<i64>],
) -> Vec<String> {
    let mut caveats = Vec::new();
    if replayed.is_partial {
        caveats.push("It was interrupted: this is about the records before that alone.".to_owned());
    }
    if args.passes > 1 {
        caveats.push(match &args.learn_until {
            Some(until) => format!(
                "The model had gone through the input {} before: targets known before {until} were not new to it.",
                times(args.passes - 1)
            ),
            None => format!(
                "The model had gone through the same input {} before: no target was new to it, so how well its figures hold says nothing \
                 of events to come. --learn-until keeps some aside.",
                times(args.passes - 1)
            ),
        });
    }
    for ((model, until_us), (_, backtest)) in models.iter().zip(learned_until_us).zip(&replayed.models) {
        if let (Some(until_us), Some([first_us, _])) = (until_us, backtest.times_us())
            && *until_us > first_us
        {
            caveats.push(format!(
                "The model of {} began with what was learned up to {}: where that was of this input, targets before were not new \
                 to it.",
                model.name,
                time::rfc3339(*until_us)
            ));
        }
    }
    for ((done, _), model) in replayed.models.iter().zip(models).take(1) {
        if done.records > 0 && done.num_targets == 0 {
            let fields: Vec<String> = model.config.target.fields.iter().map(ToString::to_string).collect();
            caveats.push(format!(
                "No record had the target {}: nothing could be learned or judged.",
                fields.join(", ")
            ));
        }
        if !done.never_seen.is_empty() {
            let names = done.never_seen.join(", ");
            caveats.push(format!("No record had these features; check their paths: {names}."));
        }
    }
    caveats
}

fn times(number: u32) -> String {
    match number {
        1 => "once".to_owned(),
        2 => "twice".to_owned(),
        _ => format!("{number} times"),
    }
}

fn comparisons(models: &[Named], pairs: &[Pair], shared: &[Vec<SharedScore>]) -> Vec<Comparison> {
    let compared = models[1..].iter().zip(pairs).zip(shared).map(|((model, pair), shared)| {
        let difference = |(column, score): (usize, &SharedScore)| {
            let estimate = pair.other.difference(&pair.first, column)?;
            let interval = estimate.interval();
            Some(Difference {
                score: score.key.clone(),
                title: score.title.clone(),
                first: pair.first.mean(column)?,
                other: pair.other.mean(column)?,
                difference: estimate.value,
                interval: [interval.low, interval.high],
            })
        };
        Comparison {
            name: model.name.clone(),
            events: pair.events,
            differences: shared.iter().enumerate().filter_map(difference).collect(),
        }
    });
    compared.collect()
}

/// The command as a shell takes it.
fn command() -> String {
    let arguments = std::env::args_os().skip(1).map(|argument| shell_quoted(&argument.to_string_lossy()));
    std::iter::once("tailwater".to_owned()).chain(arguments).collect::<Vec<_>>().join(" ")
}

/// An argument as a shell takes it.
pub(super) fn shell_quoted(argument: &str) -> String {
    let is_plain = !argument.is_empty()
        && argument.chars().all(|c| c.is_ascii_alphanumeric() || "-_./=,:+@%".contains(c));
    if is_plain { argument.to_owned() } else { format!("'{}'", argument.replace('\'', "'\\''")) }
}

/// The most memory that the process ever had, where the system tells.
fn peak_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

fn write_results(folder: &Path, summary: &Summary) -> anyhow::Result<()> {
    let write = |name: String, bytes: &[u8]| {
        let file = folder.join(name);
        fs::write(&file, bytes).with_context(|| format!("{} can't be written", file.display()))
    };
    for (nth, model) in summary.models.iter().enumerate() {
        write(numbered("config", nth, "toml"), model.config.as_bytes())?;
    }
    write("summary.json".to_owned(), &serde_json::to_vec_pretty(summary)?)?;
    write("report.html".to_owned(), report::render(summary).as_bytes())?;
    Ok(())
}

/// What a person wants to know first.
fn tell(folder: &Path, summary: &Summary) {
    for caveat in &summary.caveats {
        println!("note: {caveat}");
    }
    for model in &summary.models {
        if summary.models.len() > 1 {
            println!("\n{}", model.name);
        }
        println!("{}", model.verdict.headline);
        for finding in &model.verdict.findings {
            println!("- {}", finding.text);
        }
    }
    let RunSummary { seconds, records_per_second, .. } = summary.run;
    println!(
        "\n{} records in {seconds:.1} s, {}/s; results: {}",
        thousands(summary.input.records),
        thousands(records_per_second as i64),
        folder.join("report.html").display()
    );
}
