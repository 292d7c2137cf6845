//! Events a second beside those of the clients without a model, and what CPU they take.

use std::time::Duration;

use serde_json::{Value, json};

use crate::{
    cluster::Cluster,
    contender::{Case, Contender, Recorded},
    feed::{Input, Known},
    measure::{Measured, median},
    report::{figure, print_row},
};

/// How long one contender is followed, where the input is long enough.
const SPAN: Duration = Duration::from_secs(10);

/// One row of the table, with what was measured of it in each round.
struct Row<'a> {
    case: &'a Case<'a>,
    contender: Contender<'a>,
    measured: Vec<Measured>,
}

impl Row<'_> {
    fn name(&self) -> String {
        let of = match self.contender {
            Contender::Tailwater => "tailwater",
            Contender::PassThrough(_) => "pass-through",
            Contender::Peer => "Python peer",
        };
        format!("{of}: {}", self.case.name)
    }

    fn median(&self, figure: impl Fn(&Measured) -> f64) -> f64 {
        median(self.measured.iter().map(figure))
    }

    /// Its rates over those of another row, round by round.
    fn ratios(&self, other: &Self) -> Vec<f64> {
        let rounds = self.measured.iter().zip(&other.measured);
        rounds.map(|(own, other)| own.events_per_second() / other.events_per_second()).collect()
    }
}

/// Prints the table; `num_events` are written to each input.
pub fn measure(cluster: &Cluster, num_events: u64, rounds: usize) -> Value {
    eprintln!("writing {num_events} flights in four forms …");
    let [json, arrow] = [Input::json, Input::arrow]
        .map(|make| [Known::Arrivals, Known::Departures].map(|known| make(cluster, num_events, known)));
    let home = tempfile::tempdir().unwrap();
    let saved = home.path().join("state");
    // Who only scores has a model, and events whose targets nobody knows.
    let scoring = [format!("state.initial={}", saved.display()), "learn.enabled=false".to_owned()];
    let cases = [
        Case::new(cluster, "score and learn, JSON", &json[0], &[]),
        Case::new(cluster, "score only, JSON", &json[1], &scoring),
        Case::new(cluster, "score and learn, Arrow", &arrow[0], &[]),
        Case::new(cluster, "score only, Arrow", &arrow[1], &scoring),
    ];
    eprintln!("recording what tailwater publishes …");
    let recorded: Vec<Recorded> =
        cases.iter().enumerate().map(|(nth, case)| case.record((nth == 0).then_some(&saved))).collect();
    let mut rows = Vec::new();
    for (case, recorded) in cases.iter().zip(&recorded) {
        for contender in [Contender::PassThrough(recorded), Contender::Tailwater] {
            rows.push(Row { case, contender, measured: Vec::new() });
        }
    }
    rows.push(Row { case: &cases[0], contender: Contender::Peer, measured: Vec::new() });

    for round in 1..=rounds {
        // Each comes early as often as late, since page cache and clock speed drift.
        let order: Vec<usize> =
            if round % 2 == 1 { (0..rows.len()).collect() } else { (0..rows.len()).rev().collect() };
        for nth in order {
            let row = &mut rows[nth];
            let measured = row.case.measure(row.contender, SPAN);
            eprintln!(
                "round {round}, {}: {:.0} events/s over {:.1} s",
                row.name(),
                measured.events_per_second(),
                measured.seconds
            );
            row.measured.push(measured);
        }
    }
    print(&rows, &recorded)
}

fn print(rows: &[Row<'_>], recorded: &[Recorded]) -> Value {
    print_row(["what", "events/s", "of pass-through", "CPU s a million events", "broker's"]);
    print_row(["---", "---:", "---:", "---:", "---:"]);
    let peer = &rows[rows.len() - 1];
    let mut told = Vec::new();
    for (nth, row) in rows.iter().enumerate() {
        // The peer reads what the first case reads.
        let limit = &rows[if nth + 1 == rows.len() { 0 } else { nth / 2 * 2 }];
        let ratios = row.ratios(limit);
        let broker = row.measured.iter().map(Measured::broker_cpu).collect::<Option<Vec<_>>>().map(median);
        print_row([
            &row.name(),
            &figure(row.median(Measured::events_per_second)),
            &format!("{:.3}", median(ratios.iter().copied())),
            &format!("{:.1}", row.median(Measured::cpu)),
            &broker.map_or_else(|| "–".to_owned(), |seconds| format!("{seconds:.1}")),
        ]);
        told.push(json!({
            "what": row.name(),
            "events_per_second": row.median(Measured::events_per_second),
            "of_pass_through": median(ratios.iter().copied()),
            "cpu_seconds_per_million": row.median(Measured::cpu),
            "broker_cpu_seconds_per_million": broker,
            "published_bytes_per_event": recorded.get(nth / 2).map(|recorded| recorded.bytes_per_event),
            "rounds": row.measured.iter().map(|measured| measured.to_json()).collect::<Vec<_>>(),
        }));
    }
    let times_peer = median(rows[1].ratios(peer));
    println!("\ntailwater / Python peer, score and learn, JSON: {times_peer:.1}\n");
    json!({ "rows": told, "times_the_python_peer": times_peer })
}
