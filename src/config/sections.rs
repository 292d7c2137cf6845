//! The sections of the configuration, each of their keys listed once.

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, time::Duration};

use super::{
    Change::{Free, NewModel, Noted},
    kind::{self, Kind},
    section::{
        Key, LaterKey,
        Presence::{Default, Derived, Optional, Required},
        Section, TableReader, section,
    },
    tree::Value,
    types::{
        Activation, Calibrate, FieldPath, FlowKind, Guarantee, InputFormat, MAX_TARGETS, ModelKind, Noise,
        OnMismatch, OptimizerKind, OutputFormat, Secret, Start, Support, Threshold, TimeField,
    },
};

section! {
    /// The cluster.
    Kafka "kafka" {
        /// The brokers to begin with, separated by commas.
        brokers: String = Required("\"localhost:9092\""), kind::secret_text("one or more host:port, separated by commas"), Free;
        /// The consumer group, to which offsets are committed.
        group: String = Required("\"flight-delays\""), kind::text("a text that is not empty"), Free;
        /// librdkafka properties, passed on as they are. A name's dots may stand in quotes or not.
        properties: BTreeMap<String, Secret> = Default("{}"), kind::properties(), Free;
    }
    later {}
}

section! {
    /// Where the records come from.
    Input "input" {
        /// The topic that is read.
        topic: String = Required("\"flights\""), kind::topic(), NewModel;
        /// What a message holds: one JSON object, or an Arrow IPC stream of any number of rows.
        format: InputFormat = Default("\"json\""),
            kind::choice(&[("json", InputFormat::Json), ("arrow", InputFormat::Arrow)], &["avro"]), Noted;
        /// The field of event time: RFC 3339, or seconds since 1970 unless a unit ("s", "ms", "us" or "ns") is given.
        /// Without it, the Kafka timestamp is taken.
        time: Option<TimeField> = Optional("\"departed_at\""), kind::time_field().or_nothing(), Noted;
        /// Where a group without committed offsets begins.
        start: Start = Default("\"earliest\""), kind::start(), Free;
        /// A larger record is rejected, in bytes.
        max_bytes: usize = Default("1048576"), kind::whole(1..=1_000_000_000), Noted;
        /// A record whose event time is further past its Kafka timestamp is rejected, so that it can't stall the order.
        max_ahead: Duration = Default("\"1h\""), kind::duration(), Noted;
    }
    later {}
}

section! {
    /// What is to be predicted.
    Target "target" {
        /// The field of the target, a number; of several fields the joint density is learned, and their columns carry the field's name
        /// and two underscores in front. An event that lacks one of them is scored, and neither judged nor learned from.
        fields: Vec<FieldPath> = Required("[\"arr_delay\"]"), kind::list("fields", 1..=MAX_TARGETS, kind::field()), NewModel;
        /// The field of the time at which the target becomes known, as input.time is written: it is held back until
        /// stream time has passed it. Without it, the target is known with its event.
        time: Option<TimeField> = Optional("\"arrived_at\""), kind::time_field().or_nothing(), Noted;
        /// How long an event waits for its target.
        wait: Duration = Default("\"24h\""), kind::duration(), Noted;
        /// What the target is rounded to, for instance 1.0 for whole minutes: the model then learns the probability of the interval
        /// around it, log_score is that probability's logarithm, pit is drawn from within it, P(Y > t) does not count t
        /// itself, and quantiles are multiples of the step. Without it the target is continuous. For a single field.
        step: Option<f64> = Optional("1.0"),
            kind::number("a finite number above 0", |value| value > 0.0 && value.is_finite()).or_nothing(), Noted;
        /// Which values the target can have: any ("real"), or those above 0 ("positive"); a record with a target that is not
        /// is rejected. (With target.step, 0 is what is rounded to it.)
        support: Support = Default("\"real\""), kind::choice(SUPPORTS, &[]), NewModel;
    }
    later {
        LaterKey {
            name: "topic",
            doc: "Targets on their own topic, joined by key.",
            instead: "remove it and send the target in the event's record, with target.time for when it becomes known",
        },
    }
}

const SUPPORTS: &[(&str, Support)] = &[("real", Support::Real), ("positive", Support::Positive)];

section! {
    /// The density and the net that gives its parameters.
    Model "model" {
        /// The density: a Normalizing Flow Network, or for comparison a mixture density network of ten Gaussians ("mdn") or a kernel
        /// mixture network ("kmn"), whose tails are Gaussian and which are for a single target field.
        kind: ModelKind = Default("\"nfn\""), kind::choice(KINDS, &[]), NewModel;
        /// The layers of the flow, from the base to the data. "radial", "planar" and "spline" bend; at least one layer is "tail",
        /// "lambert", "pareto" or "affine", which set location and scale. The first three of those also set how heavy each tail is
        /// ("tail", like Student's t, and "lambert" from Gaussian on, "pareto" from exponential on): at most one of them, best as
        /// the last layer. Without one the tails are Gaussian whatever is learned.
        flows: Vec<FlowKind> = Default("[\"radial\", \"radial\", \"radial\", \"radial\", \"tail\"]"),
            kind::list("layers", 1..=32, kind::choice(FLOWS, &[])), NewModel;
        /// The net's hidden layers, each by its number of units.
        hidden: Vec<usize> = Default("[32, 32]"), kind::list("layers", 0..=8, kind::whole(1..=4096)), NewModel;
        /// What the hidden layers end in.
        activation: Activation = Default("\"tanh\""), kind::choice(ACTIVATIONS, &[]), NewModel;
        /// The seed of the first weights and of the noise.
        seed: u64 = Default("1"), kind::whole(0..=i64::MAX), Noted;
    }
    later {}
}

