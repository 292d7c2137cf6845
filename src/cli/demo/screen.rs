//! What a person sees of the demo: a live view on a terminal, a line now and then elsewhere, a summary at the end.

use std::{fmt::Write as _, net::SocketAddr, time::Duration};

use console::{Term, style};
use jiff::Timestamp;

use super::watch::{LONG, Means, RECENT, SHOWN, Watch};
use crate::{config::Config, text::thousands};

/// Width of the progress bar, in characters.
const BAR: usize = 40;
/// Off a terminal, a line a so much of the whole.
const LINES: usize = 10;

pub(super) struct Screen {
    term: Term,
    num_flights: usize,
    admin: SocketAddr,
    threshold_names: Vec<String>,
    quantiles: Vec<f64>,
    /// Lines on the terminal that the next frame replaces.
    drawn: usize,
    /// Off a terminal: tenths said so far.
    said: usize,
}

impl Screen {
    pub fn new(config: &Config, num_flights: usize, admin: SocketAddr) -> Self {
        let screen = Self {
            term: Term::stderr(),
            num_flights,
            admin,
            threshold_names: config.score.exceed.iter().map(|t| t.name.clone()).collect(),
            quantiles: config.score.quantiles.clone(),
            drawn: 0,
            said: 0,
        };
        if !screen.term.is_term() {
            eprintln!("live at {}", screen.page());
        }
        screen
    }

    /// Where the live page is.
    pub fn page(&self) -> String {
        format!("http://{}/", self.admin)
    }

    /// Draws the state of things.
    pub fn draw(&mut self, watch: &Watch, elapsed: Duration) {
        if !self.term.is_term() {
            return self.say(watch, elapsed);
        }
        let width = usize::from(self.term.size().1).max(40);
        let frame = self.frame(watch, elapsed);
        let lines: Vec<_> =
            frame.lines().map(|line| console::truncate_str(line, width - 1, "…").into_owned()).collect();
        // A terminal that is gone is no reason to stop.
        self.term.clear_last_lines(self.drawn).ok();
        self.term.write_line(&lines.join("\n")).ok();
        self.drawn = lines.len();
    }

    /// A line a tenth, where nobody watches live.
    fn say(&mut self, watch: &Watch, elapsed: Duration) {
        let tenths = watch.num_scored() * LINES / self.num_flights.max(1);
        if tenths > self.said {
            self.said = tenths;
            let means = watch.means(RECENT);
            let rate = watch.num_scored() as f64 / elapsed.as_secs_f64();
            eprintln!(
                "{} of {} flights, {rate:.0}/s, {} updates, log score {:.2} against {:.2} (baseline)",
                thousands(watch.num_scored()),
                thousands(self.num_flights),
                thousands(watch.updates() as usize),
                means.log_score,
                means.baseline_log_score,
            );
        }
    }

