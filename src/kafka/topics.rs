//! The topics that a config names, and how each is to be made. What `check --create` makes and the command that an error
//! tells come from this one specification.

use std::time::Duration;

use crate::config::Config;

/// What a topic is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Records are read from it. Nobody but its owner knows how it is to be made.
    Input,
    /// Scores, outcomes or rejected records are written to it, each to the partition number that it came from.
    Output,
    /// Its one partition decides who leads, and holds the state.
    State,
}

/// A topic that the config names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic<'a> {
    /// The config key that names it.
    pub key: &'static str,
    /// Its name.
    pub name: &'a str,
    /// What it is for.
    pub role: Role,
    /// The settings that it is made with, beside the brokers' defaults.
    pub settings: Vec<(&'static str, String)>,
    /// Why they are what they are, where a user may wonder.
    pub reason: Option<&'static str>,
}

/// Scores are kept for a week at least.
const MIN_RETENTION: Duration = Duration::from_secs(7 * 86_400);
/// What headers and framing of a rejected record may add to its size.
const REJECTED_EXTRA_BYTES: usize = 65_536;
/// What brokers allow a batch of records unless they are told otherwise.
const DEFAULT_MESSAGE_BYTES: usize = 1_048_588;

/// The topics that a config names, the input first.
#[must_use]
pub fn of(config: &Config) -> Vec<Topic<'_>> {
    let output = |key, name| Topic { key, name, role: Role::Output, settings: Vec::new(), reason: None };
    let mut topics = vec![
        Topic { role: Role::Input, ..output("input.topic", &config.input.topic) },
        Topic {
            settings: vec![("retention.ms", retention_ms(config).to_string())],
            reason: Some("scores of events that wait for their targets are read again after a restart"),
            ..output("output.topic", &config.output.topic)
        },
    ];
    topics.extend(config.output.outcomes.as_deref().map(|name| output("output.outcomes", name)));
    topics.extend(config.output.rejected.as_deref().map(|name| Topic {
        settings: vec![("max.message.bytes", rejected_bytes(config).to_string())],
        ..output("output.rejected", name)
    }));
    topics.push(Topic {
        role: Role::State,
        settings: state_settings(),
        ..output("state.topic", &config.state.topic)
    });
    topics
}

/// Twice as long as an event waits: its target may come at the last moment, and a restart takes its time.
fn retention_ms(config: &Config) -> u128 {
    MIN_RETENTION.max(config.target.wait.saturating_mul(2)).as_millis()
}

/// A record that is rejected for anything but its size goes there whole.
fn rejected_bytes(config: &Config) -> usize {
    DEFAULT_MESSAGE_BYTES.max(config.input.max_bytes.saturating_add(REJECTED_EXTRA_BYTES))
}

/// A new leader reads the topic's end, further back where that does not hold all: what is outdated has to go soon, and
/// what holds must stay.
fn state_settings() -> Vec<(&'static str, String)> {
    [
        ("cleanup.policy", "compact"),
        // The segment that is written to is never compacted: it must not grow to the default of 1 GiB. 16 MiB are read
        // in a moment, and hold a few minutes of snapshots.
        ("segment.bytes", "16777216"),
        // Compacts once a tenth of it is outdated, rather than half: snapshots replace each other all the time.
        ("min.cleanable.dirty.ratio", "0.1"),
        // Markers of committed transactions, some five a second, would stay for a day after what they commit is gone.
        // A reader only has to be through with the topic by then.
        ("delete.retention.ms", "3600000"),
        // Should somebody add `delete` to the policy, a quiet week still costs no state.
        ("retention.ms", "-1"),
    ]
    .map(|(name, value)| (name, value.to_owned()))
    .into()
}

