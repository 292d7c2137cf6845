//! All guesses together, and whether they hold for the records that they were made from.

use std::collections::{BTreeMap, HashSet};

use super::{
    Error, Origin, Wishes,
    guess::{Guess, Nature, Role, nature, percent, time_span, times_us, unit_by_size},
    learn::{self, Key},
    load,
    names::Words,
    profile::{Profile, number, shown},
    relations::{self, Question, Relations},
    sample::Sample,
    target::{Reasoned, TargetValues, goes_with_the_order},
    write,
};
use crate::{
    config::{Config, FieldPath, InputFormat, TimeUnit},
    record::{Decoder, Known, Record},
    score::columns::{self, Columns, FIXED},
    text::thousands,
};

/// A correlation with the target that only the target itself has.
const GIVES_AWAY: f64 = 0.999;
/// One that is told.
const IS_NEAR: f64 = 0.97;
/// So many fields are carried at most: they are published with every score.
const MAX_CARRIED: usize = 8;
/// Fewer targets say next to nothing.
const FEW: usize = 200;
/// A target has at least so many different values, if one is guessed.
const MIN_OF_TARGET: u64 = 10;

/// A config with all that was guessed for it.
#[derive(Debug)]
pub struct Draft {
    /// Where the records came from.
    pub origin: Origin,
    /// How many were looked at, and of how many; messages, where the records come from a topic.
    pub counts: (u64, u64),
    /// Rows that they hold: one each, unless they are Arrow streams.
    pub rows: u64,
    /// Of a topic's messages.
    pub format: InputFormat,
    /// Every field, in the order of the records.
    pub guesses: Vec<Guess>,
    /// The target is of the user's choice.
    pub is_target_chosen: bool,
    /// Other fields that could be the target.
    pub other_targets: Vec<FieldPath>,
    /// `target.wait` in days, where the target has a time.
    pub wait_days: Option<Reasoned<u64>>,
    /// `target.step`.
    pub step: Reasoned<Option<f64>>,
    /// `target.support = "positive"`.
    pub positive: Reasoned<Option<bool>>,
    /// `score.exceed`.
    pub thresholds: Vec<Reasoned<f64>>,
    /// `[learn]`.
    pub learn: Vec<Key>,
    /// What the user should know beside.
    pub notes: Vec<String>,
    /// The config's text.
    pub text: String,
    /// What it makes of the sample.
    pub checked: Checked,
}

/// What a config makes of the records that it was guessed from.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Checked {
    /// Rows.
    pub rows: u64,
    /// Rows that can be scored.
    pub scored: u64,
    /// Rows with a target among them.
    pub labelled: u64,
    /// Among these, those whose target is known later than `target.wait` allows.
    pub expired: u64,
    /// Why the others are rejected: how many, and the detail of the first.
    pub rejected: BTreeMap<&'static str, (u64, String)>,
}

