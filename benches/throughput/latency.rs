//! How long an event waits for its score: from when it was due at its producer to when a reader of committed scores has it.
//!
//! The producer keeps its schedule whatever the consumer does, and an event counts from its place in the schedule, so that
//! one that had to wait behind others has waited.

use std::{
    thread,
    time::{Duration, Instant},
};

use arrow::datatypes::Int64Type;
use rdkafka::{
    ClientConfig, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::{KafkaError, RDKafkaErrorCode},
    producer::{BaseProducer, BaseRecord, Producer},
};
use serde_json::{Value, json};

use crate::{
    cluster::{Cluster, PATIENCE, Record},
    contender::{Case, Contender, forget, model, stop},
    feed::{Input, Known, Year},
    process::Setup,
    report::{figure, print_row},
    scores::{batch, column},
};

/// How long the highest rate is measured for.
const RATE_SPAN: Duration = Duration::from_secs(10);
/// Before anything counts: a process that has just begun has its warm-up to do.
const WARM_UP: Duration = Duration::from_secs(5);
/// How long latency is measured for.
const SPAN: Duration = Duration::from_secs(20);
/// How long after its due time an event is waited for.
const GRACE: Duration = Duration::from_secs(10);
/// Shares of the highest rate.
const LOADS: [f64; 3] = [0.1, 0.5, 0.9];
/// The producer sends what is due this often.
const TICK: Duration = Duration::from_millis(1);

/// Prints the table; the highest rate is measured over `num_events`.
pub fn measure(cluster: &Cluster, num_events: u64) -> Value {
    eprintln!("writing {num_events} flights …");
    let input = Input::json(cluster, num_events, Known::Arrivals);
    let year = Year::new(Known::Arrivals);
    let mut told = Vec::new();
    print_row(["guarantee", "of the highest rate", "events/s", "p50, ms", "p99, ms", "scored in time"]);
    print_row(["---", "---:", "---:", "---:", "---:", "---:"]);
    for guarantee in ["exactly-once", "at-least-once"] {
        let set = format!("delivery.guarantee={guarantee}");
        let case = Case::new(cluster, guarantee, &input, std::slice::from_ref(&set));
        let highest = case.measure(Contender::Tailwater, RATE_SPAN).events_per_second();
        for load in LOADS {
            let rate = load * highest;
            let latencies = latencies(cluster, &year, rate, &set);
            print_row([
                guarantee,
                &format!("{:.0} %", 100.0 * load),
                &figure(rate),
                &shown(latencies.quantile_ms(0.5)),
                &shown(latencies.quantile_ms(0.99)),
                &format!("{:.2} %", 100.0 * latencies.share_in_time()),
            ]);
            told.push(json!({
                "guarantee": guarantee,
                "load": load,
                "events_per_second": rate,
                "p50_ms": latencies.quantile_ms(0.5),
                "p99_ms": latencies.quantile_ms(0.99),
                "share_in_time": latencies.share_in_time(),
            }));
        }
    }
    println!();
    json!(told)
}

/// What is later than `GRACE` is not known.
fn shown(latency_ms: Option<f64>) -> String {
    latency_ms.map_or_else(|| format!("over {}", GRACE.as_millis()), figure)
}

/// Of the events of a span.
struct Latencies {
    sorted_ms: Vec<f64>,
    /// With those whose scores did not come in time.
    num_events: usize,
}

impl Latencies {
    fn share_in_time(&self) -> f64 {
        self.sorted_ms.len() as f64 / self.num_events as f64
    }

    /// `None`: the score of this one did not come in time.
    fn quantile_ms(&self, level: f64) -> Option<f64> {
        self.sorted_ms.get((level * (self.num_events - 1) as f64).round() as usize).copied()
    }
}

/// When each event is due.
#[derive(Clone, Copy)]
struct Schedule {
    begun: Instant,
    rate: f64,
}

impl Schedule {
    fn due(&self, number: u64) -> Instant {
        self.begun + Duration::from_secs_f64(number as f64 / self.rate)
    }

    /// How many events are due within so long.
    fn num_within(&self, span: Duration) -> u64 {
        (self.rate * span.as_secs_f64()) as u64
    }
}

fn latencies(cluster: &Cluster, year: &Year, rate: f64, set: &str) -> Latencies {
    let input = cluster.create_topic("flights", 1);
    let setup = Setup::on_input(cluster, &input);
    let sets = [&model()[..], &[set.to_owned()]].concat();
    let process = setup.start(&sets.iter().map(String::as_str).collect::<Vec<_>>());
    process.wait_until_leading();
    let reader = reader(cluster, &setup.output);
    let schedule = Schedule { begun: Instant::now(), rate };
    let latencies = thread::scope(|scope| {
        scope.spawn(|| produce(cluster, &input, year, schedule));
        read(&reader, schedule)
    });
    stop(process);
    forget(&setup);
    cluster.delete_topic(&input);
    latencies
}

/// Sends what is due, and what is late together with it.
fn produce(cluster: &Cluster, topic: &str, year: &Year, schedule: Schedule) {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", cluster.brokers())
        .set("enable.idempotence", "true")
        .set("linger.ms", "1")
        .create()
        .unwrap();
    let num_events = schedule.num_within(WARM_UP + SPAN);
    let mut number = 0;
    while number < num_events {
        let num_due = schedule.num_within(schedule.begun.elapsed()).min(num_events);
        for number in number..num_due {
            let json = year.flight(number);
            let mut record = BaseRecord::<(), _>::to(topic).partition(0).payload(&json);
            while let Err((error, back)) = producer.send(record) {
                assert_eq!(error, KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull));
                producer.poll(TICK);
                record = back;
            }
        }
        number = num_due;
        producer.poll(Duration::ZERO);
        thread::sleep(TICK);
    }
    producer.flush(PATIENCE).unwrap();
}

fn reader(cluster: &Cluster, topic: &str) -> BaseConsumer {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", cluster.brokers())
        .set("group.id", "latency")
        .set("enable.auto.commit", "false")
        .set("isolation.level", "read_committed")
        .set("fetch.wait.max.ms", "5")
        .create()
        .unwrap();
    let mut place = TopicPartitionList::new();
    place.add_partition_offset(topic, 0, Offset::Beginning).unwrap();
    consumer.assign(&place).unwrap();
    consumer
}

/// Reads scores until the last event has one, or is overdue.
fn read(reader: &BaseConsumer, schedule: Schedule) -> Latencies {
    let (first, last) = (schedule.num_within(WARM_UP), schedule.num_within(WARM_UP + SPAN));
    let mut latencies_ms = Vec::new();
    let mut num_scored = 0;
    while num_scored < last && Instant::now() < schedule.due(last) + GRACE {
        let Some(message) = reader.poll(Duration::from_millis(10)) else { continue };
        let seen = Instant::now();
        // The only partition's offsets count its events.
        for offset in column::<Int64Type>(&batch(&Record::read(&message.unwrap())), "offset") {
            let number = offset as u64;
            let latency = seen - schedule.due(number);
            if number >= first && latency <= GRACE {
                latencies_ms.push(1e3 * latency.as_secs_f64());
            }
            num_scored = num_scored.max(number + 1);
        }
    }
    latencies_ms.sort_by(f64::total_cmp);
    Latencies { sorted_ms: latencies_ms, num_events: (last - first) as usize }
}
