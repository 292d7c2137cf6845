//! `tailwater run`.

use std::{sync::Arc, thread, time::Duration};

use super::{ConfigArgs, signals::Signals};
use crate::{
    http::{AdminServer, Health},
    metrics::Metrics,
    run::{self, Shutdown},
};

/// Runs the operator until a signal, which begins a drain under a deadline; a second one exits at once.
pub(super) fn run(args: &ConfigArgs) -> anyhow::Result<()> {
    let config = args.load()?;
    let metrics = Arc::new(Metrics::new(&run::spec::metrics(&config)));
    let health = Arc::new(Health::new());
    let admin = AdminServer::bind(config.admin.listen)?.serve(metrics.clone(), health.clone())?;
    tracing::info!(address = %admin.address(), "admin server listens");

    let shutdown = Shutdown::default();
    let drain = config.delivery.drain;
    // Signals are taken before the work begins, so that none is missed.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let _guard = runtime.enter();
    let mut signals = Signals::new()?;
    let (done_sender, done) = tokio::sync::oneshot::channel();
    let work = {
        let (metrics, health, shutdown) = (metrics.clone(), health.clone(), shutdown.clone());
        thread::Builder::new().name("operator".into()).spawn(move || {
            let result = run::run(&config, &metrics, &health, &shutdown);
            done_sender.send(()).ok();
            result
        })?
    };
    runtime.block_on(supervise(&mut signals, done, &shutdown, drain))?;
    let result =
        work.join().map_err(|_| anyhow::anyhow!("the operator thread panicked; please report this"))?;
    admin.stop();
    Ok(result?)
}

/// Waits for the work to end. The first signal asks it to, and gives it so long; the second ends the process.
async fn supervise(
    signals: &mut Signals,
    mut done: tokio::sync::oneshot::Receiver<()>,
    shutdown: &Shutdown,
    drain: Duration,
) -> anyhow::Result<()> {
    let name = tokio::select! {
        biased;
        _ = &mut done => return Ok(()),
        name = signals.next() => name,
    };
    tracing::info!(signal = name, deadline = ?drain, "shutting down: handing in what was scored");
    shutdown.begin();
    tokio::select! {
        biased;
        _ = &mut done => Ok(()),
        name = signals.next() => {
            tracing::warn!(signal = name, "second signal: exiting at once");
            std::process::exit(1);
        }
        () = tokio::time::sleep(drain) => {
            tracing::error!(deadline = ?drain, "not everything could be handed in before delivery.drain ended; the next leader scores it again");
            std::process::exit(1);
        }
    }
}
