//! Checks across keys.

use std::{collections::BTreeMap, fmt, time::Duration};

use super::{
    Calibrate, Config, FlowKind, Guarantee, ModelKind, ThresholdValue,
    error::{Errors, Origin},
    tree::{Node, Table, Value},
};
use crate::score::{
    columns::{self, Columns, FIXED},
    exceed::Exceed,
};

/// So many columns of figures fit a message of the usual megabyte, with their names.
const MAX_FIGURES: usize = 1_024;

/// Reports what each key by itself can't know.
pub(super) fn check(config: &Config, tree: &Table, errors: &mut Errors) {
    let mut check = Checker { tree, errors };
    topics(config, &mut check);
    leaks(config, &mut check);
    flows(&config.model.flows, &mut check);
    targets(config, &mut check);
    columns(config, &mut check);
    delivery(config, &mut check);
}

struct Checker<'a> {
    tree: &'a Table,
    errors: &'a mut Errors,
}

impl<'a> Checker<'a> {
    /// Reports a fault of a key that depends on others, unless one of them is known to be wrong: then a stand-in was
    /// checked, not what the user wrote.
    fn report(&mut self, key: &str, others: &[&str], problem: impl Into<String>) {
        let plain = key.split('[').next().unwrap_or(key);
        if [plain].iter().chain(others).any(|key| self.errors.concern(key)) {
            return;
        }
        let node = self.tree.at(plain);
        let origin = node.map_or(Origin::Unset, |node| node.origin.clone());
        let shown = node.map(Node::shown);
        self.errors.push(&origin, key, shown, problem);
    }

    /// The same for one item of a list, of which a list may have several.
    fn report_item(&mut self, key: &str, index: usize, problem: impl Into<String>) {
        let Some(item) = self.item(key, index) else { return };
        self.errors.push(&item.origin, &format!("{key}[{index}]"), Some(item.shown()), problem);
    }

    /// An item of a list that the user wrote; of a default there is none.
    fn item(&self, key: &str, index: usize) -> Option<&'a Node> {
        match &self.tree.at(key)?.value {
            Value::Array(items) => items.get(index),
            _ => None,
        }
    }
}

fn flows(flows: &[FlowKind], check: &mut Checker<'_>) {
    if !flows.iter().any(|flow| flow.has_location()) {
        let problem = "needs a \"tail\", \"affine\", \"pareto\" or \"lambert\" layer, since nothing else carries location and scale";
        check.report("model.flows", &[], problem);
    }
    if flows.iter().filter(|flow| flow.is_tail()).count() > 1 {
        check.report("model.flows", &[], "has more than one layer that sets the tails; keep the last");
    }
}

/// What can't be had of several targets, or of one.
fn targets(config: &Config, check: &mut Checker<'_>) {
    let fields = &config.target.fields;
    if fields.len() > 1 {
        if config.target.step.is_some() {
            let problem = "is for a single field: remove it, or run one group for each of target.fields";
            check.report("target.step", &["target.fields"], problem);
        }
        if config.model.kind != ModelKind::Nfn {
            let problem = "is for a single field: use \"nfn\", or run one group for each of target.fields";
            check.report("model.kind", &["target.fields"], problem);
        }
        if config.score.calibrate == Calibrate::Online {
            let problem = "is for a single field: remove it, or run one group for each of target.fields";
            check.report("score.calibrate", &["target.fields"], problem);
        }
    }
    for (nth, field) in fields.iter().enumerate() {
        let name = |field| columns::field(field).to_lowercase();
        if fields[..nth].contains(field) {
            check.report_item("target.fields", nth, "is there twice; remove it");
        } else if let Some(other) = fields[..nth].iter().position(|other| name(other) == name(field)) {
            let problem = format!(
                "its columns would have the names of target.fields[{other}]'s; rename one of the two in the records"
            );
            check.report_item("target.fields", nth, problem);
        }
    }
    if check.errors.concern("target.fields") {
        return;
    }
    for (nth, threshold) in config.score.exceed.iter().enumerate() {
        let ThresholdValue::Together(bounds) = &threshold.value else { continue };
        if let Some((path, _)) = bounds.iter().find(|(path, _)| !fields.contains(path)) {
            let problem = format!("{path} is not among target.fields; add it there, or remove it here");
            check.report_item("score.exceed", nth, problem);
        }
    }
}

/// A topic that is written and read would feed the operator its own messages.
fn topics(config: &Config, check: &mut Checker<'_>) {
    let topics = [
        ("input.topic", Some(&config.input.topic)),
        ("output.topic", Some(&config.output.topic)),
        ("output.outcomes", config.output.outcomes.as_ref()),
        ("output.rejected", config.output.rejected.as_ref()),
        ("state.topic", Some(&config.state.topic)),
    ];
    for (i, (key, topic)) in topics.iter().enumerate() {
        for (other, other_topic) in &topics[..i] {
            if topic.is_some() && topic == other_topic {
                check.report(key, &[other], format!("{other} has the same topic; each needs its own"));
                break;
            }
        }
    }
}

/// A model that sees its target among its inputs learns to copy it, and would be worthless on events to come.
fn leaks(config: &Config, check: &mut Checker<'_>) {
    let Some(Value::Table(features)) = check.tree.get("features").map(|node| &node.value) else { return };
    for feature in &config.features {
        let source = if config.target.fields.contains(&feature.path) {
            "target.fields"
        } else if config.target.time.as_ref().is_some_and(|time| time.path == feature.path) {
            "target.time"
        } else {
            continue;
        };
        let Some(node) = features.get(&feature.name) else { continue };
        if !check.errors.concern(source) {
            let problem = format!(
                "reads {}, which {source} names: the model would see what it is to predict; remove it",
                feature.path
            );
            check.errors.push(
                &node.origin,
                &format!("features.{}", feature.name),
                Some(node.shown()),
                problem,
            );
        }
    }
}

