//! Whether the page holds for whatever a summary may say.

use proptest::prelude::*;

use super::render;
use crate::backtest::summary::*;

fn number() -> impl Strategy<Value = f64> {
    prop_oneof![
        4 => 0.0..1.0f64,
        2 => -50.0..5000.0f64,
        1 => Just(0.0),
        1 => Just(1.0),
        1 => any::<f64>(),
        1 => prop::sample::select(vec![f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MAX, f64::MIN_POSITIVE]),
    ]
}

fn count() -> impl Strategy<Value = u64> {
    prop_oneof![2 => 0..100u64, 2 => 0..1_000_000u64, 1 => Just(0), 1 => any::<u64>()]
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![Just("<script>x</script>".to_owned()), Just(String::new()), "[a-z\"'&<> é]{0,60}"]
}

fn time() -> impl Strategy<Value = String> {
    let second = prop_oneof![0..2_000_000_000i64, -60_000_000_000..200_000_000_000i64];
    let right = second
        .prop_map(|s| jiff::Timestamp::from_second(s).map_or_else(|_| String::new(), |t| t.to_string()));
    prop_oneof![5 => right, 1 => text()]
}

fn held() -> impl Strategy<Value = Held> {
    prop::sample::select(vec![Held::Yes, Held::Nearly, Held::No, Held::Unclear])
}

fn test() -> impl Strategy<Value = Option<Test>> {
    prop::option::of((number(), number()).prop_map(|(statistic, p_value)| Test { statistic, p_value }))
}

fn interval() -> impl Strategy<Value = [f64; 2]> {
    [number(), number()]
}

fn rate() -> impl Strategy<Value = Rate> {
    (count(), count(), number(), interval()).prop_map(|(events, observed, expected, interval)| Rate {
        events,
        observed,
        expected,
        interval,
    })
}

fn some<T: std::fmt::Debug>(of: impl Strategy<Value = T>, most: usize) -> impl Strategy<Value = Vec<T>> {
    prop::collection::vec(of, 0..=most)
}

fn quantile() -> impl Strategy<Value = QuantileSummary> {
    let tests = [test(), test(), test(), test(), test()];
    (
        text(),
        number(),
        rate(),
        held(),
        tests,
        prop::option::of(number()),
        [count(), count(), count()],
        number(),
    )
        .prop_map(|(column, level, exceeded, held, tests, clustering, lights, pinball)| {
            let [binomial, kupiec, independence, conditional_coverage, dynamic_quantile] = tests;
            let traffic_light = lights.map(|light| light / 4);
            let power = column.clone();
            QuantileSummary {
                column,
                level,
                exceeded,
                held,
                binomial,
                kupiec,
                independence,
                conditional_coverage,
                dynamic_quantile,
                clustering,
                traffic_light,
                pinball,
                power,
            }
        })
}

fn threshold() -> impl Strategy<Value = ThresholdSummary> {
    let bin = (count(), number(), number(), interval()).prop_map(|(events, expected, observed, interval)| {
        ReliabilityBin { events, expected, observed, interval }
    });
    (text(), prop::option::of(number()), rate(), held(), test(), number(), number(), some(bin, 12)).prop_map(
        |(column, threshold, exceeded, held, poisson_binomial, brier, brier_of_rate, reliability)| {
            let power = column.clone();
            ThresholdSummary {
                column,
                threshold,
                exceeded,
                held,
                poisson_binomial,
                brier,
                brier_of_rate,
                reliability,
                power,
            }
        },
    )
}

fn period() -> impl Strategy<Value = Period> {
    let optional = || prop::option::of(number());
    let scores = [optional(), optional(), optional(), optional()];
    ([time(), time()], count(), some(number(), 4), some(number(), 3), some(number(), 3), scores).prop_map(
        |([from, until], events, above, exceeded, expected, scores)| {
            let [log_score, baseline_log_score, upper_tail_index, lower_tail_index] = scores;
            Period {
                from,
                until,
                events,
                above,
                exceeded,
                expected,
                log_score,
                baseline_log_score,
                upper_tail_index,
                lower_tail_index,
            }
        },
    )
}

