//! The same records in every format that a file may have.

use std::path::{Path, PathBuf};

use arrow::{
    array::RecordBatch,
    csv::WriterBuilder,
    ipc::writer::{FileWriter, StreamWriter},
};
use parquet::arrow::ArrowWriter;
use tailwater::flights;

use crate::command::Bench;

const NUM_FLIGHTS: usize = 3_000;

fn batches() -> Vec<RecordBatch> {
    // A batch longer than a piece, so that it is cut.
    flights::batches(1_500).unwrap().take(NUM_FLIGHTS / 1_500).map(Result::unwrap).collect()
}

fn csv() -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = WriterBuilder::new().with_header(true).build(&mut bytes);
    batches().iter().for_each(|batch| writer.write(batch).unwrap());
    drop(writer);
    bytes
}

pub fn parquet() -> Vec<u8> {
    let mut writer = ArrowWriter::try_new(Vec::new(), batches()[0].schema(), None).unwrap();
    batches().iter().for_each(|batch| writer.write(batch).unwrap());
    writer.into_inner().unwrap()
}

fn arrow_file() -> Vec<u8> {
    let mut writer = FileWriter::try_new(Vec::new(), &batches()[0].schema()).unwrap();
    batches().iter().for_each(|batch| writer.write(batch).unwrap());
    writer.into_inner().unwrap()
}

fn arrow_stream() -> Vec<u8> {
    let mut writer = StreamWriter::try_new(Vec::new(), &batches()[0].schema()).unwrap();
    batches().iter().for_each(|batch| writer.write(batch).unwrap());
    writer.into_inner().unwrap()
}

#[test]
fn every_format_gives_the_same_scores_bit_for_bit_compressed_or_not() {
    let bench = Bench::of_flights();
    let lines = bench.write_flights(NUM_FLIGHTS);
    let expected = bench.replay(&lines, "expected", &[]);
    assert_eq!(expected.scores().num_rows(), NUM_FLIGHTS);
    assert_eq!(expected.summary["input"]["records"], NUM_FLIGHTS);
    let mut inputs: Vec<(PathBuf, Vec<u8>)> = vec![("flights.jsonl".into(), std::fs::read(&lines).unwrap())];
    for (name, bytes) in [
        ("flights.csv", csv()),
        ("flights.parquet", parquet()),
        ("flights.arrow", arrow_file()),
        ("stream.arrows", arrow_stream()),
    ] {
        inputs.push((name.into(), bytes));
    }
    for (nth, (name, bytes)) in inputs.into_iter().enumerate() {
        let name = name.to_str().unwrap();
        let compressed = zstd::encode_all(&bytes[..], 1).unwrap();
        for (kind, name, bytes) in
            [("plain", name.to_owned(), bytes), ("zst", format!("{name}.zst"), compressed)]
        {
            let input = bench.write(&name, &bytes);
            let replayed = bench.replay(&input, &format!("{kind}-{nth}"), &[]);
            assert!(replayed.scores() == expected.scores(), "{name}: other scores than of lines of JSON");
        }
    }
}

#[test]
fn a_file_that_is_not_what_its_name_says_is_an_error_with_its_remedy_and_leaves_nothing() {
    let bench = Bench::of_flights();
    let lines = std::fs::read(bench.write_flights(10)).unwrap();
    for name in ["flights.parquet", "flights.arrow", "flights.txt", "flights.csv"] {
        let input = bench.write(name, if name.ends_with("csv") { b"a,b\n1,2\n1,2,3\n" } else { &lines });
        let (code, said) = bench.fail(&input, "out", &[]);
        assert_eq!(code, 1, "{said}");
        assert!(said.contains(name), "{said}");
        assert!(!bench.path("out/summary.json").exists(), "{name}");
        std::fs::remove_dir_all(bench.path("out")).ok();
    }
    let (code, said) = bench.fail(Path::new("nowhere.csv"), "out", &[]);
    assert!(code == 1 && said.contains("nowhere.csv"), "{said}");
}

#[test]
fn a_replay_that_fails_on_its_way_leaves_nothing_that_looks_like_a_result() {
    let bench = Bench::of_flights();
    let lines = std::fs::read(bench.write_flights(NUM_FLIGHTS)).unwrap();
    let mut compressed = zstd::encode_all(&lines[..], 1).unwrap();
    compressed.truncate(compressed.len() / 2);
    let input = bench.write("cut.ndjson.zst", &compressed);
    let (code, said) = bench.fail(&input, "out", &[]);
    assert!(code == 1 && said.contains("cut.ndjson.zst"), "{said}");
    assert!(!bench.path("out").exists(), "what a run left behind is in the way of the next one");
}

#[test]
fn bad_rows_are_counted_and_the_rest_is_scored() {
    let bench = Bench::of_flights();
    let mut text = std::fs::read(bench.write_flights(100)).unwrap();
    text.extend(b"no object\n{\"departed_at\": \"no time\"}\n");
    let input = bench.write("some.ndjson", &text);
    let replayed = bench.replay(&input, "out", &[]);
    assert_eq!(replayed.scores().num_rows(), 100);
    let input = &replayed.summary["input"];
    assert_eq!((input["records"].as_u64(), input["rejected"].as_u64()), (Some(102), Some(2)));
    assert!(input["rejected_reasons"].to_string().contains("undecodable"), "{input}");
}
