//! What a start takes, and what there is to start.

use std::{fs, path::Path, process::Command};

use serde_json::{Value, json};

use crate::{
    cluster::Cluster,
    contender::{Case, forget},
    feed::{Input, Known},
    measure::{Standing, median},
    process::Process,
    report::{figure, print_row},
    usage::resident_mib,
};

/// So many events before a process ends whose state another starts from.
const NUM_BEFORE: u64 = 200_000;
/// And so many to be there for that one.
const NUM_EVENTS: u64 = 1_000_000;

/// A process that has just started, in seconds since its start.
#[derive(Debug, Clone, Copy)]
struct Started {
    leading_s: f64,
    committed_s: f64,
}

impl Started {
    /// Waits for the first commit that is new.
    fn of(process: &Process, standing: &mut Standing) -> Self {
        process.wait_until_leading();
        let leading_s = process.uptime().as_secs_f64();
        standing.next().expect("it goes on");
        Self { leading_s, committed_s: process.uptime().as_secs_f64() }
    }
}

/// Prints the table.
pub fn measure(cluster: &Cluster, rounds: usize) -> Value {
    let input = Input::json(cluster, NUM_EVENTS, Known::Arrivals);
    let case = Case::new(cluster, "start", &input, &[]);
    let home = tempfile::tempdir().unwrap();
    let state = home.path().join("state");
    let (mut empty, mut saved, mut rss_mib) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        let setup = case.setup();
        let mut standing = Standing::of(cluster, &setup.group, &setup.input);
        let process = setup.start(&case.sets());
        empty.push(Started::of(&process, &mut standing));
        while input.num_events_before(standing.next().expect("it goes on")) < NUM_BEFORE {}
        rss_mib.push(resident_mib(process.pid()));
        process.stop();
        standing.settle();
        case.export(&setup, &state);
        let process = setup.start(&case.sets());
        saved.push(Started::of(&process, &mut standing));
        process.stop();
        forget(&setup);
    }
    let state_bytes = fs::metadata(&state).unwrap().len();
    let binary = Path::new(env!("CARGO_BIN_EXE_tailwater"));
    let (shipped_bytes, image_bytes) = sizes(binary);
    let of = |started: &[Started], figure: fn(&Started) -> f64| median(started.iter().map(figure));
    let figures = [
        ("leading, from nothing", of(&empty, |s| s.leading_s), "s"),
        ("first commit of scores, from nothing", of(&empty, |s| s.committed_s), "s"),
        ("leading, from a saved state", of(&saved, |s| s.leading_s), "s"),
        ("first commit of scores, from a saved state", of(&saved, |s| s.committed_s), "s"),
        ("resident memory at full speed", median(rss_mib), "MiB"),
        ("saved state", state_bytes as f64 / 1024.0, "KiB"),
        ("binary, stripped", shipped_bytes / 1024.0 / 1024.0, "MiB"),
        ("root of the image", image_bytes / 1024.0 / 1024.0, "MiB"),
    ];
    print_row(["what", "figure"]);
    print_row(["---", "---:"]);
    for (what, value, unit) in figures {
        print_row([what, &format!("{} {unit}", figure(value))]);
    }
    println!();
    json!(figures.map(|(what, value, unit)| json!({ "what": what, "value": value, "unit": unit })))
}

/// Bytes of the binary as it is shipped, and of the image's root with everything in it.
fn sizes(binary: &Path) -> (f64, f64) {
    let home = tempfile::tempdir().unwrap();
    let root = home.path().join("root");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/image.sh");
    let made = Command::new(script).arg("root").args([binary, &root]).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let shipped = fs::metadata(root.join("usr/bin/tailwater")).unwrap().len();
    (shipped as f64, size(&root) as f64)
}

fn size(path: &Path) -> u64 {
    let metadata = fs::symlink_metadata(path).unwrap();
    if !metadata.is_dir() {
        return metadata.len();
    }
    fs::read_dir(path).unwrap().map(|entry| size(&entry.unwrap().path())).sum()
}
