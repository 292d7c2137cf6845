//! What a row's values mean: the rules that every format shares.

use std::sync::Arc;

use smallvec::SmallVec;

use super::{
    CarryType, Cell, Event, Known, MAX_OWN_BYTES, Message, RejectReason, Target,
    plan::{Plan, Reading},
    reject::Fault,
    time,
    value::Value,
};
use crate::config::{TimeUnit, Transform};

/// Integers up to this size are exact as doubles.
const MAX_EXACT: u64 = 1 << 53;

/// The event that a row's slots make up, or the first fault found in it.
pub(super) fn event(
    plan: &Plan,
    slots: &[Value],
    message: &Message<'_>,
    row: u32,
    last: bool,
) -> Result<Arc<Event>, Fault> {
    let row_reader = RowReader { names: &plan.names, slots };
    let time_us = event_time(plan, &row_reader, message)?;
    let features = plan.features.iter().map(|&(slot, reading)| match reading {
        Reading::Number(transform) => row_reader.feature(slot, transform),
        Reading::Category => row_reader.category(slot),
    });
    let features = collect(features)?;
    let carried = plan.carry.iter().map(|&(slot, carry_type)| row_reader.carried(slot, carry_type));
    let carry = collect(carried)?;
    let own_bytes = own_bytes(message.key, &carry);
    if own_bytes > MAX_OWN_BYTES {
        let detail =
            format!("{own_bytes} bytes of key and carried fields, where a score may hold {MAX_OWN_BYTES}");
        return Err(Fault::new(RejectReason::Oversized, detail));
    }
    let thresholds = plan.thresholds.iter().map(|&slot| Ok(row_reader.number(slot)?.unwrap_or(f64::NAN)));
    let (thresholds, target) = (collect(thresholds)?, target(plan, &row_reader)?);
    Ok(Arc::new(Event {
        partition: message.partition,
        offset: message.offset,
        row,
        last,
        timestamp_ms: message.timestamp_ms,
        time_us,
        key: message.key.map(Into::into),
        features,
        carry,
        thresholds,
        // Whatever it holds: that nobody can be told apart by it is no reason to reject the event.
        segment: plan.segment.and_then(|slot| slots[slot].text()),
        target,
    }))
}

/// The values, or the first fault among them, in one allocation: `Iterator::collect` would grow into several, since a
/// fault may cut the values short.
fn collect<T>(values: impl ExactSizeIterator<Item = Result<T, Fault>>) -> Result<Box<[T]>, Fault> {
    let mut collected = Vec::with_capacity(values.len());
    for value in values {
        collected.push(value?);
    }
    Ok(collected.into())
}

/// Bytes of what is published again with the event's score.
fn own_bytes(key: Option<&[u8]>, carry: &[Cell]) -> usize {
    let text = |cell: &Cell| if let Cell::Text(text) = cell { text.len() } else { 0 };
    key.map_or(0, <[u8]>::len) + carry.iter().map(text).sum::<usize>()
}

fn event_time(plan: &Plan, row: &RowReader<'_>, message: &Message<'_>) -> Result<i64, Fault> {
    let Some((slot, unit)) = plan.time else {
        let time_us = message.timestamp_ms.and_then(time::from_ms);
        return time_us.ok_or_else(|| {
            Fault::new(
                RejectReason::BadTime,
                "the message has no usable Kafka timestamp; name a field in input.time",
            )
        });
    };
    let time_us = row.time(slot, unit)?;
    if let Some(sent_us) = message.timestamp_ms.and_then(time::from_ms)
        && time_us > sent_us.saturating_add(plan.max_ahead_us)
    {
        let detail = format!(
            "{}: {} is further past the Kafka timestamp {} than input.max_ahead allows",
            plan.names[slot],
            time::rfc3339(time_us),
            time::rfc3339(sent_us)
        );
        return Err(Fault::new(RejectReason::Future, detail));
    }
    Ok(time_us)
}

