//! What was found, for people.

use super::{
    Draft,
    guess::{Role, percent, transform_name},
    profile::shown,
    write::{base_name, wrapped},
};
use crate::{config::InputFormat, text::thousands};

/// The most that a field's name takes of a line.
const MAX_NAME: usize = 24;

/// The table of fields, what was guessed beside, and what a decoder makes of the records, in lines of `width` characters.
#[must_use]
pub fn tell(draft: &Draft, width: usize) -> String {
    let (looked_at, all) = draft.counts;
    let spread = if looked_at < all { ", from all over it" } else { "" };
    let mut text = format!("{}: looked at {}{spread}\n\n", base_name(&draft.origin), draft.looked_at());
    let rows: Vec<[String; 3]> = draft
        .guesses
        .iter()
        .map(|guess| [name(&guess.path.to_string()), role(guess.role), guess.why.clone()])
        .collect();
    table(&rows, width, &mut text);
    text.push('\n');
    let mut findings: Vec<(&str, String)> = Vec::new();
    if let Some(target) = draft.field(|role| role == Role::Target) {
        let target = shown(&target.path.to_string());
        findings.push((
            "target",
            if draft.is_target_chosen {
                target
            } else {
                let others = super::guess::named(&draft.other_targets.iter().collect::<Vec<_>>());
                let choose = if draft.other_targets.is_empty() {
                    "no other field is a number".to_owned()
                } else {
                    format!("choose another with --target: {others}")
                };
                format!("{target} is a GUESS; {choose}")
            },
        ));
    }
    findings.push((
        "step",
        told(draft.step.value.map_or_else(|| "none".to_owned(), |step| step.to_string()), &draft.step.why),
    ));
    findings.push((
        "support",
        told(
            if draft.positive.value == Some(true) { "positive" } else { "real" }.to_owned(),
            &draft.positive.why,
        ),
    ));
    let thresholds: Vec<&str> = draft.thresholds.iter().map(|threshold| threshold.why.as_str()).collect();
    findings
        .push(("thresholds", if thresholds.is_empty() { "none".to_owned() } else { thresholds.join(", ") }));
    for key in &draft.learn {
        findings.push(("learn", format!("{} = {}, {}", key.name, key.value, key.why)));
    }
    let checked = &draft.checked;
    let rejected: Vec<String> = checked
        .rejected
        .iter()
        .map(|(reason, (count, example))| {
            format!("{} rejected ({reason}: {example})", percent(*count, checked.rows))
        })
        .collect();
    let rejected = if rejected.is_empty() { String::new() } else { format!("; {}", rejected.join(", ")) };
    let expired = match checked.expired {
        0 => String::new(),
        expired => {
            format!(", {} of which are known later than target.wait and not learned from", thousands(expired))
        }
    };
    let rows = match draft.format {
        InputFormat::Json => "",
        InputFormat::Arrow => " rows",
    };
    findings.push((
        "records",
        format!(
            "of {}{rows}, {} can be scored and {} hold a target{expired}{rejected}",
            thousands(checked.rows),
            thousands(checked.scored),
            thousands(checked.labelled)
        ),
    ));
    findings.extend(draft.notes.iter().map(|note| ("note", note.clone())));
    for (what, finding) in findings {
        hanging(&format!("{what:<11}"), &finding, width, &mut text);
    }
    text
}

fn told(value: String, why: &str) -> String {
    format!("{value}: {why}")
}

fn role(role: Role) -> String {
    match role {
        Role::EventTime(_) => "event time".to_owned(),
        Role::TargetTime(_) => "target's time".to_owned(),
        Role::Target => "TARGET".to_owned(),
        Role::Number(None) => "number".to_owned(),
        Role::Number(Some(transform)) => format!("number, {}", transform_name(transform)),
        Role::Cycle(period) => format!("cycle of {period}"),
        Role::Category(_) => "category".to_owned(),
        Role::Carried => "carried".to_owned(),
        Role::Left => "left out".to_owned(),
    }
}

fn name(name: &str) -> String {
    let name = shown(name);
    if name.chars().count() <= MAX_NAME {
        name
    } else {
        name.chars().take(MAX_NAME - 1).chain(['…']).collect()
    }
}

/// Three columns, the last of which goes on below itself.
fn table(rows: &[[String; 3]], width: usize, text: &mut String) {
    let header = ["field", "guess", "why"].map(str::to_owned);
    let all = || [&header].into_iter().chain(rows);
    let widest = |column: usize| all().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let (first, second) = (widest(0), widest(1));
    for [field, guess, why] in all() {
        hanging(&format!("{field:first$}  {guess:second$}  "), why, width, text);
    }
}

/// A text behind a head; further lines begin below its first word.
fn hanging(head: &str, rest: &str, width: usize, text: &mut String) {
    let indent = head.chars().count();
    for (nth, line) in wrapped(rest, width.saturating_sub(indent).max(20)).iter().enumerate() {
        let head = if nth == 0 { head.to_owned() } else { " ".repeat(indent) };
        text.push_str(format!("{head}{line}").trim_end());
        text.push('\n');
    }
}
