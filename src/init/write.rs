//! The config's text: each guess with its reason beside it, and what was left out as a comment.

use super::{
    Draft, Origin,
    guess::{Guess, Role},
    learn::Key,
    profile::shown,
    time_toml,
};
use crate::config::{FieldPath, InputFormat, quoted, quoted_key};

/// A line is at most so long …
const WIDTH: usize = 120;
/// … and its comment begins here, or further right where a line of the section is longer …
const COMMENT_AT: usize = 34;
/// … but not further than here: above a line that is longer still it stands alone.
const LAST_COMMENT_AT: usize = 64;

/// Where a file's config says the brokers are: to be put right.
const PLACEHOLDER: &str = "\"localhost:9092\"";

/// Lines with their comments, which begin in one column in each section.
#[derive(Default)]
struct Text {
    done: String,
    section: Vec<(String, String)>,
}

impl Text {
    /// A section; what it is for stands behind its name.
    fn section(&mut self, name: &str, comment: &str) {
        self.flush();
        self.done.push('\n');
        self.line(&format!("[{name}]"), comment);
    }

    /// A line with its comment, which goes on below where it is long.
    fn line(&mut self, code: &str, comment: &str) {
        self.section.push((code.to_owned(), comment.to_owned()));
    }

    /// A comment alone.
    fn comment(&mut self, comment: &str) {
        self.flush();
        for part in wrapped(comment, WIDTH - 2) {
            self.done.push_str(format!("# {part}").trim_end());
            self.done.push('\n');
        }
    }

    fn flush(&mut self) {
        let lines = std::mem::take(&mut self.section);
        let lens = lines.iter().map(|(code, _)| code.chars().count() + 1);
        let at = lens.filter(|len| *len <= LAST_COMMENT_AT).max().unwrap_or(0).max(COMMENT_AT);
        for (code, comment) in lines {
            if code.chars().count() >= LAST_COMMENT_AT {
                if !comment.is_empty() {
                    self.comment(&comment);
                }
                self.done.push_str(&format!("{code}\n"));
                continue;
            }
            for (nth, part) in wrapped(&comment, WIDTH - at - 2).iter().enumerate() {
                let code = if nth == 0 { code.as_str() } else { "" };
                let line = if part.is_empty() { code.to_owned() } else { format!("{code:at$}# {part}") };
                self.done.push_str(&line);
                self.done.push('\n');
            }
        }
    }

    fn finish(mut self) -> String {
        self.flush();
        self.done
    }
}

