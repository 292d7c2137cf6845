//! The admin server.
//!
//! | endpoint | answers |
//! |---|---|
//! | `/livez` | 200 while the compute thread's heartbeat is young, or none is expected yet; else 503 |
//! | `/readyz` | 200 when leading (and restored) or standing by; else 503 |
//! | `/startupz` | 200 once past starting; else 503 |
//! | `/metrics` | Prometheus's text format |
//! | `/status` | JSON: role, assignment, lag, updates, scores so far, last error, state age |
//! | `/recent` | JSON: the last events and rejects, and how well the last targets were told |
//! | `/` | a page that shows both, live |
//!
//! It runs on a thread and a runtime of its own, so that it answers while everything else is stuck, which is when it
//! is needed. It reads what others have reported and never asks the broker: a broker that is down must not get a
//! healthy process killed.

mod health;
mod page;
pub mod recent;

use std::{
    collections::BTreeMap,
    io,
    net::{SocketAddr, TcpListener},
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, Uri, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::get,
};
use serde::Serialize;
use tokio::sync::oneshot;

use crate::metrics::Metrics;
pub use health::{Drift, HEARTBEAT_LIMIT, Health, LastError, ModelFacts, Restoring, Role};

/// How long requests under way may take once the server was told to stop.
const GRACE: Duration = Duration::from_secs(1);

/// Why the admin server could not start. A retry helps only once the remedy was applied.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address is taken.
    #[error(
        "can't listen on {0}: the port is taken; set admin.listen to a free one, or stop what listens there"
    )]
    InUse(SocketAddr),
    /// The address can't be listened on for another reason.
    #[error("can't listen on {address}: {source}; set admin.listen to an address of this machine")]
    Bind {
        /// `admin.listen`.
        address: SocketAddr,
        /// The system's reason.
        source: io::Error,
    },
    /// The system gave no thread or no event queue.
    #[error("can't start the admin server's thread: {0}; raise the limits on processes and open files")]
    Spawn(io::Error),
}

/// A server that has its port and serves nothing yet.
#[derive(Debug)]
pub struct AdminServer {
    listener: TcpListener,
    address: SocketAddr,
}

impl AdminServer {
    /// Takes the port, so that a clash shows before anything else is started. Port 0 takes a free one.
    ///
    /// # Errors
    /// When the address is taken, or is none of this machine's.
    pub fn bind(address: SocketAddr) -> Result<Self, Error> {
        let failed = |source: io::Error| match source.kind() {
            io::ErrorKind::AddrInUse => Error::InUse(address),
            _ => Error::Bind { address, source },
        };
        let listener = TcpListener::bind(address).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self { listener, address })
    }

    /// Where it listens, with the port that was taken for port 0.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves on a thread of its own until the handle is stopped or dropped.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn serve(self, metrics: Arc<Metrics>, health: Arc<Health>) -> Result<AdminHandle, Error> {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Error::Spawn)?;
        let listener = {
            let _context = runtime.enter();
            tokio::net::TcpListener::from_std(self.listener).map_err(Error::Spawn)?
        };
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = thread::Builder::new()
            .name("admin".to_owned())
            .spawn(move || runtime.block_on(serve(listener, router(metrics, health), stopped)))
            .map_err(Error::Spawn)?;
        Ok(AdminHandle { address: self.address, stop, thread })
    }
}