impl Topic<'_> {
    /// How many partitions it is to have, as far as that follows from those of the input, which may not be known (0).
    #[must_use]
    pub fn partitions(&self, inputs: usize) -> Option<usize> {
        match self.role {
            Role::Input => None,
            Role::Output => (inputs > 0).then_some(inputs),
            Role::State => Some(1),
        }
    }

    /// The command that makes it; `N` stands for partitions that nobody knows yet.
    #[must_use]
    pub fn command(&self, brokers: &str, partitions: Option<usize>) -> String {
        let partitions = partitions.map_or_else(|| "N".to_owned(), |partitions| partitions.to_string());
        let settings: String =
            self.settings.iter().map(|(name, value)| format!(" --config {name}={value}")).collect();
        format!(
            "kafka-topics.sh --bootstrap-server {brokers} --create --topic {} --partitions {partitions}{settings}",
            self.name
        )
    }

    /// What it is made like, in words.
    #[must_use]
    pub fn described(&self, partitions: usize) -> String {
        let mut text = format!("{partitions} partition{}", if partitions == 1 { "" } else { "s" });
        for (name, value) in &self.settings {
            text.push_str(&format!(", {name}={value}"));
        }
        if let Some(reason) = self.reason {
            text.push_str(&format!(" ({reason})"));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn config(sets: &[&str]) -> Config {
        let sets: Vec<String> = sets.iter().map(ToString::to_string).collect();
        let text = include_str!("../../examples/flights.toml");
        Config::from_parts(text, "flights.toml", &sets, std::iter::empty()).unwrap()
    }

    fn setting(config: &Config, key: &str, name: &str) -> String {
        let topic = of(config).into_iter().find(|topic| topic.key == key).unwrap();
        topic.settings.into_iter().find(|(setting, _)| *setting == name).unwrap().1
    }

    #[test]
    fn scores_are_kept_twice_as_long_as_events_wait_and_a_week_at_least() {
        for (wait, days) in [("1h", 7), ("84h", 7), ("5d", 10)] {
            let config = config(&[&format!("target.wait={wait}")]);
            assert_eq!(
                setting(&config, "output.topic", "retention.ms"),
                (days * 86_400_000_u64).to_string(),
                "{wait}"
            );
        }
    }

    #[test]
    fn a_rejected_record_fits_its_topic_with_its_headers() {
        for (max_bytes, expected) in [("1", "1048588"), ("1048576", "1114112"), ("1000000000", "1000065536")]
        {
            let config = config(&[&format!("input.max_bytes={max_bytes}")]);
            assert_eq!(setting(&config, "output.rejected", "max.message.bytes"), expected);
        }
    }

    #[test]
    fn partitions_follow_the_input_s_and_the_state_has_one() {
        let config = config(&[]);
        let partitions: Vec<_> = of(&config).iter().map(|t| (t.partitions(0), t.partitions(3))).collect();
        let output = (None, Some(3));
        assert_eq!(partitions, [(None, None), output, output, output, (Some(1), Some(1))]);
    }

    #[test]
    fn topics_that_the_config_does_not_name_are_not_made() {
        let text = include_str!("../../examples/flights.toml")
            .lines()
            .filter(|line| !line.starts_with("outcomes") && !line.starts_with("rejected"))
            .collect::<Vec<_>>()
            .join("\n");
        let config = Config::from_parts(&text, "flights.toml", &[], std::iter::empty()).unwrap();
        let keys: Vec<_> = of(&config).iter().map(|topic| topic.key).collect();
        assert_eq!(keys, ["input.topic", "output.topic", "state.topic"]);
    }

    #[test]
    fn the_command_and_the_words_tell_the_same() {
        let config = config(&[]);
        let [_, scores, outcomes, _, state] = of(&config).try_into().unwrap();
        assert_eq!(
            scores.command("b:9092", None),
            "kafka-topics.sh --bootstrap-server b:9092 --create --topic flight-risk --partitions N --config \
             retention.ms=604800000"
        );
        assert_eq!(
            scores.described(2),
            "2 partitions, retention.ms=604800000 (scores of events that wait for their targets are read again after \
             a restart)"
        );
        assert_eq!(outcomes.described(2), "2 partitions");
        let command = state.command("b:9092", Some(1));
        let described = state.described(1);
        assert!(described.starts_with("1 partition, cleanup.policy=compact, "), "{described}");
        for setting in described.split(", ").skip(1) {
            assert!(command.contains(&format!(" --config {setting}")), "{command}");
        }
    }
}