/// An item of a key that asks for a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Item {
    key: &'static str,
    index: usize,
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}]", self.key, self.index)
    }
}

/// Every column needs a name of its own, also for readers that ignore case.
fn columns(config: &Config, check: &mut Checker<'_>) {
    const KEYS: [&str; 6] = [
        "target.fields",
        "output.carry",
        "score.exceed",
        "score.quantiles",
        "score.shortfall",
        "score.limit",
    ];
    let columns = Columns::new(config);
    let exceed = Exceed::all(config);
    let num_fields = config.target.fields.len().max(1);
    // With several targets an item of a list has several columns.
    let every = |key, names: &[String], of: &dyn Fn(usize) -> usize| -> Vec<(Item, String)> {
        let named = names.iter().enumerate();
        named.map(|(column, name)| (Item { key, index: of(column) }, name.clone())).collect()
    };
    let by_field = |column| column / num_fields;
    let mut asked = Vec::new();
    if num_fields > 1 {
        asked.extend(every("target.fields", &columns.targets, &|axis| axis));
        asked.extend(every("target.fields", &columns.pits, &|axis| axis));
    }
    asked.extend(every("output.carry", &columns.carry, &|nth| nth));
    asked.extend(every("score.exceed", &columns.exceed, &|column| exceed[column].item));
    asked.extend(every("score.quantiles", &columns.quantiles, &by_field));
    asked.extend(every("score.shortfall", &columns.shortfall, &by_field));
    asked.extend(every("score.limit", &columns.limited, &by_field));

    let mut taken: BTreeMap<String, Option<Item>> =
        FIXED.iter().map(|name| ((*name).to_owned(), None)).collect();
    // Where something is wrong already, a stand-in asks. Names begin with the fields', where there are several.
    let is_wrong = |key: &str| {
        check.errors.concern(key) || key != "output.carry" && check.errors.concern("target.fields")
    };
    let wrong: Vec<&str> = KEYS.into_iter().filter(|key| is_wrong(key)).collect();
    for (item, name) in asked.into_iter().filter(|(item, _)| !wrong.contains(&item.key)) {
        let Some(owner) = taken.get(&name.to_lowercase()).copied() else {
            taken.insert(name.to_lowercase(), Some(item));
            continue;
        };
        // What the user did not write can't be changed: a default's quantile is in the way of what was written before.
        let (item, other) = match owner {
            Some(owner) if check.item(item.key, item.index).is_none() => (owner, item.to_string()),
            Some(owner) => (item, owner.to_string()),
            None => (item, "every score batch".to_owned()),
        };
        let instead = match item.key {
            "score.exceed" => "remove it, or give it a name of its own: { late = 15.0 }",
            _ => "remove it",
        };
        check.report_item(item.key, item.index, format!("its column {name} is taken by {other}; {instead}"));
    }

    if !wrong.contains(&"score.exceed") {
        labels(&exceed, check);
    }
    let num_columns = columns.figures().count();
    if num_columns > MAX_FIGURES {
        let problem = format!(
            "with score's thresholds, levels and limits there are {num_columns} figures an event, and at most {MAX_FIGURES} fit a \
             message; remove some of those, or fields"
        );
        check.report("target.fields", &["score.exceed", "score.quantiles"], problem);
    }
}

/// Thresholds whose metrics would be one and the same, though their columns are not.
fn labels(exceed: &[Exceed], check: &mut Checker<'_>) {
    for (nth, one) in exceed.iter().enumerate() {
        let is_same = |other: &&Exceed| other.label() == one.label() && other.column() != one.column();
        if let Some(other) = exceed[..nth].iter().find(is_same) {
            let problem = format!(
                "its label {} in metrics is taken by score.exceed[{}]; give it another name",
                one.label(),
                other.item
            );
            check.report_item("score.exceed", one.item, problem);
        }
    }
}

/// A transaction lives between its first record and delivery.timeout.
fn delivery(config: &Config, check: &mut Checker<'_>) {
    /// Below it a busy broker, or a pause of the machine, would end transactions that are well.
    const SHORTEST: Duration = Duration::from_secs(1);
    /// What brokers allow unless transaction.max.timeout.ms says otherwise.
    const LONGEST: Duration = Duration::from_secs(15 * 60);
    let delivery = &config.delivery;
    if delivery.timeout < SHORTEST {
        check.report(
            "delivery.timeout",
            &[],
            "must be at least 1s, or a slow moment would abort transactions; raise it, or remove it for 10s",
        );
    } else if delivery.timeout > LONGEST {
        check.report(
            "delivery.timeout",
            &[],
            "must be at most 15m, which is what brokers allow (transaction.max.timeout.ms); lower it, or remove it \
             for 10s",
        );
    }
    if delivery.guarantee == Guarantee::ExactlyOnce && delivery.commit >= delivery.timeout {
        check.report(
            "delivery.commit",
            &["delivery.timeout", "delivery.guarantee"],
            "must be shorter than delivery.timeout, by which brokers abort a transaction that is not committed; lower \
             it, or raise delivery.timeout",
        );
    }
}
