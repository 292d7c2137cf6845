//! What is shipped to watch tailwater by fits together: rules, their tests, the dashboard, the runbook and the metrics. That the rules do what they
//! should is tested by `make rules`, and on a real Prometheus by `tests/kafka/prometheus.rs`.
#![allow(clippy::unwrap_used)]

use std::{collections::BTreeSet, fs, path::Path, process::Command};

use serde_json::Value;
use tailwater::metrics::PIT_EDGES;

const RULES: &str = "deploy/helm/tailwater/files/rules.yaml";
const RULE_TESTS: [&str; 2] = ["deploy/prometheus/rules_test.yaml", "deploy/prometheus/rules_days_test.yaml"];
const DASHBOARD: &str = "deploy/helm/tailwater/files/dashboard.json";
const RUNBOOK: &str = "https://github.com/tailwater/tailwater/blob/main/docs/runbook.md#";

fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(file: &str) -> String {
    fs::read_to_string(project().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// Each alert's or recording's name, and the lines of its rule.
fn rules(kind: &str) -> Vec<(String, String)> {
    let text = read(RULES);
    let mut found = Vec::new();
    for rule in text.split("\n      - ").skip(1) {
        if let Some(rest) = rule.strip_prefix(kind) {
            let (name, rest) = rest.split_once('\n').unwrap();
            found.push((name.trim().to_owned(), rest.to_owned()));
        }
    }
    assert!(found.len() > 15, "{} rules of {kind}", found.len());
    found
}

fn names(kind: &str) -> Vec<String> {
    rules(kind).into_iter().map(|(name, _)| name).collect()
}

/// The names of metrics and recorded series that a text mentions.
fn mentioned(text: &str) -> BTreeSet<String> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':'))
        .filter(|word| ["tailwater_", "process_", "group:"].iter().any(|of| word.starts_with(of)))
        .filter(|word| *word != "group:") // as one speaks of it
        .map(str::to_owned)
        .collect()
}

/// The metrics of the contract, and of a histogram its series.
fn metrics() -> (BTreeSet<String>, BTreeSet<String>) {
    let golden = read("tests/golden/metrics.txt");
    let mut families = BTreeSet::new();
    let mut series = BTreeSet::new();
    for line in golden.lines().filter(|line| !line.starts_with('#')) {
        let mut words = line.split(' ');
        let (name, kind) = (words.next().unwrap(), words.next().unwrap());
        families.insert(name.to_owned());
        match kind {
            "histogram" => series.extend(["_bucket", "_sum", "_count"].map(|part| format!("{name}{part}"))),
            _ => series.extend([name.to_owned()]),
        }
    }
    (families, series)
}

#[test]
fn each_alert_says_whom_it_is_for_where_to_look_and_what_to_do_first() {
    for (name, rule) in rules("alert: ") {
        assert!(name.starts_with("Tailwater"), "{name}");
        let labels = rule.lines().find_map(|line| line.trim().strip_prefix("labels: ")).unwrap();
        let label = |key: &str, values: &[&str]| {
            values.iter().any(|value| labels.contains(&format!("{key}: {value}")))
        };
        assert!(label("severity", &["page", "ticket", "info"]), "{name}: {labels}");
        assert!(label("subject", &["stream", "model", "world"]), "{name}: {labels}");
        assert!(rule.contains("summary: \"{{ with $labels.namespace }}"), "{name}");
        assert!(rule.replace('\n', " ").contains("Look first"), "{name}");
        let url = rule.lines().find_map(|line| line.trim().strip_prefix("runbook_url: ")).unwrap();
        assert_eq!(url, format!("{RUNBOOK}{}", name.to_lowercase()), "{name}");
    }
}

#[test]
fn the_runbook_has_a_section_for_each_alert_and_no_other() {
    let runbook = read("docs/runbook.md");
    let sections: Vec<&str> = runbook.lines().filter_map(|line| line.strip_prefix("### ")).collect();
    assert_eq!(sections, names("alert: "), "in the order of the rules");
    for section in runbook.split("\n### ").skip(1) {
        for part in ["**Says**", "**Look**", "**Do**", "**Fine when**"] {
            assert!(section.contains(part), "no {part} in: {}", section.lines().next().unwrap());
        }
    }
}

#[test]
fn every_rule_is_tested_by_name() {
    let tests = RULE_TESTS.map(read).concat();
    for name in names("alert: ") {
        assert!(tests.contains(&format!("alertname=\"{name}\"")), "{name} fires in no test");
    }
    let tested = mentioned(&tests);
    for name in names("record: ") {
        assert!(tested.contains(&name), "{name} is in no test");
    }
}

