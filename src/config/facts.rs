//! What of a configuration a saved state remembers, and what it means that it has changed since.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{
    Config, kind,
    reference::{SectionInfo, sections},
    section::{Key, Presence, Section},
    tree::{Node, Value},
};

/// What a change of a key does to a group that has a saved state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Nothing: the state knows nothing of it.
    Free,
    /// It applies from the restart on.
    Noted,
    /// The saved model can't be used any more.
    NewModel,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Free => "free",
            Self::Noted => "noted",
            Self::NewModel => "needs a new model",
        })
    }
}

/// A key whose change matters to a saved state, with its value in TOML: the same text on every start and for every way
/// in which the value may have been written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fact {
    /// The dotted key, such as `model.hidden` or `features.carrier`.
    pub key: String,
    /// Its value, such as `[32, 32]`.
    pub value: String,
}

impl Fact {
    /// The fact of a key; none where its change is free, or where it has no value.
    pub(super) fn of(key: &str, change: Change, value: &Value) -> Option<Self> {
        let matters = change != Change::Free && !matches!(value, Value::Absent);
        matters.then(|| Self { key: key.to_owned(), value: value.to_string() })
    }
}

/// A key whose value is another than it was; never one whose change is free.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The dotted key.
    pub key: String,
    /// What its change means.
    pub change: Change,
    /// The value that it had; `None`: none.
    pub then: Option<String>,
    /// The value that it has; `None`: none.
    pub now: Option<String>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |value: &Option<String>| value.clone().unwrap_or_else(|| "not set".to_owned());
        write!(f, "{}: was {}, is {}", self.key, shown(&self.then), shown(&self.now))
    }
}

/// The names of the features, in the order of the model's inputs; each feature's own key begins with it and a dot.
const FEATURES: &str = "features";

impl Config {
    /// Every key whose change is not free, and each feature, with its value: what a saved state keeps to be compared with
    /// the config of its next start. No secret is among them.
    #[must_use]
    pub fn facts(&self) -> Vec<Fact> {
        let Self {
            kafka,
            input,
            features: _,
            target,
            model,
            learn,
            score,
            output,
            monitor,
            state,
            delivery,
            admin,
        } = self;
        [
            kafka.facts(),
            input.facts(),
            self.feature_facts(),
            target.facts(),
            model.facts(),
            learn.facts(),
            score.facts(),
            output.facts(),
            monitor.facts(),
            state.facts(),
            delivery.facts(),
            admin.facts(),
        ]
        .concat()
    }

    fn feature_facts(&self) -> Vec<Fact> {
        let Value::Table(each) = kind::features().write(&self.features) else { return Vec::new() };
        let names = Value::array(each.0.iter().map(|(name, _)| Value::Text(name.clone())));
        let order = Fact::of(FEATURES, Change::NewModel, &names);
        let of_feature = |(name, node): &(String, Node)| {
            Fact::of(&format!("{FEATURES}.{name}"), Change::NewModel, &node.value)
        };
        order.into_iter().chain(each.0.iter().filter_map(of_feature)).collect()
    }

    /// As much of the config that had these facts as decides what the model consists of; the rest is made up. `None` where
    /// they are no config of this version.
    #[must_use]
    pub fn of_model(facts: &[Fact]) -> Option<Self> {
        let mut text = String::from(
            "kafka.brokers = \"none\"\nkafka.group = \"none\"\ninput.topic = \"in\"\noutput.topic = \"out\"\n",
        );
        for Fact { key, value } in facts {
            let key = match key.strip_prefix(FEATURES).and_then(|rest| rest.strip_prefix('.')) {
                Some(name) => format!("{FEATURES}.{}", Value::Text(name.to_owned())),
                None if ["target.fields", "target.support"].contains(&key.as_str())
                    || key.starts_with("model.") =>
                {
                    key.clone()
                }
                None => continue,
            };
            // A value is one line: it can't bring keys of its own.
            if [&key, value].into_iter().any(|text| text.contains(['\n', '\r'])) {
                return None;
            }
            text.push_str(&format!("{key} = {value}\n"));
        }
        Self::from_parts(&text, "", &[], std::iter::empty()).ok()
    }

    /// What differs from the facts of another time, first the keys that have a value now, in their order. A key of
    /// another version, which this one doesn't know, is noted.
    #[must_use]
    pub fn differences(&self, then: &[Fact]) -> Vec<Difference> {
        let now = self.facts();
        let value_in = |facts: &[Fact], key: &str| {
            facts.iter().find(|fact| fact.key == key).map(|fact| fact.value.clone())
        };
        let gone = then.iter().filter(|fact| value_in(&now, &fact.key).is_none());
        let keys = now.iter().chain(gone).map(|fact| &fact.key);
        // A state of before a key was there was made by what is now its default.
        let then_in = |key: &String| value_in(then, key).or_else(|| default_of(key));
        let difference = |key: &String| Difference {
            key: key.clone(),
            change: change_of(key),
            then: then_in(key),
            now: value_in(&now, key),
        };
        // A key that this version has made free is no longer among its facts.
        keys.map(difference).filter(|d| d.then != d.now && d.change != Change::Free).collect()
    }
}

/// A key of a section as this version knows it.
fn known(key: &str) -> Option<Key> {
    let in_section = |section: SectionInfo| {
        let name = key.strip_prefix(section.name)?.strip_prefix('.')?;
        section.keys.into_iter().find(|key| key.name == name)
    };
    sections().into_iter().find_map(in_section)
}

/// A key's default where it has one, as it is written in TOML.
fn default_of(key: &str) -> Option<String> {
    match known(key)?.presence {
        Presence::Default(toml) => Some(toml.to_owned()),
        _ => None,
    }
}

/// What a change of a key means to this version.
fn change_of(key: &str) -> Change {
    if key.strip_prefix(FEATURES).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')) {
        return Change::NewModel;
    }
    known(key).map_or(Change::Noted, |key| key.change)
}