const KINDS: &[(&str, ModelKind)] = &[
    (ModelKind::Nfn.name(), ModelKind::Nfn),
    (ModelKind::Mdn.name(), ModelKind::Mdn),
    (ModelKind::Kmn.name(), ModelKind::Kmn),
];

const FLOWS: &[(&str, FlowKind)] = &{
    let mut named = [("", FlowKind::Affine); FlowKind::ALL.len()];
    let mut nth = 0;
    while nth < named.len() {
        named[nth] = (FlowKind::ALL[nth].name(), FlowKind::ALL[nth]);
        nth += 1;
    }
    named
};

const ACTIVATIONS: &[(&str, Activation)] = &[
    ("tanh", Activation::Tanh),
    ("relu", Activation::Relu),
    ("silu", Activation::Silu),
    ("gelu", Activation::Gelu),
];

section! {
    /// How the model learns.
    Learn "learn" {
        /// With false, nothing is learned: the saved model, or that of state.initial, scores as it stands.
        enabled: bool = Default("true"), kind::flag(), Noted;
        /// Labelled records to one mini-batch.
        batch: usize = Default("32"), kind::whole(1..=65_536), Noted;
        /// SGD steps a mini-batch: the first on it alone, each other one on as many records drawn from the last 1,024, the newest the
        /// most often. For streams of few records: otherwise smaller mini-batches do more for the same CPU.
        steps: usize = Default("1"), kind::whole(1..=64), Noted;
        /// The weights that score are this moving average of the trained ones; with 0, the trained ones.
        average: f64 = Default("0.95"), kind::number("a number from 0 to below 1", |value| (0.0..1.0).contains(&value)), Noted;
        /// The optimiser of the steps.
        optimizer: OptimizerKind = Default("\"adam\""), kind::choice(OPTIMIZERS, &[]), Noted;
        /// Each step of adam and adamw is by an average of the gradients, in which every further step multiplies the weight of the older
        /// ones by this; with 0, by the last one alone.
        momentum: f64 = Default("0.0"), kind::number("a number from 0 to below 1", |value| (0.0..1.0).contains(&value)), Noted;
        /// The learning rate.
        rate: f64 = Default("0.001"), kind::number("a finite number above 0", |value| value > 0.0 && value.is_finite()), Noted;
        /// The gradient's norm is clipped to this; with inf, never.
        clip: f64 = Default("5.0"), kind::number("a number above 0", |value| value > 0.0), Noted;
        /// Noise regularisation of the numeric inputs and the target, for records that are learned from more than once: on a stream,
        /// where each is new, it only blurs. "auto" is a rule of thumb by the number of records.
        noise: Noise = Default("\"off\""), kind::noise(), Noted;
        /// Labelled records that set the normaliser before anything is learned.
        warmup: usize = Default("2048"), kind::whole(32..=1_000_000), Noted;
    }
    later {}
}

const OPTIMIZERS: &[(&str, OptimizerKind)] =
    &[("sgd", OptimizerKind::Sgd), ("adam", OptimizerKind::Adam), ("adamw", OptimizerKind::Adamw)];

section! {
    /// Which figures are published for each event.
    Score "score" {
        /// Thresholds t of P(Y > t): a number, a field's name where each event brings its own, or either of them with
        /// a name for its column. Of several targets each has its P(Y > t); { late = { dep_delay = 10.0, arr_delay = 15.0 } } is the
        /// probability that all of these exceed theirs together.
        exceed: Vec<Threshold> = Default("[]"), kind::list("thresholds", 0..=256, kind::threshold()), Noted;
        /// The levels of the quantiles.
        quantiles: Vec<f64> = Default("[0.5, 0.9, 0.99, 0.999]"), kind::list("levels", 0..=256, kind::probability()), Noted;
        /// The levels of the expected shortfalls E[Y | Y > quantile], null where the tail is too heavy for a mean. With
        /// target.step of the target before it is rounded, which is less than half a step away.
        shortfall: Vec<f64> = Default("[]"), kind::list("levels", 0..=256, kind::probability()), Noted;
        /// Limits l of the limited expected values E[min(Y, l)], which a heavy upper tail leaves finite; null where the lower tail is
        /// too heavy for a mean.
        limit: Vec<f64> = Default("[]"),
            kind::list("limits", 0..=256, kind::number("a finite number", f64::is_finite)), Noted;
        /// With "online" the net's distribution function is mapped by a monotone function that follows where the last 5,000 or so targets lay
        /// in it, so that over them all quantiles and probabilities hold, in the tails too; of one target. Events that wait when this is
        /// changed get outcomes without figures, and what was learned of the map goes when it is off. Without learn.enabled the map stays as
        /// it was saved, and there is none where none was.
        calibrate: Calibrate = Default("\"off\""), kind::choice(CALIBRATE, &[]), Noted;
    }
    later {}
}

