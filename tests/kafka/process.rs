//! The operator as users run it: the binary with the flights' example config, on topics of the test's own.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::{Arc, Mutex, mpsc},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::cluster::{Cluster, PATIENCE, unique};

/// How often something that is waited for is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// The flights' example config.
pub fn example() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/flights.toml")
}

/// A group with its topics.
pub struct Setup<'a> {
    pub cluster: &'a Cluster,
    /// The config's file: the flights' example.
    pub config: PathBuf,
    pub group: String,
    pub input: String,
    pub output: String,
    pub outcomes: String,
    pub rejected: String,
    pub state: String,
}

impl<'a> Setup<'a> {
    /// A new group whose topics have so many partitions, all of them made.
    pub fn new(cluster: &'a Cluster, partitions: i32) -> Self {
        Self::on_input(cluster, &cluster.create_topic("flights", partitions))
    }

    /// A new group that reads a topic that is there already.
    pub fn on_input(cluster: &'a Cluster, input: &str) -> Self {
        let partitions = cluster.num_partitions(input);
        Self {
            cluster,
            config: example(),
            group: unique("group"),
            input: input.to_owned(),
            output: cluster.create_topic("risk", partitions),
            outcomes: cluster.create_topic("outcomes", partitions),
            rejected: cluster.create_topic("rejected", partitions),
            state: cluster.create_topic_with("state", 1, &[("cleanup.policy", "compact")]),
        }
    }

    /// A command that is yet to be started, for those that want more than arguments.
    pub fn command(&self, subcommand: &[&str], sets: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tailwater"));
        command.args(subcommand).arg("-c").arg(&self.config);
        let own = self.sets();
        for set in own.iter().map(String::as_str).chain(sets.iter().copied()) {
            command.args(["--set", set]);
        }
        command.env_remove("TAILWATER_LOG").stdin(Stdio::null());
        command
    }

    /// What makes the example's config this group's.
    pub fn sets(&self) -> [String; 8] {
        [
            format!("kafka.brokers={}", self.cluster.brokers()),
            format!("kafka.group={}", self.group),
            format!("input.topic={}", self.input),
            format!("output.topic={}", self.output),
            format!("output.outcomes={}", self.outcomes),
            format!("output.rejected={}", self.rejected),
            format!("state.topic={}", self.state),
            "admin.listen=127.0.0.1:0".to_owned(), // a free port, which the log tells
        ]
    }

    /// Starts `tailwater run`; returns once its admin server listens.
    pub fn start(&self, sets: &[&str]) -> Process {
        Process::start(&mut self.command(&["run"], sets))
    }

    /// Runs a subcommand, or a `run` that is to fail, to its end.
    pub fn finish(&self, subcommand: &[&str], sets: &[&str]) -> Finished {
        Finished::of(&mut self.command(subcommand, sets))
    }
}

/// What a command that ended had to say.
#[derive(Debug)]
pub struct Finished {
    /// `None`: it was killed.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
    pub took: Duration,
}

