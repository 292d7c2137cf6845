//! `tailwater init`, and that a replay by what it wrote gives scores.

use std::{
    fs,
    path::Path,
    process::{Command, Output, Stdio},
};

use arrow::{
    array::{Array, AsArray},
    datatypes::Float64Type,
};

use crate::command::Bench;

fn init(input: &Path, out: &Path, more: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tailwater"))
        .arg("init")
        .arg("--input")
        .arg(input)
        .arg("--out")
        .arg(out)
        .args(more)
        .env_remove("TAILWATER_LOG")
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// The config that is made of an input, which is to be made.
fn config_of(input: &Path, more: &[&str]) -> String {
    let output = init(input, Path::new("-"), more);
    let [stdout, stderr] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    assert!(output.status.success(), "{stderr}");
    assert!(stderr.contains("field"), "the findings are told beside the config: {stderr}");
    stdout
}

/// Claims: by region and age, a few hundred.
fn claims() -> String {
    let row = |n: u32| {
        let spread = f64::from(n * 7919 % 600 + 1) / 601.0;
        format!(
            "{n},{},{},{:.2}\n",
            ["N", "S", "E", "W"][n as usize % 4],
            18 + n * 31 % 60,
            50.0 / (1.0 - spread)
        )
    };
    (1..=600).map(row).fold("id,region,insured.age,claim\n".to_owned(), |text, row| text + &row)
}

#[test]
fn a_file_that_nobody_has_seen_before_is_scored_by_the_config_that_is_made_of_it() {
    for (name, bytes) in [
        ("claims.csv", claims().into_bytes()),
        ("flights.ndjson", {
            let bench = Bench::new("");
            fs::read(bench.write_flights(6_000)).unwrap()
        }),
        ("flights.parquet", crate::formats::parquet()),
        ("claims.csv.zst", zstd::encode_all(claims().as_bytes(), 1).unwrap()),
    ] {
        let writer = Bench::new("");
        let input = writer.write(name, &bytes);
        let bench = Bench::new(&config_of(&input, &[]));
        let replayed = bench.replay(&input, "out", &[]);
        let scores = replayed.scores();
        for figure in
            scores.schema().fields().iter().map(|field| field.name()).filter(|name| name.starts_with("p_gt_"))
        {
            let column = scores.column_by_name(figure).unwrap().as_primitive::<Float64Type>();
            assert!(column.len() - column.null_count() > column.len() / 2, "{name}: {figure}");
        }
        assert!(scores.column_by_name("q99").unwrap().null_count() < scores.num_rows() / 2, "{name}");
        assert_eq!(replayed.summary["input"]["rejected"], 0, "{name}");
    }
}

#[test]
fn a_config_is_not_overwritten_unless_it_is_said_to_be() {
    let bench = Bench::new("");
    let input = bench.write("claims.csv", claims().as_bytes());
    let out = bench.path("made.toml");
    let output = init(&input, &out, &[]);
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{said}");
    assert!(said.contains("tailwater replay -c ") && said.contains("is a GUESS"), "{said}");
    let made = fs::read(&out).unwrap();
    fs::write(&out, "mine").unwrap();
    let output = init(&input, &out, &[]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(1) && said.contains("--force"), "{said}");
    assert_eq!(fs::read(&out).unwrap(), b"mine");
    assert!(init(&input, &out, &["--force"]).status.success());
    assert_eq!(fs::read(&out).unwrap(), made);
}

#[test]
fn what_is_wrong_is_told_with_its_remedy_and_nothing_is_written() {
    let bench = Bench::new("");
    for (name, text, more, remedy) in [
        ("claims.csv", claims(), &["--target", "clam"][..], "did you mean \"claim\"?"),
        ("claims.txt", claims(), &[], "name it .ndjson, .csv"),
        ("empty.csv", String::new(), &[], "no record"),
        ("words.ndjson", "some words\n".to_owned(), &[], "each line or message must be one object"),
        ("ragged.csv", "a,b\n1,2\n1,2,3\n".to_owned(), &[], "correct the file"),
    ] {
        let input = bench.write(name, text.as_bytes());
        let out = bench.path("none.toml");
        let output = init(&input, &out, more);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{name}: {said}");
        assert!(said.contains(name) && said.contains(remedy), "{name}: {said}");
        assert!(!out.exists(), "{name}");
    }
}
