//! The densities on two small tables with published figures: 80 % of the rows learned in many passes, the rest judged.
//!
//! ```text
//! cargo bench --profile release --bench published -- [SPLITS [PASSES]]
//! ```
//!
//! Data: Boston housing (Harrison & Rubinfeld 1978, as in the R package MASS) and the strength of concrete (Yeh 1998, as in the R
//! package modeldata). Protocol and figures: Rothfuss et al. 2019, arXiv 1907.08982: log-likelihood on the test rows, in the
//! target's own unit.

#![allow(clippy::unwrap_used, missing_docs)]

use std::sync::Arc;

use tailwater::{
    config::Config,
    density::Densities,
    model::{Model, noise::Draws},
    record::{Cell, Event, Known, Target},
};

/// The last column is the target.
const TABLES: [(&str, &str, &str); 2] = [
    ("boston", include_str!("../data/boston.csv"), "mdn -2.49, kmn -2.52, nfn -2.48"),
    ("concrete", include_str!("../data/concrete.csv"), "mdn -2.92, kmn -3.09, nfn -3.03"),
];
const MODELS: [(&str, &str); 4] = [
    ("nfn", "model.kind=nfn"),
    ("affine", r#"model.flows=["radial","radial","radial","radial","affine"]"#),
    ("mdn", "model.kind=mdn"),
    ("kmn", "model.kind=kmn"),
];
/// Without and with noise regularisation: every row is seen many times.
const NOISES: [&str; 3] = ["off", "{ x = 0.1, y = 0.1 }", "{ x = 0.2, y = 0.15 }"];
const BATCH: usize = 64;

fn main() {
    let mut counts = std::env::args().skip(1).filter_map(|argument| argument.parse().ok());
    let (num_seeds, passes) =
        (counts.next().unwrap_or(5u64), counts.next().map_or(500, |passes| passes as usize));
    println!(
        "mean log-likelihood of the test rows over {num_seeds} splits, ± the standard error, after {passes} passes"
    );
    for (name, table, published) in TABLES {
        println!("{name} (published with noise: {published})");
        for (model, key) in MODELS {
            let cell = |noise: &&str| {
                let scores: Vec<f64> =
                    (1..=num_seeds).map(|seed| run(table, key, noise, seed, passes)).collect();
                let n = scores.len() as f64;
                let mean = scores.iter().sum::<f64>() / n;
                let variance =
                    scores.iter().map(|score| (score - mean).powi(2)).sum::<f64>() / (n - 1.0).max(1.0);
                format!("noise {noise}: {mean:.2} ± {:.2}", (variance / n).sqrt())
            };
            println!("  {model:<8}{}", NOISES.iter().map(cell).collect::<Vec<_>>().join("   "));
        }
    }
}

/// Mean log p of the test rows of one split.
fn run(table: &str, key: &str, noise: &str, seed: u64, passes: usize) -> f64 {
    let mut lines = table.lines();
    let names: Vec<&str> = lines.next().unwrap().split(',').collect();
    let (target, features) = names.split_last().unwrap();
    let mut events: Vec<Arc<Event>> = lines.map(|line| Arc::new(event(line))).collect();
    shuffle(&mut events, seed, 0);
    let (train, test) = events.split_at(events.len() * 4 / 5);

    let features: Vec<String> = features.iter().map(|name| format!("{name:?} = \"number\"")).collect();
    let text = format!(
        "kafka.brokers = 'b'\nkafka.group = 'g'\ninput.topic = 'i'\noutput.topic = 'o'\ntarget.fields = [{target:?}]\n\
         learn.batch = {BATCH}\nlearn.noise = {}\nmodel.seed = {seed}\n[features]\n{}",
        if noise.starts_with('{') { noise.to_owned() } else { format!("{noise:?}") },
        features.join("\n"),
    );
    let config = Config::from_parts(&text, "published.toml", &[key.to_owned()], std::iter::empty()).unwrap();
    let densities = Densities::new(&config);
    let mut model = Model::new(&config);
    model.fit(train);
    let mut order = train.to_vec();
    for pass in 1..=passes {
        shuffle(&mut order, seed, pass);
        order.chunks_exact(BATCH).for_each(|batch| {
            model.learn(batch);
        });
    }

    let mut workspace = densities.net.workspace();
    // The net alone: nothing was learned without features.
    let density = densities.net;
    let score = |event: &Arc<Event>| {
        let params = model.distribution(event);
        let (own, target) = params.split_at(params.len() - 2);
        let (center, scale) = (f64::from(target[0]), f64::from(target[1]));
        density.load(&own[..density.num_params()], &mut workspace);
        let y = (event.target.as_ref().unwrap().values[0] - center) / scale;
        density.log_density(&[y], &mut workspace) - scale.ln()
    };
    test.iter().map(score).sum::<f64>() / test.len() as f64
}

fn event(line: &str) -> Event {
    let mut values: Vec<f64> = line.split(',').map(|value| value.parse().unwrap()).collect();
    let target = values.pop().unwrap();
    let target = Target { values: [target].into(), known: Known::WithEvent };
    Event::bare(values.into_iter().map(Cell::Number).collect(), Some(target))
}

/// Fisher and Yates's.
fn shuffle<T>(items: &mut [T], seed: u64, pass: usize) {
    let mut draws = Draws::new(seed, 7, pass);
    for last in (1..items.len()).rev() {
        items.swap(last, (draws.uniform() * (last + 1) as f64) as usize);
    }
}