/// A running admin server; dropping it stops the server without waiting.
#[derive(Debug)]
pub struct AdminHandle {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl AdminHandle {
    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes no more connections, gives requests under way a second, and waits for the end.
    pub fn stop(self) {
        drop(self.stop);
        if self.thread.join().is_err() {
            tracing::error!("the admin server's thread had panicked");
        }
    }
}

/// Serves until `stopped` resolves, which it does too when the sender goes, and for at most [`GRACE`] longer.
async fn serve(listener: tokio::net::TcpListener, router: Router, stopped: oneshot::Receiver<()>) {
    let (begin_grace, grace_begun) = oneshot::channel::<()>();
    let server = axum::serve(listener, router).with_graceful_shutdown(async move {
        stopped.await.ok();
        drop(begin_grace);
    });
    tokio::select! {
        served = server => {
            if let Err(error) = served {
                tracing::error!(%error, "the admin server ended");
            }
        }
        () = async { grace_begun.await.ok(); tokio::time::sleep(GRACE).await } => {}
    }
}

#[derive(Debug, Clone)]
struct Facts {
    metrics: Arc<Metrics>,
    health: Arc<Health>,
}

fn router(metrics: Arc<Metrics>, health: Arc<Health>) -> Router {
    Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/startupz", get(startupz))
        .route("/metrics", get(render_metrics))
        .route("/status", get(status))
        .route("/recent", get(recent))
        .merge(page::routes())
        .fallback(not_found)
        .with_state(Facts { metrics, health })
}

async fn livez(State(facts): State<Facts>) -> impl IntoResponse {
    let text = match facts.health.heartbeat_age() {
        None => "no heartbeat expected yet\n".to_owned(),
        Some(age) => format!("last heartbeat {:.1} s ago\n", age.as_secs_f64()),
    };
    (ok_if(facts.health.is_alive()), text)
}

async fn readyz(State(facts): State<Facts>) -> impl IntoResponse {
    let role = facts.health.role();
    (ok_if(is_ready(role)), format!("{}\n", role.label()))
}

async fn startupz(State(facts): State<Facts>) -> impl IntoResponse {
    let role = facts.health.role();
    (ok_if(role != Role::Starting), format!("{}\n", role.label()))
}

async fn render_metrics(State(facts): State<Facts>) -> impl IntoResponse {
    facts.metrics.set_role(facts.health.role().label());
    if let Some(age) = facts.health.state_age() {
        facts.metrics.state_age_seconds.set(age.as_secs_f64());
    }
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], facts.metrics.render())
}

async fn status(State(facts): State<Facts>) -> impl IntoResponse {
    json(&Status::of(&facts.metrics, &facts.health))
}

/// `null` where this process does not score.
async fn recent(State(facts): State<Facts>) -> impl IntoResponse {
    json(&facts.health.recent().as_deref())
}

fn json(answer: &impl Serialize) -> Response {
    let mut text = serde_json::to_string_pretty(answer).expect("plain structs with text keys are JSON");
    text.push('\n');
    ([(CONTENT_TYPE, "application/json")], text).into_response()
}

async fn not_found(uri: Uri) -> impl IntoResponse {
    let text =
        format!("nothing at {}; there are / /livez /readyz /startupz /metrics /status /recent\n", uri.path());
    (StatusCode::NOT_FOUND, text)
}