    fn frame(&self, watch: &Watch, elapsed: Duration) -> String {
        let mut out = String::new();
        let scored = watch.num_scored();
        let filled = scored * BAR / self.num_flights.max(1);
        let rate = scored as f64 / elapsed.as_secs_f64().max(1e-3);
        let title = style("tailwater demo").bold();
        let mut line = |text: std::fmt::Arguments<'_>| {
            out.write_fmt(text).ok();
            out.push('\n');
        };
        line(format_args!("{title}  learning the arrival delays of flights out of New York, 2013"));
        line(format_args!(
            "{}{}  {} of {} events, {} events/s",
            style("━".repeat(filled)).cyan(),
            style("━".repeat(BAR - filled)).dim(),
            thousands(scored),
            thousands(self.num_flights),
            thousands(rate as usize),
        ));
        line(format_args!(
            "{}  stream time, {} flights in the air, {} updates, live at {}",
            date(watch.time_us()),
            watch.num_in_the_air(),
            thousands(watch.updates() as usize),
            style(self.page()).underlined(),
        ));
        line(format_args!(""));
        let means = watch.means(RECENT);
        if means.count == 0 {
            line(format_args!("warming up: the first flights set the scales"));
        } else {
            self.write_means(&means, &mut line);
        }
        line(format_args!(""));
        self.write_flights(watch, &mut line);
        out
    }

    fn write_means(&self, means: &Means, line: &mut impl FnMut(std::fmt::Arguments<'_>)) {
        let gain = means.log_score - means.baseline_log_score;
        line(format_args!(
            "log score      {:.2} nats, unconditional baseline {:.2}, {} nats better  {}",
            means.log_score,
            means.baseline_log_score,
            style(format!("{gain:.2}")).green().bold(),
            style(format!("(last {} arrivals)", thousands(means.count))).dim(),
        ));
        let coverage: Vec<String> = means
            .coverage
            .iter()
            .map(|(p, share)| format!("{} covers {}", percent(*p), percent(*share)))
            .collect();
        line(format_args!("quantiles      {}", coverage.join("   ")));
        let exceed: Vec<String> = means
            .exceed
            .iter()
            .map(|(t, expected, observed)| {
                format!("> {t} min {} (said {})", percent(*observed), percent(*expected))
            })
            .collect();
        line(format_args!("delays         {}", exceed.join("   ")));
    }

    fn write_flights(&self, watch: &Watch, line: &mut impl FnMut(std::fmt::Arguments<'_>)) {
        let mut head = format!("{:<10}", "arrived");
        for name in &self.threshold_names {
            write!(head, "{:>12}", format!("P(Y > {name})")).ok();
        }
        for p in &self.quantiles {
            write!(head, "{:>8}", format!("q{}", percent(*p).trim_end_matches(" %"))).ok();
        }
        line(format_args!("{}", style(format!("{head}   what happened")).dim()));
        let mut count = 0;
        for (flight, delay) in watch.shown() {
            let mut text = format!("{:<10}", flight.name);
            for p in &flight.exceed {
                write!(text, "{:>12}", figure(*p, percent)).ok();
            }
            for q in &flight.quantiles {
                write!(text, "{:>8}", figure(*q, |q| format!("{q:.0}"))).ok();
            }
            line(format_args!("{text}   {delay:+.0} min"));
            count += 1;
        }
        for _ in count..SHOWN {
            line(format_args!(""));
        }
    }

    /// Prints what came of it.
    pub fn finish(&self, watch: &Watch, elapsed: Duration, interrupted: bool) {
        let seconds = elapsed.as_secs_f64();
        let scored = watch.num_scored();
        let how = if interrupted { "stopped early: " } else { "" };
        println!(
            "{how}{} flights scored in {seconds:.0} s ({} events/s), {} SGD steps",
            thousands(scored),
            thousands((scored as f64 / seconds) as usize),
            thousands(watch.updates() as usize),
        );
        let means = watch.means(LONG);
        if means.count == 0 {
            println!("too few arrivals to say how good the scores were");
            return;
        }
        println!("over the last {} of {} arrivals:", thousands(means.count), thousands(watch.num_judged()));
        println!(
            "  log score       {:>8.3} nats    rolling Gaussian {:.3}, {:+.3} nats",
            means.log_score,
            means.baseline_log_score,
            means.log_score - means.baseline_log_score
        );
        for (p, share) in &means.coverage {
            println!("  quantile {:>7}  covers {:>7}", percent(*p), percent(*share));
        }
        for (t, expected, observed) in &means.exceed {
            println!(
                "  delay > {:>4} min  expected {:>7}   seen {:>7}",
                t,
                percent(*expected),
                percent(*observed)
            );
        }
    }
}

fn figure(value: f64, show: impl Fn(f64) -> String) -> String {
    if value.is_nan() { "–".to_owned() } else { show(value) }
}

fn percent(share: f64) -> String {
    if share > 0.0 && share < 5e-5 {
        return "<0.01 %".to_owned();
    }
    let text = format!("{:.2}", 100.0 * share);
    format!("{} %", text.trim_end_matches('0').trim_end_matches('.'))
}

fn date(time_us: i64) -> String {
    let time = Timestamp::from_microsecond(time_us).unwrap_or_default();
    time.strftime("%-d %b %Y %H:%M").to_string()
}
