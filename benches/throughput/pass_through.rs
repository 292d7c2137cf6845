//! The limit: the same clients without a model. It reads the input and publishes the very messages that tailwater has
//! published for it, in transactions of the same length, on two threads as tailwater does.

use std::{
    hint::black_box,
    path::PathBuf,
    sync::atomic::{AtomicI64, Ordering},
    thread,
    time::{Duration, Instant},
};

use rdkafka::{
    Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::{KafkaError, RDKafkaErrorCode},
    producer::{BaseProducer, BaseRecord, Producer},
};
use tailwater::{
    config::Config,
    kafka::{
        client::{self, Context},
        publisher, reader, transaction,
    },
};

use crate::cluster::{Cluster, Record};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The config of the tailwater that it stands beside
    #[arg(short, long)]
    config: PathBuf,
    /// Keys of it
    #[arg(long = "set")]
    sets: Vec<String>,
    /// The topics that hold what tailwater has published
    #[arg(long)]
    published: Vec<String>,
    /// For how many messages of the input it was
    #[arg(long)]
    num_messages: usize,
}

/// Goes on until it is killed.
pub fn run(args: &Args) {
    let config = Config::load(&args.config, &args.sets, std::env::vars()).unwrap();
    let published = Published::read(&config, args);
    let context = || Context { topic: config.input.topic.clone(), ..Context::default() };
    let consumer: BaseConsumer<Context> =
        client::create(&reader::settings(&config), &config.kafka, context()).unwrap();
    consumer.assign(&place(&config, 0)).unwrap();
    let producer: BaseProducer = publisher::settings(&config).create().unwrap();
    let group = &config.kafka.group;
    transaction::init(&producer, group, &mut || true).unwrap();
    let metadata = consumer.group_metadata().unwrap();

    let read_until = AtomicI64::new(0);
    thread::scope(|scope| {
        scope.spawn(|| {
            loop {
                match consumer.poll(Duration::from_millis(20)) {
                    None | Some(Err(KafkaError::PartitionEOF(_))) => {}
                    Some(Ok(message)) => {
                        black_box(message.payload());
                        read_until.store(message.offset() + 1, Ordering::Relaxed);
                    }
                    Some(Err(error)) => {
                        eprintln!("{error}");
                        std::process::exit(1); // the other thread has no end
                    }
                }
            }
        });
        let (mut num_sent, mut committed, mut last_commit) = (0, 0, Instant::now());
        producer.begin_transaction().unwrap();
        loop {
            let offset = read_until.load(Ordering::Relaxed);
            let num_due = published.num_due(offset);
            for nth in num_sent..num_due {
                send(&producer, published.nth(nth, &config));
            }
            num_sent = num_due;
            producer.poll(Duration::ZERO);
            if offset > committed && last_commit.elapsed() >= config.delivery.commit {
                while producer.in_flight_count() > 0 {
                    producer.flush(Duration::from_millis(2)).ok(); // it is asked again until all is there
                }
                transaction::commit(&producer, group, &place(&config, offset), &metadata, &|| false).unwrap();
                (committed, last_commit) = (offset, Instant::now());
                producer.begin_transaction().unwrap();
            }
            thread::sleep(Duration::from_millis(1));
        }
    });
}

fn place(config: &Config, offset: i64) -> TopicPartitionList {
    let mut place = TopicPartitionList::new();
    place.add_partition_offset(&config.input.topic, 0, Offset::Offset(offset)).unwrap();
    place
}

/// Messages in the order in which they were published, over and over.
struct Published {
    /// Which of the topics, and what.
    messages: Vec<(usize, Record)>,
    num_read: usize,
}

impl Published {
    fn read(config: &Config, args: &Args) -> Self {
        let cluster = Cluster::at(&config.kafka.brokers);
        let of = |(topic, name): (usize, &String)| {
            cluster.consume(name).into_iter().map(move |record| (topic, record)).collect::<Vec<_>>()
        };
        let mut messages: Vec<_> = args.published.iter().enumerate().flat_map(of).collect();
        messages.sort_by_key(|(_, record)| record.timestamp_ms);
        Self { messages, num_read: args.num_messages }
    }

    /// How many were published once all messages before an offset were read.
    fn num_due(&self, offset: i64) -> usize {
        (offset as u128 * self.messages.len() as u128 / self.num_read as u128) as usize
    }

    fn nth<'a>(&'a self, nth: usize, config: &'a Config) -> BaseRecord<'a, (), [u8]> {
        let (topic, record) = &self.messages[nth % self.messages.len()];
        let topic = match topic {
            0 => &config.output.topic,
            _ => config.output.outcomes.as_ref().unwrap(),
        };
        BaseRecord::to(topic).partition(0).payload(record.value.as_deref().unwrap())
    }
}

fn send(producer: &BaseProducer, mut record: BaseRecord<'_, (), [u8]>) {
    while let Err((error, back)) = producer.send(record) {
        assert_eq!(error, KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull));
        producer.poll(Duration::from_millis(20));
        record = back;
    }
}
