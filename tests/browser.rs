//! Pages in a real browser: `scripts/browser.sh with cargo test --release --test browser -- --ignored`.

#![allow(clippy::unwrap_used, missing_docs)]

use std::{
    ffi::OsStr,
    fs,
    path::Path,
    process::Command,
    sync::{Arc, Mutex},
};

use headless_chrome::{
    Browser, LaunchOptions, Tab,
    protocol::cdp::{Emulation, Network, types::Event},
};
use serde_json::Value;
use tailwater::flights;

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

fn browser(profile: &Path) -> Browser {
    let args = [
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
    ];
    let path = std::env::var_os("TAILWATER_CHROMIUM").expect("scripts/browser.sh says where Chromium is");
    let options = LaunchOptions {
        path: Some(path.into()),
        sandbox: false, // root has none
        user_data_dir: Some(profile.to_owned()),
        args: args.iter().map(OsStr::new).collect(),
        ..LaunchOptions::default()
    };
    Browser::new(options).unwrap()
}

/// What a page complains of, and what it loads.
#[derive(Debug, Default)]
struct Told {
    complaints: Vec<String>,
    requests: Vec<String>,
}

fn listen(tab: &Tab) -> Arc<Mutex<Told>> {
    let told = Arc::new(Mutex::new(Told::default()));
    let heard = told.clone();
    tab.enable_log().unwrap();
    tab.enable_runtime().unwrap();
    tab.call_method(Network::Enable {
        max_total_buffer_size: None,
        max_resource_buffer_size: None,
        max_post_data_size: None,
        report_direct_socket_traffic: None,
        enable_durable_messages: None,
    })
    .unwrap();
    tab.add_event_listener(Arc::new(move |event: &Event| {
        let mut heard = heard.lock().unwrap();
        match event {
            Event::LogEntryAdded(entry) => heard.complaints.push(entry.params.entry.text.clone()),
            Event::RuntimeConsoleAPICalled(call) => heard.complaints.push(format!("{:?}", call.params.args)),
            Event::RuntimeExceptionThrown(thrown) => {
                heard.complaints.push(thrown.params.exception_details.text.clone());
            }
            Event::NetworkRequestWillBeSent(request) => {
                heard.requests.push(request.params.request.url.clone());
            }
            _ => {}
        }
    }))
    .unwrap();
    told
}

/// Shows the page in this theme at this width, in CSS pixels.
fn show(tab: &Tab, url: &str, theme: &str, width: u32) {
    tab.call_method(Emulation::SetDeviceMetricsOverride {
        width,
        height: 800,
        device_scale_factor: 1.0,
        mobile: width < 600,
        ..serde_json::from_value(serde_json::json!({
            "width": width, "height": 800, "deviceScaleFactor": 1.0, "mobile": width < 600
        }))
        .unwrap()
    })
    .unwrap();
    let feature =
        Emulation::MediaFeature { name: "prefers-color-scheme".to_owned(), value: theme.to_owned() };
    tab.call_method(Emulation::SetEmulatedMedia { media: None, features: Some(vec![feature]) }).unwrap();
    tab.navigate_to(url).unwrap().wait_until_navigated().unwrap();
}

fn ask(tab: &Tab, expression: &str) -> Value {
    tab.evaluate(expression, false).unwrap().value.unwrap_or(Value::Null)
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
            let overflow =
                ask(&tab, "document.documentElement.scrollWidth - document.documentElement.clientWidth");
            assert_eq!(overflow.as_f64(), Some(0.0), "{what}: it scrolls sideways");
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