impl Draft {
    pub(super) fn new(
        sample: &Sample,
        origin: Origin,
        wishes: &Wishes,
        environment: &[(String, String)],
    ) -> Result<Self, Error> {
        if sample.is_empty() {
            return Err(Error::Empty);
        }
        let (profiles, mut notes) = profiles(sample)?;
        let names = nameable(&profiles);
        let natures: Vec<(Nature, String, Option<Role>)> =
            profiles.iter().zip(&names).map(|(profile, is_nameable)| nature(profile, *is_nameable)).collect();
        let time = event_time(&profiles, &natures, wishes)?;
        let (target, other_targets) = target(&profiles, &natures, &names, wishes)?;
        let time = time.filter(|(nth, _)| *nth != target);
        let later = natures.iter().enumerate().filter_map(|(nth, (nature, ..))| match nature {
            Nature::Time(unit, _) if time.is_some_and(|(time, _)| time != nth) && nth != target => {
                Some((nth, *unit))
            }
            _ => None,
        });
        let numbers = natures.iter().enumerate().filter(|(nth, (nature, _, instead))| {
            let is_number = |role| matches!(role, Role::Number(_) | Role::Cycle(_));
            *nth != target
                && matches!(nature, Nature::Is(role) if is_number(*role) || instead.is_some_and(is_number))
        });
        let question =
            Question { target, time, later: later.collect(), numbers: numbers.map(|(nth, _)| nth).collect() };
        let relations = relations::ask(sample, &profiles, &question)?;
        let target_time = target_time(&question, &relations);
        let wait_days = target_time.map(|nth| wait_days(&relations.times[&nth].lags_us));
        let guesses = guesses(&profiles, natures, &question, &relations, target_time);
        let rows = profiles[target].rows;
        if time.is_some() {
            notes.extend(of_order(&relations));
        } else if goes_with_the_order(&relations.targets) {
            notes.push(format!(
                "the records seem to be sorted by {}, and without a time they are learned from in their order, like a world that drifts. Shuffle them once, \
                 unless that is how they came: (head -n 1 FILE; tail -n +2 FILE | shuf) > SHUFFLED",
                shown(&profiles[target].path.to_string())
            ));
        }
        let values = TargetValues::new(relations.targets);
        let step = values.step();
        let positive = values.is_positive(step.value);
        let thresholds = values.thresholds(step.value);
        if profiles[target].distinct() <= 2 {
            notes.push(format!(
                "{} has only {} different values: tailwater is made for quantities, not for classes.",
                profiles[target].path,
                profiles[target].distinct()
            ));
        }
        if values.len() < FEW {
            notes.push(format!(
                "{} targets are too few: the warm-up takes {} of them, and of a hundred one is above the 99 % quantile. Bring some hundreds.",
                values.len(),
                learn::LEAST_WARMUP
            ));
        }
        // Nobody knows how many records a topic will bring.
        let learn = match origin {
            Origin::Topic { .. } => Vec::new(),
            Origin::File { .. } => {
                let share = values.len() as f64 / rows.max(1) as f64;
                learn::keys((share * sample.num_records() as f64) as u64)
            }
        };
        let mut draft = Self {
            origin,
            counts: (sample.len() as u64, sample.num_records()),
            rows,
            format: sample.format(),
            guesses,
            is_target_chosen: wishes.target.is_some(),
            other_targets,
            wait_days,
            step,
            positive,
            thresholds,
            learn,
            notes,
            text: String::new(),
            checked: Checked::default(),
        };
        let without_carried = load(&write::write(&draft, &[]), environment)?;
        let carried = draft.carried(&without_carried);
        draft.text = write::write(&draft, &carried);
        let config = load(&draft.text, environment)?;
        draft.checked = check(&config, sample);
        Ok(draft)
    }

    /// The carried fields whose columns have names of their own; of the others, and of too many, it is said that they are not.
    fn carried(&mut self, config: &Config) -> Vec<FieldPath> {
        let figures = Columns::new(config);
        let mut taken: HashSet<String> = FIXED
            .iter()
            .map(|name| (*name).to_owned())
            .chain(figures.figures().map(|name| name.to_lowercase()))
            .collect();
        let mut carried = Vec::new();
        for guess in self.guesses.iter_mut().filter(|guess| guess.role == Role::Carried) {
            let column = columns::field(&guess.path);
            if carried.len() >= MAX_CARRIED {
                guess.leave(format!("{}; {MAX_CARRIED} others are carried", guess.why));
            } else if !taken.insert(column.to_lowercase()) {
                guess.leave(format!("{}; not carried, since the scores have a column {column}", guess.why));
            } else {
                carried.push(guess.path.clone());
            }
        }
        carried
    }

    /// How much was looked at, and of how much.
    pub(super) fn looked_at(&self) -> String {
        let (looked_at, all) = self.counts;
        let of_all = if looked_at < all { format!(" of {}", thousands(all)) } else { String::new() };
        let what = match self.format {
            InputFormat::Json => "records".to_owned(),
            InputFormat::Arrow => format!("messages with {} rows", thousands(self.rows)),
        };
        format!("{}{of_all} {what}", thousands(looked_at))
    }

