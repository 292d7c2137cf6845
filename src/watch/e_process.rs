//! A test, valid at any time, of whether something happens about as often as it was said to.

use serde::{Deserialize, Serialize};

/// An e-value that is reached by chance in at most a thousandth of all streams.
pub const ALARM: f64 = 1000.0;
/// So much stream time goes by after an alarm before the process begins anew, µs: whoever looks now and then has to see it.
const HELD_US: i64 = 3_600_000_000;
/// Forecasts whose odds are off by a factor no larger than this are taken for right: over millions of events there would be evidence against
/// errors that nobody has to act on.
pub const TOLERANCE: f64 = 1.1;
/// What is bet on: that the odds are so many times the highest that pass for right, or the lowest where it is below 1.
const ODDS: [f64; 8] = [1.0 / 16.0, 0.25, 2.0 / 3.0, 1.5, 4.0, 16.0, 64.0, 256.0];

/// Wealth of somebody who bets, at the odds that the forecasts say, that they are wrong. As long as they are right no way of betting has
/// a mean above 1, so that by Ville's inequality it reaches 1,000 in at most one stream of a thousand, however long that is and however
/// often it is looked at (Henzi & Ziegel 2022, "Valid sequential inference on probability forecast performance"; Arnold, Henzi & Ziegel
/// 2023, "Sequentially valid tests for forecast calibration").
///
/// A bet that the odds are c times those of p multiplies its stake by c / (1 − p + c p) if the event happens and by 1 / (1 − p + c p) if not,
/// in the mean by 1 where p is right, and by less where the odds are further from c times. With p at the edge of what passes for right,
/// on the side of c, no bet has a mean above 1 as long as the true odds are anywhere between the edges. Stakes on several c are placed a little at a time, 1 / log(e + n) being left after n groups, so that a forecast that goes
/// wrong late is found too.
///
/// Outcomes that overlap come in groups: the bets of a group are placed side by side, each with an equal share of the stake, and need not be
/// independent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EProcess {
    /// What stands on each of the odds.
    wealth: [f64; ODDS.len()],
    /// What the group under way has added for each unit of that.
    gains: [f64; ODDS.len()],
    /// Groups since it began.
    groups: u64,
    /// The highest wealth since then.
    highest: f64,
    /// Stream time of the alarm, where there was one, µs since 1970.
    alarm_us: Option<i64>,
    /// Alarms so far.
    alarms: u64,
}

impl Default for EProcess {
    fn default() -> Self {
        Self {
            wealth: [0.0; ODDS.len()],
            gains: [0.0; ODDS.len()],
            groups: 0,
            highest: 1.0,
            alarm_us: None,
            alarms: 0,
        }
    }
}

/// What is not yet at stake after so many groups, and after one more. The processes of a calibration have mostly seen as many, so that it is
/// worked out once for all of them.
#[derive(Debug, Clone, Copy)]
pub struct Cash {
    groups: u64,
    before: f64,
    after: f64,
}

impl Cash {
    /// After so many groups.
    #[must_use]
    pub fn of(groups: u64) -> Self {
        let cash = |groups: u64| 1.0 / (std::f64::consts::E + groups as f64).ln();
        Self { groups, before: cash(groups), after: cash(groups + 1) }
    }

    /// The same, or that of another number where they are not as many.
    fn at(self, groups: u64) -> Self {
        if groups == self.groups { self } else { Self::of(groups) }
    }
}

impl EProcess {
    /// Bets on one event of the group under way, of probability `p` by the forecast, with this share of the stake. The share of a
    /// probability of NaN stays where it is.
    pub fn bet(&mut self, p: f64, has_happened: bool, share: f64) {
        if p.is_nan() {
            return;
        }
        let of_odds = |factor: f64| factor * p / (1.0 - p + factor * p);
        let (lowest, highest) = (of_odds(1.0 / TOLERANCE), of_odds(TOLERANCE));
        for (gain, odds) in self.gains.iter_mut().zip(ODDS) {
            let p = if odds < 1.0 { lowest } else { highest };
            let won = if has_happened { odds } else { 1.0 };
            *gain += share * (won / (1.0 - p + odds * p) - 1.0);
        }
    }

    /// How many groups it has seen since it began.
    #[must_use]
    pub fn groups(&self) -> u64 {
        self.groups
    }

    /// Ends the group, at this stream time (µs since 1970), and begins the next.
    pub fn end_group(&mut self, time_us: i64, cash: Cash) {
        let cash = cash.at(self.groups);
        let placed = (cash.before - cash.after) / ODDS.len() as f64;
        for (wealth, gain) in self.wealth.iter_mut().zip(&mut self.gains) {
            *wealth = (*wealth + placed) * (1.0 + std::mem::take(gain));
        }
        self.groups += 1;
        let wealth = cash.after + self.wealth.iter().sum::<f64>();
        self.highest = self.highest.max(wealth);
        match self.alarm_us {
            Some(alarm_us) if time_us.saturating_sub(alarm_us) >= HELD_US => {
                *self = Self { alarms: self.alarms, ..Self::default() };
            }
            None if wealth >= ALARM => {
                self.alarms += 1;
                self.alarm_us = Some(time_us);
            }
            _ => {}
        }
        // Beyond this it says no more, and would soon be beyond what numbers hold.
        self.wealth.iter_mut().for_each(|wealth| *wealth = wealth.min(1e100));
        self.highest = self.highest.min(1e100);
    }