/// The target where all of its fields are there.
fn target(plan: &Plan, row: &RowReader<'_>) -> Result<Option<Target>, Fault> {
    let mut values = SmallVec::with_capacity(plan.target.len());
    for &slot in &plan.target {
        // All fields are looked at before a missing one ends it, so that a wrongly typed one is found.
        values.extend(row.number(slot)?);
    }
    if values.len() < plan.target.len() {
        return Ok(None);
    }
    if let Some(least) = plan.least_target
        && let Some(nth) = values.iter().position(|&value| value <= least)
    {
        let detail = format_args!("{} is not above 0, where target.support is \"positive\"", values[nth]);
        return Err(row.fault(plan.target[nth], RejectReason::OutOfDomain, detail));
    }
    let known = match plan.target_time {
        None => Known::WithEvent,
        Some((slot, unit)) => Known::At(row.time(slot, unit)?),
    };
    Ok(Some(Target { values, known }))
}

/// A row's values with their names, for the details of faults.
struct RowReader<'a> {
    names: &'a [String],
    slots: &'a [Value],
}

impl RowReader<'_> {
    fn fault(&self, slot: usize, reason: RejectReason, detail: impl std::fmt::Display) -> Fault {
        Fault::new(reason, format!("{}: {detail}", self.names[slot]))
    }

    fn wrong_type(&self, slot: usize, expected: &str) -> Fault {
        let found = self.slots[slot].describe();
        self.fault(slot, RejectReason::WrongType, format_args!("expected {expected}, found {found}"))
    }

    /// A finite number; `None` where it is absent.
    fn number(&self, slot: usize) -> Result<Option<f64>, Fault> {
        let value = &self.slots[slot];
        if value.is_null() {
            return Ok(None);
        }
        let number = value.number().ok_or_else(|| self.wrong_type(slot, "a number"))?;
        if !number.is_finite() {
            return Err(self.fault(slot, RejectReason::NonFinite, number));
        }
        Ok(Some(number))
    }

    fn feature(&self, slot: usize, transform: Option<Transform>) -> Result<Cell, Fault> {
        let Some(number) = self.number(slot)? else { return Ok(Cell::Null) };
        let (in_domain, transformed, name) = match transform {
            None => (true, number, ""),
            Some(Transform::Log1p) => (number > -1.0, libm::log1p(number), "log1p"),
            Some(Transform::Sqrt) => (number >= 0.0, number.sqrt(), "sqrt"),
            Some(Transform::Log) => (number > 0.0, libm::log(number), "log"),
        };
        if !in_domain {
            let detail = format_args!("{number} is outside of the domain of {name}");
            return Err(self.fault(slot, RejectReason::OutOfDomain, detail));
        }
        Ok(Cell::Number(transformed))
    }

    fn category(&self, slot: usize) -> Result<Cell, Fault> {
        let value = &self.slots[slot];
        if value.is_null() {
            return Ok(Cell::Null);
        }
        let is_text = matches!(value, Value::Written(_)); // "nan" is one, too
        if !is_text && !value.number().is_none_or(f64::is_finite) {
            return Err(self.fault(slot, RejectReason::NonFinite, value.describe()));
        }
        let text = value.text().ok_or_else(|| self.wrong_type(slot, "a text or a number"))?;
        Ok(Cell::Text(text))
    }

    /// As read: numbers stay numbers, except where a text column would print something else than was read
    /// (`true`, and identifiers with more digits than a double holds).
    fn carried(&self, slot: usize, carry_type: CarryType) -> Result<Cell, Fault> {
        let exact = match self.slots[slot] {
            Value::Int(value) => value.unsigned_abs() <= MAX_EXACT,
            Value::UInt(value) => value <= MAX_EXACT,
            Value::Float(_) => true,
            _ => false,
        };
        match (carry_type, self.slots[slot].number()) {
            (CarryType::Number, Some(number)) if number.is_finite() => Ok(Cell::Number(number)),
            (CarryType::Text, Some(number)) if number.is_finite() && exact => Ok(Cell::Number(number)),
            _ => self.category(slot),
        }
    }

    fn time(&self, slot: usize, unit: TimeUnit) -> Result<i64, Fault> {
        time::read(&self.slots[slot], unit).map_err(|detail| self.fault(slot, RejectReason::BadTime, detail))
    }
}
