//! How the model is to learn from so many records.

use crate::text::thousands;

/// A key of `[learn]` that is other than its default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// Its name in the section.
    pub name: &'static str,
    /// Its value in TOML.
    pub value: u64,
    /// Why.
    pub why: String,
}

/// The default of `learn.warmup`.
const USUAL_WARMUP: u64 = 2_048;
/// The least `learn.warmup`.
pub const LEAST_WARMUP: u64 = 32;
/// From so many records on the defaults have had time to learn.
const MANY: u64 = 16_384;

/// What is to be other than usual for so many records with a target.
///
/// By the defaults 500 records would end within the warm-up, and 5,000 make 100 steps. On HousePrices, StrikeDur and UnempDur (tables of the R
/// packages AER and Ecdat, of 546 to 3,343 rows) mini-batches of 8 and 8 steps each, with a warm-up of a sixteenth, had 0.16 to 0.57 nats
/// a record more than the usual 32 and 1 with a warm-up of an eighth. Calibration added 0.01 to 0.05 on the three that it was tried on; noise
/// gained on some and lost on others.
#[must_use]
pub fn keys(labelled: u64) -> Vec<Key> {
    if labelled >= MANY {
        return Vec::new();
    }
    let sixteenth = (labelled / 16).max(1);
    let warmup = (1 << sixteenth.ilog2()).clamp(LEAST_WARMUP, USUAL_WARMUP);
    let key = |name, value, why: &str| Key { name, value, why: why.to_owned() };
    vec![
        key(
            "warmup",
            warmup,
            &format!(
                "instead of {}: there are only {} targets",
                thousands(USUAL_WARMUP),
                thousands(labelled)
            ),
        ),
        key("batch", 8, "instead of 32: more steps"),
        key("steps", 8, "instead of 1: each record is learned from again while it is among the last 1,024"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_warm_up_ends_early_in_a_small_file_and_a_large_one_is_left_alone() {
        let warmup = |labelled| keys(labelled).first().map(|key| key.value);
        assert_eq!([0, 100, 546, 3_343, 16_383].map(warmup), [32, 32, 32, 128, 512].map(Some));
        assert_eq!(warmup(MANY), None);
    }
}