    /// The field with this role.
    pub(super) fn field(&self, is: impl Fn(Role) -> bool) -> Option<&Guess> {
        self.guesses.iter().find(|guess| is(guess.role))
    }
}

/// A profile of each field, with what is to be said of the records.
fn profiles(sample: &Sample) -> Result<(Vec<Profile>, Vec<String>), Error> {
    let (found, num_unread, reason) = sample.fields();
    let paths = found.paths();
    let num_records = sample.len() as u64;
    if let Some(reason) = &reason
        && num_unread == num_records
    {
        return Err(Error::Unreadable { format: sample.format(), reason: reason.clone() });
    }
    if paths.is_empty() {
        return Err(Error::NoFields);
    }
    let mut profiles: Vec<Profile> = paths.iter().cloned().map(Profile::new).collect();
    sample.each(&paths, |row| {
        for (profile, value) in profiles.iter_mut().zip(row.values) {
            profile.see(value, row.number);
        }
    })?;
    if profiles.iter().all(|profile| profile.rows == 0) {
        return Err(Error::Empty);
    }
    let mut notes = Vec::new();
    if let Some(reason) = reason {
        let what = match sample.format() {
            InputFormat::Json => "records",
            InputFormat::Arrow => "messages",
        };
        notes.push(format!(
            "{} of the {what} can't be read and would be rejected: {reason}.",
            percent(num_unread, num_records)
        ));
    }
    if found.is_full {
        notes.push(format!("There are more than {} fields: the others were not looked at.", paths.len()));
    }
    Ok((profiles, notes))
}

/// Whether each field can be named in a config, where a dotted name means one field alone.
fn nameable(profiles: &[Profile]) -> Vec<bool> {
    let mut names: BTreeMap<String, u32> = BTreeMap::new();
    for profile in profiles {
        *names.entry(profile.path.to_string()).or_default() += 1;
    }
    let is_nameable = |path: &FieldPath| {
        let name = path.to_string();
        // A name with dots in it is found as a column of the whole record only.
        let is_flat = path.0.len() == 1 || path.0.iter().all(|segment| !segment.contains('.'));
        is_flat && FieldPath::parse(&name).is_some() && names[&name] == 1
    };
    profiles.iter().map(|profile| is_nameable(&profile.path)).collect()
}

type Natures = [(Nature, String, Option<Role>)];

fn event_time(
    profiles: &[Profile],
    natures: &Natures,
    wishes: &Wishes,
) -> Result<Option<(usize, TimeUnit)>, Error> {
    if let Some(path) = &wishes.time {
        let nth = find(profiles, path, "--time")?;
        return match &natures[nth] {
            (Nature::Time(unit, _), ..) => Ok(Some((nth, *unit))),
            // What its name doesn't say, the user has.
            _ if profiles[nth].is_number() => {
                let Profile { min, max, .. } = profiles[nth];
                let why =
                    || format!("{} to {} is not within 1985 to 2100 in any unit", number(min), number(max));
                let unit = unit_by_size(&profiles[nth]);
                let unit = unit.ok_or_else(|| Error::NotATime { name: path.to_string(), why: why() })?;
                Ok(Some((nth, unit)))
            }
            (_, why, _) => Err(Error::NotATime { name: path.to_string(), why: why.clone() }),
        };
    }
    let times = natures.iter().enumerate().filter_map(|(nth, (nature, ..))| match nature {
        // A record without it would be rejected.
        Nature::Time(unit, rank) if profiles[nth].nulls == 0 => Some((*rank, nth, *unit)),
        _ => None,
    });
    // Of several, the earliest: what comes later is not known with the event.
    let best = times.min_by_key(|(rank, nth, unit)| (*rank, times_us(&profiles[*nth], *unit)[0]));
    Ok(best.map(|(_, nth, unit)| (nth, unit)))
}

