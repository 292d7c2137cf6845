//! What a training step costs, by its parts, and beside the same step written in tensors: `make bench`.
//!
//! Both learn from the same flights, from the same weights, on one thread; a step begins with inputs and targets in normalised units and
//! ends with the weights that score. Before anything is timed, they have to agree.

#![allow(missing_docs)]

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use tailwater::{
    config::Config,
    density::{Densities, Learnable},
    flights,
    flow::tail::MAX_INDEX,
    model::{
        self,
        backprop::Backprop,
        inputs::{Inputs, Row},
        learner::Learner,
        net::Shape,
        normaliser::Normaliser,
        optimizer::Optimizer,
        twin::Twin,
    },
    record::{Decoder, Event, Message, Record},
};
use tch::{
    Device, Kind, Tensor,
    nn::{self, Module, OptimizerConfig},
};

#[path = "throughput/defaults.rs"]
mod defaults;

use defaults::DEFAULTS;

/// Each of these with each of these.
const BATCHES: [usize; 4] = [8, 32, 128, 256];
const HIDDEN: [usize; 3] = [16, 32, 128];

/// Flights that fit the normalisers and the vocabularies, and as many more to learn from.
const FLIGHTS: usize = 8_192;

/// The flights' config with a net of two layers of this size and the flows, the optimiser and the averaged weights of the defaults.
fn config(hidden: usize) -> Config {
    let hidden = format!("model.hidden=[{hidden}, {hidden}]");
    let sets: Vec<String> = DEFAULTS.iter().map(ToString::to_string).chain([hidden]).collect();
    let text = include_str!("../examples/flights.toml");
    Config::from_parts(text, "flights.toml", &sets, std::iter::empty()).expect("the example is right")
}

/// Rows of inputs and targets in normalised units.
struct Data {
    rows: Vec<Row>,
    targets: Vec<f64>,
    half_step: f64,
}

impl Data {
    fn new(config: &Config) -> Self {
        let mut decoder = Decoder::new(config);
        let mut records = Vec::new();
        let flights = flights::json_records().expect("the data is sound").take(2 * FLIGHTS);
        for (offset, json) in flights.enumerate() {
            let json = json.expect("the data is sound");
            let payload = Some(json.as_slice());
            let message =
                Message { partition: 0, offset: offset as i64, timestamp_ms: None, key: None, payload };
            decoder.decode(&message, &mut records);
        }
        let events: Vec<&Event> = records
            .iter()
            .map(|record| match record {
                Record::Event(event) => &**event,
                Record::Reject(_) => panic!("the data is sound"),
            })
            .collect();
        let (first, rest) = events.split_at(FLIGHTS);
        let mut inputs = Inputs::new(&config.features);
        inputs.fit(first.iter().copied());
        first.iter().for_each(|event| inputs.learn(event, &mut Row::default()));
        let label = |event: &Event| event.target.as_ref().expect("its delay is known").values[0];
        let normaliser = Normaliser::fit(&mut first.iter().map(|event| label(event)).collect::<Vec<_>>());
        let row = |event: &&Event| {
            let mut row = Row::default();
            inputs.encode(event, &mut row);
            row
        };
        Self {
            rows: rest.iter().map(row).collect(),
            targets: rest.iter().map(|event| normaliser.normalise(label(event))).collect(),
            half_step: 0.5 * config.target.step.expect("delays are whole minutes") / normaliser.scale,
        }
    }

    /// Mini-batches, again and again.
    fn batches(&self, batch: usize) -> impl Iterator<Item = (&[Row], &[f64])> {
        self.rows.chunks_exact(batch).zip(self.targets.chunks_exact(batch)).cycle()
    }
}

/// What learns in tailwater, and its parts.
struct Ours {
    shape: Shape,
    density: std::sync::Arc<dyn Learnable>,
    learner: Learner,
}

