//! The live page of the admin server.

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use headless_chrome::Tab;
use serde_json::Value;
use tailwater::{
    config::Config,
    http::{
        AdminServer, Health, Role,
        recent::{Recent, RecentEvent, RecentReject},
    },
    metrics::Metrics,
    run::spec,
};

use super::{ask, assert_fits, browser, listen, show};

/// A demo that goes on until it is dropped.
struct Demo {
    process: Child,
    url: String,
}

impl Demo {
    fn start() -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_tailwater"))
            .args(["demo", "--no-open", "--rate", "3000", "--set", "admin.listen=127.0.0.1:0"])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines().map_while(Result::ok);
        let url = lines
            .find_map(|line| line.strip_prefix("live at ").map(str::to_owned))
            .expect("it says where its page is");
        thread::spawn(move || lines.count()); // it must not wait for a reader
        Self { process, url }
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

/// Asks until what it answers is true.
fn wait_until(tab: &Tab, expression: &str) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while ask(tab, expression) != Value::Bool(true) {
        assert!(Instant::now() < deadline, "never: {expression}; {}", ask(tab, "document.body.innerText"));
        thread::sleep(Duration::from_millis(200));
    }
}

/// Texts whose contrast to what they lie on is below what WCAG 2.2 asks of them (1.4.3), 4.5 to 1.
const FAINT: &str = r#"
(() => {
  const parts = (color) => color.match(/[\d.]+/g).map(Number);
  const light = (color) => parts(color).slice(0, 3).map((c) => c / 255)
    .map((c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, n) => sum + c * [0.2126, 0.7152, 0.0722][n], 0);
  const behind = (element) => {
    for (let e = element; e; e = e.parentElement) {
      const color = getComputedStyle(e).backgroundColor;
      if ((parts(color)[3] ?? 1) > 0) return color;
    }
    return getComputedStyle(document.body).backgroundColor;
  };
  return [...document.querySelectorAll("body *")].filter((e) => e.checkVisibility()
      && [...e.childNodes].some((n) => n.nodeType === Node.TEXT_NODE && n.textContent.trim()))
    .filter((e) => {
      const style = getComputedStyle(e);
      const [a, b] = [light(e.closest("svg") ? style.fill : style.color), light(behind(e))].sort((x, y) => y - x);
      return (a + 0.05) / (b + 0.05) < 4.5;
    }).map((e) => e.textContent).join(" | ");
})()
"#;

#[test]
#[ignore = "needs Chromium: scripts/browser.sh with cargo test --release --test browser -- --ignored"]
fn the_live_page_shows_a_stream_in_both_themes_and_at_the_width_of_a_phone() {
    let demo = Demo::start();
    let profile = tempfile::tempdir().unwrap();
    let browser = browser(profile.path());
    let tab = browser.new_tab().unwrap();
    let told = listen(&tab);
    show(&tab, &demo.url, "light", 1_280);
    wait_until(&tab, "document.querySelector('#stream dd')?.textContent.replace(',', '') > 100");
    wait_until(
        &tab,
        "/better than without features/.test(document.querySelector('#model .state').textContent)",
    );
    assert_eq!(ask(&tab, "document.querySelector('h1').textContent"), "flight-delays");
    assert_eq!(ask(&tab, "document.querySelectorAll('#coverage tbody tr').length").as_f64(), Some(7.0));
    assert_eq!(ask(&tab, "document.querySelectorAll('#pit rect.bar').length").as_f64(), Some(20.0));
    assert!(ask(&tab, "document.querySelectorAll('#fan .came, #fan .beyond').length").as_f64() > Some(50.0));

    let mut backgrounds = Vec::new();
    for theme in ["light", "dark"] {
        for width in [1_280, 360] {
            show(&tab, &demo.url, theme, width);
            let what = format!("{theme}, {width} px wide");
            wait_until(&tab, "!!document.querySelector('#fan svg') && !!document.querySelector('#pit svg')");
            assert_fits(&tab, &what);
            assert_eq!(ask(&tab, FAINT), "", "{what}: too faint to read");
            let untold = "[...document.querySelectorAll('.chart')].filter(c => !(c.getAttribute('aria-label') || document.getElementById(c.getAttribute('aria-describedby'))?.textContent)).length";
            assert_eq!(ask(&tab, untold).as_f64(), Some(0.0), "{what}: charts that are not told in words");
            backgrounds.push(ask(&tab, "getComputedStyle(document.body).backgroundColor").to_string());
        }
    }
    assert_eq!((&backgrounds[0], &backgrounds[2]), (&backgrounds[1], &backgrounds[3]));
    assert_ne!(backgrounds[0], backgrounds[2], "the dark theme is the light one");

    // By keyboard: to the pause, to the chart, along its events.
    tab.press_key("Tab").unwrap(); // the link that skips to the numbers
    tab.press_key("Tab").unwrap();
    assert_eq!(ask(&tab, "document.activeElement.id"), "pause");
    tab.press_key("Enter").unwrap();
    assert_eq!(ask(&tab, "document.activeElement.textContent"), "Go on");
    thread::sleep(Duration::from_millis(1_500)); // what was under way when it was pressed
    let events = "document.querySelector('#stream dl').textContent";
    let before = ask(&tab, events);
    thread::sleep(Duration::from_millis(2_500));
    assert_eq!(ask(&tab, events), before, "paused, it goes on");
    tab.press_key("Enter").unwrap();
    tab.press_key("Tab").unwrap();
    assert_eq!(ask(&tab, "document.activeElement.id"), "fan");
    tab.press_key("ArrowRight").unwrap();
    let first = ask(&tab, "document.querySelector('#readout').textContent");
    tab.press_key("ArrowRight").unwrap();
    let second = ask(&tab, "document.querySelector('#readout').textContent");
    assert!(first.as_str().unwrap().contains("What came:") && first != second, "{first}, {second}");
    assert_eq!(ask(&tab, "document.activeElement.getAttribute('aria-valuetext')"), second);
    thread::sleep(Duration::from_millis(2_500));
    assert_ne!(ask(&tab, events), before, "it does not go on");
    assert_eq!(
        ask(&tab, "document.querySelector('#readout').textContent"),
        second,
        "another event was chosen by nobody"
    );
    tab.press_key("Escape").unwrap();
    assert_eq!(ask(&tab, "document.querySelector('#readout').textContent"), "");

    let told = told.lock().unwrap();
    assert!(told.complaints.is_empty(), "{:?}", told.complaints);
    let is_own = |url: &String| url.starts_with(&demo.url) || url.starts_with("data:");
    assert!(told.requests.iter().all(is_own) && !told.requests.is_empty(), "{:?}", told.requests);
}

