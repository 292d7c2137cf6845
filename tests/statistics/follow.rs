//! A stream of known truth through the operator core, event by event.

use tailwater::{
    config::Config,
    model::{learner::Step, noise::Draws},
    operator::{Action, Input, Operator, place::Position},
    record::{Cell, Event, Known, Record, Target},
    score::Scored,
};

use crate::streams::{NUM_FEATURES, Stream, Truth};

const CONFIG: &str = r#"
[kafka]
brokers = "none"
group = "statistics"
[input]
topic = "stream"
[features]
a = "number"
b = "number"
[target]
fields = ["y"]
[score]
exceed = ["t2", "t3", "t4"]
quantiles = [0.999]
shortfall = []
[output]
topic = "scores"
"#;

/// The config that learns a stream, with these keys set.
pub fn config(stream: Stream, sets: &[String]) -> Config {
    let sets: Vec<String> = stream.sets().into_iter().chain(sets.iter().cloned()).collect();
    Config::from_parts(CONFIG, "statistics.toml", &sets, std::iter::empty()).unwrap()
}

/// The stream's event at this offset, whose target is known with it; its truth, and its target.
pub fn event(stream: Stream, seed: u64, offset: usize) -> (Event, Truth, f64) {
    let mut draws = Draws::new(seed, 0, offset);
    let x: [f64; NUM_FEATURES] = std::array::from_fn(|_| 2.0 * draws.uniform() - 1.0);
    let truth = stream.given(offset, x);
    let target = truth.draw(&mut draws);
    let known = Target { values: [target].into(), known: Known::WithEvent };
    let event = Event {
        offset: offset as i64,
        time_us: offset as i64,
        thresholds: [f64::NAN; 3].into(),
        ..Event::bare(x.map(Cell::Number).into(), Some(known))
    };
    (event, truth, target)
}

/// An event that was scored, and what was learned with it.
pub struct Seen<'a> {
    /// Its place in the stream.
    pub offset: usize,
    /// Its score.
    pub scored: &'a Scored,
    /// What its target was drawn from.
    pub truth: Truth,
    /// Its target.
    pub target: f64,
    /// The steps that were taken.
    pub steps: &'a [Step],
}

/// Lets the operator take an event; what it wants done takes the place of what it wanted before.
pub fn take(operator: &mut Operator, event: Event, actions: &mut Vec<Action>) {
    actions.clear();
    operator.push(Input::Record(Record::from(event)));
    while operator.take(actions).is_some() {}
}

/// The score among these, which an event whose target is known with it brings first.
pub fn scored(actions: &[Action]) -> &Scored {
    let Some(Action::Score(scored)) = actions.first() else { panic!("nothing was scored") };
    scored
}

/// The steps among these.
pub fn steps(actions: &[Action]) -> impl Iterator<Item = Step> {
    actions.iter().filter_map(|action| match action {
        Action::Learned { step, .. } => Some(*step),
        _ => None,
    })
}

/// Lets an operator of this config take `num_events` of a stream, each as `shown` changes it, and `see` its score.
pub fn follow(
    config: &Config,
    stream: Stream,
    seed: u64,
    num_events: usize,
    mut shown: impl FnMut(&mut Event, Truth),
    mut see: impl FnMut(Seen<'_>),
) {
    let mut operator = Operator::new(config, [(0, Position::at(0))].into());
    let mut actions = Vec::new();
    for offset in 0..num_events {
        let (mut event, truth, target) = event(stream, seed, offset);
        shown(&mut event, truth);
        take(&mut operator, event, &mut actions);
        let steps: Vec<Step> = steps(&actions).collect();
        see(Seen { offset, scored: scored(&actions), truth, target, steps: &steps });
    }
}
