//! The operator core on what is judged of a stream of known truth.

use tailwater::{
    density::{self, Densities, Density, Side},
    model::learner::Taken,
    record::Event,
};

use crate::{
    follow::{Seen, config, follow},
    pit,
    streams::{Stream, TAIL_PROBABILITIES, Truth},
};

/// What is compared: a name, and the key that makes it.
pub type Contender = (&'static str, &'static str);
/// The default: four radial flows and a tail.
pub const NFN: Contender = ("nfn", "model.kind=nfn");
pub const SPLINE: Contender = ("spline", r#"model.flows=["spline","tail"]"#);
pub const LAMBERT: Contender = ("lambert", r#"model.flows=["radial","radial","radial","radial","lambert"]"#);
pub const PARETO: Contender = ("pareto", r#"model.flows=["radial","radial","radial","radial","pareto"]"#);
/// Without a tail layer.
pub const AFFINE: Contender = ("affine", r#"model.flows=["radial","radial","radial","radial","affine"]"#);
pub const MDN: Contender = ("mdn", "model.kind=mdn");
pub const KMN: Contender = ("kmn", "model.kind=kmn");
pub const CONTENDERS: [Contender; 7] = [NFN, SPLINE, LAMBERT, PARETO, AFFINE, MDN, KMN];

/// How far what was published is from the truth, over the last events.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// Mean of log p(y|x) − log p̂(y|x), nats.
    pub regret_nats: f64,
    /// Mean of |p̂ − p| / p for each of the tail probabilities, at the truth's own thresholds (where those are rounded, p is what
    /// exceeds them then).
    pub tail_errors: [f64; 3],
    /// Mean of p̂ / p for each of them.
    pub tail_ratios: [f64; 3],
    /// Mean of |q̂ − q| in units of the truth's distance from median to q, for the 0.999 quantile.
    pub quantile_error: f64,
    /// Mean of the effective upper tail index.
    pub tail_index: f64,
    /// Kolmogorov's distance of the PIT from uniform.
    pub pit_distance: f64,
    /// The same within the upper 1 %, relative to it.
    pub pit_tail_distance: f64,
    /// Share of the steps, of the whole run, whose gradient was clipped.
    pub clipped: f64,
}

/// Runs `num_events` of a stream through the operator with these keys set, and judges the last `num_last`.
pub fn run(stream: Stream, seed: u64, sets: &[String], num_events: usize, num_last: usize) -> Report {
    let noise = stream.noise;
    let config = config(stream, sets);
    let published = Densities::new(&config).published();
    let quantiles = TAIL_PROBABILITIES.map(|p| noise.exceeded_with(p));
    let median = noise.exceeded_with(0.5);
    let mut judge = Judge::new(published.as_ref());
    let own = |event: &mut Event, truth: Truth| event.thresholds = quantiles.map(|q| truth.place(q)).into();
    follow(&config, stream, seed, num_events, own, |Seen { offset, scored, truth, target, steps }| {
        for step in steps {
            judge.steps += 1.0;
            judge.clipped += f64::from(u8::from(step.taken == Taken::Clipped));
        }
        if offset + num_last >= num_events {
            let told = &scored.score.realized;
            judge.regret_nats += truth.log_score(target) - told.log_score;
            let spread = truth.place(quantiles[1]) - truth.place(median);
            judge.quantile_error += (scored.score.figures[3] - truth.place(quantiles[1])).abs() / spread;
            let exceeded = quantiles.map(|q| truth.exceeds(truth.place(q)));
            judge.add(&scored.score.figures[..3], exceeded, &scored.score.params, told.pits[0]);
        }
    });
    judge.report()
}

struct Judge<'a> {
    density: &'a dyn Density,
    workspace: density::Workspace,
    regret_nats: f64,
    quantile_error: f64,
    tail_errors: [f64; 3],
    tail_ratios: [f64; 3],
    tail_index: f64,
    pits: Vec<f64>,
    steps: f64,
    clipped: f64,
}

impl<'a> Judge<'a> {
    fn new(density: &'a dyn Density) -> Self {
        Self {
            density,
            workspace: density.workspace(),
            regret_nats: 0.0,
            quantile_error: 0.0,
            tail_errors: [0.0; 3],
            tail_ratios: [0.0; 3],
            tail_index: 0.0,
            pits: Vec::new(),
            steps: 0.0,
            clipped: 0.0,
        }
    }

    fn add(&mut self, exceed: &[f64], truth: [f64; 3], params: &[f32], pit: f64) {
        for (i, (told, p)) in exceed.iter().zip(truth).enumerate() {
            self.tail_errors[i] += (told / p - 1.0).abs();
            self.tail_ratios[i] += told / p;
        }
        // Behind the density's parameters stand center and scale of the target.
        self.density.load(&params[..params.len() - 2], &mut self.workspace);
        self.tail_index += self.density.tail_index(0, Side::Upper, &self.workspace);
        self.pits.push(pit);
    }

    fn report(mut self) -> Report {
        self.pits.sort_by(f64::total_cmp);
        let n = self.pits.len() as f64;
        Report {
            regret_nats: self.regret_nats / n,
            tail_errors: self.tail_errors.map(|sum| sum / n),
            tail_ratios: self.tail_ratios.map(|sum| sum / n),
            quantile_error: self.quantile_error / n,
            tail_index: self.tail_index / n,
            pit_distance: pit::distance(&self.pits),
            pit_tail_distance: pit::tail_distance(&self.pits),
            clipped: self.clipped / self.steps,
        }
    }
}