fn find(profiles: &[Profile], path: &FieldPath, option: &'static str) -> Result<usize, Error> {
    let name = path.to_string();
    profiles.iter().position(|profile| profile.path.to_string() == name).ok_or_else(|| Error::Unknown {
        option,
        name,
        fields: profiles.iter().map(|profile| profile.path.clone()).collect(),
    })
}

/// The target, and what else could be it.
fn target(
    profiles: &[Profile],
    natures: &Natures,
    names: &[bool],
    wishes: &Wishes,
) -> Result<(usize, Vec<FieldPath>), Error> {
    let can_be = |nth: usize| {
        let Profile { numbers, flags, .. } = &profiles[nth];
        let is_written = profiles[nth].is_number() || numbers * 2 > profiles[nth].values();
        names[nth] && is_written && *flags == 0 && profiles[nth].distinct() > 1
    };
    let is_likely = |nth: usize| {
        can_be(nth)
            && matches!(
                natures[nth],
                (Nature::Is(Role::Number(_)), ..) | (Nature::Is(Role::Left), _, Some(Role::Number(_)))
            )
            && profiles[nth].others == 0
    };
    let numbers = || (0..profiles.len()).filter(|nth| is_likely(*nth));
    let paths =
        |of: &mut dyn Iterator<Item = usize>| of.map(|nth| profiles[nth].path.clone()).collect::<Vec<_>>();
    let target = match &wishes.target {
        Some(path) => {
            let nth = find(profiles, path, "--target")?;
            if !can_be(nth) {
                let why = natures[nth].1.clone();
                return Err(Error::NotANumber { name: path.to_string(), why, fields: paths(&mut numbers()) });
            }
            nth
        }
        None => {
            let rank = |nth: &usize| {
                let is_quantity = profiles[*nth].distinct() >= MIN_OF_TARGET;
                (is_quantity, profiles[*nth].is_number(), Words::of(&profiles[*nth].path).target_rank(), *nth)
            };
            let Some(best) = numbers().max_by_key(rank) else {
                let told = profiles.iter().zip(natures).take(20);
                let fields = told.map(|(profile, (_, why, _))| {
                    format!("{}: {why}", super::profile::shown(&profile.path.to_string()))
                });
                return Err(Error::NoTarget { fields: fields.collect() });
            };
            best
        }
    };
    Ok((target, paths(&mut numbers().filter(|nth| *nth != target))))
}

/// The time at which the target becomes known: one that is hardly ever before the event's, and there wherever the target is.
fn target_time(question: &Question, relations: &Relations) -> Option<usize> {
    let is_it = |(nth, _): &&(usize, TimeUnit)| {
        let Some(lag) = relations.times.get(nth) else { return false };
        lag.missing == 0 && lag.both > 0 && lag.not_earlier * 100 >= lag.both * 99 && lag.later * 2 > lag.both
    };
    question.later.iter().find(is_it).map(|(nth, _)| *nth)
}

/// Whole days above the time after which nearly all targets are known: one that is known later is never learned from.
fn wait_days(lags_us: &[i64]) -> Reasoned<u64> {
    const DAY_US: i64 = 86_400_000_000;
    /// A duration is a hundred years at most.
    const MAX_DAYS: u64 = 36_500;
    let mut lags_us = lags_us.to_vec();
    lags_us.sort_unstable();
    let rank = (lags_us.len() * 999).div_ceil(1_000);
    let lag_us = rank.checked_sub(1).map_or(0, |nth| lags_us[nth].max(0));
    // What is known exactly then is in time.
    let days = (lag_us as u64).div_ceil(DAY_US as u64).clamp(1, MAX_DAYS);
    let mut why = "how long an event waits for its target".to_owned();
    if days > 1 {
        let lag_days = lag_us as f64 / DAY_US as f64;
        why.push_str(&format!(
            ": 99.9 % are known within {lag_days:.1} days, and what comes later is not learned from"
        ));
    }
    Reasoned { value: days, why }
}

