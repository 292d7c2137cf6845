//! Numbers and times as people read them.

use std::time::Duration;

/// A number with commas between its thousands.
#[must_use]
pub fn thousands(number: impl TryInto<i128>) -> String {
    // Every integer but the largest u128 fits.
    let number: i128 = number.try_into().unwrap_or(i128::MAX);
    let digits = number.unsigned_abs().to_string();
    let mut text = String::from(if number < 0 { "-" } else { "" });
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number with its noun, which takes an s where it is not one.
#[must_use]
pub fn counted(number: u64, noun: &str) -> String {
    format!("{} {noun}{}", thousands(number), if number == 1 { "" } else { "s" })
}

/// A span of time in its largest unit.
#[must_use]
pub fn age(age: Duration) -> String {
    let seconds = age.as_secs();
    let (number, unit) = match seconds {
        0..120 => (seconds, "s"),
        120..7_200 => (seconds / 60, "min"),
        7_200..172_800 => (seconds / 3_600, "h"),
        _ => (seconds / 86_400, "days"),
    };
    format!("{} {unit}", thousands(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_set_apart() {
        let told = [0, 999, 1_000, -12_345, 1_234_567].map(|number: i32| thousands(number));
        assert_eq!(told, ["0", "999", "1,000", "-12,345", "1,234,567"]);
        assert_eq!(thousands(i64::MIN), "-9,223,372,036,854,775,808");
        assert_eq!((counted(1, "event"), counted(2_000, "event")), ("1 event".into(), "2,000 events".into()));
    }

    #[test]
    fn an_age_is_told_in_its_largest_unit() {
        let told = [3, 119, 120, 7_199, 7_200, 400_000].map(|seconds| age(Duration::from_secs(seconds)));
        assert_eq!(told, ["3 s", "119 s", "2 min", "119 min", "2 h", "4 days"]);
    }
}
