//! Pages in a real browser: `scripts/browser.sh with cargo test --release --test browser -- --ignored`.

#![allow(clippy::unwrap_used, missing_docs)]

use std::{
    ffi::OsStr,
    path::Path,
    sync::{Arc, Mutex},
};

use headless_chrome::{
    Browser, LaunchOptions, Tab,
    protocol::cdp::{Emulation, Network, types::Event},
};
use serde_json::Value;

mod live;
mod report;

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

/// A page scrolls down, and no other way.
fn assert_fits(tab: &Tab, what: &str) {
    let overflow = ask(tab, "document.documentElement.scrollWidth - document.documentElement.clientWidth");
    assert_eq!(overflow.as_f64(), Some(0.0), "{what}: it scrolls sideways");
}