const CALIBRATE: &[(&str, Calibrate)] = &[("off", Calibrate::Off), ("online", Calibrate::Online)];

section! {
    /// Where the scores go.
    Output "output" {
        /// The topic of the scores. It keeps them for longer than target.wait: those of events that wait for their targets
        /// are read again after a restart.
        topic: String = Required("\"flight-risk\""), kind::topic(), Free;
        /// What a message holds: an Arrow IPC stream of many events, or one event as JSON.
        format: OutputFormat = Default("\"arrow\""),
            kind::choice(&[("arrow", OutputFormat::Arrow), ("json", OutputFormat::Json)], &[]), Free;
        /// Input fields that are copied to the scores; a nested one's column joins its path with underscores.
        /// One that is a number feature or the target stays a number, any other becomes a text. Together with the key they
        /// may have 262,144 bytes; an event with more is rejected.
        carry: Vec<FieldPath> = Default("[]"), kind::list("fields", 0..=256, kind::field()), Free;
        /// A batch is sent when it has this many rows …
        rows: usize = Default("512"), kind::whole(1..=65_536), Free;
        /// … or when its first row is this old.
        linger: Duration = Default("\"20ms\""), kind::duration(), Free;
        /// The topic of the targets that came later, with the figures they were scored with. Without it, they are
        /// learned and counted but not published.
        outcomes: Option<String> = Optional("\"flight-outcomes\""), kind::topic().or_nothing(), Free;
        /// The topic of the records that could not be used, with the reason in headers. Without it, they are counted
        /// and logged but not published.
        rejected: Option<String> = Optional("\"flights-rejected\""), kind::topic().or_nothing(), Free;
    }
    later {}
}

section! {
    /// What is watched beside the whole.
    Monitor "monitor" {
        /// A field of the input: for each of its values, the first hundred, there are metrics of how well the figures hold. It need not be a
        /// feature, and says nothing to the model.
        by: Option<FieldPath> = Optional("\"carrier\""), kind::field().or_nothing(), Free;
    }
    later {}
}

section! {
    /// The state, and who leads.
    State "state" {
        /// The topic, of one partition and compacted, whose assignment decides who leads. It holds the saved state and how
        /// far the group has come.
        topic: String = Derived("`kafka.group` with `-state` behind it", "\"flight-delays-state\""), kind::topic(), Free;
        /// Snapshots are kept in this directory instead of in state.topic, which still decides who leads and holds how far
        /// the group has come: every process of the group needs the same directory.
        dir: Option<PathBuf> = Optional("\"/var/lib/tailwater\""), kind::path().or_nothing(), Free;
        /// How often the state is saved.
        interval: Duration = Default("\"10s\""), kind::duration(), Free;
        /// Where the config, the group's offsets or the input no longer fit the saved state: "fail" ends the process with
        /// the remedy, "fresh" begins a new model, of a new epoch, at the group's offsets.
        on_mismatch: OnMismatch = Default("\"fail\""), kind::choice(ON_MISMATCH, &[]), Free;
        /// The file that a group without state starts from, as `tailwater state export` or a replay wrote it.
        initial: Option<PathBuf> = Optional("\"history.state\""), kind::path().or_nothing(), Free;
    }
    later {}
}

const ON_MISMATCH: &[(&str, OnMismatch)] = &[("fail", OnMismatch::Fail), ("fresh", OnMismatch::Fresh)];

section! {
    /// How often a record counts, commits and shutdown.
    Delivery "delivery" {
        /// With "exactly-once", scores, offsets and state are committed together in one transaction, and a restart gives no
        /// score twice; with "at-least-once", records after the last commit are scored again.
        guarantee: Guarantee = Default("\"exactly-once\""), kind::choice(GUARANTEES, &[]), Free;
        /// How often what was scored is committed, after it was acknowledged.
        commit: Duration = Default("\"200ms\""), kind::duration(), Free;
        /// The brokers abort a transaction that is not committed by then (transaction.timeout.ms), and readers of committed
        /// records wait that long for one that a crash left open. From 1s to 15m, and longer than delivery.commit.
        timeout: Duration = Default("\"10s\""), kind::duration(), Free;
        /// How long a shutdown may take before it is forced.
        drain: Duration = Default("\"30s\""), kind::duration(), Free;
    }
    later {}
}

const GUARANTEES: &[(&str, Guarantee)] =
    &[("exactly-once", Guarantee::ExactlyOnce), ("at-least-once", Guarantee::AtLeastOnce)];

section! {
    /// Health, metrics and status over HTTP.
    Admin "admin" {
        /// The address that is listened on.
        listen: SocketAddr = Default("\"127.0.0.1:9464\""), kind::address(), Free;
    }
    later {}
}
