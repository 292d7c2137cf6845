//! The report of a replay.

use std::{ffi::OsStr, fs, path::Path, process::Command};

use tailwater::flights;

use super::{ask, assert_fits, browser, listen, show};

/// The example replayed over some flights by two models: the page of its report.
fn report(folder: &Path) -> String {
    let mut text = Vec::new();
    for flight in flights::json_records().unwrap().take(8_000) {
        text.extend(flight.unwrap());
        text.push(b'\n');
    }
    let input = folder.join("flights.ndjson");
    fs::write(&input, text).unwrap();
    let out = folder.join("out");
    let output = Command::new(env!("CARGO_BIN_EXE_tailwater"))
        .args([
            "replay",
            "-c",
            concat!(env!("CARGO_MANIFEST_DIR"), "/examples/flights.toml"),
            "--by",
            "carrier",
        ])
        .args(["--vary", "model.kind=nfn,mdn", "--set", "learn.warmup=1024"])
        .args([OsStr::new("--input"), input.as_os_str(), OsStr::new("--out"), out.as_os_str()])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    format!("file://{}", out.join("report.html").display())
}

#[test]
#[ignore = "needs Chromium: scripts/browser.sh with cargo test --release --test browser -- --ignored"]
fn a_report_is_whole_in_both_themes_and_at_the_width_of_a_phone() {
    let folder = tempfile::tempdir().unwrap();
    let url = report(folder.path());
    let profile = tempfile::tempdir().unwrap();
    let browser = browser(profile.path());
    let tab = browser.new_tab().unwrap();
    let told = listen(&tab);
    let mut backgrounds = Vec::new();
    for theme in ["light", "dark"] {
        for width in [1_280, 360] {
            show(&tab, &url, theme, width);
            let what = format!("{theme}, {width} px wide");
            assert_fits(&tab, &what);
            let bottom = ask(&tab, "document.querySelector('.headline').getBoundingClientRect().bottom");
            assert!(bottom.as_f64().unwrap() < 800.0, "{what}: the verdict is not on the first screen");
            let unnamed = ask(
                &tab,
                "[...document.querySelectorAll('svg')].filter(s => s.getAttribute('role') !== 'img' \
                 || !(s.getAttribute('aria-label') || s.querySelector('title'))).length",
            );
            assert_eq!(unnamed.as_f64(), Some(0.0), "{what}: charts without a name");
            let charts = ask(&tab, "document.querySelectorAll('figure svg').length");
            assert!(charts.as_f64().unwrap() >= 8.0, "{what}: {charts} charts");
            let untold = ask(
                &tab,
                "[...document.querySelectorAll('figure')].filter(f => !f.textContent.trim()).length",
            );
            assert_eq!(untold.as_f64(), Some(0.0), "{what}: charts that are not told in words");
            backgrounds.push(ask(&tab, "getComputedStyle(document.body).backgroundColor").to_string());
        }
    }
    assert_eq!((&backgrounds[0], &backgrounds[2]), (&backgrounds[1], &backgrounds[3]));
    assert_ne!(backgrounds[0], backgrounds[2], "the dark theme is the light one");
    let told = told.lock().unwrap();
    assert!(told.complaints.is_empty(), "{:?}", told.complaints);
    assert!(told.requests.iter().all(|url| url.starts_with("file:") || url.starts_with("data:")), "{told:?}");
    assert!(!told.requests.is_empty(), "nobody listened");
}
