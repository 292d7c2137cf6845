//! The configuration before it means anything: a tree of values, each with its origin. The file is laid down first,
//! then environment variables, then `--set`, the later one replacing what the earlier one said.

use std::fmt;

use toml::{
    Spanned,
    de::{DeString, DeTable, DeValue},
};

use super::{
    error::{Errors, Origin},
    secret::{self, Variables},
};

/// What the names of environment variables that set keys start with.
const PREFIX: &str = "TAILWATER__";

/// A value and where it came from.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub value: Value,
    pub origin: Origin,
    /// What a variable or `--set` said before it was read as TOML: a text such as `007` must not turn into a number.
    raw: Option<String>,
}

/// A TOML value.
#[derive(Debug, Clone)]
pub(super) enum Value {
    /// An optional key without a value.
    Absent,
    Bool(bool),
    Integer(i64),
    Float(f64),
    Text(String),
    /// As it was written.
    Time(String),
    Array(Vec<Node>),
    Table(Table),
}

/// A table, in the order in which it was written: that of `[features]` is the order of the model's inputs.
#[derive(Debug, Clone, Default)]
pub(super) struct Table(pub Vec<(String, Node)>);

impl Table {
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.0.iter().find(|(name, _)| name == key).map(|(_, node)| node)
    }

    fn get_mut(&mut self, key: &str) -> Option<&mut Node> {
        self.0.iter_mut().find(|(name, _)| name == key).map(|(_, node)| node)
    }

    /// Sets a key, in its old place if it has one.
    fn put(&mut self, key: &str, node: Node) {
        match self.get_mut(key) {
            Some(old) => *old = node,
            None => self.0.push((key.to_owned(), node)),
        }
    }

    /// The node at a dotted path of plain keys.
    pub fn at(&self, path: &str) -> Option<&Node> {
        match path.split_once('.') {
            None => self.get(path),
            Some((key, rest)) => match &self.get(key)?.value {
                Value::Table(table) => table.at(rest),
                _ => None,
            },
        }
    }

    /// Sets what stands at a path, making the tables above it where they are missing. Fails where one of them
    /// is no table, with the length of its path.
    pub fn set(&mut self, path: &[String], node: Node) -> Result<(), usize> {
        let Some((key, rest)) = path.split_first() else { return Ok(()) };
        if rest.is_empty() {
            self.put(key, node);
            return Ok(());
        }
        if self.get(key).is_none() {
            self.put(key, Node::new(Value::Table(Self::default()), node.origin.clone()));
        }
        match self.get_mut(key).map(|inner| &mut inner.value) {
            Some(Value::Table(table)) => table.set(rest, node).map_err(|length| length + 1),
            _ => Err(1),
        }
    }
}

impl Value {
    /// A list of values that nobody wrote.
    pub fn array(values: impl IntoIterator<Item = Self>) -> Self {
        Self::Array(values.into_iter().map(|value| Node::new(value, Origin::Unset)).collect())
    }

    /// A table of values that nobody wrote.
    pub fn table<K: Into<String>>(entries: impl IntoIterator<Item = (K, Self)>) -> Self {
        let entry = |(key, value): (K, Self)| (key.into(), Node::new(value, Origin::Unset));
        Self::Table(Table(entries.into_iter().map(entry).collect()))
    }
}

impl Node {
    pub fn new(value: Value, origin: Origin) -> Self {
        Self { value, origin, raw: None }
    }

    /// Reads one TOML value; `None` where it is none.
    pub fn parse(text: &str, origin: &Origin) -> Option<Self> {
        DeValue::parse(text).ok().map(|value| Self::from_toml(&value, &|_| origin.clone()))
    }

    /// A value from outside of the file: TOML, or else a text as it stands.
    fn from_outside(text: &str, origin: Origin) -> Self {
        let parsed = Self::parse(text, &origin);
        let node = parsed.unwrap_or_else(|| Self::new(Value::Text(text.to_owned()), origin));
        Self { raw: Some(text.to_owned()), ..node }
    }

