//! Two moons, turned by a feature: a joint density of two targets that is not like any Gaussian, learned from a stream and drawn
//! at four angles.
//!
//! ```text
//! cargo run --release --example two_moons -- [EVENTS [FILE]]
//! ```
//!
//! It tells the log score against the truth's as it learns, and writes the learned densities as an SVG (`two-moons.svg`).

use std::{error::Error, f64::consts::PI, sync::Arc};

use plotters::prelude::*;
use tailwater::{
    config::Config,
    density::Densities,
    math::normal,
    model::{Model, noise::Draws},
    record::{Cell, Event, Known, Target},
};

const CONFIG: &str = r#"
[kafka]
brokers = "none"
group = "two-moons"
[input]
topic = "moons"
[features]
cos = "number"
sin = "number"
[target]
fields = ["a", "b"]
[model]
hidden = [64, 64]
[learn]
batch = 128
rate = 3e-3
average = 0.99
[output]
topic = "scores"
"#;
/// Interleaved arcs want many bends.
const NUM_RADIAL: usize = 20;
/// How far points lie beside their arc.
const WIDTH: f64 = 0.1;
/// Events between two lines of progress.
const TOLD_EVERY: usize = 100_000;

/// The arcs before they are turned: a place on the upper one for t in (0, π), and the same of the lower.
fn arc(is_lower: bool, t: f64) -> [f64; 2] {
    if is_lower { [1.0 - t.cos() - 0.5, 0.25 - t.sin()] } else { [t.cos() - 0.5, t.sin() - 0.25] }
}

fn turned([a, b]: [f64; 2], angle: f64) -> [f64; 2] {
    [a * angle.cos() - b * angle.sin(), a * angle.sin() + b * angle.cos()]
}

/// log p(y | angle): a mean of the noise's density along both arcs.
fn true_log_density(y: [f64; 2], angle: f64) -> f64 {
    const STEPS: usize = 400;
    let y = turned(y, -angle);
    let mut sum = 0.0;
    for is_lower in [false, true] {
        for step in 0..STEPS {
            let [a, b] = arc(is_lower, PI * (step as f64 + 0.5) / STEPS as f64);
            let noise = |d: f64| normal::log_pdf(d / WIDTH) - WIDTH.ln();
            sum += (noise(y[0] - a) + noise(y[1] - b)).exp();
        }
    }
    (sum / (2 * STEPS) as f64).ln()
}

/// An event with its angle.
fn draw(nth: usize) -> (Event, f64) {
    let mut draws = Draws::new(1, 0, nth);
    let (angle, is_lower, t) = (2.0 * PI * draws.uniform(), draws.uniform() < 0.5, PI * draws.uniform());
    let [a, b] = arc(is_lower, t);
    let place = [a + WIDTH * draws.normal(), b + WIDTH * draws.normal()];
    let target = Target { values: turned(place, angle).to_vec().into(), known: Known::WithEvent };
    (event(angle, Some(target)), angle)
}

