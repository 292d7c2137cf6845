//! How the operator is doing, as the admin server tells it.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use serde::Serialize;

use super::recent::Recent;

/// A compute thread that has been silent for this long is taken for stuck.
pub const HEARTBEAT_LIMIT: Duration = Duration::from_secs(30);

/// What this process does in its group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Connecting; neither leading nor standing by yet.
    Starting,
    /// Leading, and restoring the state before anything is scored.
    Restoring,
    /// Another process leads; this one takes over when that one goes.
    Standby,
    /// Restored, and scoring.
    Leading,
    /// Told to stop: finishing what is under way.
    Draining,
    /// Done.
    Stopped,
}

impl Role {
    /// Every role, in the order of a process's life.
    pub const ALL: [Self; 6] =
        [Self::Starting, Self::Restoring, Self::Standby, Self::Leading, Self::Draining, Self::Stopped];

    /// Its name, as answers and metrics have it.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Restoring => "restoring",
            Self::Standby => "standby",
            Self::Leading => "leading",
            Self::Draining => "draining",
            Self::Stopped => "stopped",
        }
    }
}

/// The last error and when it came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LastError {
    /// RFC 3339.
    pub time: String,
    /// What went wrong.
    pub message: String,
}

/// What the threads report and the admin server reads. Counts and lags are not here but in the metrics.
#[derive(Debug)]
pub struct Health {
    started: Instant,
    heartbeat_limit: Duration,
    /// Time from `started` to the last beat in ms, plus one; 0 while no beat is expected.
    beat: AtomicU64,
    facts: Mutex<Facts>,
}

#[derive(Debug)]
struct Facts {
    role: Role,
    last_error: Option<LastError>,
    /// The age of the last snapshot, and when it was that old.
    state_age: Option<(Duration, Instant)>,
    restoring: Option<Restoring>,
    model: Option<ModelFacts>,
    recent: Option<Arc<Recent>>,
}

/// How far a restore is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Restoring {
    /// Records that were read again.
    pub records: u64,
    /// Records that are to be read again, at most.
    pub of: u64,
}

/// Which model scores, and how well.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ModelFacts {
    /// Which life of it.
    pub epoch: u32,
    /// SGD steps that it has taken, in this process or one before.
    pub updates: u64,
    /// The figures whose e-value says that they are wrong.
    pub miscalibrated: Vec<String>,
    /// Changes of the stream that were found, by what they were found in.
    pub drift: BTreeMap<&'static str, Drift>,
}

/// Changes that were found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Drift {
    /// How many.
    pub detections: u64,
    /// The stream time of the last one, RFC 3339.
    pub last: Option<String>,
}

impl Default for Health {
    fn default() -> Self {
        Self::new()
    }
}

impl Health {
    /// A process that is starting and from which no heartbeat is expected yet.
    #[must_use]
    pub fn new() -> Self {
        Self::with_heartbeat_limit(HEARTBEAT_LIMIT)
    }

    /// The same, with another limit on the heartbeat's age.
    #[must_use]
    pub fn with_heartbeat_limit(heartbeat_limit: Duration) -> Self {
        Self {
            started: Instant::now(),
            heartbeat_limit,
            beat: AtomicU64::new(0),
            facts: Mutex::new(Facts {
                role: Role::Starting,
                last_error: None,
                state_age: None,
                restoring: None,
                model: None,
                recent: None,
            }),
        }
    }

