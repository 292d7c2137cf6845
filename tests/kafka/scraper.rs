//! A real Prometheus that scrapes processes by the shipped rules, and what it says.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs::{self, File},
    io::{Read, Write},
    net::TcpStream,
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;

use crate::{broker::free_port, cluster::PATIENCE};

/// How often it scrapes, and evaluates the rules.
const INTERVAL: &str = "500ms";

/// One series of an answer: its labels, and its value at the time of the question.
#[derive(Debug, Clone)]
pub struct Sample {
    pub labels: BTreeMap<String, String>,
    pub value: f64,
}

/// A running Prometheus; it is killed when it is dropped, and its data goes.
pub struct Prometheus {
    child: Child,
    address: String,
    home: TempDir,
}

impl Prometheus {
    /// Starts one that scrapes targets by job, with these rules; returns once it answers.
    pub fn start(rules: &str, jobs: &BTreeMap<&str, Vec<String>>) -> Self {
        let home = tempfile::Builder::new().prefix("tailwater-prometheus-").tempdir().unwrap();
        let mut config = format!(
            "global: {{ scrape_interval: {INTERVAL}, scrape_timeout: {INTERVAL}, evaluation_interval: {INTERVAL} }}\n\
             rule_files: [rules.yaml]\n\
             scrape_configs:\n"
        );
        for (job, targets) in jobs {
            writeln!(config, "  - {{ job_name: {job}, static_configs: [{{ targets: {targets:?} }}] }}")
                .unwrap();
        }
        fs::write(home.path().join("prometheus.yaml"), config).unwrap();
        fs::write(home.path().join("rules.yaml"), rules).unwrap();
        let address = format!("127.0.0.1:{}", free_port());
        let log = File::create(home.path().join("log")).unwrap();
        let child = Command::new(tool("TAILWATER_PROMETHEUS"))
            .current_dir(home.path())
            .args(["--config.file=prometheus.yaml", "--storage.tsdb.path=data"])
            .arg(format!("--web.listen-address={address}"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let prometheus = Self { child, address, home };
        let deadline = Instant::now() + PATIENCE;
        while prometheus.get("/-/ready").is_none_or(|answer| !answer.starts_with("HTTP/1.0 200")) {
            assert!(Instant::now() < deadline, "Prometheus does not start; it says:\n{}", prometheus.log());
            thread::sleep(Duration::from_millis(50));
        }
        prometheus
    }

    /// What it has written to its log.
    fn log(&self) -> String {
        fs::read_to_string(self.home.path().join("log")).unwrap()
    }

    /// By HTTP/1.0, whose answers come in one piece.
    fn get(&self, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect(&self.address).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        write!(stream, "GET {path} HTTP/1.0\r\nhost: test\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    }

    /// What an expression gives now; an error is its text.
    pub fn try_query(&self, expression: &str) -> Result<Vec<Sample>, String> {
        let mut path = "/api/v1/query?query=".to_owned();
        expression.bytes().for_each(|byte| write!(path, "%{byte:02x}").unwrap());
        let answer = self.get(&path).unwrap_or_else(|| panic!("no answer; it says:\n{}", self.log()));
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        let body: Value = serde_json::from_str(body).map_err(|error| format!("{error}: {body}"))?;
        if body["status"] != "success" {
            return Err(body["error"].to_string());
        }
        let series = body["data"]["result"].as_array().ok_or("no list of series")?;
        Ok(series.iter().map(Sample::of).collect())
    }

    /// What an expression gives now.
    pub fn query(&self, expression: &str) -> Vec<Sample> {
        self.try_query(expression).unwrap_or_else(|error| panic!("{expression}: {error}"))
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Sample {
    /// `{ "metric": { … }, "value": [time, "value"] }`.
    fn of(series: &Value) -> Self {
        let labels = series["metric"].as_object().unwrap().iter();
        Self {
            labels: labels.map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned())).collect(),
            value: series["value"][1].as_str().unwrap().parse().unwrap(),
        }
    }
}

/// The path of a tool that the environment names.
pub fn tool(variable: &str) -> PathBuf {
    std::env::var_os(variable)
        .unwrap_or_else(|| {
            panic!("{variable} is not set: scripts/tool.sh with prometheus promtool -- … sets it")
        })
        .into()
}
