//! The model: features to inputs, the net, and its training.

use std::sync::Arc;

use crate::{
    config::{Calibrate, Config, Support},
    density::{Densities, Density, Learnable},
    record::Event,
};

mod activation;
pub mod backprop;
pub mod baseline;
pub mod calibrator;
pub mod inputs;
pub mod learner;
pub mod net;
pub mod noise;
pub mod normaliser;
pub mod optimizer;
pub mod recent;
mod rescale;
pub mod saved;
pub mod standardiser;
pub mod twin;
pub mod vocabulary;

use baseline::Baseline;
use calibrator::Calibrator;
use inputs::{Inputs, Row};
use learner::{Learner, Step, Taken};
use net::{Shape, Workspace};
use noise::Draws;
use normaliser::Normaliser;
use recent::Recent;
use saved::{Labelled, Misfit, SavedModel};
use standardiser::{Reach, Standardiser};

/// Which life of the model this is: 1 until a model starts anew where another one was.
pub const FIRST_EPOCH: u32 = 1;

/// Maps events to distributions, and learns to.
///
/// A distribution is a row of float32: the density's parameters, then center and scale of the target. Every
/// published figure is a function of that row.
pub struct Model {
    density: Arc<dyn Learnable>,
    /// Of one target.
    baseline: Option<Baseline>,
    /// Where the config asks for one.
    calibrator: Option<Calibrator>,
    num_params: usize,
    shape: Shape,
    inputs: Inputs,
    support: Support,
    /// What the target is rounded to, in its own unit.
    step: Option<f64>,
    /// One a target field; none during the warm-up.
    targets: Vec<Standardiser>,
    learner: Learner,
    /// SGD steps a mini-batch.
    steps: usize,
    /// What steps after a mini-batch's first are taken on.
    recent: Recent,
    seed: u64,
    row: Row,
    workspace: Workspace,
    batch: Batch,
}

/// Space for what a step learns from.
#[derive(Default)]
struct Batch {
    rows: Vec<Row>,
    /// In normalised units.
    labels: Vec<f64>,
}

/// A target's unit may become any that is likely.
const TARGET_REACH: Reach = Reach { scale: 1e6, center: f64::INFINITY };

/// Which records a step is taken on is drawn from a generator of its own.
const SAMPLE_SEED: u64 = 0x5a_5a_5a_5a;