fn segment() -> impl Strategy<Value = Segment> {
    let rate = || {
        (count(), count(), number(), interval(), held()).prop_map(
            |(events, observed, expected, interval, held)| SegmentRate {
                events,
                observed,
                expected,
                interval,
                held,
            },
        )
    };
    (text(), prop::option::of(text()), count(), prop::option::of(number()), some(rate(), 4), some(rate(), 3))
        .prop_map(|(field, value, events, log_score, quantiles, thresholds)| Segment {
            field,
            value,
            events,
            log_score,
            quantiles,
            thresholds,
        })
}

fn worst() -> impl Strategy<Value = WorstEvent> {
    let carried = some((text(), text()), 2);
    (
        any::<i64>(),
        time(),
        prop::option::of(text()),
        carried,
        some(number(), 2),
        number(),
        prop::option::of((text(), number())),
    )
        .prop_map(|(offset, time, key, carried, target, log_score, quantile)| WorstEvent {
            partition: 1,
            offset,
            row: 2,
            time,
            key,
            carried,
            pit: target.clone(),
            target,
            log_score,
            quantile,
        })
}

fn pit() -> impl Strategy<Value = PitSummary> {
    (text(), some(count(), 20), test(), test(), number()).prop_map(
        |(target, histogram, uniformity, berkowitz, number)| PitSummary {
            target,
            histogram,
            uniformity,
            berkowitz,
            normal_mean: number,
            normal_deviation: number,
            normal_correlation: number,
        },
    )
}

fn model() -> impl Strategy<Value = ModelSummary> {
    let shortfall =
        (text(), number(), [count(), count()], held(), [test(), test()], prop::option::of(number()))
            .prop_map(|(column, level, [events, infinite], held, [z1, z2], fissler_ziegel)| {
                ShortfallSummary { column, level, events, infinite, held, z1, z2, fissler_ziegel }
            });
    let score = (text(), number(), interval()).prop_map(|(score, mean, interval)| MeanScore {
        title: score.clone(),
        score,
        mean,
        interval,
    });
    let finding = (held(), text()).prop_map(|(held, text)| Finding { held, text });
    let figures =
        (some(quantile(), 4), some(threshold(), 3), some(shortfall, 2), some(pit(), 2), some(score, 4));
    let rest = (some(period(), 6), some(worst(), 2), some(segment(), 30), some(finding, 9));
    (
        text(),
        [count(), count(), count()],
        held(),
        figures,
        rest,
        [prop::option::of(number()), prop::option::of(number())],
    )
        .prop_map(
            |(name, [scored, warmup, judged], held, figures, rest, [log_score, baseline_log_score])| {
                let (quantiles, thresholds, shortfalls, pits, scores) = figures;
                let (periods, worst, segments, findings) = rest;
                ModelSummary {
                    config_hash: name.clone(),
                    config: name.clone(),
                    scores_file: name.clone(),
                    scored,
                    warmup,
                    judged,
                    updates: scored,
                    verdict: Verdict { held, headline: name.clone(), findings },
                    name,
                    quantiles,
                    thresholds,
                    shortfalls,
                    pits,
                    scores,
                    log_score,
                    baseline_log_score,
                    periods,
                    worst,
                    segments,
                }
            },
        )
}

fn comparison() -> impl Strategy<Value = Comparison> {
    let difference = (text(), [number(), number(), number()], interval()).prop_map(
        |(score, [first, other, difference], interval)| Difference {
            title: score.clone(),
            score,
            first,
            other,
            difference,
            interval,
        },
    );
    (text(), count(), some(difference, 5)).prop_map(|(name, events, differences)| Comparison {
        name,
        events,
        differences,
    })
}

fn summary() -> impl Strategy<Value = Summary> {
    let range = (any::<i32>(), any::<i64>(), any::<i64>()).prop_map(|(partition, from, until)| Range {
        partition,
        from,
        until,
    });
    let input = (text(), some(range, 10), prop::option::of([time(), time()]), some((text(), count()), 3));
    (input, [number(), number()], some(text(), 2), some(model(), 2), some(comparison(), 2)).prop_map(
        |(
            (name, partitions, times, rejected_reasons),
            [seconds, records_per_second],
            caveats,
            models,
            comparisons,
        )| Summary {
            version: VERSION,
            tailwater: name.clone(),
            finished_at: name.clone(),
            command: name.clone(),
            caveats,
            input: InputSummary {
                target: name.clone(),
                name,
                partitions,
                times,
                records: 5,
                rejected: 1,
                rejected_reasons,
            },
            run: RunSummary { seconds, records_per_second, peak_bytes: None },
            models,
            comparisons,
        },
    )
}

