//! The configuration as users meet it: what wrong files are told, the example, and the reference.
//!
//! `UPDATE_GOLDEN=1 cargo test --release --test config` writes the expected texts and `docs/config.md` anew.
#![allow(clippy::unwrap_used)]

use std::{
    env, fs, iter,
    path::{Path, PathBuf},
};

use proptest::prelude::*;
use tailwater::config::{self, Config, ConfigErrors};

const RENEW: &str = "renew it with UPDATE_GOLDEN=1 cargo test --release --test config";

fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Compares a text with the file that holds what is expected, or writes that file.
fn assert_golden(actual: &str, file: &Path) {
    if env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(file, actual).unwrap();
    }
    let expected = fs::read_to_string(file).unwrap_or_default();
    assert!(actual == expected, "{} is stale; {RENEW}\nit would be:\n{actual}", file.display());
}

fn load(text: &str, sets: &[String]) -> Result<Config, ConfigErrors> {
    Config::from_parts(text, "tailwater.toml", sets, iter::empty())
}

fn example() -> String {
    fs::read_to_string(project().join("examples/flights.toml")).unwrap()
}

/// Comments such as `# --set learn.rate=1` and `# TAILWATER__LEARN__RATE=1` lie over the file.
#[test]
fn every_wrong_config_is_told_all_its_errors() {
    let mut files: Vec<PathBuf> =
        fs::read_dir(project().join("tests/config")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "toml"));
    files.sort();
    assert!(files.len() >= 8);
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let comments: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("# ")).collect();
        let sets: Vec<String> =
            comments.iter().filter_map(|line| line.strip_prefix("--set ")).map(str::to_owned).collect();
        let variables = comments.iter().filter(|line| line.starts_with("TAILWATER__"));
        let variables =
            variables.filter_map(|line| line.split_once('=')).map(|(k, v)| (k.to_owned(), v.to_owned()));
        let errors =
            Config::from_parts(&text, "tailwater.toml", &sets, variables).expect_err(file.to_str().unwrap());
        assert_golden(&format!("{errors}\n"), &file.with_extension("txt"));
    }
}

#[test]
fn the_reference_is_fresh() {
    assert_golden(&config::reference(), &project().join("docs/config.md"));
}

#[test]
fn the_example_is_right() {
    let config = Config::load(&project().join("examples/flights.toml"), &[], iter::empty()).unwrap();
    let names: Vec<&str> = config.features.iter().map(|feature| feature.name.as_str()).collect();
    assert_eq!((names[0], names[11], names.len()), ("dep_delay", "dest", 12));
    assert_eq!(config.state.topic, "flight-delays-state");
    // A release that changes this hash by accident would refuse the states of the one before it.
    assert_eq!(config.hash(), "4c443436713d2c7d");
}

#[test]
fn a_file_that_is_not_there_is_one_line() {
    let errors = Config::load(Path::new("no/such.toml"), &[], iter::empty()).unwrap_err();
    assert_eq!(errors.errors.len(), 1);
    assert!(errors.to_string().starts_with("no/such.toml: 1 error\n  can't be read: "), "{errors}");
}

/// Values of every type, right and wrong.
fn any_value() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<i64>().prop_map(|value| value.to_string()),
        any::<f64>().prop_map(|value| format!("{value:?}")),
        any::<bool>().prop_map(|value| value.to_string()),
        ".{0,20}",
        "\"[a-z_.$ {}]{0,12}\"",
        "\\[(0\\.5, |\"x\", |\\{\\}, ){0,3}\\]",
        "\\{ (kind|file|field|x) = (\"number\"|\"x\"|1) \\}",
        Just("[[[{ a = { b = [1979-05-27T07:32:00Z] } }]]]".to_owned()),
    ]
}

proptest! {
    #[test]
    fn a_corrupted_key_is_refused_or_taken_but_never_panics(line in any::<prop::sample::Index>(), value in any_value()) {
        let example = example();
        let lines: Vec<&str> = example.lines().collect();
        let mut corrupted: Vec<String> = lines.iter().map(ToString::to_string).collect();
        let line = line.index(lines.len());
        if let Some((key, _)) = lines[line].split_once('=') {
            corrupted[line] = format!("{key}= {value}");
        }
        if let Err(errors) = load(&corrupted.join("\n"), &[]) {
            prop_assert!(!errors.errors.is_empty());
            prop_assert!(errors.errors.iter().all(|error| !error.problem.is_empty()));
        }
    }

    #[test]
    fn a_corrupted_text_never_panics(at in any::<prop::sample::Index>(), junk in ".{0,3}") {
        let mut text: Vec<char> = example().chars().collect();
        let at = at.index(text.len());
        text.splice(at..=at, junk.chars());
        let text: String = text.into_iter().collect();
        if let Err(errors) = load(&text, &[]) {
            prop_assert!(errors.to_string().starts_with("tailwater.toml: "));
        }
    }

    #[test]
    fn any_argument_is_refused_or_taken_but_never_panics(key in "[a-z]{1,6}(\\.[a-z\"]{0,6}){0,3}", value in any_value()) {
        if let Err(errors) = load(&example(), &[format!("{key}={value}")]) {
            prop_assert!(!errors.errors.is_empty());
        }
    }
}

#[test]
fn the_readme_s_config_is_right() {
    let readme = include_str!("../README.md");
    let block = readme.split("```toml").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let config = Config::from_parts(block, "README.md", &[], std::iter::empty()).unwrap();
    assert_eq!(config.input.topic, "flights");
    assert_eq!(config.features.len(), 3);
}