    fn from_toml(value: &Spanned<DeValue<'_>>, origin: &dyn Fn(usize) -> Origin) -> Self {
        let read = match value.get_ref() {
            DeValue::Boolean(value) => Value::Bool(*value),
            DeValue::String(text) => Value::Text(text.to_string()),
            DeValue::Datetime(time) => Value::Time(time.to_string()),
            DeValue::Float(float) => Value::Float(float.as_str().parse().unwrap_or(f64::NAN)),
            DeValue::Integer(integer) => match i64::from_str_radix(integer.as_str(), integer.radix()) {
                Ok(value) => Value::Integer(value),
                // Too large for TOML's integers: no key takes it, unless as a number.
                Err(_) => Value::Float(integer.as_str().parse().unwrap_or(f64::NAN)),
            },
            DeValue::Array(items) => {
                Value::Array(items.iter().map(|item| Self::from_toml(item, origin)).collect())
            }
            DeValue::Table(table) => Value::Table(table_from_toml(table, origin)),
        };
        Self::new(read, origin(value.span().start))
    }

    /// The text, or what was written where a text was wanted and a variable or `--set` looked like something else.
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            Value::Absent | Value::Array(_) | Value::Table(_) => None,
            _ => self.raw.as_deref(),
        }
    }

    /// The value as an error shows it.
    pub fn shown(&self) -> String {
        const LENGTH_MAX: usize = 60;
        let text = self.value.to_string();
        match text.char_indices().nth(LENGTH_MAX) {
            Some((at, _)) => format!("{}…", &text[..at]),
            None => text,
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("nothing"),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Integer(value) => write!(f, "{value}"),
            Self::Float(value) => write!(f, "{value:?}"),
            Self::Text(text) => f.write_str(&quoted(text)),
            Self::Time(time) => f.write_str(time),
            Self::Array(items) => {
                f.write_str("[")?;
                for (i, item) in items.iter().enumerate() {
                    write!(f, "{}{}", if i > 0 { ", " } else { "" }, item.value)?;
                }
                f.write_str("]")
            }
            Self::Table(table) if table.0.is_empty() => f.write_str("{}"),
            Self::Table(table) => {
                for (i, (key, node)) in table.0.iter().enumerate() {
                    // A property's dots need no quotes, nor have those of a path another meaning without.
                    let is_dotted = key.split('.').all(|part| quoted_key(part) == part);
                    let key = if is_dotted { key.clone() } else { quoted(key) };
                    write!(f, "{}{key} = {}", if i > 0 { ", " } else { "{ " }, node.value)?;
                }
                f.write_str(" }")
            }
        }
    }
}

/// A text as TOML writes it, in one line. What can't be seen is written by its number.
pub(crate) fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            _ if is_unseen(c) => quoted.push_str(&format!("\\U{:08X}", u32::from(c))),
            _ => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// Control characters, and those that have no width or turn the direction of what stands beside them.
pub(crate) fn is_unseen(c: char) -> bool {
    let is_of_format = matches!(c, '\u{AD}' | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{FEFF}');
    c.is_control() || is_of_format
}

/// A key as TOML writes it.
pub(crate) fn quoted_key(key: &str) -> String {
    let is_bare = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c));
    if is_bare { key.to_owned() } else { quoted(key) }
}

fn table_from_toml(table: &DeTable<'_>, origin: &dyn Fn(usize) -> Origin) -> Table {
    let mut entries: Vec<_> = table.iter().collect();
    // The parser sorts by name; the order of the file is that of the keys' places in it.
    entries.sort_by_key(|(key, _)| key.span().start);
    let entry = |(key, value): (&Spanned<DeString<'_>>, &Spanned<DeValue<'_>>)| {
        // The key's line, not the value's: a table's value may begin elsewhere.
        let node = Node { origin: origin(key.span().start), ..Node::from_toml(value, origin) };
        (key.get_ref().to_string(), node)
    };
    Table(entries.into_iter().map(entry).collect())
}

