//! What tailwater publishes for a year of flights, in a file: for `make compare`.
//!
//! ```text
//! cargo run --release --example flights_scores -- FILE [KEY=VALUE …]
//! ```
//!
//! The file is an Arrow IPC stream of the very rows that `tailwater run` would publish under `examples/flights.toml` with these keys set.

use std::{error::Error, fs};

use tailwater::{
    config::Config,
    flights,
    operator::{Action, Input, Operator, place::Position},
    record::{Decoder, Message},
    run::spec,
    score::arrow::BatchBuilder,
};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let file = arguments.next().ok_or("say which file to write")?;
    let sets: Vec<String> = arguments.collect();
    let text = include_str!("flights.toml");
    let config = Config::from_parts(text, "flights.toml", &sets, std::iter::empty())?;
    let mut decoder = Decoder::new(&config);
    let mut operator = Operator::new(&config, [(0, Position::at(0))].into());
    let mut batch = BatchBuilder::new(&spec::schemas(&config).0)?;
    let (mut records, mut actions) = (Vec::new(), Vec::new());
    for (offset, flight) in flights::json_records()?.enumerate() {
        let payload = Some(&flight?[..]);
        let message = Message { partition: 0, offset: offset as i64, timestamp_ms: None, key: None, payload };
        decoder.decode(&message, &mut records);
        records.drain(..).for_each(|record| operator.push(Input::Record(record)));
        while operator.take(&mut actions).is_some() {}
        for action in actions.drain(..) {
            if let Action::Score(scored) = action {
                batch.push(&scored);
            }
        }
    }
    let num_rows = batch.num_rows();
    fs::write(&file, batch.finish()?)?;
    println!("{num_rows} flights scored: {file}");
    Ok(())
}