fn ok_if(good: bool) -> StatusCode {
    if good { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
}

fn is_ready(role: Role) -> bool {
    matches!(role, Role::Leading | Role::Standby)
}

/// What `/status` answers.
#[derive(Debug, Serialize)]
struct Status {
    version: &'static str,
    role: Role,
    ready: bool,
    alive: bool,
    uptime_seconds: f64,
    heartbeat_age_seconds: Option<f64>,
    /// Assigned input partitions.
    assignment: Vec<i32>,
    /// By partition.
    lag_records: BTreeMap<i32, i64>,
    /// Records scored.
    scores: u64,
    learned: u64,
    rejected: u64,
    expired: u64,
    waiting_targets: i64,
    /// Which life of the model scores, and its SGD steps so far, also those before this process began.
    epoch: Option<u32>,
    updates: u64,
    /// The figures whose e-value says that they are wrong.
    miscalibrated: Vec<String>,
    /// Changes of the stream that were found.
    drift: BTreeMap<&'static str, Drift>,
    /// Fading mean; 0 before the first target.
    log_score_nats: f64,
    last_error: Option<LastError>,
    state_age_seconds: Option<f64>,
    /// How far a restore is.
    restoring: Option<Restoring>,
}

impl Status {
    fn of(metrics: &Metrics, health: &Health) -> Self {
        let role = health.role();
        let lag_records = metrics.lags();
        let model = health.model();
        Self {
            version: env!("CARGO_PKG_VERSION"),
            role,
            ready: is_ready(role),
            alive: health.is_alive(),
            uptime_seconds: health.uptime().as_secs_f64(),
            heartbeat_age_seconds: health.heartbeat_age().map(|age| age.as_secs_f64()),
            assignment: lag_records.keys().copied().collect(),
            lag_records,
            scores: metrics.records.scored.get(),
            learned: metrics.records.learned.get(),
            rejected: metrics.num_rejected(),
            expired: metrics.records.expired.get(),
            waiting_targets: metrics.waiting_targets.get(),
            epoch: model.as_ref().map(|model| model.epoch),
            updates: model.as_ref().map_or(0, |model| model.updates),
            miscalibrated: model.as_ref().map(|model| model.miscalibrated.clone()).unwrap_or_default(),
            drift: model.map(|model| model.drift).unwrap_or_default(),
            log_score_nats: metrics.log_score_nats.get(),
            last_error: health.last_error(),
            state_age_seconds: health.state_age().map(|age| age.as_secs_f64()),
            restoring: health.restoring(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::{
        io::{Read, Write},
        net::TcpStream,
        time::Instant,
    };

    use super::*;
    use crate::{metrics::MetricsSpec, record::RejectReason};

    struct Served {
        metrics: Arc<Metrics>,
        health: Arc<Health>,
        admin: AdminHandle,
    }

    fn served(health: Health) -> Served {
        let metrics = Arc::new(Metrics::new(&MetricsSpec {
            features: vec!["x".to_owned()],
            categories: vec![],
            quantiles: vec!["0.5".to_owned()],
            thresholds: vec!["15".to_owned()],
            libtorch: "0",
            version: "0",
        }));
        let health = Arc::new(health);
        let admin = AdminServer::bind("127.0.0.1:0".parse().unwrap())
            .unwrap()
            .serve(Arc::clone(&metrics), Arc::clone(&health))
            .unwrap();
        Served { metrics, health, admin }
    }

    /// Status code, head and body of a GET.
    fn get(address: SocketAddr, path: &str) -> (u16, String, String) {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), head.to_owned(), body.to_owned())
    }

    impl Served {
        fn code(&self, path: &str) -> u16 {
            get(self.admin.address(), path).0
        }

        fn json(&self) -> serde_json::Value {
            serde_json::from_str(&get(self.admin.address(), "/status").2).unwrap()
        }
    }

    #[test]
    fn each_role_is_started_and_ready_as_the_contract_says() {
        let served = served(Health::new());
        for (role, started, ready) in [
            (Role::Starting, 503, 503),
            (Role::Standby, 200, 200),
            (Role::Leading, 200, 200),
            (Role::Draining, 200, 503),
            (Role::Stopped, 200, 503),
        ] {
            served.health.set_role(role);
            assert_eq!((served.code("/startupz"), served.code("/readyz")), (started, ready), "{role:?}");
        }
    }

    #[test]
    fn a_silent_compute_thread_is_not_live_and_its_age_is_told() {
        let served = served(Health::with_heartbeat_limit(Duration::ZERO));
        assert_eq!(served.code("/livez"), 200);
        served.health.beat();
        let (code, _, body) = get(served.admin.address(), "/livez");
        assert_eq!(code, 503);
        assert!(body.starts_with("last heartbeat ") && body.ends_with(" s ago\n"), "{body}");
    }

    #[test]
    fn a_beating_compute_thread_is_live() {
        let served = served(Health::new());
        served.health.beat();
        assert_eq!(served.code("/livez"), 200);
    }

    #[test]
    fn metrics_are_served_as_prometheus_text_with_the_states_age_of_now() {
        let served = served(Health::new());
        served.health.set_state_age(Duration::from_secs(100));
        served.metrics.updates.taken.inc_by(3);
        let (code, head, body) = get(served.admin.address(), "/metrics");
        assert_eq!(code, 200);
        assert!(head.to_lowercase().contains("content-type: text/plain; version=0.0.4"), "{head}");
        assert!(body.contains("\ntailwater_updates_total 3\n"), "{body}");
        assert!(body.contains("\ntailwater_state_age_seconds 100."), "{body}");
    }

    #[test]
    fn the_metrics_tell_the_role_of_the_moment() {
        assert_eq!(Role::ALL.map(Role::label), crate::metrics::ROLES);
        let served = served(Health::new());
        for role in Role::ALL {
            served.health.set_role(role);
            let (_, _, metrics) = get(served.admin.address(), "/metrics");
            let is_it: Vec<String> = Role::ALL
                .iter()
                .filter(|other| {
                    metrics.contains(&format!("\ntailwater_role{{role=\"{}\"}} 1\n", other.label()))
                })
                .map(|other| other.label().to_owned())
                .collect();
            assert_eq!(is_it, [role.label()]);
        }
    }

    #[test]
    fn the_status_tells_role_assignment_lag_and_counts() {
        let served = served(Health::new());
        let status = served.json();
        assert_eq!(status["role"], "starting");
        for unknown in ["heartbeat_age_seconds", "state_age_seconds", "last_error", "epoch", "restoring"] {
            assert!(
                status.as_object().unwrap().contains_key(unknown) && status[unknown].is_null(),
                "{status}"
            );
        }

        served.health.set_role(Role::Leading);
        served.health.beat();
        served.health.record_error("the broker is away");
        served.health.set_state_age(Duration::from_secs(5));
        served.metrics.set_partitions(&[0, 3]);
        served.metrics.set_lag(3, 17);
        served.metrics.records.scored.inc_by(1000);
        served.health.set_model(ModelFacts { epoch: 2, updates: 7, ..ModelFacts::default() });
        served.health.set_restoring(Some(Restoring { records: 3, of: 4 }));
        served.metrics.rejected(RejectReason::Future);
        let status = served.json();
        assert_eq!(status["role"], "leading");
        assert_eq!(status["ready"], true);
        assert_eq!(status["assignment"], serde_json::json!([0, 3]));
        assert_eq!(status["lag_records"], serde_json::json!({ "0": 0, "3": 17 }));
        assert_eq!(status["scores"], 1000);
        assert_eq!((&status["epoch"], &status["updates"]), (&2.into(), &7.into()));
        assert_eq!(status["restoring"], serde_json::json!({ "records": 3, "of": 4 }));
        assert_eq!(status["rejected"], 1);
        assert_eq!(status["last_error"]["message"], "the broker is away");
        assert!(status["last_error"]["time"].as_str().unwrap().parse::<jiff::Timestamp>().is_ok());
        assert!(status["state_age_seconds"].as_f64().unwrap() >= 5.0);
        assert!(status["heartbeat_age_seconds"].as_f64().unwrap() < 30.0);
    }

    #[test]
    fn an_unknown_path_is_answered_with_those_that_exist() {
        let served = served(Health::new());
        let (code, _, body) = get(served.admin.address(), "/healthz?x=1");
        assert_eq!(code, 404);
        assert_eq!(
            body,
            "nothing at /healthz; there are / /livez /readyz /startupz /metrics /status /recent\n"
        );
    }

    #[test]
    fn a_taken_port_is_reported_with_the_remedy() {
        let first = AdminServer::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let error = AdminServer::bind(first.address()).unwrap_err().to_string();
        assert_eq!(
            error,
            format!(
                "can't listen on {}: the port is taken; set admin.listen to a free one, or stop what listens there",
                first.address()
            )
        );
    }

    #[test]
    fn an_address_of_another_machine_is_reported_with_the_remedy() {
        let error = AdminServer::bind("192.0.2.1:9464".parse().unwrap()).unwrap_err();
        assert!(matches!(error, Error::Bind { .. }), "{error}");
    }

    #[test]
    fn stopping_ends_within_the_grace_though_a_connection_hangs() {
        let served = served(Health::new());
        let address = served.admin.address();
        let mut hanging = TcpStream::connect(address).unwrap();
        write!(hanging, "GET /livez HTTP/1.1\r\n").unwrap();
        assert_eq!(served.code("/startupz"), 503);
        let begun = Instant::now();
        served.admin.stop();
        assert!(begun.elapsed() < GRACE + Duration::from_secs(2), "{:?}", begun.elapsed());
        assert!(TcpStream::connect(address).is_err());
    }
}
