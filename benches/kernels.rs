//! What each kernel takes, beside what the machine's arithmetic or memory would allow: `make bench`.
//!
//! The bound of arithmetic is the time that as many fused multiply-adds take at the most that one core was seen to do of them, in vectors, from
//! registers; that of memory the time to copy as many bytes that lie in no cache. Operations are counted in the code: each product, sum and comparison as one, and a quotient
//! or a root as eight, which is about what they keep a core's multipliers waiting.

#![allow(missing_docs)]

use std::{hint::black_box, time::Instant};

use tailwater::{
    config::Config,
    density::Densities,
    flights,
    math::vector::Loops,
    model::{
        self,
        backprop::Backprop,
        inputs::Row,
        net::{Shape, Workspace},
        noise::Draws,
    },
    record::{Decoder, Event, Message},
    score::figures::{Figures, Query},
};

#[path = "throughput/defaults.rs"]
mod defaults;

use defaults::DEFAULTS;

/// Rows of a mini-batch, and of a block of scores.
const ROWS: usize = 256;
const BLOCK: usize = 64;

/// Operations of the elementary functions in `math::vector`, of one number each.
const EXP: f64 = 22.0;
const LN_1P: f64 = 42.0;
const MILLS: f64 = 34.0;
const SOFTPLUS: f64 = EXP + LN_1P + 10.0;
const SF: f64 = EXP + MILLS + 4.0;
/// Of the layers, of one point each: to the base, to the data, the slope.
const RADIAL: [f64; 3] = [14.0, 38.0, 14.0];
const TAIL: [f64; 3] = [LN_1P + 24.0, EXP + 28.0, LN_1P + 34.0];
/// Four radial layers and a tail, and a tail alone, of a row of parameters.
const PREPARE: f64 = 8.0 * SOFTPLUS + PREPARE_TAIL;
const PREPARE_TAIL: f64 = 2.0 * SOFTPLUS + EXP + 8.0;
const RADIALS: f64 = 4.0;

/// Seconds of one call in the quickest of some turns.
fn seconds(mut call: impl FnMut()) -> f64 {
    call();
    let begun = Instant::now();
    call();
    let calls = (0.01 / begun.elapsed().as_secs_f64()).clamp(1.0, 1e6) as usize;
    let turn = |_| {
        let begun = Instant::now();
        (0..calls).for_each(|_| call());
        begun.elapsed().as_secs_f64() / calls as f64
    };
    (0..20).map(turn).fold(f64::INFINITY, f64::min)
}

/// Multiply-adds of numbers that stay in registers, as many at once as keep a core busy.
struct Peak<T>([[T; 16]; 6], usize);

macro_rules! peak {
    ($number:ty) => {
        impl Loops for &mut Peak<$number> {
            #[inline(always)]
            fn call(self) {
                let mut sums = self.0;
                for _ in 0..self.1 {
                    for sums in &mut sums {
                        for sum in sums {
                            *sum = <$number>::mul_add(*sum, 0.999, 1e-3);
                        }
                    }
                }
                self.0 = sums;
            }
        }
    };
}
peak!(f32);
peak!(f64);

/// What one core can do.
struct Machine {
    single_ns: f64,
    double_ns: f64,
    byte_ns: f64,
}

impl Machine {
    fn measure() -> Self {
        const TIMES: usize = 100_000;
        let sums = 16.0 * 6.0 * TIMES as f64;
        let mut single = Peak([[1.0f32; 16]; 6], TIMES);
        let mut double = Peak([[1.0f64; 16]; 6], TIMES);
        let from = vec![1u8; 256 << 20];
        let mut to = vec![0u8; from.len()];
        Self {
            single_ns: 1e9 * seconds(|| black_box(&mut single).run()) / sums,
            double_ns: 1e9 * seconds(|| black_box(&mut double).run()) / sums,
            byte_ns: 1e9 * seconds(|| black_box(&mut to).copy_from_slice(black_box(&from)))
                / from.len() as f64,
        }
    }
}

fn row(name: &str, of: &str, took_ns: f64, bound_ns: f64) {
    println!("| {name} | {of} | {took_ns:.0} | {bound_ns:.0} | {:.1} |", took_ns / bound_ns);
}

fn main() {
    let sets: Vec<String> =
        DEFAULTS.iter().copied().chain(["model.hidden=[32,32]"]).map(str::to_owned).collect();
    let text = include_str!("../examples/flights.toml");
    let config = Config::from_parts(text, "flights.toml", &sets, std::iter::empty()).expect("it is right");
    let machine = Machine::measure();
    println!(
        "one core: {:.1} and {:.1} thousand million multiply-adds a second in single and double precision, {:.1} GB/s copied\n",
        machine.single_ns.recip(),
        machine.double_ns.recip(),
        machine.byte_ns.recip()
    );
    println!("| kernel | of | ns | bound, ns | times |\n| --- | --- | ---: | ---: | ---: |");
    net(&config, &machine);
    density(&config, &machine);
    records(&config, &machine);
}