impl Ours {
    fn new(config: &Config) -> Self {
        let density = Densities::new(config).net;
        let shape = model::shape(config, density.as_ref());
        let learner =
            Learner::new(density.clone(), shape.clone(), config.learn.clone(), config.model.seed, vec![]);
        Self { shape, density, learner }
    }
}

/// The same in tensors, as one would write it with `tch`.
struct Reference {
    embeddings: Vec<nn::Embedding>,
    layers: Vec<nn::Linear>,
    linear: Tensor,
    location: i64,
    average: Vec<Tensor>,
    keep: f64,
    steps: f64,
    clip: f64,
    optimizer: nn::Optimizer,
    _variables: nn::VarStore,
}

impl Reference {
    /// With the weights of `shape` in it.
    fn new(config: &Config, shape: &Shape, weights: &[f32]) -> Self {
        tch::set_num_threads(1);
        let variables = nn::VarStore::new(Device::Cpu);
        let root = variables.root();
        let take = |range: std::ops::Range<usize>, rows: usize| {
            Tensor::from_slice(&weights[range.clone()]).reshape([rows as i64, (range.len() / rows) as i64])
        };
        let set = |mut to: Tensor, from: &Tensor| tch::no_grad(|| to.copy_(from));
        let first = &shape.layers()[0];
        let columns = Inputs::new(&config.features).category_columns();
        let matrix = take(first.weights.clone(), first.inputs);
        let mut at = shape.num_dense() as i64;
        let mut embeddings = vec![];
        for count in columns {
            let count = count as i64;
            let embedding = nn::embedding(&root, count, first.outputs as i64, Default::default());
            set(embedding.ws.shallow_clone(), &matrix.narrow(0, at, count));
            embeddings.push(embedding);
            at += count;
        }
        let mut layers = vec![];
        for (nth, layer) in shape.layers().iter().enumerate() {
            let inputs = if nth == 0 { shape.num_dense() } else { layer.inputs };
            let linear = nn::linear(&root, inputs as i64, layer.outputs as i64, Default::default());
            let matrix = take(layer.weights.clone(), layer.inputs).narrow(0, 0, inputs as i64);
            set(linear.ws.shallow_clone(), &matrix.tr());
            set(
                linear.bs.as_ref().expect("a bias").shallow_clone(),
                &take(layer.bias.clone(), 1).squeeze_dim(0),
            );
            layers.push(linear);
        }
        let linear = root.zeros("linear", &[shape.num_dense() as i64, 1]);
        let &[location] = shape.locations() else { panic!("one target has one location") };
        let learn = &config.learn;
        let mut adam = nn::adam(learn.momentum, 0.999, 0.0).build(&variables, learn.rate).expect("it builds");
        adam.zero_grad();
        let average = adam.trainable_variables().iter().map(|variable| variable.detach().copy()).collect();
        Self {
            embeddings,
            layers,
            linear,
            location: location as i64,
            average,
            keep: learn.average,
            steps: 0.0,
            clip: learn.clip,
            optimizer: adam,
            _variables: variables,
        }
    }

    /// Density parameters, rows × parameters.
    fn forward(&self, dense: &Tensor, categories: &Tensor) -> Tensor {
        let squashed = dense.clamp(-3.0, 3.0) + (dense.abs() - 3.0).relu().log1p() * dense.sign();
        let mut x = self.layers[0].forward(&squashed);
        for (nth, embedding) in self.embeddings.iter().enumerate() {
            x += embedding.forward(&categories.select(1, nth as i64));
        }
        for layer in &self.layers[1..] {
            x = layer.forward(&x.tanh());
        }
        let location = x.select(1, self.location) + dense.matmul(&self.linear).squeeze_dim(1);
        x.select_scatter(&location, 1, self.location)
    }