fn event(angle: f64, target: Option<Target>) -> Event {
    Event::bare([Cell::Number(angle.cos()), Cell::Number(angle.sin())].into(), target)
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let num_events: usize = arguments.next().map_or(Ok(1_000_000), |text| text.parse())?;
    let file = arguments.next().unwrap_or_else(|| "two-moons.svg".to_owned());
    let flows = format!("model.flows=[{}\"affine\"]", "\"radial\",".repeat(NUM_RADIAL));
    let config = Config::from_parts(CONFIG, "two_moons.toml", &[flows], std::iter::empty())?;
    let densities = Densities::new(&config);
    let density = densities.published();
    let mut workspace = density.workspace();
    let mut model = Model::new(&config);

    // log p(y | angle) as the model has it, in the targets' own units.
    let mut log_density = |model: &mut Model, angle: f64, points: &[[f64; 2]]| -> Vec<f64> {
        let params = model.distribution(&event(angle, None));
        let (own, normalisers) = params.split_at(params.len() - 4);
        density.load(own, &mut workspace);
        let n: Vec<f64> = normalisers.iter().map(|&n| f64::from(n)).collect();
        let at = |y: &[f64; 2]| {
            let normalised = [(y[0] - n[0]) / n[1], (y[1] - n[2]) / n[3]];
            density.log_density(&normalised, &mut workspace) - n[1].ln() - n[3].ln()
        };
        points.iter().map(at).collect()
    };

    let warmup: Vec<Arc<Event>> = (0..config.learn.warmup).map(|nth| Arc::new(draw(nth).0)).collect();
    model.fit(&warmup);
    let (mut learned, mut truth, mut count) = (0.0, 0.0, 0.0);
    for begin in (warmup.len()..num_events).step_by(config.learn.batch) {
        let drawn: Vec<(Event, f64)> = (begin..begin + config.learn.batch).map(draw).collect();
        // Test, then train: an event in eight is enough to tell.
        for (event, angle) in drawn.iter().step_by(8) {
            let values =
                event.target.as_ref().map_or([0.0; 2], |target| [target.values[0], target.values[1]]);
            learned += log_density(&mut model, *angle, &[values])[0];
            truth += true_log_density(values, *angle);
            count += 1.0;
        }
        model.learn(&drawn.into_iter().map(|(event, _)| Arc::new(event)).collect::<Vec<_>>());
        if begin / TOLD_EVERY != (begin + config.learn.batch) / TOLD_EVERY {
            let (told, of_truth) = (learned / count, truth / count);
            println!(
                "{:>9} events: log score {told:.3} nats, the truth's {of_truth:.3}",
                begin + config.learn.batch
            );
            (learned, truth, count) = (0.0, 0.0, 0.0);
        }
    }
    plot(&file, |angle, points| log_density(&mut model, angle, points))?;
    println!("the learned densities at 0°, 45°, 90° and 135° are in {file}");
    Ok(())
}

/// Draws the densities as colours, the darker the likelier, and a few points of the truth.
fn plot(file: &str, mut log_density: impl FnMut(f64, &[[f64; 2]]) -> Vec<f64>) -> Result<(), Box<dyn Error>> {
    const CELLS: usize = 80;
    const REACH: f64 = 2.0;
    let root = SVGBackend::new(file, (820, 860)).into_drawing_area();
    root.fill(&WHITE)?;
    for (panel, degrees) in root.split_evenly((2, 2)).iter().zip([0.0, 45.0, 90.0, 135.0]) {
        let angle = f64::to_radians(degrees);
        let mut chart = ChartBuilder::on(panel)
            .caption(format!("p(a, b | turned by {degrees}°)"), ("sans-serif", 18))
            .margin(8)
            .x_label_area_size(24)
            .y_label_area_size(32)
            .build_cartesian_2d(-REACH..REACH, -REACH..REACH)?;
        chart.configure_mesh().disable_mesh().x_labels(5).y_labels(5).draw()?;
        let step = 2.0 * REACH / CELLS as f64;
        let corner = |cell: usize| -REACH + cell as f64 * step;
        let cells: Vec<[f64; 2]> =
            (0..CELLS * CELLS).map(|cell| [corner(cell / CELLS), corner(cell % CELLS)]).collect();
        let middles: Vec<[f64; 2]> = cells.iter().map(|[a, b]| [a + 0.5 * step, b + 0.5 * step]).collect();
        let densities: Vec<f64> = log_density(angle, &middles).into_iter().map(f64::exp).collect();
        let highest = densities.iter().copied().fold(0.0, f64::max);
        let shown = cells.iter().zip(&densities).filter(|(_, density)| **density > 0.01 * highest);
        chart.draw_series(shown.map(|(&[a, b], density)| {
            let light = 1.0 - density / highest;
            let colour =
                RGBColor((235.0 * light) as u8, (60.0 + 180.0 * light) as u8, (120.0 + 130.0 * light) as u8);
            Rectangle::new([(a, b), (a + step, b + step)], colour.filled())
        }))?;
        let points = (0..150).map(|nth| {
            let mut draws = Draws::new(2, 0, nth);
            let [a, b] = arc(draws.uniform() < 0.5, PI * draws.uniform());
            let [a, b] = turned([a + WIDTH * draws.normal(), b + WIDTH * draws.normal()], angle);
            Circle::new((a, b), 1, BLACK.mix(0.6).filled())
        });
        chart.draw_series(points)?;
    }
    root.present()?;
    Ok(())
}
