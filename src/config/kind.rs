//! The kinds of values: what each must be, how it is read, and how it is written.

use std::{
    collections::BTreeMap, fmt::Display, net::SocketAddr, ops::RangeInclusive, path::PathBuf, time::Duration,
};

use super::{
    duration,
    secret::{self, Variables},
    section::{Place, Presence, TableReader},
    tree::{Node, Table, Value, is_secret_file},
    types::{
        Feature, FeatureKind, FieldPath, Noise, Secret, Start, Threshold, ThresholdValue, TimeField,
        TimeUnit, Transform,
    },
};
use crate::score::columns;

/// How a value is read: `None` means that it was wrong and that the place has been told.
type Read<T> = Box<dyn Fn(&Node, &mut Place<'_, '_>) -> Option<T>>;

/// How a value is written: in one form, in whichever it was read.
type Write<T> = Box<dyn Fn(&T) -> Value>;

/// What a value must be, how it is read, and how it is written.
pub(super) struct Kind<T> {
    /// Completes "must be …".
    pub what: String,
    read: Read<T>,
    write: Write<T>,
}

impl<T: 'static> Kind<T> {
    /// A kind that reports what is wrong by itself.
    fn new(
        what: impl Into<String>,
        read: impl Fn(&Node, &mut Place<'_, '_>) -> Option<T> + 'static,
        write: impl Fn(&T) -> Value + 'static,
    ) -> Self {
        Self { what: what.into(), read: Box::new(read), write: Box::new(write) }
    }

    /// A kind whose every fault is told by what it must be.
    fn plain(
        what: impl Into<String>,
        read: impl Fn(&Node) -> Option<T> + 'static,
        write: impl Fn(&T) -> Value + 'static,
    ) -> Self {
        let what = what.into();
        let must = what.clone();
        Self::new(what, move |node, place| read(node).or_else(|| place.must_be(node, &must)), write)
    }

    /// The same for a kind that says itself what would be right, so that no example is needed.
    fn clear(
        what: impl Into<String>,
        read: impl Fn(&Node) -> Option<T> + 'static,
        write: impl Fn(&T) -> Value + 'static,
    ) -> Self {
        let what = what.into();
        let problem = format!("must be {what}");
        Self::new(what, move |node, place| read(node).or_else(|| place.wrong(node, problem.as_str())), write)
    }

    pub fn read(&self, node: &Node, place: &mut Place<'_, '_>) -> Option<T> {
        (self.read)(node, place)
    }

    /// A value as TOML, in the same form for every way in which it may have been written.
    pub fn write(&self, value: &T) -> Value {
        (self.write)(value)
    }

    /// The same, or nothing.
    pub fn or_nothing(self) -> Kind<Option<T>> {
        let (read, write) = (self.read, self.write);
        Kind::new(
            self.what,
            move |node, place| match node.value {
                Value::Absent => Some(None),
                _ => read(node, place).map(Some),
            },
            move |value| value.as_ref().map_or(Value::Absent, &write),
        )
    }
}

/// What is written in place of a value that may be a secret.
fn hidden() -> Value {
    Value::Text(HIDDEN.to_owned())
}

/// Whether a value stands for one that is never written.
pub(super) fn is_hidden(value: &Value) -> bool {
    matches!(value, Value::Text(text) if text == HIDDEN)
}

const HIDDEN: &str = "***";

fn written<T: Display + ?Sized>(text: &T) -> Value {
    Value::Text(text.to_string())
}

/// `true` or `false`.
pub(super) fn flag() -> Kind<bool> {
    Kind::clear(
        "true or false",
        |node| match node.value {
            Value::Bool(value) => Some(value),
            _ => None,
        },
        |&value| Value::Bool(value),
    )
}

/// A whole number within bounds.
pub(super) fn whole<T: Copy + TryFrom<i64> + TryInto<i64> + 'static>(range: RangeInclusive<i64>) -> Kind<T> {
    let what = match *range.end() {
        i64::MAX => format!("a whole number of at least {}", range.start()),
        end => format!("a whole number from {} to {end}", range.start()),
    };
    Kind::plain(
        what,
        move |node| match node.value {
            Value::Integer(value) if range.contains(&value) => T::try_from(value).ok(),
            _ => None,
        },
        |&value| Value::Integer(value.try_into().unwrap_or(i64::MAX)), // what was read fits
    )
}

/// A number for which `holds`, which must be false for NaN.
pub(super) fn number(what: &'static str, holds: impl Fn(f64) -> bool + 'static) -> Kind<f64> {
    Kind::plain(what, move |node| as_number(node).filter(|&value| holds(value)), |&value| Value::Float(value))
}