    /// One step; its loss.
    fn step(&mut self, rows: &[Row], targets: &[f64], half_step: f64) -> f64 {
        let flat: Vec<f32> = rows.iter().flat_map(|row| &row.dense).copied().collect();
        let dense = Tensor::from_slice(&flat).view([rows.len() as i64, -1]);
        let flat: Vec<i64> =
            rows.iter().flat_map(|row| &row.categories).map(|&number| i64::from(number)).collect();
        let categories = Tensor::from_slice(&flat).view([rows.len() as i64, -1]);
        let targets = Tensor::from_slice(targets).to_kind(Kind::Float);

        let params = self.forward(&dense, &categories);
        let (low, high) =
            (to_base(&params, &(&targets - half_step)), to_base(&params, &(&targets + half_step)));
        let loss: Tensor = -log_interval(&low, &high).mean(Kind::Float);
        let told = f64::try_from(&loss).expect("a number");
        if told.is_finite() {
            self.optimizer.backward_step_clip_norm(&loss, self.clip);
            self.steps += 1.0;
            let keep = self.keep.min(self.steps / (self.steps + 9.0));
            tch::no_grad(|| {
                for (average, variable) in self.average.iter_mut().zip(self.optimizer.trainable_variables()) {
                    drop(average.lerp_(&variable, 1.0 - keep));
                }
            });
        }
        told
    }
}

/// The image of targets under four radial flows and a tail, parameters in the order of tailwater's.
fn to_base(params: &Tensor, y: &Tensor) -> Tensor {
    let param = |nth: i64| params.select(1, nth);
    // The tail: the last layer, and the nearest to the data.
    let a = (y - param(12)) * (-param(13)).exp();
    let index = param(15).where_self(&a.ge(0.0), &param(14)).sigmoid() * MAX_INDEX;
    let w = a.abs();
    let mut z = ((&index * &w * &w).log1p() / index).sqrt() * a.sign();
    for layer in (0..4).rev() {
        let alpha = param(3 * layer).softplus() + 1e-2;
        let beta = param(3 * layer + 1).softplus() + 1e-3 - 1.0;
        let offset = &z - param(3 * layer + 2);
        z = &z + &alpha * beta * &offset / (alpha + offset.abs());
    }
    z
}

/// log[Φ(b) − Φ(a)], in the half where both are small.
fn log_interval(a: &Tensor, b: &Tensor) -> Tensor {
    let is_upper = a.gt(0.0);
    let (low, high) = ((-b).where_self(&is_upper, a), (-a).where_self(&is_upper, b));
    let log_cdf = high.special_log_ndtr();
    let ratio = low.special_log_ndtr() - &log_cdf;
    log_cdf + (-ratio.exp()).log1p()
}

/// Panics unless both learn the same.
fn check(data: &Data, config: &Config) {
    let mut ours = Ours::new(config);
    let mut reference = Reference::new(config, &ours.shape, &ours.learner.saved().trained);
    for (rows, targets) in data.batches(256).take(20) {
        let (mut own_rows, mut own_targets) = (rows.to_vec(), targets.to_vec());
        let told = ours.learner.step(&mut own_rows, &mut own_targets, Some(data.half_step)).loss_nats;
        let expected = reference.step(rows, targets, data.half_step);
        assert!((told - expected).abs() < 2e-3, "the losses are {told} and {expected}");
    }
}