/// What must hold for every page.
fn check(html: &str) {
    for wrong in ["NaN", "inf", "<script", "http://", "https://", "url(", "@import", " src="] {
        // "inf" is part of words; as a number it stands in quotes or between tags.
        let found = if wrong == "inf" {
            html.contains(">inf") || html.contains("\"inf")
        } else {
            html.contains(wrong)
        };
        assert!(!found, "{wrong} is on the page");
    }
    assert_eq!(html.matches("<h1").count(), 1);
    for tag in ["section", "table", "figure", "svg", "details", "div", "ul", "dl", "td", "span", "p"] {
        let opened = html.matches(&format!("<{tag} ")).count() + html.matches(&format!("<{tag}>")).count();
        assert_eq!(opened, html.matches(&format!("</{tag}>")).count(), "<{tag}> is not closed everywhere");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_summary_makes_a_sound_page(summary in summary()) {
        check(&render(&summary));
    }
}

fn empty() -> Summary {
    Summary {
        version: VERSION,
        tailwater: "0".to_owned(),
        finished_at: "2013-01-01T00:00:00Z".to_owned(),
        command: "tailwater replay".to_owned(),
        caveats: Vec::new(),
        input: InputSummary {
            name: "flights.csv".to_owned(),
            partitions: Vec::new(),
            times: None,
            records: 0,
            rejected: 0,
            rejected_reasons: Vec::new(),
            target: "delay".to_owned(),
        },
        run: RunSummary { seconds: 0.0, records_per_second: f64::NAN, peak_bytes: None },
        models: Vec::new(),
        comparisons: Vec::new(),
    }
}

fn bare() -> ModelSummary {
    ModelSummary {
        name: "a<b".to_owned(),
        config_hash: String::new(),
        config: "[model]".to_owned(),
        scores_file: String::new(),
        scored: 0,
        warmup: 0,
        judged: 0,
        updates: 0,
        verdict: Verdict {
            held: Held::Unclear,
            headline: "Nothing was judged.".to_owned(),
            findings: Vec::new(),
        },
        quantiles: Vec::new(),
        thresholds: Vec::new(),
        shortfalls: Vec::new(),
        pits: Vec::new(),
        scores: Vec::new(),
        log_score: None,
        baseline_log_score: None,
        periods: Vec::new(),
        worst: Vec::new(),
        segments: Vec::new(),
    }
}

#[test]
fn a_page_without_a_model_says_so() {
    let html = render(&empty());
    check(&html);
    assert!(html.contains("No model was run") && !html.contains("<svg"));
}

#[test]
fn a_model_that_judged_nothing_has_explanations_instead_of_charts() {
    let html = render(&Summary { models: vec![bare()], ..empty() });
    check(&html);
    assert!(!html.contains("<svg") && html.contains("<title>Backtest of a&lt;b</title>"));
    assert_eq!(html.matches("class=\"nothing\"").count(), 10);
}

#[test]
fn the_worst_findings_come_first_and_the_rest_is_folded_away() {
    let mut model = bare();
    let order =
        [Held::Yes, Held::Nearly, Held::Unclear, Held::No, Held::Yes, Held::Yes, Held::Yes, Held::Yes];
    model.verdict.findings = order
        .into_iter()
        .enumerate()
        .map(|(nth, held)| Finding { held, text: format!("finding {nth}.") })
        .collect();
    let html = render(&Summary { models: vec![model], ..empty() });
    let places: Vec<_> = [3, 2, 1, 0].iter().map(|nth| html.find(&format!("finding {nth}."))).collect();
    assert!(places.is_sorted() && places.iter().all(Option::is_some), "{places:?}");
    assert!(html.contains("2 more findings"));
}