#[expect(clippy::cast_precision_loss, reason = "a whole number is written for a number where it is small")]
fn as_number(node: &Node) -> Option<f64> {
    match node.value {
        Value::Float(value) => Some(value),
        Value::Integer(value) => Some(value as f64),
        _ => None,
    }
}

/// One of some names; names of later versions are refused with what to do.
pub(super) fn choice<T: Copy + PartialEq + 'static>(
    now: &'static [(&'static str, T)],
    later: &'static [&'static str],
) -> Kind<T> {
    let names: Vec<String> = now.iter().map(|(name, _)| format!("{name:?}")).collect();
    let what = one_of(&names);
    let must = what.clone();
    let in_reference = match later {
        [] => what,
        _ => format!("{what} (not yet: {})", later.join(", ")),
    };
    let read = move |node: &Node, place: &mut Place<'_, '_>| {
        let text = node.text();
        if let Some((_, value)) = now.iter().find(|(name, _)| Some(*name) == text) {
            return Some(*value);
        }
        match text {
            Some(text) if later.contains(&text) => {
                place.wrong(node, format!("not supported in this version: use {must}"))
            }
            _ => place.wrong(node, format!("must be {must}")),
        }
    };
    let name_of = |value: &T| now.iter().find(|(_, named)| named == value).map(|(name, _)| name);
    Kind::new(in_reference, read, move |value| name_of(value).map_or(Value::Absent, written))
}

/// `a`, `a or b`, `a, b or c`.
fn one_of(names: &[impl Display]) -> String {
    let mut text = String::new();
    for (i, name) in names.iter().enumerate() {
        let separator = match i {
            0 => "",
            i if i + 1 == names.len() => " or ",
            _ => ", ",
        };
        text.push_str(&format!("{separator}{name}"));
    }
    text
}

/// A list of at least and at most so many values.
pub(super) fn list<T: 'static>(
    items: &'static str,
    lengths: RangeInclusive<usize>,
    item: Kind<T>,
) -> Kind<Vec<T>> {
    let count = match (*lengths.start(), *lengths.end()) {
        (0, most) => format!("at most {most}"),
        (1, 1) => "one".to_owned(),
        (least, most) => format!("{least} to {most}"),
    };
    let what = format!("a list of {count} {items}, each {}", item.what);
    let must = format!("a list of {count} {items}");
    let Kind { read: read_item, write: write_item, .. } = item;
    let read = move |node: &Node, place: &mut Place<'_, '_>| {
        let nodes = match &node.value {
            Value::Array(nodes) if lengths.contains(&nodes.len()) => nodes,
            _ => return place.must_be(node, &must),
        };
        // Reads them all before it gives up, so that every wrong item is told.
        let read =
            nodes.iter().enumerate().map(|(i, node)| read_item(node, &mut place.part(&format!("[{i}]"))));
        read.collect::<Vec<_>>().into_iter().collect()
    };
    Kind::new(what, read, move |items: &Vec<T>| Value::array(items.iter().map(&write_item)))
}

/// A name that Kafka takes for a topic.
pub(super) fn topic() -> Kind<String> {
    let read = |node: &Node| {
        let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        let name = node.text()?;
        let fits = (1..=249).contains(&name.len()) && name.chars().all(legal) && !matches!(name, "." | "..");
        fits.then(|| name.to_owned())
    };
    Kind::plain("a topic's name: 1 to 249 of a-z, A-Z, 0-9, dot, _ and -", read, written)
}

/// A text that is not empty.
pub(super) fn text(what: &'static str) -> Kind<String> {
    Kind::plain(what, |node| node.text().filter(|text| !text.trim().is_empty()).map(str::to_owned), written)
}

/// A field of the input's records.
pub(super) fn field() -> Kind<FieldPath> {
    Kind::plain("a field's name, dotted where it is nested", |node| FieldPath::parse(node.text()?), written)
}

/// A duration above zero.
pub(super) fn duration() -> Kind<Duration> {
    Kind::plain(
        "a duration above zero and up to 36500d, in us, ms, s, m, h or d",
        |node| duration::parse(node.text()?),
        |&value| written(&duration::written(value)),
    )
}

/// A file or a directory.
pub(super) fn path() -> Kind<PathBuf> {
    let read = |node: &Node| node.text().filter(|text| !text.trim().is_empty()).map(PathBuf::from);
    Kind::plain("a path that is not empty", read, |path| written(&path.display()))
}

/// An address to listen on.
pub(super) fn address() -> Kind<SocketAddr> {
    Kind::plain("an IP address with a port", |node| node.text()?.parse().ok(), written)
}