/// Seconds a step of each, in the quickest of the turns that they take: what else the machine does adds to the others.
fn compare(data: &Data, hidden: usize, batch: usize) -> [f64; 2] {
    const TURNS: usize = 15;
    let config = config(hidden);
    let mut ours = Ours::new(&config);
    let mut reference = Reference::new(&config, &ours.shape, &ours.learner.saved().trained);
    let steps = 8_192 / batch.max(32);
    let (mut rows, mut targets) = (data.rows.clone(), data.targets.clone());
    let mut their_batches = data.batches(batch);
    let mut seconds = [vec![], vec![]];
    for turn in 0..TURNS {
        let start = Instant::now();
        for nth in turn * steps..(turn + 1) * steps {
            let own = nth % (rows.len() / batch) * batch;
            let (rows, targets) = (&mut rows[own..][..batch], &mut targets[own..][..batch]);
            black_box(ours.learner.step(rows, targets, Some(data.half_step)));
        }
        seconds[0].push(start.elapsed().as_secs_f64() / steps as f64);
        let start = Instant::now();
        for (rows, targets) in their_batches.by_ref().take(steps) {
            black_box(reference.step(rows, targets, data.half_step));
        }
        seconds[1].push(start.elapsed().as_secs_f64() / steps as f64);
    }
    seconds.map(|turns| turns.into_iter().fold(f64::INFINITY, f64::min))
}

/// The table of both, and how many times as long the reference takes.
fn ratios(_: &mut Criterion) {
    let data = Data::new(&config(32));
    check(&data, &config(32));
    println!("hidden   batch   tailwater   in tensors   ratio");
    for hidden in HIDDEN {
        for batch in BATCHES {
            let [ours, theirs] = compare(&data, hidden, batch).map(|seconds| 1e6 * seconds);
            println!("{hidden:>6}{batch:>8}{ours:>9.0} µs{theirs:>10.0} µs{:>7.1}x", theirs / ours);
        }
    }
}

/// What a step is made of.
fn parts(c: &mut Criterion) {
    for batch in [128, 256] {
        let config = config(32);
        let data = Data::new(&config);
        let Ours { shape, density, mut learner } = Ours::new(&config);
        let mut group = c.benchmark_group("step");
        group
            .throughput(Throughput::Elements(batch as u64))
            .warm_up_time(Duration::from_millis(500))
            .measurement_time(Duration::from_secs(2));
        let mut batches = data.batches(batch);
        group.bench_function(BenchmarkId::new("whole", batch), |b| {
            b.iter_batched(
                || {
                    let (rows, targets) = batches.next().expect("it cycles");
                    (rows.to_vec(), targets.to_vec())
                },
                |(mut rows, mut targets)| {
                    learner.step(&mut rows, &mut targets, Some(data.half_step));
                    (rows, targets)
                },
                BatchSize::SmallInput,
            );
        });

        let mut weights = learner.saved().trained;
        let mut backprop = Backprop::new(shape.clone());
        let mut twin = Twin::new(shape);
        let (rows, targets) = data.batches(batch).next().expect("it cycles");
        let mut outputs = vec![];
        backprop.run(&weights, rows, |told, _| outputs = told.to_vec());
        group.bench_function(BenchmarkId::new("net, forward and backward", batch), |b| {
            b.iter(|| backprop.run(black_box(&weights), rows, |told, grad| grad.copy_from_slice(told)));
        });
        group.bench_function(BenchmarkId::new("the same by libtorch", batch), |b| {
            b.iter(|| {
                let gradient =
                    twin.gradient(black_box(&weights), rows, |told, grad| grad.copy_from_slice(told));
                gradient.expect("it computes").len()
            });
        });

        let mut ws = density.workspace();
        let mut grads = vec![0.0; outputs.len()];
        group.bench_function(BenchmarkId::new("density, value and gradient", batch), |b| {
            b.iter(|| {
                density.log_likelihood_grads(
                    &outputs,
                    targets,
                    Some(data.half_step),
                    1.0,
                    &mut grads,
                    &mut ws,
                )
            });
        });

        let gradient = vec![1e-3; weights.len()];
        let learn = &config.learn;
        let mut optimizer = Optimizer::new(learn.optimizer, learn.rate, learn.momentum, weights.len(), 0..0);
        group.bench_function(BenchmarkId::new("optimiser", batch), |b| {
            b.iter(|| optimizer.step(&mut weights, black_box(&gradient)));
        });
        group.finish();
    }
}

criterion_group!(benches, ratios, parts);
criterion_main!(benches);