    fn facts(&self) -> MutexGuard<'_, Facts> {
        // Every update is a single assignment, so a panic elsewhere leaves nothing half done.
        self.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The compute thread is alive: to be called between batches, and while it waits. The first call makes
    /// further ones expected.
    pub fn beat(&self) {
        let ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX - 1);
        self.beat.store(ms + 1, Ordering::Relaxed);
    }

    /// How long ago the last heartbeat was; `None` while none is expected.
    #[must_use]
    pub fn heartbeat_age(&self) -> Option<Duration> {
        let beat_ms = self.beat.load(Ordering::Relaxed).checked_sub(1)?;
        Some(self.started.elapsed().saturating_sub(Duration::from_millis(beat_ms)))
    }

    /// Whether the compute thread's last beat is younger than the limit, or none is expected.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.heartbeat_age().is_none_or(|age| age < self.heartbeat_limit)
    }

    /// Takes a new role. [`Role::Leading`] is for after the state was restored.
    pub fn set_role(&self, role: Role) {
        self.facts().role = role;
    }

    /// The role.
    #[must_use]
    pub fn role(&self) -> Role {
        self.facts().role
    }

    /// Remembers an error, in place of the one before.
    pub fn record_error(&self, message: impl ToString) {
        let error = LastError { time: jiff::Timestamp::now().to_string(), message: message.to_string() };
        self.facts().last_error = Some(error);
    }

    /// The last error.
    #[must_use]
    pub fn last_error(&self) -> Option<LastError> {
        self.facts().last_error.clone()
    }

    /// Takes the age of the snapshot that was just saved (zero) or restored; it grows from there.
    pub fn set_state_age(&self, age: Duration) {
        self.facts().state_age = Some((age, Instant::now()));
    }

    /// The age of the last snapshot; `None` while there is none.
    #[must_use]
    pub fn state_age(&self) -> Option<Duration> {
        self.facts().state_age.map(|(age, since)| age + since.elapsed())
    }

    /// Takes how far a restore is; `None` where none is under way.
    pub fn set_restoring(&self, restoring: Option<Restoring>) {
        self.facts().restoring = restoring;
    }

    /// How far a restore is; `None` where none is under way.
    #[must_use]
    pub fn restoring(&self) -> Option<Restoring> {
        self.facts().restoring
    }

    /// Takes which model scores.
    pub fn set_model(&self, model: ModelFacts) {
        self.facts().model = Some(model);
    }

    /// Which model scores; `None` before there is one.
    #[must_use]
    pub fn model(&self) -> Option<ModelFacts> {
        self.facts().model.clone()
    }

    /// Takes what came lately; `None` where this process does not score.
    pub fn set_recent(&self, recent: Option<Recent>) {
        self.facts().recent = recent.map(Arc::new);
    }

    /// What came lately; `None` where this process does not score.
    #[must_use]
    pub fn recent(&self) -> Option<Arc<Recent>> {
        self.facts().recent.clone()
    }

    /// Time since the process started.
    #[must_use]
    pub fn uptime(&self) -> Duration {
        self.started.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_has_not_begun_is_alive() {
        let health = Health::with_heartbeat_limit(Duration::ZERO);
        assert!(health.is_alive());
        assert_eq!(health.heartbeat_age(), None);
    }

    #[test]
    fn a_heartbeat_is_good_until_the_limit() {
        for (limit, alive) in [(Duration::ZERO, false), (Duration::from_secs(3600), true)] {
            let health = Health::with_heartbeat_limit(limit);
            health.beat();
            assert_eq!(health.is_alive(), alive, "{limit:?}");
        }
    }

    #[test]
    fn a_beat_makes_the_heartbeat_young_again() {
        let health = Health::new();
        health.beat();
        std::thread::sleep(Duration::from_millis(20));
        let old = health.heartbeat_age();
        assert!(old >= Some(Duration::from_millis(20)), "{old:?}");
        let since = Instant::now();
        health.beat();
        let young = health.heartbeat_age();
        assert!(young <= Some(since.elapsed() + Duration::from_millis(1)), "{young:?}");
    }

    #[test]
    fn the_states_age_grows_from_what_was_restored() {
        let health = Health::new();
        assert_eq!(health.state_age(), None);
        health.set_state_age(Duration::from_secs(100));
        assert!(health.state_age() >= Some(Duration::from_secs(100)));
        health.set_state_age(Duration::ZERO);
        assert!(health.state_age() < Some(Duration::from_secs(100)));
    }
}
