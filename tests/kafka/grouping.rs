//! How events are grouped into messages changes no figure.

use arrow::{
    array::{Array, AsArray, RecordBatch},
    datatypes::{DataType, Float32Type, Float64Type, Int32Type, Int64Type, UInt32Type, UInt64Type},
};
use serde_json::Value;
use tailwater::flights;

use crate::{
    cluster::{Cluster, Record},
    process::Setup,
    scores::rows,
};

const NUM_FLIGHTS: usize = 5_000;

/// Scores the input in a new group, and gives its setup once all is published.
fn score<'a>(cluster: &'a Cluster, input: &str, sets: &[&str]) -> Setup<'a> {
    let setup = Setup::on_input(cluster, input);
    let process = setup.start(&[&["learn.warmup=512"], sets].concat());
    process.wait_until_scored(NUM_FLIGHTS);
    process.stop();
    setup
}

fn input(cluster: &Cluster) -> String {
    let input = cluster.create_topic("flights", 1);
    let flights = flights::json_records().unwrap().take(NUM_FLIGHTS);
    cluster.produce(&input, flights.map(|flight| Record::new(0, flight.unwrap()).with_key("k")));
    input
}

#[test]
fn scores_are_the_same_to_the_bit_however_they_are_grouped() {
    let cluster = Cluster::connect();
    let input = input(&cluster);
    let columns = |setup: &Setup<'_>, topic: &str| rows(setup.cluster, topic).columns().to_vec();
    let first = score(&cluster, &input, &["output.rows=512", "output.linger=200ms"]);
    let (scores, outcomes) = (columns(&first, &first.output), columns(&first, &first.outcomes));
    assert_eq!(scores[0].len(), NUM_FLIGHTS);
    let mut num_messages = vec![cluster.consume(&first.output).len()];
    for (rows, linger) in [(1, "200ms"), (64, "1ms"), (64, "200ms"), (512, "1ms")] {
        let grouping = [format!("output.rows={rows}"), format!("output.linger={linger}")];
        let setup = score(&cluster, &input, &[&grouping[0], &grouping[1]]);
        assert!(columns(&setup, &setup.output) == scores, "{grouping:?}");
        assert!(columns(&setup, &setup.outcomes) == outcomes, "{grouping:?}");
        num_messages.push(cluster.consume(&setup.output).len());
    }
    assert_eq!(num_messages[1], NUM_FLIGHTS, "they were really grouped otherwise");
    assert!(num_messages[0] < num_messages[2] && num_messages[0] <= NUM_FLIGHTS / 64, "{num_messages:?}");
}

#[test]
fn json_messages_hold_the_same_figures_as_arrow_batches() {
    let cluster = Cluster::connect();
    let input = input(&cluster);
    let arrow = score(&cluster, &input, &[]);
    let json = score(&cluster, &input, &["output.format=json"]);
    for (arrow, json) in [(arrow.output, json.output), (arrow.outcomes, json.outcomes)] {
        let rows = rows(&cluster, &arrow);
        let messages = cluster.consume(&json);
        assert_eq!(messages.len(), rows.num_rows());
        for (index, message) in messages.iter().enumerate() {
            assert_eq!(message.header("content-type"), Some("application/json"));
            assert_eq!(message.key.as_deref(), Some(&b"k"[..]));
            let object: Value = serde_json::from_slice(message.value.as_deref().unwrap()).unwrap();
            assert_same(&rows, index, &object);
        }
    }
}

/// Compares all numbers of a row bit for bit.
fn assert_same(rows: &RecordBatch, row: usize, object: &Value) {
    assert_eq!(object.as_object().unwrap().len(), rows.num_columns());
    for (field, column) in rows.schema().fields().iter().zip(rows.columns()) {
        let value = &object[field.name()];
        let is_same = match field.data_type() {
            _ if column.is_null(row) => value.is_null(),
            DataType::Float64 => {
                value.as_f64().map(f64::to_bits)
                    == Some(column.as_primitive::<Float64Type>().value(row).to_bits())
            }
            DataType::Int32 => value.as_i64() == Some(column.as_primitive::<Int32Type>().value(row).into()),
            DataType::Int64 => value.as_i64() == Some(column.as_primitive::<Int64Type>().value(row)),
            DataType::UInt32 => value.as_u64() == Some(column.as_primitive::<UInt32Type>().value(row).into()),
            DataType::UInt64 => value.as_u64() == Some(column.as_primitive::<UInt64Type>().value(row)),
            DataType::Utf8 => value.as_str() == Some(column.as_string::<i32>().value(row)),
            DataType::Binary => {
                value.as_str().map(str::as_bytes) == Some(column.as_binary::<i32>().value(row))
            }
            DataType::FixedSizeList(..) => {
                let params = column.as_fixed_size_list().value(row);
                let read = value.as_array().unwrap().iter().map(|param| param.as_f64().unwrap() as f32);
                read.eq(params.as_primitive::<Float32Type>().values().iter().copied())
            }
            // Times are told as texts; their own tests compare them.
            DataType::Timestamp(..) => value.is_string(),
            other => panic!("a column of {other}"),
        };
        assert!(is_same, "{}: {value} is not {column:?} at {row}", field.name());
    }
}
