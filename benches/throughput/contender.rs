//! Who is measured: tailwater, the clients without a model, and the Python peer, each as a process of its own.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use crate::{
    cluster::Cluster,
    defaults::DEFAULTS,
    feed::Input,
    measure::{Measured, Standing, follow},
    process::{Process, Setup},
};

/// What is published in the pass-through is what tailwater has published of so many events, or some more.
const NUM_RECORDED: u64 = 60_000;

/// The model of all measurements: the defaults, with steps of 256 events.
pub fn model() -> Vec<String> {
    let own = [
        "model.hidden=[32,32]",
        "learn.batch=256",
        "input.max_ahead=36500d", // some years of flights lie ahead of their Kafka timestamps
        "delivery.timeout=1m",    // a machine that is busy with other things is no reason to abort
    ];
    DEFAULTS.iter().chain(&own).map(|&set| set.to_owned()).collect()
}

/// Something that tailwater does with an input.
pub struct Case<'a> {
    pub cluster: &'a Cluster,
    pub name: &'static str,
    pub input: &'a Input,
    pub sets: Vec<String>,
}

/// What tailwater has published in a case.
pub struct Recorded {
    topics: [String; 2],
    num_messages: i64,
    /// Published bytes an event, scores and outcomes together.
    pub bytes_per_event: f64,
}

/// Whom a case is measured for.
#[derive(Clone, Copy)]
pub enum Contender<'a> {
    Tailwater,
    PassThrough(&'a Recorded),
    Peer,
}

/// A process that is killed when it is dropped.
struct Running(Child);

impl Running {
    fn start(command: &mut Command) -> Self {
        Self(command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

impl<'a> Case<'a> {
    /// A case with further keys beside those of the model.
    pub fn new(cluster: &'a Cluster, name: &'static str, input: &'a Input, sets: &[String]) -> Self {
        let format = format!("input.format={}", input.format);
        let sets = [&model()[..], &[format], sets].concat();
        Self { cluster, name, input, sets }
    }

    pub fn sets(&self) -> Vec<&str> {
        self.sets.iter().map(String::as_str).collect()
    }

    pub fn setup(&self) -> Setup<'a> {
        Setup::on_input(self.cluster, &self.input.topic)
    }

    /// Lets tailwater publish for a while; `saved`: where its state is to go at the end.
    pub fn record(&self, saved: Option<&Path>) -> Recorded {
        let setup = self.setup();
        let process = setup.start(&self.sets());
        let mut standing = Standing::of(self.cluster, &setup.group, &self.input.topic);
        while self.input.num_events_before(standing.next().expect("it goes on")) < NUM_RECORDED {}
        process.stop();
        let num_messages = standing.offset();
        if let Some(path) = saved {
            self.export(&setup, path);
        }
        let topics = [setup.output, setup.outcomes];
        let records = topics.iter().flat_map(|topic| self.cluster.consume(topic));
        let num_bytes: usize = records.filter_map(|record| Some(record.value?.len())).sum();
        [setup.rejected, setup.state].iter().for_each(|topic| self.cluster.delete_topic(topic));
        let bytes_per_event = num_bytes as f64 / self.input.num_events_before(num_messages) as f64;
        Recorded { topics, num_messages, bytes_per_event }
    }

    /// Takes out the state that a process has left.
    pub fn export(&self, setup: &Setup<'_>, to: &Path) {
        let export = ["state", "export", "--force", "--out", to.to_str().unwrap()];
        let finished = setup.finish(&export, &self.sets());
        assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    }

    /// How fast one contender goes, in a group and on topics of its own.
    pub fn measure(&self, contender: Contender<'_>, span: Duration) -> Measured {
        let setup = self.setup();
        let follow = |pid| follow(self.cluster, &setup.group, self.input, pid, span);
        let measured = match contender {
            Contender::Tailwater => {
                let process = setup.start(&self.sets());
                let measured = follow(process.pid());
                assert_eq!(process.status()["rejected"], 0);
                stop(process);
                measured
            }
            Contender::PassThrough(recorded) => {
                let running = Running::start(&mut self.pass_through(&setup, recorded));
                follow(running.0.id())
            }
            Contender::Peer => {
                let running = Running::start(&mut peer(&setup));
                follow(running.0.id())
            }
        };
        forget(&setup);
        measured
    }

    fn pass_through(&self, setup: &Setup<'_>, recorded: &Recorded) -> Command {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["pass-through", "--config"]).arg(&setup.config);
        for set in setup.sets().iter().chain(&self.sets) {
            command.args(["--set", set]);
        }
        for topic in &recorded.topics {
            command.args(["--published", topic]);
        }
        command.args(["--num-messages", &recorded.num_messages.to_string()]);
        command
    }
}

/// Ends a process, and tells what it has warned of: what was measured meanwhile is of no use.
pub fn stop(process: Process) {
    let log = process.stop();
    for line in log.lines().filter(|line| line.contains("WARN") || line.contains("ERROR")) {
        eprintln!("tailwater: {line}");
    }
}

/// Removes what a group has written, which nobody reads any more.
pub fn forget(setup: &Setup<'_>) {
    for topic in [&setup.output, &setup.outcomes, &setup.rejected, &setup.state] {
        setup.cluster.delete_topic(topic);
    }
}

fn peer(setup: &Setup<'_>) -> Command {
    let python = std::env::var_os("TAILWATER_PEER_PYTHON").unwrap_or_else(|| {
        panic!("TAILWATER_PEER_PYTHON is not set: `make bench` sets it, to what `scripts/python.sh benches/peer/requirements.txt` prints")
    });
    let mut command = Command::new(PathBuf::from(python));
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/peer/peer.py"));
    command.args(["--brokers", setup.cluster.brokers(), "--group", &setup.group]);
    command.args(["--input", &setup.input, "--output", &setup.output]);
    command.env_remove("LD_LIBRARY_PATH"); // tailwater's libtorch is none of Python's
    command
}