/// Lays the three layers over each other; `None` where the file is no TOML, since then every key would be missing.
pub(super) fn read(text: &str, sets: &[String], variables: &Variables, errors: &mut Errors) -> Option<Table> {
    let mut tree = read_file(text, errors)?;
    for (name, value) in variables {
        let Some(keys) = name.strip_prefix(PREFIX) else { continue };
        let path: Vec<String> = keys.to_lowercase().split("__").map(str::to_owned).collect();
        let origin = Origin::Variable(name.clone());
        if path.iter().any(String::is_empty) {
            errors.push(
                &origin,
                "",
                None,
                format!("names no key; write it like {PREFIX}LEARN__RATE for learn.rate"),
            );
            continue;
        }
        lay(&mut tree, path, Node::from_outside(value, origin), errors);
    }
    for argument in sets {
        match argument.split_once('=').and_then(|(key, value)| Some((parse_key(key)?, value))) {
            Some((path, value)) => {
                lay(&mut tree, path, Node::from_outside(value.trim(), Origin::Set), errors)
            }
            None => {
                errors.push(
                    &Origin::Set,
                    "",
                    None,
                    "must be section.key=value, for instance learn.rate=0.001",
                );
            }
        }
    }
    flatten_properties(&mut tree);
    Some(tree)
}

/// A property of the Kafka client that `--set` said.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Property {
    pub name: String,
    /// In TOML, on one line.
    pub value: String,
    /// Says where the value is found, and nothing of the value: `${NAME}` or `{ file = "…" }`.
    pub is_reference: bool,
}

/// The properties of the Kafka client that these arguments of `--set` say, as a config has them.
pub(crate) fn properties(sets: &[String]) -> Vec<Property> {
    let tree = read("", sets, &Variables::new(), &mut Errors::default()).unwrap_or_default();
    let Some(Value::Table(properties)) = tree.at("kafka.properties").map(|node| &node.value) else {
        return Vec::new();
    };
    let property = |(name, node): &(String, Node)| Property {
        name: name.clone(),
        value: node.text().map_or_else(|| node.value.to_string(), quoted),
        is_reference: match &node.value {
            Value::Table(table) => is_secret_file(table),
            _ => node.text().is_some_and(secret::is_reference),
        },
    };
    properties.0.iter().map(property).collect()
}

fn read_file(text: &str, errors: &mut Errors) -> Option<Table> {
    let line = |at: usize| Origin::Line(1 + text.bytes().take(at).filter(|&byte| byte == b'\n').count());
    match DeTable::parse(text) {
        Ok(table) => Some(table_from_toml(table.get_ref(), &line)),
        Err(error) => {
            // Its message alone: the error's own form quotes the line, which may hold a password.
            let origin = error.span().map_or(Origin::Unset, |span| line(span.start));
            errors.push(
                &origin,
                "",
                None,
                format!("not valid TOML: {}", error.message().replace('\n', ", ")),
            );
            None
        }
    }
}

fn lay(tree: &mut Table, mut path: Vec<String>, node: Node, errors: &mut Errors) {
    let is_property = path.len() > 2 && path[0] == "kafka" && path[1] == "properties";
    if is_property {
        // A property's name holds dots; in a variable's name they are underscores.
        let name = path.split_off(2).join(".");
        path.push(if matches!(node.origin, Origin::Variable(_)) { name.replace('_', ".") } else { name });
    }
    let origin = node.origin.clone();
    if let Err(length) = tree.set(&path, node) {
        let above = path[..length].join(".");
        let problem = format!("can't be set, because {above} is not a table; set {above} as a whole instead");
        errors.push(&origin, &path.join("."), None, problem);
    }
}

/// The segments of a dotted key, as TOML reads it.
fn parse_key(key: &str) -> Option<Vec<String>> {
    if key.contains(['\n', '\r', '#', '=']) {
        return None;
    }
    let document = format!("{key} = 0");
    let parsed = DeTable::parse(&document).ok()?;
    let mut table = parsed.get_ref();
    let mut path = Vec::new();
    loop {
        let (key, value) = table.iter().next()?;
        path.push(key.get_ref().to_string());
        match value.get_ref() {
            DeValue::Table(inner) => table = inner,
            _ => return Some(path),
        }
    }
}