/// Where to begin.
pub(super) fn start() -> Kind<Start> {
    Kind::clear(
        "\"earliest\", \"latest\" or an RFC 3339 time with its offset, such as \"2013-01-01T00:00:00Z\"",
        |node| match &node.value {
            Value::Time(time) => time.parse().ok(),
            _ => node.text()?.parse().ok(),
        },
        written,
    )
}

/// A field that holds a time, alone or with its unit.
pub(super) fn time_field() -> Kind<TimeField> {
    const UNITS: &[(&str, TimeUnit)] = &[
        ("s", TimeUnit::Seconds),
        ("ms", TimeUnit::Millis),
        ("us", TimeUnit::Micros),
        ("ns", TimeUnit::Nanos),
    ];
    let what = "a field's name, or with a unit { field = \"sent_at\", unit = \"ms\" }";
    let read = move |node: &Node, place: &mut Place<'_, '_>| {
        if let Value::Table(table) = &node.value {
            let mut reader = TableReader::within(table, node, place);
            let path = reader.take("field", Presence::Required("\"sent_at\""), &field());
            let unit = reader.take("unit", Presence::Optional("\"ms\""), &choice(UNITS, &[]).or_nothing());
            reader.finish(|_| None);
            return Some(TimeField { path, unit: unit.unwrap_or(TimeUnit::Auto) });
        }
        match node.text().and_then(FieldPath::parse) {
            Some(path) => Some(TimeField { path, unit: TimeUnit::Auto }),
            None => place.must_be(node, what),
        }
    };
    Kind::new(what, read, |time: &TimeField| match UNITS.iter().find(|(_, unit)| *unit == time.unit) {
        Some((unit, _)) => Value::table([("field", written(&time.path)), ("unit", written(unit))]),
        None => written(&time.path),
    })
}

/// Noise regularisation.
pub(super) fn noise() -> Kind<Noise> {
    let what = "\"auto\", \"off\" or { x = 0.1, y = 0.1 }, in standard deviations";
    let read = move |node: &Node, place: &mut Place<'_, '_>| match (node.text(), &node.value) {
        (_, Value::Table(table)) => {
            let deviation = number("a number of at least 0", |value| value >= 0.0 && value.is_finite());
            let mut reader = TableReader::within(table, node, place);
            let x = reader.take("x", Presence::Required("0.1"), &deviation);
            let y = reader.take("y", Presence::Required("0.1"), &deviation);
            reader.finish(|_| None);
            Some(Noise::Fixed { x, y })
        }
        (Some("auto"), _) => Some(Noise::Auto),
        (Some("off"), _) => Some(Noise::Off),
        _ => place.must_be(node, what),
    };
    Kind::new(what, read, |noise| match *noise {
        Noise::Auto => written("auto"),
        Noise::Off => written("off"),
        Noise::Fixed { x, y } => Value::table([("x", Value::Float(x)), ("y", Value::Float(y))]),
    })
}

/// A probability that is neither 0 nor 1.
pub(super) fn probability() -> Kind<f64> {
    number("a number between 0 and 1, both excluded", |value| value > 0.0 && value < 1.0)
}

/// A threshold, alone or named.
pub(super) fn threshold() -> Kind<Threshold> {
    let what = "a finite number, a field's name, either of them named: { late = 15.0 }, or several targets' together: \
                { late = { dep_delay = 10.0, arr_delay = 15.0 } }";
    let unnamed = |node: &Node| match as_number(node) {
        Some(value) if value.is_finite() => {
            Some(Threshold { name: columns::number(value), value: ThresholdValue::Constant(value) })
        }
        Some(_) => None,
        None => {
            let path = FieldPath::parse(node.text()?)?;
            Some(Threshold { name: columns::field(&path), value: ThresholdValue::Field(path) })
        }
    };
    let read = move |node: &Node, place: &mut Place<'_, '_>| {
        let threshold = match &node.value {
            Value::Table(table) => match table.0.as_slice() {
                [(name, Node { value: Value::Table(table), .. })] if is_column_suffix(name) => {
                    let bounds = bounds(table).filter(|bounds| bounds.len() > 1);
                    if bounds.as_deref().is_some_and(has_a_field_twice) {
                        return place.wrong(node, "has a field twice; remove one of the two");
                    }
                    bounds.map(|bounds| Threshold {
                        name: name.clone(),
                        value: ThresholdValue::Together(bounds),
                    })
                }
                [(name, inner)] if is_column_suffix(name) => {
                    unnamed(inner).map(|threshold| Threshold { name: name.clone(), ..threshold })
                }
                [(name, _)] if !is_column_suffix(name) => {
                    return place.wrong(
                        node,
                        "the name may hold a-z, A-Z, 0-9 and _ only, since a column is named by it",
                    );
                }
                _ => None,
            },
            _ => unnamed(node),
        };
        threshold.or_else(|| place.must_be(node, what))
    };
    Kind::new(what, read, |threshold: &Threshold| {
        let (unnamed, value) = match &threshold.value {
            ThresholdValue::Constant(value) => (columns::number(*value), Value::Float(*value)),
            ThresholdValue::Field(path) => (columns::field(path), written(path)),
            ThresholdValue::Together(bounds) => {
                let bounds = bounds.iter().map(|(path, t)| (path.to_string(), Value::Float(*t)));
                (String::new(), Value::table(bounds))
            }
        };
        if threshold.name == unnamed { value } else { Value::table([(threshold.name.as_str(), value)]) }
    })
}