impl Model {
    /// A model that knows nothing yet.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        let densities = Densities::new(config);
        let density = densities.net.clone();
        let inputs = Inputs::new(&config.features);
        let shape = shape(config, density.as_ref());
        let learner = Learner::new(
            density.clone(),
            shape.clone(),
            config.learn.clone(),
            config.model.seed,
            inputs.number_positions(),
        );
        Self {
            density,
            num_params: num_params(densities.published().as_ref()),
            calibrator: (config.score.calibrate == Calibrate::Online)
                .then(|| Calibrator::new(densities.net, config.target.step)),
            baseline: densities.blend.map(|blend| Baseline::new(blend, densities.baseline, &config.target)),
            shape,
            inputs,
            support: config.target.support,
            step: config.target.step,
            targets: Vec::new(),
            learner,
            steps: config.learn.steps,
            recent: Recent::default(),
            seed: config.model.seed,
            row: Row::default(),
            workspace: Workspace::default(),
            batch: Batch::default(),
        }
    }

    /// Everything that its next distribution and its next step depend on.
    #[must_use]
    pub fn saved(&self) -> SavedModel {
        SavedModel {
            features: self.inputs.saved(),
            targets: self.targets.clone(),
            learner: self.learner.saved(),
            baseline: self.baseline.as_ref().map(Baseline::saved),
            calibrator: self.calibrator.as_ref().map(Calibrator::saved),
            recent: self.recent.iter().map(Labelled::of).collect(),
        }
    }

    /// Goes on from what was saved; for a model that knows nothing yet.
    ///
    /// # Errors
    /// When it is not finite, or another config's; then the model is of no more use.
    pub fn restore(&mut self, saved: SavedModel) -> Result<(), Misfit> {
        if !saved.targets.iter().all(Standardiser::is_valid) {
            return Err(Misfit::new("center or scale of the target is not a finite number"));
        }
        if ![0, self.density.dim()].contains(&saved.targets.len()) {
            return Err(Misfit::new(format!(
                "it has {} targets where this config has {}",
                saved.targets.len(),
                self.density.dim()
            )));
        }
        self.inputs.restore(saved.features)?;
        self.learner.restore(saved.learner)?;
        match (&mut self.baseline, saved.baseline) {
            (Some(baseline), Some(saved)) => baseline.restore(saved)?,
            (None, None) => {}
            _ => {
                return Err(Misfit::new(
                    "it has a baseline where this config has none, or none where it has one",
                ));
            }
        }
        // One that begins, or ends, with the config is no misfit.
        if let (Some(calibrator), Some(saved)) = (&mut self.calibrator, saved.calibrator) {
            calibrator.restore(saved)?;
        }
        self.targets = saved.targets;
        if self.steps > 1 {
            let recent: Vec<Arc<Event>> = saved.recent.into_iter().map(Labelled::into_event).collect();
            self.recent.add(&recent);
        }
        Ok(())
    }

    /// The length of a distribution's row.
    #[must_use]
    pub fn num_params(&self) -> usize {
        self.num_params
    }

    /// How many fields a target has.
    #[must_use]
    pub fn dim(&self) -> usize {
        self.density.dim()
    }

    /// SGD steps taken.
    #[must_use]
    pub fn updates(&self) -> u64 {
        self.learner.updates()
    }

    /// Whether the normalisers are set and the net scores.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        !self.targets.is_empty()
    }

    /// What the model knows of features and their values.
    #[must_use]
    pub fn inputs(&self) -> &Inputs {
        &self.inputs
    }

    /// The event's distribution: during the warm-up that of one target's baseline, and empty where there is none.
    #[must_use]
    pub fn distribution(&mut self, event: &Event) -> Box<[f32]> {
        let is_ready = self.is_ready();
        let baseline = self.baseline.as_ref().filter(|baseline| baseline.is_ready());
        if !is_ready && baseline.is_none() {
            return Box::default();
        }
        let mut params = vec![0.0; self.num_params];
        let (density, units) = params.split_at_mut(self.num_params - 2 * self.density.dim());
        let (outputs, rest) = density.split_at_mut(self.shape.num_outputs());
        if is_ready {
            self.inputs.encode(event, &mut self.row);
            self.shape.forward(self.learner.weights(), &self.row, outputs, &mut self.workspace);
        }
        if let Some(baseline) = &self.baseline {
            let (of_calibrator, of_baseline) = rest.split_at_mut(rest.len() - baseline.num_written());
            baseline.write(self.targets.first().map(Standardiser::normaliser), of_baseline);
            if let Some(calibrator) = &self.calibrator {
                calibrator.write(of_calibrator);
            }
        }
        let of_targets = self.targets.iter().map(Standardiser::normaliser);
        let of_baseline = baseline.filter(|_| !is_ready).map(Baseline::unit);
        for (pair, unit) in units.chunks_exact_mut(2).zip(of_targets.chain(of_baseline)) {
            pair.copy_from_slice(&[unit.center as f32, unit.scale as f32]);
        }
        params.into()
    }

    /// Features whose categories were not known, of the event whose distribution was asked for last; none during the warm-up.
    pub fn unknown_features(&self) -> impl Iterator<Item = usize> {
        self.is_ready().then(|| self.inputs.unknown(&self.row)).into_iter().flatten()
    }

    /// Whether a net has a part in this distribution, which it has none in during the warm-up.
    #[must_use]
    pub fn is_of_net(&self, params: &[f32]) -> bool {
        let Some((density, _)) = params.split_last_chunk::<2>() else { return false };
        self.baseline.as_ref().is_none_or(|baseline| baseline.has_net(density))
    }

    /// Takes note of a target. Where its event was given a distribution by this model, `judged` are the parameters of that and the log
    /// scores of its parts.
    pub fn judge(&mut self, event: &Event, judged: Option<(&[f32], [f64; 2])>) {
        let Some(baseline) = &mut self.baseline else { return };
        let y = label(event)[0];
        if let Some((params, log_scores)) = judged {
            baseline.judge(log_scores);
            // A net that is not believed, as after a break, is to be learned anew, not to be calibrated.
            if let Some(calibrator) = &mut self.calibrator
                && let Some((density, &[center, scale])) = params.split_last_chunk()
                && baseline.is_mostly_net(density)
            {
                let unit = Normaliser { center: f64::from(center), scale: f64::from(scale) };
                calibrator.learn(density, &unit, y);
            }
        }
        baseline.learn(y);
    }

    /// Ends the warm-up: sets the normalisers from these labelled events.
    pub fn fit(&mut self, events: &[Arc<Event>]) {
        self.inputs.fit(events.iter().map(Arc::as_ref));
        let fit = |axis: usize| {
            let mut values: Vec<f64> = events.iter().map(|event| label(event)[axis]).collect();
            Standardiser::fit(&mut values, self.support)
        };
        self.targets = (0..self.density.dim()).map(fit).collect();
        let targets: Vec<f64> = events.iter().flat_map(|event| normalised(&self.targets, event)).collect();
        self.learner.begin(&self.density.initial(&targets));
        if let Some(baseline) = &mut self.baseline {
            baseline.begin_to_share();
        }
    }

    /// Learns from one mini-batch of labelled events, in as many steps as `learn.steps` says, the first of which is on it alone. Losses
    /// are in nats, of a density in the target's own unit.
    ///
    /// # Panics
    /// During the warm-up: there are no inputs to learn from yet.
    pub fn learn(&mut self, batch: &[Arc<Event>]) -> Vec<Step> {
        assert!(self.is_ready(), "learning begins when the warm-up has ended");
        self.learner.count(batch.len());
        // What is noted of events on the way changes no unit before the steps are taken.
        self.batch.take(batch, &self.targets, |event, row| self.inputs.learn(event, row));
        for event in batch {
            self.targets.iter_mut().zip(label(event)).for_each(|(target, &y)| target.follow(y));
        }
        let mut steps = vec![self.take_step()];
        let is_skipped = matches!(steps[0].taken, Taken::Skipped(_));
        if self.steps > 1 && !is_skipped {
            self.recent.add(batch);
            for _ in 1..self.steps {
                let mut draws = Draws::new(self.seed ^ SAMPLE_SEED, self.learner.batches(), 0);
                let sample = self.recent.sample(batch.len(), &mut draws);
                self.batch.take(&sample, &self.targets, |event, row| self.inputs.encode(event, row));
                steps.push(self.take_step());
            }
        }
        self.adapt();
        steps
    }

    /// Follows inputs and targets with their units, which changes nothing of what the net computes.
    fn adapt(&mut self) {
        let Self { inputs, learner, targets, density, .. } = self;
        inputs.adapt(|at, rescaling| learner.rescale_input(at, rescaling));
        let Some(unit) = density.unit() else { return };
        let places = unit.locations.into_iter().zip(unit.log_scales);
        for (target, (location, log_scale)) in targets.iter_mut().zip(places) {
            target.adapt(TARGET_REACH, |rescaling| learner.rescale_target([location, log_scale], rescaling));
        }
    }

    /// Takes one step on the events that were taken.
    fn take_step(&mut self) -> Step {
        let Batch { rows, labels } = &mut self.batch;
        let half_step = self.step.map(|step| 0.5 * step / self.targets[0].normaliser().scale);
        let mut step = self.learner.step(rows, labels, half_step);
        // The probability of an interval has no unit.
        if half_step.is_none() {
            step.loss_nats += self.targets.iter().map(|target| target.normaliser().scale.ln()).sum::<f64>();
        }
        step
    }
}

