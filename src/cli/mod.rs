//! The command line: what users type, and what they see.
//!
//! Results go to standard output, logs and progress to standard error. Exit codes: 0 done, 1 failed, 2 wrong
//! usage, 78 wrong config.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context as _;
use clap::{Args, CommandFactory as _, Parser, Subcommand, ValueEnum};
use tracing_subscriber::EnvFilter;

use crate::config::{Config, ConfigErrors, Purpose};

mod check;
mod demo;
#[cfg(test)]
mod documented;
mod init;
mod inspect;
mod peek;
pub mod render;
mod replay;
mod run;
mod signals;
mod state;
mod verify;

/// Wrong config (`EX_CONFIG` of sysexits.h).
const EXIT_CONFIG: u8 = 78;

/// Learns how likely the tails are, online, and publishes it for every event.
#[derive(Debug, Parser)]
#[command(name = "tailwater", version, about, max_term_width = 100)]
struct Cli {
    /// How logs are written to standard error
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text)]
    log: LogFormat,
    /// What is logged, for instance `debug` or `tailwater=debug,librdkafka=info`
    #[arg(long, global = true, value_name = "FILTER", env = "TAILWATER_LOG", default_value = "info")]
    log_level: String,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum LogFormat {
    /// For people
    Text,
    /// One JSON object a line
    Json,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the operator: read, score, learn, publish
    Run(ConfigArgs),
    /// A backtest: a file or a topic's range through the model, and a report on whether its tails held
    Replay(Box<replay::ReplayArgs>),
    /// Everything in one process, on real flights; nothing to install or start
    Demo(demo::DemoArgs),
    /// Look at a file or a topic, and write a config with everything guessed, and why
    Init(init::InitArgs),
    /// Look at the config, the brokers, the topics and rights, and ten records
    Check(check::CheckArgs),
    /// Show what a saved state holds: a group's, or that of a file
    Inspect(inspect::InspectArgs),
    /// Take a snapshot out of a group's state, or bring one in
    #[command(subcommand)]
    State(state::StateCommand),
    /// Show published scores
    Peek(peek::PeekArgs),
    /// Recompute a published row from the log, and compare it bit for bit
    Verify(verify::VerifyArgs),
    /// Print the completions of a shell: `source <(tailwater completions bash)`
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page, `tailwater man | man -l -`, or write a page for every command
    Man {
        /// Where the pages are written
        dir: Option<PathBuf>,
    },
}

/// Where the config comes from.
#[derive(Debug, Args)]
struct ConfigArgs {
    /// The config file
    #[arg(short, long, value_name = "FILE")]
    config: PathBuf,
    /// Set one key, over the file and the environment; may be given often
    #[arg(long = "set", value_name = "KEY=VALUE")]
    sets: Vec<String>,
}

impl ConfigArgs {
    fn load(&self) -> Result<Config, ConfigErrors> {
        self.load_for(Purpose::Stream)
    }

    fn load_for(&self, purpose: Purpose) -> Result<Config, ConfigErrors> {
        // A variable that is not Unicode is none of ours.
        let env =
            std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)));
        Config::load_for(purpose, Path::new(&self.config), &self.sets, env)
    }
}

/// Parses the arguments and does what they say.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    init_logs(cli.log, &cli.log_level, matches!(cli.command, Command::Demo(_)));
    let result = match &cli.command {
        Command::Run(args) => run::run(args),
        Command::Replay(args) => replay::run(args),
        Command::Demo(args) => demo::run(args),
        Command::Init(args) => init::run(args),
        Command::Check(args) => check::run(args),
        Command::Inspect(args) => inspect::run(args),
        Command::State(command) => state::run(command),
        Command::Peek(args) => peek::run(args),
        Command::Verify(args) => verify::run(args),
        Command::Completions { shell } => {
            clap_complete::generate(*shell, &mut Cli::command(), "tailwater", &mut std::io::stdout());
            Ok(())
        }
        Command::Man { dir: None } => {
            clap_mangen::Man::new(Cli::command()).render(&mut std::io::stdout()).map_err(Into::into)
        }
        Command::Man { dir: Some(dir) } => clap_mangen::generate_to(Cli::command(), dir)
            .with_context(|| format!("the pages can't be written to {}; is it a directory?", dir.display())),
    };
    let Err(error) = result else { return ExitCode::SUCCESS };
    match error.downcast_ref::<ConfigErrors>() {
        Some(errors) => {
            eprintln!("{errors}");
            ExitCode::from(EXIT_CONFIG)
        }
        None => {
            eprintln!("tailwater: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The demo's screen has no room for logs below a warning.
fn init_logs(format: LogFormat, filter: &str, is_demo: bool) {
    let filter = if is_demo && filter == "info" { "error" } else { filter };
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|error| {
        eprintln!("tailwater: --log-level {filter}: {error}; using info");
        EnvFilter::new("info")
    });
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Text => {
            let colours = console::colors_enabled_stderr();
            logs.with_ansi(colours).init();
        }
        LogFormat::Json => logs.json().flatten_event(true).init(),
    }
}