#[test]
fn rules_dashboard_and_docs_name_metrics_that_there_are() {
    let (families, series) = metrics();
    let recorded: BTreeSet<String> = names("record: ").into_iter().collect();
    let queried = &recorded | &series;
    let told = &queried | &families;
    for (file, known) in [
        (RULES, &queried),
        (DASHBOARD, &queried),
        (RULE_TESTS[0], &queried),
        (RULE_TESTS[1], &queried),
        ("docs/runbook.md", &told),
        ("docs/metrics.md", &told),
    ] {
        let unknown: Vec<_> = mentioned(&read(file)).difference(known).cloned().collect();
        assert!(unknown.is_empty(), "{file}: there is no {unknown:?}");
    }
}

#[test]
fn the_page_on_metrics_has_each_metric_each_series_of_the_rules_and_each_alert() {
    let page = read("docs/metrics.md");
    let told = mentioned(&page);
    let (families, _) = metrics();
    let missing: Vec<_> = families.iter().filter(|name| !told.contains(*name)).collect();
    assert!(missing.is_empty(), "docs/metrics.md does not tell of {missing:?}");
    let missing: Vec<_> = names("record: ").into_iter().filter(|name| !told.contains(name)).collect();
    assert!(missing.is_empty(), "docs/metrics.md does not tell of {missing:?}");
    // An alert stands in the row of a metric that it is made of.
    let alerts = rules("alert: ");
    for (alert, _) in &alerts {
        assert!(page.contains(alert.as_str()), "docs/metrics.md does not tell of {alert}");
    }
    for word in page.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| word.starts_with("Tailwater"))
    {
        assert!(alerts.iter().any(|(name, _)| name == word), "there is no alert {word}");
    }
}

#[test]
fn the_dashboard_is_what_its_source_writes() {
    let written =
        Command::new("python3").arg(project().join("deploy/grafana/dashboard.py")).output().unwrap();
    assert!(written.status.success(), "{}", String::from_utf8_lossy(&written.stderr));
    assert!(
        String::from_utf8(written.stdout).unwrap() == read(DASHBOARD),
        "{DASHBOARD} is stale; renew it with deploy/grafana/dashboard.py > {DASHBOARD}"
    );
}

#[test]
fn the_dashboard_has_three_rows_of_panels_that_say_what_is_normal() {
    let dashboard: Value = serde_json::from_str(&read(DASHBOARD)).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let titles = |panel: &&Value| panel["title"].as_str().unwrap().to_owned();
    let rows: Vec<_> = panels.iter().filter(|panel| panel["type"] == "row").collect();
    assert_eq!(rows.iter().map(titles).collect::<Vec<_>>(), ["Stream", "Model", "Tails"]);
    let ids: BTreeSet<_> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len());
    let mut taken = BTreeSet::new();
    for panel in panels {
        let place = |key: &str| panel["gridPos"][key].as_u64().unwrap();
        for x in place("x")..place("x") + place("w") {
            assert!(x < 24, "{}", panel["title"]);
            for y in place("y")..place("y") + place("h") {
                assert!(taken.insert((x, y)), "{} lies over another panel", panel["title"]);
            }
        }
        if panel["type"] != "row" {
            assert!(panel["description"].as_str().unwrap().contains("Normal:"), "{}", panel["title"]);
            assert!(panel["fieldConfig"]["defaults"]["unit"].is_string(), "{}", panel["title"]);
            assert_eq!(panel["datasource"]["uid"], "${datasource}", "{}", panel["title"]);
            assert!(!panel["targets"].as_array().unwrap().is_empty(), "{}", panel["title"]);
        }
    }
}

#[test]
fn the_pit_of_the_dashboard_has_the_edges_of_the_metric() {
    let dashboard: Value = serde_json::from_str(&read(DASHBOARD)).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let pit = panels.iter().find(|panel| panel["title"] == "PIT").unwrap();
    let legends: Vec<_> =
        pit["targets"].as_array().unwrap().iter().map(|t| t["legendFormat"].as_str().unwrap()).collect();
    let edges: Vec<f64> = [0.0].into_iter().chain(PIT_EDGES).chain([1.0]).collect();
    let bins: Vec<_> = edges.windows(2).map(|bin| format!("{} to {}", bin[0], bin[1])).collect();
    assert_eq!(legends, bins);
}
