//! How a table is read: each of its keys is listed once, and from that list come the struct, its reading and the
//! reference.

use super::{
    Change, Fact,
    error::{Errors, Origin, closest},
    kind::Kind,
    secret::Variables,
    tree::{Node, Table, Value},
};

/// Whether a key must be there, and what holds where it is not.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Presence {
    /// It must be there; with an example, in TOML.
    Required(&'static str),
    /// Without it there is nothing; with an example, in TOML.
    Optional(&'static str),
    /// Without it, this holds, in TOML.
    Default(&'static str),
    /// Without it, a value made from other keys holds: how the reference words it, and an example, in TOML.
    Derived(&'static str, &'static str),
}

impl Presence {
    /// A value that is right, in TOML.
    pub fn example(self) -> &'static str {
        match self {
            Self::Required(toml) | Self::Optional(toml) | Self::Default(toml) | Self::Derived(_, toml) => {
                toml
            }
        }
    }
}

/// A key as the reference and the suggestions need it.
#[derive(Debug, Clone)]
pub(super) struct Key {
    pub name: &'static str,
    pub doc: String,
    pub presence: Presence,
    pub change: Change,
    /// Completes "must be …".
    pub what: String,
}

/// A key that a later version brings. It is refused, since what is ignored would be believed.
#[derive(Debug, Clone, Copy)]
pub(super) struct LaterKey {
    pub name: &'static str,
    /// What it will do.
    pub doc: &'static str,
    /// What to do now.
    pub instead: &'static str,
}

/// A table of the configuration whose keys are all known.
pub(super) trait Section: Sized {
    /// Its name in the file.
    const NAME: &'static str;
    /// Its keys that a later version brings.
    const LATER: &'static [LaterKey];
    /// What it is about.
    fn doc() -> String;
    /// Its keys, in the order of the reference.
    fn keys() -> Vec<Key>;
    /// Takes its keys from a table. What is missing or wrong is reported, and a value that would be right stands in,
    /// so that checks across keys can go on.
    fn take(table: &mut TableReader<'_, '_>) -> Self;
    /// The values of its keys, in the same order.
    fn values(&self) -> Vec<Value>;
    /// What a saved state remembers of it.
    fn facts(&self) -> Vec<Fact> {
        let keys = Self::keys().into_iter().zip(self.values());
        keys.filter_map(|(key, value)| Fact::of(&format!("{}.{}", Self::NAME, key.name), key.change, &value))
            .collect()
    }
}

/// Lists a section's keys: documentation, type, [`Presence`], [`Kind`] and [`Change`] of each.
macro_rules! section {
    (
        $(#[doc = $about:literal])+
        $Section:ident $name:literal {
            $($(#[doc = $doc:literal])+ $key:ident: $type:ty = $presence:expr, $kind:expr, $change:expr;)*
        }
        later { $($later:expr),* $(,)? }
    ) => {
        $(#[doc = $about])+
        #[derive(Debug, Clone, PartialEq)]
        pub struct $Section {
            $($(#[doc = $doc])+ pub $key: $type,)*
        }

        impl Section for $Section {
            const NAME: &'static str = $name;
            const LATER: &'static [LaterKey] = &[$($later),*];

            fn doc() -> String {
                concat!($($about),+).trim().to_owned()
            }

            fn keys() -> Vec<Key> {
                vec![$(Key {
                    name: stringify!($key),
                    doc: concat!($($doc),+).trim().to_owned(),
                    presence: $presence,
                    change: $change,
                    what: Kind::<$type>::from($kind).what,
                }),*]
            }

            fn take(table: &mut TableReader<'_, '_>) -> Self {
                Self { $($key: table.take(stringify!($key), $presence, &$kind)),* }
            }

            fn values(&self) -> Vec<Value> {
                vec![$(Kind::<$type>::from($kind).write(&self.$key)),*]
            }
        }
    };
}
pub(super) use section;

/// What all reading shares.
pub(super) struct Reading<'a> {
    pub errors: &'a mut Errors,
    pub variables: &'a Variables,
}

/// A value's place: its key, and an example of what would be right.
pub(super) struct Place<'r, 'a> {
    pub key: String,
    /// In TOML; empty for the parts of a value.
    pub example: &'static str,
    pub reading: &'r mut Reading<'a>,
}

impl<'a> Place<'_, 'a> {
    /// The place of a part of this value, such as `[1]` or `.unit`.
    pub fn part(&mut self, suffix: &str) -> Place<'_, 'a> {
        Place { key: format!("{}{suffix}", self.key), example: "", reading: self.reading }
    }

    /// Reports that the value is not `what` it must be.
    pub fn must_be<T>(&mut self, node: &Node, what: &str) -> Option<T> {
        let example = match self.example {
            "" => String::new(),
            example => format!(" (for instance {example})"),
        };
        self.wrong(node, format!("must be {what}{example}"))
    }

    /// Reports another fault of the value.
    pub fn wrong<T>(&mut self, node: &Node, problem: impl Into<String>) -> Option<T> {
        self.reading.errors.push(&node.origin, &self.key, Some(node.shown()), problem);
        None
    }
}

/// Takes the keys of one table and remembers which it knew.
pub(super) struct TableReader<'r, 'a> {
    table: &'r Table,
    /// The table's own key; empty for the whole file.
    key: String,
    /// Where a table within a value stands; a section may stand in several places, or nowhere.
    origin: Origin,
    reading: &'r mut Reading<'a>,
    known: Vec<&'static str>,
}

impl<'r, 'a> TableReader<'r, 'a> {
    pub fn new(table: &'r Table, key: &str, reading: &'r mut Reading<'a>) -> Self {
        Self { table, key: key.to_owned(), origin: Origin::Unset, reading, known: Vec::new() }
    }

    /// Reads a table that is a value.
    pub fn within(table: &'r Table, node: &Node, place: &'r mut Place<'_, 'a>) -> Self {
        Self { origin: node.origin.clone(), ..Self::new(table, &place.key, place.reading) }
    }

    /// The value of a key, or its default, or where it is wrong or missing one that would be right.
    pub fn take<T: 'static>(&mut self, name: &'static str, presence: Presence, kind: &Kind<T>) -> T {
        self.known.push(name);
        let key = self.key_of(name);
        match self.table.get(name) {
            Some(node) => {
                let place = &mut Place { key, example: presence.example(), reading: self.reading };
                if let Some(value) = kind.read(node, place) {
                    return value;
                }
            }
            None => {
                if let Presence::Required(example) = presence {
                    let under = match self.origin {
                        Origin::Unset if !self.key.is_empty() => format!(" under [{}]", self.key),
                        _ => String::new(),
                    };
                    let problem = format!("missing; add it, for instance {name} = {example}{under}");
                    self.reading.errors.push(&self.origin, &key, None, problem);
                }
            }
        }
        self.stand_in(presence, kind)
    }

    /// Takes a whole section, which may be missing where none of its keys is required.
    pub fn section<S: Section>(&mut self, elsewhere: impl Fn(&str) -> Option<&'static str>) -> S {
        self.known.push(S::NAME);
        let empty = Table::default();
        let table = match self.table.get(S::NAME) {
            None => &empty,
            Some(Node { value: Value::Table(table), .. }) => table,
            Some(node) => {
                let problem = format!("must be a table; begin it with a line [{}]", S::NAME);
                self.reading.errors.push(&node.origin, S::NAME, Some(node.shown()), problem);
                // Its keys are not missing, they are unreadable: one error is enough.
                let reading =
                    &mut Reading { errors: &mut Errors::default(), variables: self.reading.variables };
                return S::take(&mut TableReader::new(&empty, S::NAME, reading));
            }
        };
        let mut reader = TableReader::new(table, S::NAME, self.reading);
        let section = S::take(&mut reader);
        S::LATER.iter().for_each(|later| reader.refuse(later));
        reader.finish(elsewhere);
        section
    }

    /// Refuses a key of a later version.
    pub fn refuse(&mut self, later: &LaterKey) {
        self.known.push(later.name);
        let Some(node) = self.table.get(later.name) else { return };
        let problem = format!("not supported in this version: {}", later.instead);
        self.reading.errors.push(&node.origin, &self.key_of(later.name), Some(node.shown()), problem);
    }

    /// Reports the keys that nobody took. `elsewhere` finds the section that a misplaced key belongs to.
    pub fn finish(self, elsewhere: impl Fn(&str) -> Option<&'static str>) {
        for (name, node) in &self.table.0 {
            if self.known.contains(&name.as_str()) {
                continue;
            }
            let problem = match (closest(name, self.known.iter().copied()), elsewhere(name)) {
                (Some(close), _) => format!("unknown key; did you mean `{close}`?"),
                (None, Some(section)) => format!("unknown key; `{name}` belongs under [{section}]"),
                (None, None) if self.key.is_empty() => {
                    format!("unknown section; there are {}", self.known.join(", "))
                }
                (None, None) => format!("unknown key; {} takes {}", self.key, self.known.join(", ")),
            };
            self.reading.errors.push(&node.origin, &self.key_of(name), None, problem);
        }
    }

    fn key_of(&self, name: &str) -> String {
        if self.key.is_empty() { name.to_owned() } else { format!("{}.{name}", self.key) }
    }

    fn stand_in<T: 'static>(&mut self, presence: Presence, kind: &Kind<T>) -> T {
        let node = match presence {
            Presence::Optional(_) => Some(Node::new(Value::Absent, Origin::Unset)),
            _ => Node::parse(presence.example(), &Origin::Unset),
        };
        let reading = &mut Reading { errors: &mut Errors::default(), variables: self.reading.variables };
        let place = &mut Place { key: String::new(), example: "", reading };
        node.and_then(|node| kind.read(&node, place))
            .expect("every default and example is right, which a test ensures")
    }
}
