//! `tailwater demo`: the whole of it in one process, on librdkafka's embedded cluster and the bundled flights.
//!
//! ```text
//! feed ──flights──► embedded cluster ──► the operator, as `tailwater run` runs it
//!   ▲                      │ scores, outcomes
//!   └──── how far ──── watch ──► screen
//! ```
//! What the screen shows was read from the output topics: nothing of the operator's inside is looked at.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use clap::Args;

use crate::{
    config::Config,
    flights,
    http::{AdminServer, Health},
    kafka::embedded::EmbeddedCluster,
    metrics::Metrics,
    run::{self, Shutdown},
};

mod feed;
mod screen;
mod watch;

use screen::Screen;
use watch::Watch;

/// The config that the demo runs: the one that the README explains.
const CONFIG: &str = include_str!("../../../examples/flights.toml");

/// How often the screen is drawn.
const FRAME: Duration = Duration::from_millis(250);
/// The demo fails rather than waits when nothing happens for this long.
const STALL: Duration = Duration::from_secs(60);

#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// Flights a second [default: as fast as it goes]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    rate: Option<u32>,
    /// Stop after so many flights
    #[arg(long, value_name = "N", default_value_t = flights::NUM_FLIGHTS)]
    flights: usize,
    /// Don't open the live page, which else is opened where there is a desktop
    #[arg(long)]
    no_open: bool,
    /// Set one key of the demo's config, for instance `model.hidden=[64,64]`; may be given often
    #[arg(long = "set", value_name = "KEY=VALUE")]
    sets: Vec<String>,
}

/// Runs the demo to its end, or until SIGINT.
pub(crate) fn run(args: &DemoArgs) -> anyhow::Result<()> {
    let cluster = EmbeddedCluster::start().context("the embedded cluster did not start")?;
    let config = config(&cluster, &args.sets)?;
    for topic in [&config.input.topic, &config.output.topic, &config.state.topic]
        .into_iter()
        .chain(&config.output.outcomes)
        .chain(&config.output.rejected)
    {
        cluster.create_topic(topic, 1)?;
    }
    let metrics = Arc::new(Metrics::new(&run::spec::metrics(&config)));
    let health = Arc::new(Health::new());
    // The port may be taken, by another demo for instance: then any other will do.
    let admin = AdminServer::bind(config.admin.listen)
        .or_else(|_| AdminServer::bind(([127, 0, 0, 1], 0).into()))?
        .serve(metrics.clone(), health.clone())?;
    let shutdown = Shutdown::default();
    let interrupted = on_interrupt(&shutdown)?;

    let num_flights = args.flights.min(flights::NUM_FLIGHTS);
    let mut watch = Watch::new(&config)?;
    let seen = watch.seen();
    let mut screen = Screen::new(&config, num_flights, admin.address());
    if !args.no_open {
        open_page(&screen);
    }
    let begun = Instant::now();
    thread::scope(|scope| -> anyhow::Result<()> {
        let operator = scope.spawn(|| {
            let result = run::run(&config, &metrics, &health, &shutdown);
            shutdown.begin();
            result
        });
        let feeder = scope.spawn(|| {
            let result = feed::run(&config, num_flights, args.rate, &seen, &shutdown);
            if result.is_err() {
                shutdown.begin();
            }
            result
        });
        let watched = watch_until_done(&mut watch, &mut screen, num_flights, &shutdown, begun);
        shutdown.begin();
        feeder.join().map_err(|_| anyhow::anyhow!("the feeder panicked"))??;
        operator.join().map_err(|_| anyhow::anyhow!("the operator panicked"))??;
        watched
    })?;
    admin.stop();
    watch.finish();
    screen.finish(&watch, begun.elapsed(), interrupted.load(Ordering::Relaxed));
    Ok(())
}

/// Opens the live page for who sits before a terminal on a desktop. Where it can't be, the screen still tells where it is.
fn open_page(screen: &Screen) {
    let has_desktop = cfg!(target_os = "macos")
        || ["DISPLAY", "WAYLAND_DISPLAY"].iter().any(|name| std::env::var_os(name).is_some());
    if has_desktop && console::user_attended_stderr() {
        open::that_detached(screen.page()).ok();
    }
}

/// The demo's config on this cluster.
fn config(cluster: &EmbeddedCluster, sets: &[String]) -> anyhow::Result<Config> {
    let mut all = vec![
        format!("kafka.brokers={}", cluster.brokers()),
        // The embedded cluster balances groups of the newer protocol in a tenth of a second, the classic ones in three.
        "kafka.properties.\"group.protocol\"=consumer".to_owned(),
    ];
    all.extend_from_slice(sets);
    Ok(Config::from_parts(CONFIG, "examples/flights.toml", &all, std::iter::empty())?)
}

/// SIGINT ends the demo with a summary of what it has seen.
fn on_interrupt(shutdown: &Shutdown) -> anyhow::Result<Arc<AtomicBool>> {
    let interrupted = Arc::new(AtomicBool::new(false));
    let (flag, shutdown) = (interrupted.clone(), shutdown.clone());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    thread::Builder::new().name("signals".into()).spawn(move || {
        runtime.block_on(async {
            if tokio::signal::ctrl_c().await.is_ok() {
                flag.store(true, Ordering::Relaxed);
                shutdown.begin();
            }
            if tokio::signal::ctrl_c().await.is_ok() {
                std::process::exit(1);
            }
        });
    })?;
    Ok(interrupted)
}

fn watch_until_done(
    watch: &mut Watch,
    screen: &mut Screen,
    num_flights: usize,
    shutdown: &Shutdown,
    begun: Instant,
) -> anyhow::Result<()> {
    let mut next_frame = Instant::now();
    let mut last_event = (0, Instant::now());
    while watch.num_scored() < num_flights && !shutdown.has_begun() {
        watch.poll(FRAME / 5)?;
        let now = Instant::now();
        if now >= next_frame {
            screen.draw(watch, begun.elapsed());
            next_frame = now + FRAME;
        }
        if watch.num_scored() > last_event.0 {
            last_event = (watch.num_scored(), now);
        } else if now - last_event.1 > STALL {
            anyhow::bail!("nothing was scored for {STALL:?}; run again with --log-level info to see why");
        }
    }
    // The last outcomes may come a little after the last scores.
    watch.poll(FRAME)?;
    screen.draw(watch, begun.elapsed());
    Ok(())
}