impl Batch {
    /// Takes labelled events, whose inputs `encode` writes.
    fn take(
        &mut self,
        events: &[Arc<Event>],
        targets: &[Standardiser],
        mut encode: impl FnMut(&Event, &mut Row),
    ) {
        let Self { rows, labels } = self;
        labels.clear();
        rows.resize_with(events.len(), Row::default);
        for (event, row) in events.iter().zip(rows) {
            encode(event, row);
            labels.extend(normalised(targets, event));
        }
    }
}

/// The layout of the config's net.
#[must_use]
pub fn shape(config: &Config, density: &dyn Learnable) -> Shape {
    let inputs = Inputs::new(&config.features);
    Shape::new(
        inputs.num_dense(),
        &inputs.category_columns(),
        &config.model.hidden,
        config.model.activation,
        &density.roles(),
    )
}

/// The length of a distribution's row: the density's parameters, then center and scale of each target field.
#[must_use]
pub fn num_params(density: &dyn Density) -> usize {
    density.num_params() + 2 * density.dim()
}

/// The target of a labelled event, one value a field.
fn label(event: &Event) -> &[f64] {
    &event.target.as_ref().expect("only events with a target are learned from").values
}

/// The same in normalised units.
fn normalised<'a>(targets: &'a [Standardiser], event: &'a Event) -> impl Iterator<Item = f64> + 'a {
    targets.iter().zip(label(event)).map(|(target, &y)| target.normaliser().normalise(y))
}
