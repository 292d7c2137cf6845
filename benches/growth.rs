//! What an event costs as a model, or what is asked of it, grows: `make bench MODE=growth`.
//!
//! Events go through the operator, without Kafka; each is scored, and learned from once its target comes. A row's slope is that of the logarithm of its
//! cost in the logarithm of its size over the last step: 1 is in proportion.

#![allow(missing_docs)]

use std::time::Instant;

use tailwater::{
    config::Config,
    model::noise::Draws,
    operator::{Input, Operator, RECORDS_AT_ONCE, place::Position},
    record::{Cell, Event, Known, Record, Target},
    state::{About, Snapshot},
};

const CONFIG: &str = "kafka.brokers = 'b'\nkafka.group = 'g'\ninput.topic = 'i'\noutput.topic = 'o'\n\
                      target.fields = ['y']\ntarget.wait = '30d'\nlearn.warmup = 1024\nlearn.batch = 256\n\
                      model.hidden = [32, 32]\nscore.shortfall = []";
/// Events of a turn, …
const EVENTS: usize = 4_096;
/// … of which the quickest counts: what else the machine does adds to the others.
const TURNS: usize = 7;
const SECOND_US: i64 = 1_000_000;

/// What there is so much of.
#[derive(Debug, Clone, Copy)]
struct Size {
    hidden: usize,
    features: usize,
    thresholds: usize,
    quantiles: usize,
    partitions: usize,
    /// How many events wait for their targets.
    waiting: usize,
}

/// The defaults, but for one of them.
const USUAL: Size =
    Size { hidden: 32, features: 14, thresholds: 3, quantiles: 4, partitions: 1, waiting: 1_024 };

impl Size {
    fn config(self) -> Config {
        let list = |n: usize, of: &dyn Fn(f64) -> f64| {
            let items: Vec<String> =
                (0..n).map(|i| format!("{}", of((i as f64 + 1.0) / (n as f64 + 1.0)))).collect();
            items.join(", ")
        };
        let mut sets = vec![
            format!("model.hidden=[{0}, {0}]", self.hidden),
            format!("score.exceed=[{}]", list(self.thresholds, &|share| 6.0 * share - 3.0)),
            format!("score.quantiles=[{}]", list(self.quantiles, &|share| share)),
        ];
        sets.extend((0..self.features).map(|nth| format!("features.x{nth}=number")));
        Config::from_parts(CONFIG, "growth.toml", &sets, std::iter::empty()).expect("it is right")
    }

    fn event(self, nth: usize) -> Event {
        let mut draws = Draws::new(5, 0, nth);
        let features: Box<[Cell]> = (0..self.features).map(|_| Cell::Number(draws.normal())).collect();
        let first = if let Some(Cell::Number(x)) = features.first() { *x } else { 0.0 };
        let time_us = nth as i64 * SECOND_US;
        let target = Target {
            values: [first + draws.normal()].into(),
            known: Known::At(time_us + self.waiting as i64 * SECOND_US),
        };
        Event {
            partition: (nth % self.partitions) as i32,
            offset: (nth / self.partitions) as i64,
            time_us,
            ..Event::bare(features, Some(target))
        }
    }
}

/// What one size costs.
struct Cost {
    microseconds: f64,
    state_bytes: usize,
    /// To take the state out, in milliseconds.
    state_ms: f64,
}

fn cost(size: Size) -> Cost {
    let config = size.config();
    let starts = (0..size.partitions as i32).map(|partition| (partition, Position::at(0)));
    let mut operator = Operator::new(&config, starts.collect());
    let mut next = 0;
    let mut actions = Vec::new();
    let mut take = |operator: &mut Operator, count: usize| {
        // Made before the clock runs.
        let records: Vec<Record> = (next..next + count).map(|nth| size.event(nth).into()).collect();
        next += count;
        let begun = Instant::now();
        let mut records = records.into_iter();
        while records.len() > 0 {
            for record in records.by_ref().take(RECORDS_AT_ONCE) {
                operator.push(Input::Record(record));
            }
            while operator.take_next(&mut actions).is_some() {}
            operator.complete(&actions);
            actions.clear();
        }
        drop(operator.take_order());
        begun.elapsed().as_secs_f64()
    };
    // Until as many wait as are to wait, and the net is believed.
    take(&mut operator, size.waiting + 8 * EVENTS);
    let seconds = (0..TURNS).map(|_| take(&mut operator, EVENTS)).fold(f64::INFINITY, f64::min);
    let begun = Instant::now();
    let snapshot = Snapshot { about: About::new(&config, 1, 0), operator: operator.saved() };
    let state_bytes = snapshot.to_bytes().len();
    Cost {
        microseconds: 1e6 * seconds / EVENTS as f64,
        state_bytes,
        state_ms: 1e3 * begun.elapsed().as_secs_f64(),
    }
}

/// A row: sizes, what they are in numbers, and their costs.
fn row(name: &str, sizes: impl IntoIterator<Item = (f64, Size)>) {
    let costs: Vec<(f64, Cost)> = sizes.into_iter().map(|(number, size)| (number, cost(size))).collect();
    let slope = |of: &dyn Fn(&Cost) -> f64| {
        let [(from, low), (to, high)] = &costs[costs.len() - 2..] else { unreachable!("two sizes at least") };
        (of(high) / of(low)).ln() / (to / from).ln()
    };
    let events = |cost: &Cost| cost.microseconds;
    let told: Vec<String> =
        costs.iter().map(|(number, cost)| format!("{number}: {:.2}", cost.microseconds)).collect();
    println!("| {name} | {} | {:.2} |", told.join(", "), slope(&events));
    let state = |cost: &Cost| cost.state_bytes as f64;
    if slope(&state) > 0.01 {
        let told: Vec<String> = costs
            .iter()
            .map(|(number, cost)| {
                format!("{number}: {:.0} KiB in {:.1} ms", cost.state_bytes as f64 / 1024.0, cost.state_ms)
            })
            .collect();
        println!("| … the saved state | {} | {:.2} |", told.join(", "), slope(&state));
    }
}

fn main() {
    println!("| of so many | µs an event, scored and learned from | slope |\n| --- | --- | ---: |");
    let with = |change: &dyn Fn(&mut Size, usize), values: &[usize]| -> Vec<(f64, Size)> {
        let sized = |&value: &usize| {
            let mut size = USUAL;
            change(&mut size, value);
            (value as f64, size)
        };
        values.iter().map(sized).collect()
    };
    // Between two layers of n lie n² weights.
    let squared = |(hidden, size): (f64, Size)| (hidden * hidden, size);
    let hidden = with(&|size, n| size.hidden = n, &[16, 32, 64, 128]);
    row("weights between hidden layers", hidden.into_iter().map(squared));
    row("features", with(&|size, n| size.features = n, &[7, 14, 28, 56]));
    row("thresholds", with(&|size, n| size.thresholds = n, &[1, 4, 16, 64]));
    row("quantiles", with(&|size, n| size.quantiles = n, &[1, 4, 16, 64]));
    row("partitions", with(&|size, n| size.partitions = n, &[1, 4, 16, 64]));
    row("waiting events", with(&|size, n| size.waiting = n, &[1 << 10, 1 << 13, 1 << 16, 1 << 19]));
}