fn has_a_field_twice(bounds: &[(FieldPath, f64)]) -> bool {
    (1..bounds.len()).any(|nth| bounds[..nth].iter().any(|(path, _)| *path == bounds[nth].0))
}

/// Fields with their thresholds; a nested one's path may be written dotted.
fn bounds(table: &Table) -> Option<Vec<(FieldPath, f64)>> {
    let mut all = Vec::new();
    for (name, node) in &table.0 {
        let path = FieldPath::parse(name)?;
        match &node.value {
            Value::Table(inner) => {
                let below = |(rest, t): (FieldPath, f64)| (FieldPath([path.0.clone(), rest.0].concat()), t);
                all.extend(bounds(inner)?.into_iter().map(below));
            }
            _ => all.push((path, as_number(node).filter(|value| value.is_finite())?)),
        }
    }
    Some(all)
}

fn is_column_suffix(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// The features: the one table whose keys are the user's.
pub(super) fn features() -> Kind<Vec<Feature>> {
    let what = "a table of features, each \"number\", \"category\" or a table with its kind";
    let read = move |node: &Node, place: &mut Place<'_, '_>| match &node.value {
        Value::Table(table) if !table.0.is_empty() => {
            let read =
                table.0.iter().map(|(name, node)| feature(name, node, &mut place.part(&format!(".{name}"))));
            // Those that are right, so that they are checked further; the place knows of the others.
            Some(read.flatten().collect())
        }
        _ => place.must_be(node, what),
    };
    let write = |feature: &Feature| (feature.name.clone(), write_feature(feature));
    Kind::new(what, read, move |features: &Vec<Feature>| Value::table(features.iter().map(write)))
}

/// How many values a category's vocabulary holds where nothing is said.
const CATEGORY_SIZE: &str = "64";

const TRANSFORMS: &[(&str, Transform)] =
    &[("log1p", Transform::Log1p), ("sqrt", Transform::Sqrt), ("log", Transform::Log)];

fn feature(name: &str, node: &Node, place: &mut Place<'_, '_>) -> Option<Feature> {
    const MUST: &str =
        "\"number\", \"category\" or a table with its kind, such as { kind = \"cycle\", period = 24 }";
    const KINDS: [&str; 3] = ["number", "category", "cycle"];
    let Some(own_path) = FieldPath::parse(name) else {
        return place.wrong(node, "a feature's name must be that of a field, dotted where it is nested");
    };
    let table = match (&node.value, node.text()) {
        (Value::Table(table), _) => table,
        (_, Some("number")) => {
            return Some(Feature {
                name: name.to_owned(),
                path: own_path,
                kind: FeatureKind::Number { transform: None },
            });
        }
        (_, Some("category")) => {
            let size = CATEGORY_SIZE.parse().expect("the default is a number");
            return Some(Feature {
                name: name.to_owned(),
                path: own_path,
                kind: FeatureKind::Category { size },
            });
        }
        _ => return place.must_be(node, MUST),
    };
    let Some(kind_node) = table.get("kind") else {
        let hint =
            "its kind is missing, for instance { kind = \"number\" }; a dotted name must stand in quotes";
        return place.wrong(node, hint);
    };
    let Some(kind) = KINDS.into_iter().find(|kind| kind_node.text() == Some(kind)) else {
        return place.part(".kind").must_be(kind_node, "\"number\", \"category\" or \"cycle\"");
    };
    let mut reader = TableReader::within(table, node, place);
    reader.take("kind", Presence::Required("\"number\""), &text("a kind"));
    let path = reader.take("path", Presence::Optional("\"weather.wind_speed\""), &field().or_nothing());
    let kind = match kind {
        "number" => {
            let transform = choice(TRANSFORMS, &[]).or_nothing();
            FeatureKind::Number {
                transform: reader.take("transform", Presence::Optional("\"log1p\""), &transform),
            }
        }
        "category" => FeatureKind::Category {
            size: reader.take("size", Presence::Default(CATEGORY_SIZE), &whole(1..=4096)),
        },
        _ => {
            let above_zero = number("a finite number above 0", |value| value > 0.0 && value.is_finite());
            FeatureKind::Cycle { period: reader.take("period", Presence::Required("24"), &above_zero) }
        }
    };
    reader.finish(|_| None);
    Some(Feature { name: name.to_owned(), path: path.unwrap_or(own_path), kind })
}

/// A feature with all that its kind says, its defaults too: a later version may have others.
fn write_feature(feature: &Feature) -> Value {
    let (kind, detail) = match &feature.kind {
        FeatureKind::Number { transform } => {
            ("number", ("transform", choice(TRANSFORMS, &[]).or_nothing().write(transform)))
        }
        FeatureKind::Cycle { period } => ("cycle", ("period", Value::Float(*period))),
        FeatureKind::Category { size } => ("category", ("size", whole(1..=4096).write(size))),
    };
    let path = match feature.path.to_string() {
        path if path == feature.name => Value::Absent,
        path => Value::Text(path),
    };
    let details = [detail, ("path", path)].into_iter().filter(|(_, value)| !matches!(value, Value::Absent));
    match details.collect::<Vec<_>>() {
        details if details.is_empty() => written(kind),
        details => Value::table([("kind", written(kind))].into_iter().chain(details)),
    }
}

/// A text into which variables and files bring secrets.
pub(super) fn secret_text(what: &'static str) -> Kind<String> {
    let read = move |node: &Node, place: &mut Place<'_, '_>| match secret_of(node, place.reading.variables) {
        Some(Ok(text)) if !text.trim().is_empty() => Some(text),
        Some(Err(problem)) => place.wrong(node, problem),
        _ => place.must_be(node, what),
    };
    Kind::new(format!("{what}; `${{VARIABLE}}` and {{ file = \"…\" }} are read"), read, |_| hidden())
}

/// The text of a value into which secrets may come; `None` where it is neither a text nor `{ file = "…" }`.
fn secret_of(node: &Node, variables: &Variables) -> Option<Result<String, String>> {
    match &node.value {
        Value::Table(table) if is_secret_file(table) => table.0[0].1.text().map(secret::read_file),
        _ => node.text().map(|text| secret::expand(text, variables)),
    }
}

/// Properties that tailwater sets by itself, and where to say it instead.
const OWN_PROPERTIES: [(&str, &str); 10] = [
    ("auto.offset.reset", "say it with input.start"),
    ("bootstrap.servers", "say it with kafka.brokers"),
    ("enable.auto.commit", "offsets are committed only after the scores were acknowledged"),
    ("enable.auto.offset.store", "offsets are committed only after the scores were acknowledged"),
    ("enable.partition.eof", "the order of the records depends on it"),
    ("group.id", "say it with kafka.group"),
    ("isolation.level", "records of aborted transactions must never be learned"),
    ("metadata.broker.list", "say it with kafka.brokers"),
    ("transaction.timeout.ms", "say it with delivery.timeout"),
    ("transactional.id", "it is made from kafka.group"),
];

/// librdkafka properties, any of which may hold a secret.
pub(super) fn properties() -> Kind<BTreeMap<String, Secret>> {
    let what = "a table of librdkafka properties; `${VARIABLE}` and { file = \"…\" } are read";
    let value = "a text, a number, true, false, or { file = \"…\" }";
    let read = move |node: &Node, place: &mut Place<'_, '_>| {
        let Value::Table(table) = &node.value else {
            return place.must_be(node, what);
        };
        let mut properties = BTreeMap::new();
        for (name, node) in &table.0 {
            let mut place = place.part(&format!(".{name}"));
            let text = if let Some((_, reason)) = OWN_PROPERTIES.iter().find(|(own, _)| own == name) {
                place.wrong(node, format!("is set by tailwater itself; remove it: {reason}"))
            } else {
                match (secret_of(node, place.reading.variables), &node.value) {
                    (Some(Ok(text)), _) => Some(text),
                    (Some(Err(problem)), _) => place.wrong(node, problem),
                    (None, Value::Bool(_) | Value::Integer(_) | Value::Float(_)) => {
                        Some(node.value.to_string())
                    }
                    (None, _) => place.must_be(node, value),
                }
            };
            if let Some(text) = text {
                properties.insert(name.clone(), Secret(text));
            }
        }
        Some(properties)
    };
    Kind::new(what, read, |_| hidden())
}
