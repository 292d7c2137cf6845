//! The reference of the configuration, `docs/config.md`, from the lists of its keys.

use std::fmt::Write as _;

use super::{
    Admin, Delivery, Input, Kafka, Learn, Model, Monitor, Output, Score, State, Target,
    section::{Key, LaterKey, Presence, Section},
};

/// A section as the reference shows it.
pub(super) struct SectionInfo {
    pub name: &'static str,
    doc: String,
    pub keys: Vec<Key>,
    pub later: &'static [LaterKey],
}

fn info<S: Section>() -> SectionInfo {
    SectionInfo { name: S::NAME, doc: S::doc(), keys: S::keys(), later: S::LATER }
}

/// Every section but `[features]`, whose keys are the user's.
pub(super) fn sections() -> [SectionInfo; 11] {
    [
        info::<Kafka>(),
        info::<Input>(),
        info::<Target>(),
        info::<Model>(),
        info::<Learn>(),
        info::<Score>(),
        info::<Output>(),
        info::<Monitor>(),
        info::<State>(),
        info::<Delivery>(),
        info::<Admin>(),
    ]
}

/// Every key with the name of its section.
pub(super) fn keys_of_sections() -> Vec<(&'static str, &'static str)> {
    let names = |section: SectionInfo| section.keys.into_iter().map(move |key| (section.name, key.name));
    sections().into_iter().flat_map(names).collect()
}

const HEAD: &str = "\
# Configuration

<!-- Written by the test `the_reference_is_fresh` from the lists in src/config/sections.rs: edit those. -->

tailwater reads one TOML file, `-c tailwater.toml`. Over it lie environment variables, `TAILWATER__LEARN__RATE=0.01`
for `learn.rate`, and over these the command line, `--set learn.rate=0.01`. A value there is TOML, or else a text as it
stands. In variables a property's dots are underscores: `TAILWATER__KAFKA__PROPERTIES__SASL_USERNAME`.

Secrets come into `kafka.brokers` and `kafka.properties` with `\"${VARIABLE}\"`, where `$${` stands for a plain `${`, or
from a file with `{ file = \"/run/secrets/x\" }`, without the white space around its content. They are never printed.

The column \"a change\" tells what another value than before means to a group that has a saved state. *free*: nothing.
*noted*: it applies from the restart on; the log names it, and where it changes the numbers, so does the config's hash in
the scores. *needs a new model*: the saved one can't be used any more, and `state.on_mismatch` says what happens then.

Unknown keys are errors, and so are keys that a later version brings: nothing is ignored. All errors are shown at once.
Durations are whole numbers with units, such as `\"20ms\"`, `\"1h30m\"` or `\"7d\"`.
";

const FEATURES: &str = "
## `[features]`

The inputs of the model, in its order; required. A key is a feature's name and the field it is read from; a field within
a nested record is named by its dotted path, in quotes; so is one whose own name has dots.

```toml
[features]
dep_delay = \"number\"                                     # standardised; null becomes the mean and sets an indicator
distance  = { kind = \"number\", transform = \"log1p\" }     # or \"sqrt\" or \"log\"; applied first
hour      = { kind = \"cycle\", period = 24 }              # sine and cosine
carrier   = \"category\"                                   # one-hot over a learned vocabulary, the rest under \"other\"
dest      = { kind = \"category\", size = 128 }            # up to so many values, 1 to 4096; 64 where nothing is said
wind      = { kind = \"number\", path = \"weather.wind\" }   # read from another field than its name says
```

A change of a feature, of their number or of their order *needs a new model*.

A field that `target` names can't be a feature: the model would see what it is to predict.
";

/// The text of `docs/config.md`.
#[must_use]
pub fn reference() -> String {
    let mut text = HEAD.to_owned();
    for section in sections() {
        write_section(&mut text, &section);
        if section.name == Input::NAME {
            text.push_str(FEATURES);
        }
    }
    text
}

fn write_section(text: &mut String, section: &SectionInfo) {
    let mut line = |line: &str| writeln!(text, "{line}").expect("a string takes what it is given");
    line(&format!("\n## `[{}]`\n\n{}\n", section.name, section.doc));
    line("| key | default | value | a change | meaning |\n|---|---|---|---|---|");
    for key in &section.keys {
        let default = match key.presence {
            Presence::Required(example) => format!("required, for instance `{example}`"),
            Presence::Optional(example) => format!("none; for instance `{example}`"),
            Presence::Default(toml) => format!("`{toml}`"),
            Presence::Derived(rule, _) => rule.to_owned(),
        };
        line(&row([&format!("`{}`", key.name), &default, &key.what, &key.change.to_string(), &key.doc]));
    }
    for later in section.later {
        line(&row([&format!("`{}`", later.name), "", "not yet", "", later.doc]));
    }
}

fn row(cells: [&str; 5]) -> String {
    format!("| {} |", cells.map(|cell| cell.replace('|', "\\|")).join(" | "))
}