fn guesses(
    profiles: &[Profile],
    natures: Vec<(Nature, String, Option<Role>)>,
    question: &Question,
    relations: &Relations,
    target_time: Option<usize>,
) -> Vec<Guess> {
    let mut guesses = Vec::new();
    for (nth, (nature, why, instead)) in natures.into_iter().enumerate() {
        let path = profiles[nth].path.clone();
        let is = |role, why| Guess { path: path.clone(), role, why, instead: None };
        guesses.push(match nature {
            _ if nth == question.target => {
                let Profile { min, max, .. } = profiles[nth];
                let nulls = match profiles[nth].nulls {
                    0 => String::new(),
                    nulls => {
                        format!("; null in {}: scored, not learned from", percent(nulls, profiles[nth].rows))
                    }
                };
                let rest = profiles[nth].values() - profiles[nth].numbers;
                let rest = match rest {
                    0 => String::new(),
                    _ => format!("; no number in {}: rejected", percent(rest, profiles[nth].rows)),
                };
                is(Role::Target, format!("{} to {}{nulls}{rest}", number(min), number(max)))
            }
            Nature::Time(unit, _) if question.time.is_some_and(|(time, _)| time == nth) => {
                is(Role::EventTime(unit), why)
            }
            // Its name is no time's, but it was chosen.
            _ if let Some((time, unit)) = question.time
                && time == nth =>
            {
                is(Role::EventTime(unit), time_span(&profiles[nth], unit))
            }
            Nature::Time(unit, _) if target_time == Some(nth) => {
                let lag = &relations.times[&nth];
                let why =
                    format!("{why}; not before the event time in {}", percent(lag.not_earlier, lag.both));
                is(Role::TargetTime(unit), why)
            }
            Nature::Time(..) => is(Role::Left, format!("{why}; a time is no feature")),
            Nature::Is(role) => {
                let mut guess = Guess { path, role, why, instead };
                let correlation = relations.pairs.get(&nth).map_or(0.0, |pair| pair.correlation());
                if correlation.abs() > GIVES_AWAY && (role.is_feature() || role == Role::Left) {
                    guess.leave(format!("correlation {correlation:.4} with the target: would give it away"));
                } else if correlation.abs() > IS_NEAR && role.is_feature() {
                    guess.why.push_str(&format!(
                        "; correlation {correlation:.3} with the target: is it known before it?"
                    ));
                }
                guess
            }
        });
    }
    guesses
}

/// That records are not in the order of their time.
fn of_order(relations: &Relations) -> Option<String> {
    let (backwards, pairs) = relations.backwards;
    (backwards * 100 > pairs).then(|| {
        format!(
            "{} of the records are earlier than the one before: sort them by time, or the model learns from what comes later.",
            percent(backwards, pairs)
        )
    })
}

/// Decodes the sample by the config.
pub(super) fn check(config: &Config, sample: &Sample) -> Checked {
    let mut decoder = Decoder::new(config);
    let wait_us = i64::try_from(config.target.wait.as_micros()).unwrap_or(i64::MAX);
    let mut checked = Checked::default();
    let mut records = Vec::new();
    for piece in sample.pieces() {
        records.clear();
        // A table that can't be read has been an error before.
        if piece.decode(&mut decoder, &mut records).is_err() {
            continue;
        }
        for record in &records {
            checked.rows += 1;
            match record {
                Record::Event(event) => {
                    checked.scored += 1;
                    checked.labelled += u64::from(event.target.is_some());
                    let is_late = |known| matches!(known, Known::At(at_us) if at_us > event.time_us.saturating_add(wait_us));
                    checked.expired +=
                        u64::from(event.target.as_ref().is_some_and(|target| is_late(target.known)));
                }
                Record::Reject(reject) => {
                    let rejected = checked.rejected.entry(reject.reason.label());
                    rejected.or_insert_with(|| (0, reject.detail.clone())).0 += 1;
                }
            }
        }
    }
    checked
}