/// librdkafka's names hold dots, which unquoted make nested tables: `security.protocol = "SSL"` means the property.
fn flatten_properties(tree: &mut Table) {
    fn flatten(prefix: &str, table: Table, flat: &mut Table) {
        for (key, node) in table.0 {
            let name = if prefix.is_empty() { key } else { format!("{prefix}.{key}") };
            match node.value {
                Value::Table(inner) if !is_secret_file(&inner) => flatten(&name, inner, flat),
                _ => flat.put(&name, node),
            }
        }
    }
    let Some(Value::Table(kafka)) = tree.get_mut("kafka").map(|node| &mut node.value) else { return };
    if let Some(Value::Table(table)) = kafka.get_mut("properties").map(|node| &mut node.value) {
        let mut flat = Table::default();
        flatten("", std::mem::take(table), &mut flat);
        *table = flat;
    }
}

/// Whether a table is `{ file = "…" }`.
pub(super) fn is_secret_file(table: &Table) -> bool {
    matches!(table.0.as_slice(), [(key, _)] if key == "file")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn tree(text: &str, sets: &[&str], variables: &[(&str, &str)]) -> Table {
        let mut errors = Errors::default();
        let sets: Vec<String> = sets.iter().map(ToString::to_string).collect();
        let variables = variables.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        let tree = read(text, &sets, &variables, &mut errors);
        errors.into_result("t.toml").unwrap();
        tree.unwrap()
    }

    fn shown(tree: &Table, path: &str) -> String {
        tree.at(path).unwrap().shown()
    }

    #[test]
    fn the_command_line_wins_over_a_variable_and_that_over_the_file() {
        let variables = [("TAILWATER__LEARN__RATE", "2"), ("TAILWATER__LEARN__CLIP", "2"), ("HOME", "/root")];
        let tree = tree("[learn]\nrate = 1\nclip = 1\nbatch = 1", &["learn.rate=3"], &variables);
        assert_eq!(shown(&tree, "learn.rate"), "3");
        assert_eq!(tree.at("learn.rate").unwrap().origin, Origin::Set);
        assert_eq!(shown(&tree, "learn.clip"), "2");
        assert_eq!(tree.at("learn.clip").unwrap().origin, Origin::Variable("TAILWATER__LEARN__CLIP".into()));
        assert_eq!(tree.at("learn.batch").unwrap().origin, Origin::Line(4));
    }

    #[test]
    fn a_value_that_is_no_toml_is_a_text() {
        let tree =
            tree("", &["input.topic=flights", "model.hidden=[64,64]", "kafka.group=007", "a.b=x = \"y"], &[]);
        assert_eq!(shown(&tree, "input.topic"), "\"flights\"");
        assert_eq!(shown(&tree, "model.hidden"), "[64, 64]");
        assert_eq!(tree.at("kafka.group").unwrap().text(), Some("007"));
        assert_eq!(shown(&tree, "a.b"), "\"x = \\\"y\"");
    }

    #[test]
    fn tables_keep_the_order_of_the_file() {
        let text = "[features]\nzebra = 1\nant = 2\n[input]\ntopic = 1\n[features.mule]\nkind = 1";
        let tree = tree(text, &["features.bee=3", "features.zebra=4"], &[]);
        let Value::Table(features) = &tree.get("features").unwrap().value else { panic!() };
        let names: Vec<&str> = features.0.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["zebra", "ant", "mule", "bee"]);
    }

    #[test]
    fn properties_are_one_name_however_they_are_written() {
        let text = "[kafka.properties]\n\"client.id\" = \"a\"\nsecurity.protocol = \"b\"\nsasl.password = { file = \"c\" }";
        let variables = [("TAILWATER__KAFKA__PROPERTIES__SASL_USERNAME", "d")];
        let tree = tree(
            text,
            &["kafka.properties.security.protocol=e", "kafka.properties.\"client.id\"=f"],
            &variables,
        );
        let properties = tree.at("kafka.properties").unwrap().shown();
        let expected = "{ client.id = \"f\", security.protocol = \"e\", sasl.password = { file = \"c\" }, sasl.username = \"d\" }";
        let Value::Table(table) = &tree.at("kafka.properties").unwrap().value else { panic!() };
        assert_eq!(Value::Table(table.clone()).to_string(), expected, "{properties}");
    }
}
