//! The bundled data: 327,346 flights that left New York's three airports in 2013, with the weather at departure and
//! the delay at arrival, in the order of their departures. For the demo and the tests.
//!
//! Source: the U.S. Bureau of Transportation Statistics and NOAA, as collected in the R package nycflights13 (public
//! domain). Times are seconds since 1970, delays are minutes; wind is in mph, precipitation in inches.

use std::{io::Read, sync::Arc};

use arrow::{
    array::RecordBatch,
    csv::{ReaderBuilder, reader::Format},
    error::ArrowError,
    json::LineDelimitedWriter,
};

/// How many flights there are.
pub const NUM_FLIGHTS: usize = 327_346;

const CSV_ZST: &[u8] = include_bytes!("../data/flights-2013.csv.zst");

/// How many lines decide the columns' types.
const LINES_TO_INFER: usize = 10_000;

/// Every flight, in order, as Arrow batches of up to `rows`.
///
/// # Errors
/// When the data does not decompress or parse, which a test excludes.
pub fn batches(rows: usize) -> Result<impl Iterator<Item = Result<RecordBatch, ArrowError>>, ArrowError> {
    let open = || zstd::Decoder::new(CSV_ZST).map_err(ArrowError::from);
    let head = Format::default().with_header(true);
    let (schema, _) = head.infer_schema(open()?, Some(LINES_TO_INFER))?;
    let mut csv = String::new();
    open()?.read_to_string(&mut csv)?;
    ReaderBuilder::new(Arc::new(schema))
        .with_header(true)
        .with_batch_size(rows)
        .build_buffered(std::io::Cursor::new(csv))
}

/// Every flight, in order, as a JSON object in one line; fields that were not observed are left out.
///
/// # Errors
/// As `batches`.
pub fn json_records() -> Result<impl Iterator<Item = Result<Vec<u8>, ArrowError>>, ArrowError> {
    Ok(batches(1024)?.flat_map(|batch| match batch.and_then(|batch| json_lines(&batch)) {
        Ok(lines) => lines.split(|&b| b == b'\n').filter(|l| !l.is_empty()).map(|l| Ok(l.to_vec())).collect(),
        Err(error) => vec![Err(error)],
    }))
}

fn json_lines(batch: &RecordBatch) -> Result<Vec<u8>, ArrowError> {
    let mut writer = LineDelimitedWriter::new(Vec::new());
    writer.write(batch)?;
    writer.finish()?;
    Ok(writer.into_inner())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn every_flight_is_there_in_the_order_of_departure() {
        let mut last = 0;
        let mut count = 0;
        for record in json_records().unwrap() {
            let flight: serde_json::Value = serde_json::from_slice(&record.unwrap()).unwrap();
            let departed_at = flight["departed_at"].as_i64().unwrap();
            assert!(departed_at >= last);
            assert!(flight["arr_delay"].is_number() && flight["carrier"].is_string());
            last = departed_at;
            count += 1;
        }
        assert_eq!(count, NUM_FLIGHTS);
    }
}
