//! The input: the year of flights over and over, each year after the other, made faster than anything reads it.

use arrow::{
    array::{Int64Array, RecordBatch},
    compute::kernels::numeric::add,
    ipc::writer::StreamWriter,
};
use serde_json::Value;
use tailwater::flights;

use crate::cluster::{Cluster, Record};

const YEAR_S: i64 = 366 * 86_400;
/// Rows of an Arrow message.
const ROWS: usize = 1_024;
/// What is known only once a flight has arrived.
const AT_ARRIVAL: [&str; 2] = ["arrived_at", "arr_delay"];
/// Times of so many digits are written anew each year: until 2286.
const NUM_DIGITS: usize = 10;

/// What is known of the flights that are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// All of it: targets to learn from come with the events.
    Arrivals,
    /// What is known at departure.
    Departures,
}

/// A year of flights as JSON.
pub struct Year(Vec<Flight>);

struct Flight {
    json: Vec<u8>,
    /// Where a time stands in the text, and what it is in the first year.
    times: Vec<(usize, i64)>,
}

impl Year {
    pub fn new(known: Known) -> Self {
        let flights = flights::json_records().unwrap().map(|flight| {
            let mut flight: Value = serde_json::from_slice(&flight.unwrap()).unwrap();
            if known == Known::Departures {
                AT_ARRIVAL.iter().for_each(|field| drop(flight.as_object_mut().unwrap().remove(*field)));
            }
            Flight::new(&flight)
        });
        Self(flights.collect())
    }

    /// The flight of this number, counted from 0 through all years.
    pub fn flight(&self, number: u64) -> Vec<u8> {
        let year_flights = self.0.len() as u64;
        self.0[(number % year_flights) as usize].in_year((number / year_flights) as i64)
    }
}

impl Flight {
    fn new(flight: &Value) -> Self {
        let json = flight.to_string();
        let place = |field: &str| Some(json.find(&format!("\"{field}\":"))? + field.len() + 3);
        let times = ["departed_at", "arrived_at"]
            .into_iter()
            .filter_map(|field| Some((place(field)?, flight[field].as_i64().unwrap())))
            .collect();
        Self { json: json.into_bytes(), times }
    }

    fn in_year(&self, year: i64) -> Vec<u8> {
        let mut json = self.json.clone();
        for &(place, time) in &self.times {
            let digits = format!("{:0NUM_DIGITS$}", time + year * YEAR_S);
            json[place..place + NUM_DIGITS].copy_from_slice(digits.as_bytes());
        }
        json
    }
}

/// A topic that was filled once and is read again and again.
pub struct Input {
    pub topic: String,
    /// For `input.format`.
    pub format: &'static str,
    /// How many events come before the message of each offset, and at last how many there are.
    before: Vec<u64>,
}

impl Input {
    /// Flights with one JSON object to a message.
    pub fn json(cluster: &Cluster, num_events: u64, known: Known) -> Self {
        let topic = cluster.create_topic("flights", 1);
        let year = Year::new(known);
        cluster.produce(&topic, (0..num_events).map(|number| Record::new(0, year.flight(number))));
        Self { topic, format: "json", before: (0..=num_events).collect() }
    }

    /// Flights in Arrow streams of many rows.
    pub fn arrow(cluster: &Cluster, num_events: u64, known: Known) -> Self {
        let topic = cluster.create_topic("flights", 1);
        let batches: Vec<RecordBatch> =
            flights::batches(ROWS).unwrap().map(|batch| select(&batch.unwrap(), known)).collect();
        let mut before = vec![0];
        let messages = (0_i64..).flat_map(|year| batches.iter().map(move |batch| in_year(batch, year)));
        cluster.produce(
            &topic,
            messages.map_while(|batch| {
                let num_before = before[before.len() - 1];
                (num_before < num_events).then(|| {
                    before.push(num_before + batch.num_rows() as u64);
                    Record::new(0, to_stream(&batch))
                })
            }),
        );
        Self { topic, format: "arrow", before }
    }

    /// How many events stand before an offset.
    pub fn num_events_before(&self, offset: i64) -> u64 {
        self.before[offset as usize]
    }

    pub fn num_events(&self) -> u64 {
        self.before[self.before.len() - 1]
    }
}

fn select(batch: &RecordBatch, known: Known) -> RecordBatch {
    let schema = batch.schema();
    let kept: Vec<usize> = (0..schema.fields().len())
        .filter(|&at| known == Known::Arrivals || !AT_ARRIVAL.contains(&schema.field(at).name().as_str()))
        .collect();
    batch.project(&kept).unwrap()
}

fn in_year(batch: &RecordBatch, year: i64) -> RecordBatch {
    let schema = batch.schema();
    let columns = batch.columns().iter().zip(schema.fields()).map(|(column, field)| {
        let is_time = ["departed_at", "arrived_at"].contains(&field.name().as_str());
        if is_time { add(column, &Int64Array::new_scalar(year * YEAR_S)).unwrap() } else { column.clone() }
    });
    RecordBatch::try_new(schema.clone(), columns.collect()).unwrap()
}

fn to_stream(batch: &RecordBatch) -> Vec<u8> {
    let mut writer = StreamWriter::try_new(Vec::new(), &batch.schema()).unwrap();
    writer.write(batch).unwrap();
    writer.into_inner().unwrap()
}