    /// The highest wealth since it began.
    #[must_use]
    pub fn e_value(&self) -> f64 {
        self.highest
    }

    /// How often it has reached [`ALARM`].
    #[must_use]
    pub fn alarms(&self) -> u64 {
        self.alarms
    }

    /// Whether it is made of numbers.
    pub(super) fn is_valid(&self) -> bool {
        self.wealth.iter().chain(&self.gains).chain([&self.highest]).all(|value| value.is_finite())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::noise::Draws;

    fn end_group(process: &mut EProcess, time_us: i64) {
        let cash = Cash::of(process.groups());
        process.end_group(time_us, cash);
    }

    /// After how many events of probability `truth` an alarm says that they were said to have probability `told`.
    fn alarm(seed: u64, told: f64, truth: impl Fn(usize) -> f64, num_events: usize) -> Option<usize> {
        let mut process = EProcess::default();
        (0..num_events).find(|&nth| {
            let p = truth(nth);
            process.bet(told, Draws::new(seed, 0, nth).uniform() < p, 1.0);
            end_group(&mut process, nth as i64);
            process.alarms() > 0
        })
    }

    /// Both sides: few false alarms, though the forecast is at the edges of what passes for right, and how soon odds that are half as high
    /// again are seen.
    #[test]
    fn an_alarm_is_seldom_false_and_a_forecast_that_is_wrong_by_half_is_seen() {
        const STREAMS: u64 = 2_000;
        for told in [0.5, 0.1, 0.01] {
            for factor in [1.0 / TOLERANCE, TOLERANCE] {
                let odds = factor * told / (1.0 - told);
                let truth = odds / (1.0 + odds);
                let false_alarms =
                    (0..STREAMS).filter(|&seed| alarm(seed, told, |_| truth, 10_000).is_some()).count();
                // A binomial of 2,000 with probability 1e-3 is above 9 once in 20,000 times.
                assert!(false_alarms <= 9, "{told}, odds times {factor}: {false_alarms} of {STREAMS}");
            }
        }
        for (told, most) in [(0.1, 2_000), (0.01, 20_000), (0.001, 250_000)] {
            let mut delays: Vec<usize> = (0..21)
                .map(|seed| alarm(seed, told, |_| 1.5 * told, 1_000_000).unwrap_or(usize::MAX))
                .collect();
            delays.sort_unstable();
            println!("{told}: 1.5 times as often is seen after {} events (median of 21)", delays[10]);
            assert!(delays[10] < most, "{told}: {delays:?}");
        }
    }

    #[test]
    fn a_forecast_that_goes_wrong_late_is_seen_too() {
        let truth = |nth: usize| if nth < 100_000 { 0.05 } else { 0.1 };
        let found: Vec<Option<usize>> = (0..5).map(|seed| alarm(seed, 0.05, truth, 110_000)).collect();
        assert!(found.iter().all(|at| at.is_some_and(|at| (100_000..103_000).contains(&at))), "{found:?}");
    }

    /// All of a group happen together: far from independent, and each as often as it was said.
    #[test]
    fn outcomes_that_come_together_give_no_false_alarm() {
        const SIZE: usize = 50;
        let has_alarm = |seed: u64| {
            let mut process = EProcess::default();
            (0..2_000).any(|group| {
                // As often as may pass for right.
                let together = Draws::new(seed, 1, group).uniform()
                    < 0.02 * TOLERANCE / (1.0 + 0.02 * (TOLERANCE - 1.0));
                (0..SIZE).for_each(|_| process.bet(0.02, together, 1.0 / SIZE as f64));
                end_group(&mut process, group as i64);
                process.alarms() > 0
            })
        };
        let false_alarms = (0..1_000).filter(|&seed| has_alarm(seed)).count();
        assert!(false_alarms <= 6, "{false_alarms} of 1000");
    }

    #[test]
    fn after_an_alarm_it_is_held_and_then_begins_anew() {
        let mut process = EProcess::default();
        let mut until_alarm = 0;
        while process.alarms() == 0 {
            process.bet(0.5, true, 1.0);
            end_group(&mut process, 7);
            until_alarm += 1;
        }
        assert!(until_alarm < 40);
        for time_us in 7..2_000 {
            assert!(process.e_value() >= ALARM && process.is_valid());
            process.bet(0.0, true, 1.0); // said to be impossible
            end_group(&mut process, time_us);
        }
        end_group(&mut process, HELD_US + 6);
        assert!(process.e_value() >= ALARM);
        end_group(&mut process, HELD_US + 7);
        assert!(process.e_value() == 1.0 && process.alarms() == 1);
    }
}