fn net(config: &Config, machine: &Machine) {
    let densities = Densities::new(config);
    let shape: Shape = model::shape(config, densities.net.as_ref());
    let weights = shape.initial_weights(1, &densities.net.initial(&[]));
    let mut draws = Draws::new(1, 1, 0);
    let num_categories = config.features.len() - shape.num_dense() / 2;
    let rows: Vec<Row> = (0..ROWS as u32)
        .map(|nth| Row {
            dense: (0..shape.num_dense()).map(|_| draws.normal() as f32).collect(),
            categories: vec![nth % 8; num_categories],
        })
        .collect();
    let inputs = |nth: usize, inputs: usize| if nth == 0 { shape.num_dense() } else { inputs };
    let products: usize =
        shape.layers().iter().enumerate().map(|(nth, layer)| inputs(nth, layer.inputs) * layer.outputs).sum();
    let first = shape.num_dense() * shape.layers()[0].outputs;
    let (mut out, mut workspace) = (vec![0.0; shape.num_outputs()], Workspace::default());
    let took = seconds(|| {
        for row in &rows {
            shape.forward(&weights, black_box(row), &mut out, &mut workspace);
        }
    });
    let per_row_ns = |seconds: f64| 1e9 * seconds / ROWS as f64;
    row("net forward", "an event", per_row_ns(took), products as f64 * machine.single_ns);
    let mut backprop = Backprop::new(shape.clone());
    let took =
        seconds(|| backprop.run(&weights, black_box(&rows), |outputs, grads| grads.copy_from_slice(outputs)));
    // Forward, to the weights, and to what a layer takes, but for the first.
    let all = (3 * products - first) as f64;
    row("net gradient", "an event of a batch of 256", per_row_ns(took), all * machine.single_ns);
}

fn density(config: &Config, machine: &Machine) {
    let densities = Densities::new(config);
    let (net, mut ws) = (&densities.net, densities.net.workspace());
    let bent = |seed: u64| {
        let mut draws = Draws::new(seed, 1, 0);
        net.initial(&[]).into_iter().map(move |param| param + 0.5 * draws.normal() as f32)
    };
    let params: Vec<f32> = (0..ROWS as u64).flat_map(bent).collect();
    let targets: Vec<f64> = (0..ROWS).map(|nth| Draws::new(3, 2, nth).normal()).collect();
    let mut grads = vec![0.0; params.len()];
    let took = seconds(|| {
        black_box(net.log_likelihood_grads(
            &params,
            black_box(&targets),
            Some(0.1),
            1.0,
            &mut grads,
            &mut ws,
        ));
    });
    // Both ends of an interval there, its mass, and back.
    let there = RADIALS * RADIAL[0] + TAIL[0];
    let back = RADIALS * 32.0 + LN_1P + 70.0;
    let mass = 2.0 * MILLS + 6.0 * EXP + 30.0;
    let bound = (PREPARE + 2.0 * (there + back) + mass) * machine.double_ns;
    row("flow gradient", "an event of a batch of 256", 1e9 * took / ROWS as f64, bound);

    let mut figures = Figures::new(config, densities.published());
    let rows: Vec<Vec<f32>> = (0..BLOCK as u64)
        .map(|seed| {
            let own = [1e-9_f32.ln(), 0.0, 1.0, 0.0, 1.0];
            bent(seed).chain(densities.baseline.initial(&[])).chain(own).collect()
        })
        .collect();
    let event = Event::bare([].into(), None);
    let asked: Vec<_> = rows.iter().map(|params| Query { params, event: &event, judges: false }).collect();
    let took = seconds(|| drop(black_box(figures.evaluate(black_box(&asked)))));
    let (thresholds, levels) = (config.score.exceed.len() as f64, config.score.quantiles.len() as f64);
    let own = TAIL[0] + SF + 12.0;
    let exceed = there + SF + own;
    let quantile = RADIALS * (RADIAL[1] + RADIAL[2]) + TAIL[1] + TAIL[2] + own;
    let bound = (PREPARE + PREPARE_TAIL + thresholds * exceed + levels * quantile) * machine.double_ns;
    row("figures", "an event of a block of 64", 1e9 * took / BLOCK as f64, bound);
}

fn records(config: &Config, machine: &Machine) {
    let flights: Vec<Vec<u8>> = flights::json_records()
        .expect("the data is sound")
        .take(ROWS)
        .map(|json| json.expect("a flight"))
        .collect();
    let num_bytes: usize = flights.iter().map(Vec::len).sum();
    let (mut decoder, mut records) = (Decoder::new(config), Vec::new());
    let took = seconds(|| {
        records.clear();
        for (offset, json) in flights.iter().enumerate() {
            let payload = Some(json.as_slice());
            let message =
                Message { partition: 0, offset: offset as i64, timestamp_ms: None, key: None, payload };
            decoder.decode(black_box(&message), &mut records);
        }
    });
    let bound = num_bytes as f64 / ROWS as f64 * machine.byte_ns;
    row("decoding JSON", "a flight", 1e9 * took / ROWS as f64, bound);
}