impl Finished {
    /// Runs a command to its end.
    pub fn of(command: &mut Command) -> Self {
        let begun = Instant::now();
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // One that does not end is killed, so that the test fails with what it said.
        let (done, ended) = mpsc::channel::<()>();
        let pid = child.id();
        let watch = thread::spawn(move || {
            if ended.recv_timeout(PATIENCE) == Err(mpsc::RecvTimeoutError::Timeout) {
                signal(pid, "KILL");
            }
        });
        let (stdout, stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let stderr = thread::spawn(move || text(stderr));
        let stdout = text(stdout);
        let stderr = stderr.join().unwrap();
        let status = child.wait().unwrap();
        drop(done);
        watch.join().unwrap();
        Self { code: status.code(), stdout, stderr, took: begun.elapsed() }
    }
}

/// A running operator; killed when it is dropped.
pub struct Process {
    child: Child,
    admin: String,
    started: Instant,
    stderr: Arc<Mutex<String>>,
    listener: Option<JoinHandle<()>>,
}

impl Process {
    /// Starts a `run`; returns once its admin server listens.
    pub fn start(command: &mut Command) -> Self {
        let started = Instant::now();
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let stderr = Arc::new(Mutex::new(String::new()));
        let (told, admin) = mpsc::channel();
        let kept = stderr.clone();
        let listener = thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                if let Some((_, address)) = line.split_once("admin server listens address=") {
                    told.send(address.to_owned()).ok();
                }
                let mut kept = kept.lock().unwrap();
                kept.push_str(&line);
                kept.push('\n');
            }
        });
        let mut process = Self { child, admin: String::new(), started, stderr, listener: Some(listener) };
        process.admin = admin
            .recv_timeout(PATIENCE)
            .unwrap_or_else(|_| panic!("it does not listen; it says:\n{}", process.stderr()));
        process
    }

    /// The address of its admin server.
    pub fn admin(&self) -> &str {
        &self.admin
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Since it was started.
    pub fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    /// What it has written to standard error.
    pub fn stderr(&self) -> String {
        self.stderr.lock().unwrap().clone()
    }

    fn try_get(&self, path: &str) -> std::io::Result<String> {
        let mut stream = TcpStream::connect(&self.admin)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        write!(stream, "GET {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    /// Its role; `None` where it does not answer, as one that has just crashed.
    pub fn try_role(&self) -> Option<String> {
        let answer = self.try_get("/status").ok()?;
        let status: Value = serde_json::from_str(answer.split_once("\r\n\r\n")?.1).ok()?;
        Some(status["role"].as_str()?.to_owned())
    }

    /// Code and body of a GET of the admin server.
    pub fn get(&self, path: &str) -> (u16, String) {
        let answer = self.try_get(path);
        let answer = answer.unwrap_or_else(|error| panic!("{path}: {error}; it says:\n{}", self.stderr()));
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    /// `/status`.
    pub fn status(&self) -> Value {
        serde_json::from_str(&self.get("/status").1).unwrap()
    }

    pub fn role(&self) -> String {
        self.status()["role"].as_str().unwrap().to_owned()
    }

    /// Records scored so far.
    pub fn num_scored(&self) -> u64 {
        self.status()["scores"].as_u64().unwrap()
    }

    /// The value of a metric, with its labels as they are printed.
    pub fn metric(&self, name: &str) -> f64 {
        let text = self.get("/metrics").1;
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.unwrap_or_else(|| panic!("there is no {name} in\n{text}")).parse().unwrap()
    }

    /// Waits until `holds`.
    pub fn wait_until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + 3 * PATIENCE;
        while !holds(self) {
            assert!(Instant::now() < deadline, "not {what} in time; it says:\n{}", self.stderr());
            thread::sleep(LOOK);
        }
    }

    pub fn wait_until_leading(&self) {
        self.wait_until("leading", |process| process.role() == "leading");
    }

    pub fn wait_until_scored(&self, num_records: usize) {
        self.wait_until(&format!("{num_records} scored"), |p| p.num_scored() >= num_records as u64);
    }

    pub fn terminate(&self) {
        signal(self.pid(), "TERM");
    }

    /// Stops it where it stands, until `resume`: it can't know that time passes.
    pub fn suspend(&self) {
        signal(self.pid(), "STOP");
    }

    pub fn resume(&self) {
        signal(self.pid(), "CONT");
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// The code that it ended with; `None` where a signal ended it.
    pub fn exit_code(&mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }

    /// Kills it, without a chance to clean up; one that has ended already is left alone.
    pub fn crash(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits for its end: the exit code, `None` where a signal ended it, and what it said.
    pub fn wait(mut self) -> (Option<i32>, String) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                self.listener.take().unwrap().join().unwrap();
                return (status.code(), self.stderr());
            }
            assert!(Instant::now() < deadline, "it does not end; it says:\n{}", self.stderr());
            thread::sleep(LOOK);
        }
    }

    /// Asks it to end, and expects that it does so in good order.
    pub fn stop(self) -> String {
        self.terminate();
        let (code, stderr) = self.wait();
        assert_eq!(code, Some(0), "it says:\n{stderr}");
        stderr
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Most often it has ended long ago.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// A number that the environment may set.
pub fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is no number")))
}

fn text(mut from: impl Read) -> String {
    let mut bytes = Vec::new();
    from.read_to_end(&mut bytes).unwrap();
    String::from_utf8(bytes).unwrap()
}

/// By the shell, since the standard library sends no signal but KILL.
fn signal(pid: u32, name: &str) {
    let output: Output = Command::new("sh").args(["-c", &format!("kill -{name} {pid}")]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
