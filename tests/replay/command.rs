//! The command, and what it leaves behind.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use arrow::{array::RecordBatch, compute::concat_batches};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value;
use tailwater::flights;
use tempfile::TempDir;

/// A folder of a test's own, with a config and inputs in it.
pub struct Bench {
    folder: TempDir,
    config: PathBuf,
    sets: Vec<String>,
}

/// What a replay left behind.
pub struct Results {
    pub out: PathBuf,
    pub summary: Value,
    pub stdout: String,
}

impl Bench {
    /// One that replays the flights under their example, with a short warm-up.
    pub fn of_flights() -> Self {
        let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/flights.toml");
        Self { folder: TempDir::new().unwrap(), config: example, sets: vec!["learn.warmup=512".to_owned()] }
    }

    /// One with a config of its own.
    pub fn new(config: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("tailwater.toml");
        fs::write(&path, config).unwrap();
        Self { folder, config: path, sets: Vec::new() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file there.
    pub fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    /// The first flights, an object a line.
    pub fn write_flights(&self, count: usize) -> PathBuf {
        let mut text = Vec::new();
        for flight in flights::json_records().unwrap().take(count) {
            text.extend(flight.unwrap());
            text.push(b'\n');
        }
        self.write("flights.ndjson", &text)
    }

    /// A replay of a file that is yet to be started.
    pub fn command(&self, input: &Path, out: &str, more: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tailwater"));
        command.arg("replay").arg("-c").arg(&self.config).arg("--input").arg(input);
        command.arg("--out").arg(self.path(out)).args(more);
        for set in &self.sets {
            command.args(["--set", set]);
        }
        command
            .env_remove("TAILWATER_LOG")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Replays a file.
    pub fn replay(&self, input: &Path, out: &str, more: &[&str]) -> Results {
        self.results(out, self.command(input, out, more).output().unwrap())
    }

    /// What a replay that ended well has left behind.
    pub fn results(&self, out: &str, output: Output) -> Results {
        let [stdout, stderr] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
        assert!(output.status.success(), "{stderr}");
        let out = self.path(out);
        let summary = serde_json::from_slice(&fs::read(out.join("summary.json")).unwrap()).unwrap();
        Results { out, summary, stdout }
    }

    /// Replays a file, which is to fail: the exit code, and what was said.
    pub fn fail(&self, input: &Path, out: &str, more: &[&str]) -> (i32, String) {
        let output = self.command(input, out, more).output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    }
}

impl Results {
    /// The scores of the first model.
    pub fn scores(&self) -> RecordBatch {
        scores(&self.out.join("scores.parquet"))
    }

    pub fn text(&self, name: &str) -> String {
        fs::read_to_string(self.out.join(name)).unwrap()
    }

    pub fn caveats(&self) -> String {
        self.summary["caveats"].to_string()
    }
}

/// All rows of a file of scores.
pub fn scores(path: &Path) -> RecordBatch {
    let file = File::open(path).unwrap();
    let batches: Vec<_> = ParquetRecordBatchReaderBuilder::try_new(file)
        .unwrap()
        .build()
        .unwrap()
        .map(Result::unwrap)
        .collect();
    concat_batches(&batches[0].schema(), &batches).unwrap()
}