/// What a page shows of this.
fn shown_of(
    health: Health,
) -> (tempfile::TempDir, headless_chrome::Browser, Arc<Tab>, tailwater::http::AdminHandle) {
    let config = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/flights.toml");
    let config = Config::load(config.as_ref(), &[], std::iter::empty()).unwrap();
    let metrics = Arc::new(Metrics::new(&spec::metrics(&config)));
    let admin =
        AdminServer::bind("127.0.0.1:0".parse().unwrap()).unwrap().serve(metrics, Arc::new(health)).unwrap();
    let profile = tempfile::tempdir().unwrap();
    let browser = browser(profile.path());
    let tab = browser.new_tab().unwrap();
    show(&tab, &format!("http://{}/", admin.address()), "light", 1_280);
    (profile, browser, tab, admin)
}

#[test]
#[ignore = "needs Chromium: scripts/browser.sh with cargo test --release --test browser -- --ignored"]
fn what_a_record_holds_is_text_on_the_live_page() {
    let hostile = "<img src=x onerror=\"document.title='taken'\"><script>document.title='taken'</script>";
    let event = |target: Vec<f64>| RecentEvent {
        partition: 0,
        offset: 7,
        row: 2,
        time: "2026-01-01T00:00:00Z".to_owned(),
        quantiles: vec![vec![1.7e18, f64::NAN], vec![-1e300, 1e300]],
        target,
    };
    let health = Health::new();
    health.set_role(Role::Leading);
    health.record_error(hostile);
    health.set_recent(Some(Recent {
        group: hostile.to_owned(),
        targets: vec![hostile.to_owned(), "second".to_owned()],
        levels: vec![0.99, 0.5],
        judged: vec![event(vec![f64::INFINITY, 3.0]), event(vec![2.0, -1e300])],
        scored: vec![event(vec![])],
        rejects: vec![RecentReject {
            time: "2026-01-01T00:00:00Z".to_owned(),
            partition: 3,
            offset: 41,
            row: 0,
            reason: "wrong_type",
            detail: hostile.to_owned(),
        }],
        ..Recent::default()
    }));
    let (_profile, _browser, tab, admin) = shown_of(health);
    let told = listen(&tab);
    wait_until(&tab, "document.querySelector('#rejects li')?.textContent.includes('wrong type, 3:41')");
    assert!(ask(&tab, "document.querySelector('#rejects').textContent").as_str().unwrap().contains(hostile));
    assert!(ask(&tab, "document.querySelector('#alert').textContent").as_str().unwrap().contains(hostile));
    assert_eq!(ask(&tab, "document.querySelector('h1').textContent"), hostile);
    assert_eq!(ask(&tab, "document.querySelectorAll('#field option').length").as_f64(), Some(2.0));
    ask(
        &tab,
        "document.querySelector('#field').value = 1, document.querySelector('#field').dispatchEvent(new Event('change'))",
    );
    wait_until(&tab, "document.querySelector('#fan-text').textContent.includes('second')");
    assert_eq!(ask(&tab, "document.querySelectorAll('main img, main script').length").as_f64(), Some(0.0));
    assert!(!ask(&tab, "document.title").as_str().unwrap().starts_with("taken"));
    assert!(told.lock().unwrap().complaints.is_empty(), "{told:?}");
    admin.stop();
    wait_until(&tab, "/No answer since/.test(document.querySelector('#alert').textContent)");
}

#[test]
#[ignore = "needs Chromium: scripts/browser.sh with cargo test --release --test browser -- --ignored"]
fn a_standby_says_on_its_page_that_another_leads() {
    let health = Health::new();
    health.set_role(Role::Standby);
    let (_profile, _browser, tab, _admin) = shown_of(health);
    wait_until(&tab, "/standing by/.test(document.querySelector('#stream .state').textContent)");
    assert_fits(&tab, "a standby");
}
