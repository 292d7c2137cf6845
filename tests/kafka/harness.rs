//! That the harness shows what a broker really holds, that a denied right is really denied, and that a broker or a
//! network that a test takes away is really gone, and comes back.

use std::{collections::BTreeMap, time::Duration};

use rdkafka::{
    ClientConfig, Offset, TopicPartitionList,
    consumer::{BaseConsumer, CommitMode, Consumer},
    error::RDKafkaErrorCode,
    producer::{BaseProducer, BaseRecord, Producer},
};

use crate::{
    broker::{Broker, Options},
    cluster::{Cluster, PATIENCE, Record, unique},
};

#[test]
fn records_come_back_as_they_were_written() {
    let cluster = Cluster::connect();
    let topic = cluster.create_topic("round-trip", 3);
    let mut records = vec![
        Record::new(0, "first")
            .with_key("k")
            .with_timestamp_ms(1_357_030_800_000)
            .with_header("reason", "none"),
        Record { headers: vec![("null".to_owned(), None)], ..Record::new(0, "second").with_timestamp_ms(1) },
        Record { value: None, ..Record::new(2, "").with_key("tombstone").with_timestamp_ms(2) },
        Record::new(2, "").with_timestamp_ms(3),
    ];
    cluster.produce(&topic, records.clone());
    for (record, offset) in records.iter_mut().zip([0, 1, 0, 1]) {
        record.offset = offset;
    }
    let read = cluster.consume(&topic);
    assert_eq!(read, records);
    assert_eq!(read[0].header("reason"), Some("none"));
}

#[test]
fn many_records_keep_their_order() {
    let cluster = Cluster::connect();
    let topic = cluster.create_topic("many", 1);
    // More than a producer's queue holds at first (100,000).
    cluster.produce(&topic, (0..150_000).map(|i| Record::new(0, format!("{i}"))));
    let read = cluster.consume(&topic);
    assert_eq!(read.len(), 150_000);
    assert!(read.iter().enumerate().all(|(i, record)| record.value == Some(format!("{i}").into_bytes())));
}

#[test]
fn an_aborted_transaction_is_not_read() {
    let cluster = Cluster::connect();
    let topic = cluster.create_topic("transactions", 1);
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", cluster.brokers())
        .set("transactional.id", unique("writer"))
        .create()
        .unwrap();
    producer.init_transactions(PATIENCE).unwrap();
    for (value, commit) in [("kept", true), ("aborted", false), ("kept too", true)] {
        producer.begin_transaction().unwrap();
        producer.send(BaseRecord::<(), _>::to(&topic).partition(0).payload(value)).unwrap();
        producer.flush(PATIENCE).unwrap();
        if commit { producer.commit_transaction(PATIENCE) } else { producer.abort_transaction(PATIENCE) }
            .unwrap();
    }
    let values: Vec<_> = cluster.consume(&topic).into_iter().map(|record| record.value.unwrap()).collect();
    assert_eq!(values, [b"kept".to_vec(), b"kept too".to_vec()]);
}

#[test]
fn a_groups_committed_offsets_are_read() {
    let cluster = Cluster::connect();
    let topic = cluster.create_topic("committed", 2);
    let group = unique("group");
    assert_eq!(cluster.committed(&group, &topic), BTreeMap::new());
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", cluster.brokers())
        .set("group.id", &group)
        .create()
        .unwrap();
    let mut offsets = TopicPartitionList::new();
    offsets.add_partition_offset(&topic, 1, Offset::Offset(7)).unwrap();
    consumer.commit(&offsets, CommitMode::Sync).unwrap();
    assert_eq!(cluster.committed(&group, &topic), BTreeMap::from([(1, 7)]));
}

#[test]
fn a_denied_right_fails_on_its_topic_alone() {
    let cluster = Cluster::connect();
    let denied = cluster.create_topic("denied", 1);
    let other = cluster.create_topic("allowed", 1);
    cluster.produce(&denied, [Record::new(0, "before")]);
    cluster.deny(&denied, "Write");
    assert_eq!(
        cluster.try_produce(&denied, [Record::new(0, "after")]),
        Err(RDKafkaErrorCode::TopicAuthorizationFailed)
    );
    assert_eq!(cluster.consume(&denied).len(), 1, "the other rights on it are left");
    assert_eq!(cluster.try_produce(&other, [Record::new(0, "x")]), Ok(()));
}

#[test]
fn a_broker_that_was_killed_has_its_records_and_properties_when_it_starts_again() {
    let properties = &[("message.max.bytes", "10000")];
    let mut broker = Broker::start(&Options { properties, ..Options::default() });
    let cluster = Cluster::at(broker.brokers());
    let topic = cluster.create_topic("kept", 1);
    cluster.produce(&topic, [Record::new(0, "before")]);
    broker.kill();
    let client: BaseConsumer =
        ClientConfig::new().set("bootstrap.servers", broker.brokers()).create().unwrap();
    client.fetch_metadata(Some(&topic), Duration::from_secs(1)).expect_err("nobody is there");
    broker.start_again();
    client.fetch_metadata(Some(&topic), PATIENCE).expect("the same client finds it again");
    cluster.produce(&topic, [Record::new(0, "after")]);
    let values: Vec<_> = cluster.consume(&topic).into_iter().map(|record| record.value.unwrap()).collect();
    assert_eq!(values, [b"before".to_vec(), b"after".to_vec()]);
    let large = Record::new(0, [0; 20_000]);
    assert_eq!(cluster.try_produce(&topic, [large]), Err(RDKafkaErrorCode::MessageSizeTooLarge));
}

#[test]
fn a_cut_proxy_lets_its_clients_wait_while_the_broker_answers_others_and_a_mended_one_carries_again() {
    let broker = Broker::start(&Options { is_proxied: true, ..Options::default() });
    let direct = Cluster::at(broker.brokers());
    let proxied = Cluster::at(broker.proxied_brokers());
    let topic = direct.create_topic("proxied", 1);
    proxied.produce(&topic, [Record::new(0, "before")]);
    let client = || -> BaseConsumer {
        ClientConfig::new().set("bootstrap.servers", broker.proxied_brokers()).create().unwrap()
    };
    let connected = client();
    let metadata = connected.fetch_metadata(Some(&topic), PATIENCE).unwrap();
    let ports: Vec<i32> = metadata.brokers().iter().map(|broker| broker.port()).collect();
    assert_eq!(ports, [i32::from(broker.proxy().port())], "what it is told to connect to is the proxy again");

    broker.proxy().cut();
    let late = client();
    for (client, what) in [(&connected, "an old connection"), (&late, "a new one")] {
        let answer = client.fetch_metadata(Some(&topic), Duration::from_secs(1));
        assert!(answer.is_err(), "{what} is answered");
    }
    direct.produce(&topic, [Record::new(0, "during")]);

    broker.proxy().mend();
    for client in [&connected, &late] {
        client.fetch_metadata(Some(&topic), PATIENCE).unwrap();
    }
    proxied.produce(&topic, [Record::new(0, "after")]);
    let values: Vec<_> = proxied.consume(&topic).into_iter().map(|record| record.value.unwrap()).collect();
    assert_eq!(values, [b"before".to_vec(), b"during".to_vec(), b"after".to_vec()]);
}
