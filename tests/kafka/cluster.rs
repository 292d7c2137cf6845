//! A real Kafka for a test: topics of its own, records in, records out.
//!
//! Everything blocks and panics on what a test doesn't expect. Names are unique, so tests can run side by side on
//! one broker and nothing has to be removed.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use rdkafka::{
    ClientConfig, ClientContext, Message, Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication},
    client::DefaultClientContext,
    consumer::{BaseConsumer, CommitMode, Consumer},
    error::{KafkaError, RDKafkaErrorCode},
    message::{DeliveryResult, Header, Headers, OwnedHeaders},
    producer::{BaseProducer, BaseRecord, Producer, ProducerContext},
};

use crate::wire::{self, Answer, Request};

/// How long any one thing may take, on a machine that has others to serve too.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A record as a test writes or reads it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Record {
    pub partition: i32,
    /// Where it was read; not looked at when it is written.
    pub offset: i64,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    /// ms since 1970; `None`: the time of sending.
    pub timestamp_ms: Option<i64>,
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

impl Record {
    pub fn new(partition: i32, value: impl Into<Vec<u8>>) -> Self {
        Self { partition, value: Some(value.into()), ..Self::default() }
    }

    pub fn with_key(self, key: impl Into<Vec<u8>>) -> Self {
        Self { key: Some(key.into()), ..self }
    }

    pub fn with_timestamp_ms(self, timestamp_ms: i64) -> Self {
        Self { timestamp_ms: Some(timestamp_ms), ..self }
    }

    pub fn with_header(mut self, name: &str, value: impl Into<Vec<u8>>) -> Self {
        self.headers.push((name.to_owned(), Some(value.into())));
        self
    }

    /// The text of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        let value = self.headers.iter().find(|(header, _)| header == name)?.1.as_deref()?;
        Some(std::str::from_utf8(value).expect("the header is a text"))
    }

    pub fn read(message: &impl Message) -> Self {
        Self {
            partition: message.partition(),
            offset: message.offset(),
            key: message.key().map(<[u8]>::to_vec),
            value: message.payload().map(<[u8]>::to_vec),
            timestamp_ms: message.timestamp().to_millis(),
            headers: message
                .headers()
                .into_iter()
                .flat_map(Headers::iter)
                .map(|header| (header.key.to_owned(), header.value.map(<[u8]>::to_vec)))
                .collect(),
        }
    }
}

/// What a principal may do, or may not.
#[derive(Debug, Clone, Copy)]
pub struct Rule<'a> {
    /// For instance `User:ann`.
    pub principal: &'a str,
    /// The kind (`Topic`, `Group`, `Cluster` or `TransactionalId`) and the name.
    pub resource: (&'a str, &'a str),
    /// As Kafka names it: `All`, `Read`, `Write`, `Create`, `Describe` or `DescribeConfigs`.
    pub operation: &'a str,
    pub is_allowed: bool,
}

impl Rule<'_> {
    /// As the protocol writes it, in requests and in filters alike.
    fn write(&self, request: &mut Request) {
        let kind = match self.resource.0 {
            "Topic" => 2,
            "Group" => 3,
            "Cluster" => 4,
            "TransactionalId" => 5,
            other => panic!("no rules on a {other}"),
        };
        let operation = match self.operation {
            "All" => 2,
            "Read" => 3,
            "Write" => 4,
            "Create" => 5,
            "Describe" => 8,
            "DescribeConfigs" => 10,
            other => panic!("no rules on {other}"),
        };
        request.int8(kind).text(self.resource.1).int8(3); // by its whole name
        request.text(self.principal).text("*").int8(operation).int8(if self.is_allowed { 3 } else { 2 });
    }
}

/// The brokers that `make test` started, or a test's own.
pub struct Cluster {
    brokers: String,
}

impl Cluster {
    /// The cluster in `KAFKA_BROKERS`; a test without one fails rather than pass unseen.
    pub fn connect() -> Self {
        let brokers = std::env::var("KAFKA_BROKERS").unwrap_or_default();
        assert!(!brokers.is_empty(), "this test needs Kafka: run `make test`, or set KAFKA_BROKERS");
        Self { brokers }
    }

    /// Other brokers, on a plain listener.
    pub fn at(brokers: &str) -> Self {
        Self { brokers: brokers.to_owned() }
    }

    /// For `kafka.brokers`.
    pub fn brokers(&self) -> &str {
        &self.brokers
    }

    fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.brokers);
        config
    }

    /// Makes a topic and returns its name, `name` with a unique ending.
    pub fn create_topic(&self, name: &str, partitions: i32) -> String {
        self.create_topic_with(name, partitions, &[])
    }

    /// The same, with topic properties such as `("cleanup.policy", "compact")`.
    pub fn create_topic_with(&self, name: &str, partitions: i32, properties: &[(&str, &str)]) -> String {
        let name = unique(name);
        let mut topic = NewTopic::new(&name, partitions, TopicReplication::Fixed(1));
        for (key, value) in properties {
            topic = topic.set(key, value);
        }
        let admin: AdminClient<DefaultClientContext> = self.config().create().expect("an admin client");
        let options = AdminOptions::new().operation_timeout(Some(PATIENCE)).request_timeout(Some(PATIENCE));
        let results = block_on(admin.create_topics([&topic], &options)).expect("an answer from the broker");
        for result in results {
            result.unwrap_or_else(|(topic, error)| panic!("{topic} was not created: {error}"));
        }
        name
    }

    /// Removes a topic.
    pub fn delete_topic(&self, topic: &str) {
        let admin: AdminClient<DefaultClientContext> = self.config().create().expect("an admin client");
        let options = AdminOptions::new().operation_timeout(Some(PATIENCE)).request_timeout(Some(PATIENCE));
        let results = block_on(admin.delete_topics(&[topic], &options)).expect("an answer from the broker");
        for result in results {
            result.unwrap_or_else(|(topic, error)| panic!("{topic} was not deleted: {error}"));
        }
    }

    /// Appends records and waits until the broker has acknowledged all of them.
    pub fn produce(&self, topic: &str, records: impl IntoIterator<Item = Record>) {
        if let Err(error) = self.try_produce(topic, records) {
            panic!("a record was not written to {topic}: {error}");
        }
    }

    /// The same, and the first error of any record.
    pub fn try_produce(
        &self,
        topic: &str,
        records: impl IntoIterator<Item = Record>,
    ) -> Result<(), RDKafkaErrorCode> {
        self.writer().write(topic, records)
    }

    /// Appends records in one transaction, which is committed or taken back.
    pub fn produce_in_transaction(
        &self,
        topic: &str,
        records: impl IntoIterator<Item = Record>,
        is_committed: bool,
    ) {
        self.transactional_writer().write_in_transaction(topic, records, is_committed);
    }

    /// Writes again and again.
    pub fn writer(&self) -> Writer {
        Writer(Self::producer(&mut self.config()))
    }

    /// The same, in transactions.
    pub fn transactional_writer(&self) -> Writer {
        let producer = Self::producer(self.config().set("transactional.id", unique("transaction")));
        producer.init_transactions(PATIENCE).expect("an answer from the broker");
        Writer(producer)
    }

    fn producer(config: &mut ClientConfig) -> BaseProducer<Deliveries> {
        config
            .set("enable.idempotence", "true") // keeps the order over retries
            .set("linger.ms", "5")
            .set("message.max.bytes", "100000000") // the topic's limit is the one that counts
            .set("message.timeout.ms", PATIENCE.as_millis().to_string())
            .create_with_context(Deliveries::default())
            .expect("a producer")
    }

    /// All committed records of a topic up to its ends as they are now (an open transaction's are not), by partition
    /// and then offset.
    pub fn consume(&self, topic: &str) -> Vec<Record> {
        let consumer: BaseConsumer = self
            .config()
            .set("group.id", unique("reader"))
            .set("isolation.level", "read_committed")
            .set("enable.auto.commit", "false")
            .set("enable.partition.eof", "true")
            .set("fetch.wait.max.ms", "10")
            .create()
            .expect("a consumer");
        let mut assignment = TopicPartitionList::new();
        for partition in 0..self.num_partitions(topic) {
            assignment.add_partition_offset(topic, partition, Offset::Beginning).expect("an assignment");
        }
        consumer.assign(&assignment).expect("an assignment");
        // Its end is told per partition; a last offset would not do, since transaction markers take offsets too.
        let mut ended = vec![false; assignment.count()];
        let mut records = Vec::new();
        let deadline = Instant::now() + PATIENCE;
        while ended.contains(&false) {
            assert!(Instant::now() < deadline, "{topic} was not read to its end: {} records", records.len());
            match consumer.poll(Duration::from_millis(100)) {
                None => {}
                Some(Ok(message)) => records.push(Record::read(&message)),
                Some(Err(KafkaError::PartitionEOF(partition))) => ended[index(partition)] = true,
                Some(Err(error)) => panic!("{topic} can't be read: {error}"),
            }
        }
        records.sort_by_key(|record| (record.partition, record.offset));
        records
    }

    /// How many partitions a topic has.
    pub fn num_partitions(&self, topic: &str) -> i32 {
        let consumer: BaseConsumer = self.config().create().expect("a consumer");
        let metadata = consumer.fetch_metadata(Some(topic), PATIENCE).expect("metadata");
        let found = metadata.topics().first().expect("the topic that was asked for");
        assert!(found.error().is_none(), "{topic}: {:?}", found.error());
        i32::try_from(found.partitions().len()).expect("few partitions")
    }

    /// The value of a topic's setting.
    pub fn topic_setting(&self, topic: &str, name: &str) -> String {
        let admin: AdminClient<DefaultClientContext> = self.config().create().expect("an admin client");
        let options = AdminOptions::new().request_timeout(Some(PATIENCE));
        let described = block_on(admin.describe_configs([&ResourceSpecifier::Topic(topic)], &options))
            .expect("an answer from the broker");
        let settings = described.into_iter().next().expect("one topic was asked for").expect("its settings");
        let value = settings.get(name).and_then(|setting| setting.value.clone());
        value.unwrap_or_else(|| panic!("{topic} has no {name}"))
    }

    /// The offset after the last record of each partition.
    pub fn ends(&self, topic: &str) -> BTreeMap<i32, i64> {
        let consumer: BaseConsumer = self.config().create().expect("a consumer");
        let end = |partition| {
            let (_, high) = consumer.fetch_watermarks(topic, partition, PATIENCE).expect("watermarks");
            (partition, high)
        };
        (0..self.num_partitions(topic)).map(end).collect()
    }

    /// A group's committed offsets on a topic, by partition; partitions without one are left out.
    pub fn committed(&self, group: &str, topic: &str) -> BTreeMap<i32, i64> {
        let consumer: BaseConsumer = self.config().set("group.id", group).create().expect("a consumer");
        let mut partitions = TopicPartitionList::new();
        partitions.add_partition_range(topic, 0, self.num_partitions(topic) - 1);
        let deadline = Instant::now() + PATIENCE;
        let committed = loop {
            match consumer.committed_offsets(partitions.clone(), PATIENCE) {
                // A broker that has never had a group is still making its topic of offsets.
                Err(KafkaError::MetadataFetch(RDKafkaErrorCode::NotCoordinator))
                    if Instant::now() < deadline =>
                {
                    thread::sleep(Duration::from_millis(50));
                }
                result => break result.expect("committed offsets"),
            }
        };
        committed
            .elements()
            .iter()
            .filter_map(|element| match element.offset() {
                Offset::Offset(offset) => Some((element.partition(), offset)),
                _ => None,
            })
            .collect()
    }

    /// Commits an offset for a group without members, as somebody's hand would.
    pub fn commit(&self, group: &str, topic: &str, partition: i32, offset: i64) {
        let consumer: BaseConsumer = self.config().set("group.id", group).create().expect("a consumer");
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition, Offset::Offset(offset)).expect("an offset");
        consumer.commit(&list, CommitMode::Sync).expect("a commit");
    }

    /// Forgets a group without members, offsets and all, as brokers do after a while.
    pub fn delete_group(&self, group: &str) {
        let admin: AdminClient<DefaultClientContext> = self.config().create().expect("an admin client");
        let options = AdminOptions::new().request_timeout(Some(PATIENCE));
        let results = block_on(admin.delete_groups(&[group], &options)).expect("an answer from the broker");
        for result in results {
            result.unwrap_or_else(|(group, error)| panic!("{group} was not deleted: {error}"));
        }
    }

    /// Removes the records before an offset, as retention does.
    pub fn delete_records(&self, topic: &str, partition: i32, before: i64) {
        let admin: AdminClient<DefaultClientContext> = self.config().create().expect("an admin client");
        let mut offsets = TopicPartitionList::new();
        offsets.add_partition_offset(topic, partition, Offset::Offset(before)).expect("an offset");
        let options = AdminOptions::new().request_timeout(Some(PATIENCE));
        let deleted = block_on(admin.delete_records(&offsets, &options)).expect("an answer from the broker");
        assert!(deleted.elements().iter().all(|element| element.error().is_ok()), "{deleted:?}");
    }

    /// Takes one right on a topic (`Read`, `Write`, `Describe` …, as Kafka names its operations) from everybody and
    /// leaves the others.
    pub fn deny(&self, topic: &str, operation: &str) {
        self.deny_on(("Topic", topic), operation);
    }

    /// The same on a consumer group.
    pub fn deny_group(&self, group: &str, operation: &str) {
        self.deny_on(("Group", group), operation);
    }

    /// Does something while nobody has the right to make one topic.
    pub fn with_creation_denied<T>(&self, topic: &str, act: impl FnOnce() -> T) -> T {
        // Whoever may make any topic is not asked about one; all others are still free, since they have no rule.
        self.deny(topic, "Create");
        let cluster = ("Cluster", "kafka-cluster");
        self.deny_on(cluster, "Create");
        let result = act();
        // The cluster's rules are everybody's, so they go again.
        self.remove_rules(&Self::denying(cluster, "Create"));
        result
    }

    fn deny_on(&self, resource: (&str, &str), operation: &str) {
        self.add_rules(&Self::denying(resource, operation));
    }

    fn denying<'r>(resource: (&'r str, &'r str), operation: &'r str) -> [Rule<'r>; 2] {
        // Once something has any rule, what none of them allows is denied: so everything is allowed first.
        let everything = Rule { principal: "User:*", resource, operation: "All", is_allowed: true };
        [everything, Rule { operation, is_allowed: false, ..everything }]
    }

    fn ask(&self, key: i16, request: &Request) -> Vec<u8> {
        let broker = self.brokers.split(',').next().expect("one at least");
        wire::ask(broker, key, 1, &request.0).expect("an answer from the broker")
    }

    /// Removes rules.
    fn remove_rules(&self, rules: &[Rule<'_>]) {
        let mut request = Request::default();
        request.int32(i32::try_from(rules.len()).expect("few rules"));
        rules.iter().for_each(|rule| rule.write(&mut request));
        let answer = self.ask(31, &request); // DeleteAcls
        let mut answer = Answer(&answer);
        let (_throttled, _results) = (answer.int32(), answer.int32());
        let (code, told) = (answer.int16(), answer.text());
        assert_eq!(code, 0, "{told}");
    }

    /// Adds rules, and waits until the broker goes by them.
    pub fn add_rules(&self, rules: &[Rule<'_>]) {
        let mut request = Request::default();
        request.int32(i32::try_from(rules.len()).expect("few rules"));
        for rule in rules {
            rule.write(&mut request);
        }
        let answer = self.ask(30, &request); // CreateAcls
        let mut answer = Answer(&answer);
        let (_throttled, results) = (answer.int32(), answer.int32());
        for _ in 0..results {
            let (code, told) = (answer.int16(), answer.text());
            assert_eq!(code, 0, "{told}");
        }
        // The controller has them now; the broker hears of it a little later.
        let deadline = Instant::now() + PATIENCE;
        for rule in rules {
            let mut request = Request::default();
            rule.write(&mut request);
            loop {
                let answer = self.ask(29, &request); // DescribeAcls
                let mut answer = Answer(&answer);
                let (_throttled, code, told) = (answer.int32(), answer.int16(), answer.text());
                assert_eq!(code, 0, "{told}");
                if answer.int32() > 0 {
                    break;
                }
                assert!(Instant::now() < deadline, "the broker does not hear of {rule:?}");
                thread::sleep(Duration::from_millis(10));
            }
        }
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().expect("a runtime").block_on(future)
}

/// A name that no other test, and no other run on the same broker, uses.
pub fn unique(name: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let run = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970").as_micros();
    format!("{name}-{run:x}-{}", COUNT.fetch_add(1, Ordering::Relaxed))
}

fn index(partition: i32) -> usize {
    usize::try_from(partition).expect("partitions count from 0")
}

/// Appends records, with a producer that lasts.
pub struct Writer(BaseProducer<Deliveries>);

impl Writer {
    /// Appends records in one transaction, which is committed or taken back.
    pub fn write_in_transaction(
        &self,
        topic: &str,
        records: impl IntoIterator<Item = Record>,
        is_committed: bool,
    ) {
        self.0.begin_transaction().unwrap();
        self.write(topic, records).unwrap();
        let ended = match is_committed {
            true => self.0.commit_transaction(PATIENCE),
            false => self.0.abort_transaction(PATIENCE),
        };
        ended.unwrap();
    }

    /// Appends records and waits until the broker has answered all of them; the first error of any.
    pub fn write(
        &self,
        topic: &str,
        records: impl IntoIterator<Item = Record>,
    ) -> Result<(), RDKafkaErrorCode> {
        for record in records {
            let headers = record.headers.iter().fold(OwnedHeaders::new(), |headers, (key, value)| {
                headers.insert(Header { key, value: value.as_ref() })
            });
            let mut message: BaseRecord<'_, [u8], [u8]> =
                BaseRecord::to(topic).partition(record.partition).headers(headers);
            message.key = record.key.as_deref();
            message.payload = record.value.as_deref();
            message.timestamp = record.timestamp_ms;
            while let Err((error, back)) = self.0.send(message) {
                match error {
                    KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull) => message = back,
                    error => {
                        return Err(error.rdkafka_error_code().expect("an error of the producer has a code"));
                    }
                }
                self.0.poll(Duration::from_millis(10));
            }
        }
        self.0.flush(PATIENCE).expect("all records were answered in time");
        match self.0.context().0.lock().expect("no panic in a delivery").take() {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }
}

/// Keeps the first error of any record, which the default context would drop.
#[derive(Default)]
struct Deliveries(Mutex<Option<RDKafkaErrorCode>>);

impl ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, _)) = result {
            let code = error.rdkafka_error_code().expect("an error of a delivery has a code");
            self.0.lock().expect("no panic in a delivery").get_or_insert(code);
        }
    }
}
