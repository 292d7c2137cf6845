//! A config written out as it is in effect: every key with its value, defaults included.

use super::{
    Config, kind,
    section::Section,
    tree::{Node, Table, Value, quoted_key},
};

impl Config {
    /// All of it in TOML, which reads back as the same config but for what may be a secret: that is left out.
    #[must_use]
    pub fn to_toml(&self) -> String {
        let Self {
            kafka,
            input,
            features,
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
        let mut text = String::new();
        write_section(kafka, &mut text);
        write_section(input, &mut text);
        if let Value::Table(features) = kind::features().write(features) {
            write_table("features", &features, &mut text);
        }
        write_section(target, &mut text);
        write_section(model, &mut text);
        write_section(learn, &mut text);
        write_section(score, &mut text);
        write_section(output, &mut text);
        write_section(monitor, &mut text);
        write_section(state, &mut text);
        write_section(delivery, &mut text);
        write_section(admin, &mut text);
        text
    }
}

fn write_section<S: Section>(section: &S, text: &mut String) {
    let entry = |(key, value): (super::section::Key, Value)| {
        (key.name.to_owned(), Node::new(value, super::Origin::Unset))
    };
    let table = Table(S::keys().into_iter().zip(section.values()).map(entry).collect());
    write_table(S::NAME, &table, text);
}

fn write_table(name: &str, table: &Table, text: &mut String) {
    let set = || table.0.iter().filter(|(_, node)| !matches!(node.value, Value::Absent));
    if set().next().is_none() {
        return;
    }
    text.push_str(&format!("{}[{name}]\n", if text.is_empty() { "" } else { "\n" }));
    for (key, node) in set() {
        let value = &node.value;
        if kind::is_hidden(value) {
            text.push_str(&format!(
                "# {} is not written down, since it may hold a secret\n",
                quoted_key(key)
            ));
        } else {
            text.push_str(&format!("{} = {value}\n", quoted_key(key)));
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_config_written_out_reads_back_as_itself() {
        let text = include_str!("../../examples/flights.toml");
        let sets = [
            "features.\"wind speed\"={ kind = \"number\", path = \"wind.speed\" }",
            "score.exceed=[{ late = 15.0 }, \"sla\"]",
        ];
        let sets: Vec<String> = sets.iter().map(ToString::to_string).collect();
        let config = Config::from_parts(text, "flights.toml", &sets, std::iter::empty()).unwrap();
        let brokers = config.kafka.brokers.clone();
        let written = config.to_toml();
        assert!(
            !written.contains(&brokers) && written.contains("# brokers is not written down"),
            "{written}"
        );
        let sets = [format!("kafka.brokers={brokers}")];
        let again = Config::from_parts(&written, "written.toml", &sets, std::iter::empty()).unwrap();
        assert_eq!(again, config);
    }
}