/// A text in lines of at most so many characters, where its words allow; at least one line.
pub(super) fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let Some(line) = lines.last_mut() else { break };
        let len = line.chars().count();
        if len > 0 && len + 1 + word.chars().count() > width {
            lines.push(word.to_owned());
        } else {
            if len > 0 {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}

/// The file's name without its folder, or the topic's, as it may be shown.
pub(super) fn base_name(origin: &Origin) -> String {
    let name = origin.name();
    match origin {
        Origin::Topic { .. } => name.to_owned(),
        Origin::File { .. } => shown(name.rsplit(['/', '\\']).next().unwrap_or(name)),
    }
}

/// What a topic, a group or a folder may be named after a file or a topic.
pub(super) fn stem(origin: &Origin) -> String {
    let name = origin.name();
    let name = match origin {
        Origin::Topic { .. } => name,
        Origin::File { .. } => {
            let name = name.rsplit(['/', '\\']).next().unwrap_or(name);
            let name = name.strip_suffix(".zst").or_else(|| name.strip_suffix(".zstd")).unwrap_or(name);
            name.rsplit_once('.').map_or(name, |(stem, _)| stem)
        }
    };
    let legal = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' };
    let stem: String = name.chars().map(legal).take(200).collect();
    let stem = stem.trim_matches(['.', '-', '_']);
    if stem.is_empty() { "records".to_owned() } else { stem.to_owned() }
}

/// The input topic's name.
pub(super) fn topic(origin: &Origin) -> String {
    match origin {
        Origin::Topic { name, .. } => name.clone(),
        Origin::File { .. } => stem(origin),
    }
}

/// The whole text.
pub(super) fn write(draft: &Draft, carried: &[FieldPath]) -> String {
    let mut text = Text::default();
    text.comment(&format!(
        "Guessed by `tailwater init` from {} of {}. Beside each line stands what it was guessed from.",
        draft.looked_at(),
        base_name(&draft.origin),
    ));
    text.comment("Read it before it runs: a field that is not known yet when an event is scored must not be a feature, and nobody but you knows.");
    text.comment("Every key: docs/config.md");
    kafka(&mut text, &draft.origin);
    input(&mut text, draft);
    features(&mut text, draft);
    target(&mut text, draft);
    learn(&mut text, draft);
    score(&mut text, draft);
    output(&mut text, draft, carried);
    monitor(&mut text, draft);
    text.finish()
}

fn kafka(text: &mut Text, origin: &Origin) {
    match origin {
        Origin::File { .. } => {
            text.section(
                "kafka",
                "for `check` and `run`; a replay of a file needs neither brokers nor topics",
            );
            text.line(&format!("brokers = {PLACEHOLDER}"), "made up: put yours");
        }
        Origin::Topic { brokers, .. } => {
            text.section("kafka", "");
            text.line(&format!("brokers = {brokers}"), "");
        }
    }
    text.line(
        &format!("group   = {}", quoted(&format!("{}-tails", stem(origin)))),
        "its offsets and its state go by this name",
    );
    if let Origin::Topic { properties, .. } = origin
        && !properties.is_empty()
    {
        text.section("kafka.properties", "");
        for (name, value) in properties {
            let name = quoted(name);
            match value {
                Some(value) => text.line(&format!("{name} = {value}"), ""),
                None => text.line(
                    &format!("# {name} = \"${{…}}\""),
                    "not written down, since it may hold a secret: name a variable, or { file = \"…\" }",
                ),
            }
        }
    }
}

fn input(text: &mut Text, draft: &Draft) {
    text.section("input", "");
    let comment = match draft.origin {
        Origin::File { .. } => "after the file: the topic that is to bring such records",
        Origin::Topic { .. } => "",
    };
    text.line(&format!("topic = {}", quoted(&topic(&draft.origin))), comment);
    if draft.format == InputFormat::Arrow {
        text.line("format = \"arrow\"", "messages are Arrow IPC streams");
    }
    match draft.field(|role| matches!(role, Role::EventTime(_))) {
        Some(Guess { path, role: Role::EventTime(unit), why, .. }) => {
            text.line(&format!("time  = {}", time_toml(path, *unit)), why);
        }
        _ => text.line(
            "# time = \"…\"",
            "no field is a time: the Kafka timestamp is the event time, and in a file the order of the rows",
        ),
    }
}

fn features(text: &mut Text, draft: &Draft) {
    text.section("features", "is each of them known when the event is scored? If not, remove it");
    let is_there = draft.guesses.iter().any(|guess| guess.role.is_feature());
    if !is_there {
        let name = (1..)
            .map(|nth| format!("nothing{nth}"))
            .find(|name| draft.guesses.iter().all(|guess| guess.path.to_string() != *name));
        let name = name.unwrap_or_default();
        text.line(
            &format!("{name} = \"number\""),
            "no field is left to be a feature, and one is needed: this is in no record, so that all events have one distribution",
        );
    }
    let names = draft
        .guesses
        .iter()
        .filter(|guess| guess.role.is_feature())
        .map(|guess| quoted_key(&guess.path.to_string()).chars().count());
    let width = names.filter(|len| *len <= 24).max().unwrap_or(0);
    for guess in &draft.guesses {
        let name = format!("{:width$}", quoted_key(&guess.path.to_string()));
        let code = guess.role.feature().map(|feature| format!("{name} = {feature}"));
        let instead = guess.instead.and_then(Role::feature);
        match (code, instead) {
            (Some(code), None) => text.line(&code, &guess.why),
            (Some(code), Some(instead)) => text.line(&code, &format!("{}; or {instead}", guess.why)),
            (None, Some(instead)) => text.line(&format!("# {name} = {instead}"), &guess.why),
            (None, None) if guess.role == Role::Left => {
                text.line(&format!("# {}", name.trim_end()), &guess.why)
            }
            (None, None) => {}
        }
    }
}

fn target(text: &mut Text, draft: &Draft) {
    text.section("target", "");
    if let Some(Guess { path, why, .. }) = draft.field(|role| role == Role::Target) {
        let guess = if draft.is_target_chosen { "" } else { "A GUESS: what is to be predicted? " };
        text.line(&format!("fields  = [{}]", quoted(&path.to_string())), &format!("{guess}{why}"));
        if !draft.is_target_chosen && !draft.other_targets.is_empty() {
            let names = super::guess::named(&draft.other_targets.iter().collect::<Vec<_>>());
            text.line("", &format!("choose with --target; other numbers: {names}"));
        }
    }
    match draft.field(|role| matches!(role, Role::TargetTime(_))) {
        Some(Guess { path, role: Role::TargetTime(unit), why, .. }) => {
            text.line(
                &format!("time    = {}", time_toml(path, *unit)),
                &format!("{why}: is it when the target becomes known?"),
            );
            if let Some(wait) = &draft.wait_days {
                let value = if wait.value == 1 { "24h".to_owned() } else { format!("{}d", wait.value) };
                text.line(&format!("wait    = {}", quoted(&value)), &wait.why);
            }
        }
        _ => text.line(
            "# time  = \"…\"",
            "no field says when the target becomes known: it counts as known with its event",
        ),
    }
    match draft.step.value {
        Some(step) => text.line(&format!("step    = {}", float(step)), &draft.step.why),
        None => text.line("# step  = 1.0", &draft.step.why),
    }
    let positive = &draft.positive;
    match positive.value {
        Some(true) => text.line(
            "support = \"positive\"",
            &format!(
                "{}; a record with 0 or less would be rejected: remove this if one can come",
                positive.why
            ),
        ),
        Some(false) => text.line(
            "# support = \"positive\"",
            &format!("{}; set it if 0 or less can't come and is to be rejected", positive.why),
        ),
        None => {}
    }
}

fn learn(text: &mut Text, draft: &Draft) {
    if draft.learn.is_empty() {
        return;
    }
    text.section("learn", "for so few records; remove it for a stream that goes on");
    for Key { name, value, why } in &draft.learn {
        text.line(&format!("{name:6} = {value}"), why);
    }
}

fn score(text: &mut Text, draft: &Draft) {
    text.section("score", "");
    let values: Vec<String> = draft.thresholds.iter().map(|threshold| float(threshold.value)).collect();
    let whys: Vec<&str> = draft.thresholds.iter().map(|threshold| threshold.why.as_str()).collect();
    let why = if whys.is_empty() { "too few values to tell".to_owned() } else { whys.join(", ") };
    text.line(
        &format!("exceed    = [{}]", values.join(", ")),
        &format!("P(target > t) for these t, round numbers near the upper quantiles: {why}"),
    );
    text.line("quantiles = [0.5, 0.9, 0.99, 0.999]", "");
    text.line("shortfall = [0.99]", "the mean beyond the 99 % quantile");
    text.line("calibrate = \"online\"", "the figures follow where targets lay in them");
}

fn output(text: &mut Text, draft: &Draft, carried: &[FieldPath]) {
    let stem = stem(&draft.origin);
    text.section("output", "");
    text.line(
        &format!("topic    = {}", quoted(&format!("{stem}-risk"))),
        "`tailwater check --create` makes these topics",
    );
    if !carried.is_empty() {
        let names: Vec<String> = carried.iter().map(|path| quoted(&path.to_string())).collect();
        text.line(
            &format!("carry    = [{}]", names.join(", ")),
            "tell records apart: copied to their scores",
        );
        for guess in draft.guesses.iter().filter(|guess| carried.contains(&guess.path)) {
            text.line("", &format!("{}: {}", shown(&guess.path.to_string()), guess.why));
        }
    }
    if draft.field(|role| matches!(role, Role::TargetTime(_))).is_some() {
        text.line(&format!("outcomes = {}", quoted(&format!("{stem}-outcomes"))), "");
    }
    text.line(
        &format!("rejected = {}", quoted(&format!("{stem}-rejected"))),
        "records that can't be used, with the reason",
    );
}

fn monitor(text: &mut Text, draft: &Draft) {
    if let Some(guess) = draft.field(|role| role == Role::Category(None)) {
        text.section("monitor", "");
        let name = quoted(&guess.path.to_string());
        text.line(&format!("# by = {name}"), "metrics of how well the figures hold for each of its values");
    }
}

/// A number as a TOML float.
fn float(value: f64) -> String {
    format!("{value:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_named_after_the_file() {
        let stem = |name: &str| stem(&Origin::File { name: name.into() });
        assert_eq!(stem("/data/flights-2013.csv.zst"), "flights-2013");
        assert_eq!(stem("a b/Schäden 2024.parquet"), "Sch-den-2024");
        assert_eq!(stem("..csv"), "records");
        assert_eq!(stem("日本.csv"), "records");
        assert_eq!(stem(&"x".repeat(1_000)).len(), 200);
    }

    #[test]
    fn a_long_line_has_its_comment_above_it_if_it_has_one() {
        let (long, mut text) = ("x".repeat(LAST_COMMENT_AT), Text::default());
        text.line(&long, "");
        text.line(&long, "why");
        assert_eq!(text.finish(), format!("{long}\n# why\n{long}\n"));
    }

    #[test]
    fn comments_are_wrapped_at_words() {
        assert_eq!(wrapped("aa bb cc", 5), ["aa bb", "cc"]);
        assert_eq!(wrapped("", 5), [""]);
        assert_eq!(wrapped("longer-than-that b", 5), ["longer-than-that", "b"]);
    }
}
