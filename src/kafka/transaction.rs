//! Calls on a transaction, and what their errors mean.
//!
//! librdkafka names three classes: a call that may simply be made again, a transaction that has to be aborted, and a
//! client that is of no more use. An aborted transaction ends the term of leadership, and the next one begins from the
//! last commit, as after a crash: there is one way to roll back. A fenced client means that another process leads, or
//! that brokers have aborted a transaction which took too long; which of them shows in whether the lease is still held.

use std::{thread, time::Duration};

use rdkafka::{
    TopicPartitionList,
    consumer::ConsumerGroupMetadata,
    error::{KafkaError, KafkaResult, RDKafkaErrorCode},
    producer::{BaseProducer, Producer, ProducerContext, PurgeConfig},
};

use crate::crash;

/// How long after a call that may be made again it is.
const PAUSE: Duration = Duration::from_millis(50);
/// How long one try to get ready may take: between them somebody may ask for the end.
const INIT_TRY: Duration = Duration::from_millis(500);
/// How long an abort may take, and with it the end of a term whose brokers are away.
const ABORT_TIMEOUT: Duration = Duration::from_secs(1);
/// How long one try of a commit may take: it goes on where it was when the call is made again, and between them somebody may
/// have taken over.
const COMMIT_TRY: Duration = Duration::from_secs(1);

/// Which topics a call is about, and so which right is missing when it is refused.
#[derive(Debug, Clone, Copy)]
pub enum Topics {
    /// Those that are written.
    Written,
    /// The one whose offsets are committed.
    Read,
}

impl Topics {
    fn remedy(self) -> &'static str {
        match self {
            Self::Written => "give the principal the right to WRITE to the topics that are written",
            Self::Read => "give the principal the right to READ it",
        }
    }

    fn missing_remedy(self) -> &'static str {
        match self {
            Self::Written => "make the topic: tailwater check --create does",
            Self::Read => "make input.topic anew, or correct its name",
        }
    }
}

/// Why a transaction was not committed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TransactionError {
    /// It was aborted, or is going to be: what it carried was not published.
    #[error("the transaction was aborted: {0}")]
    Aborted(String),
    /// Another client has taken its place.
    #[error(
        "another client took over the transactions, or brokers aborted one that took longer than delivery.timeout: {0}"
    )]
    Fenced(String),
    /// Nothing but somebody's hand helps.
    #[error("{0}")]
    Final(String),
}

/// Gets ready for transactions: from now on any older client of the same transactional id is fenced, and what it had
/// open is aborted. `false`: `keep_on` said no before.
///
/// # Errors
/// When brokers refuse for good.
pub fn init<C: ProducerContext>(
    producer: &BaseProducer<C>,
    transactional_id: &str,
    keep_on: &mut dyn FnMut() -> bool,
) -> Result<bool, TransactionError> {
    while keep_on() {
        match producer.init_transactions(INIT_TRY) {
            Ok(()) => return Ok(true),
            Err(KafkaError::Transaction(error)) if error.is_retriable() => {
                tracing::debug!(%error, "getting ready for transactions");
            }
            Err(error) => return Err(classify(&error, transactional_id, Topics::Written)),
        }
    }
    Ok(false)
}

/// Commits: once all messages were acknowledged, their transaction's offsets go with it.
///
/// # Errors
/// When the transaction was not committed, or when that is not known: then the state topic tells.
pub fn commit<C: ProducerContext>(
    producer: &BaseProducer<C>,
    transactional_id: &str,
    offsets: &TopicPartitionList,
    group: &ConsumerGroupMetadata,
    give_up: &dyn Fn() -> bool,
) -> Result<(), TransactionError> {
    crash::point("after_produce_before_offsets");
    let send_offsets = || producer.send_offsets_to_transaction(offsets, group, COMMIT_TRY);
    call(transactional_id, Topics::Read, give_up, send_offsets)?;
    crash::point("after_offsets_before_commit");
    call(transactional_id, Topics::Written, give_up, || producer.commit_transaction(COMMIT_TRY))?;
    crash::point("after_commit");
    Ok(())
}

/// Aborts, as far as brokers can be reached: whoever comes next aborts what is left.
pub fn abort<C: ProducerContext>(producer: &BaseProducer<C>) {
    // Aborting waits for the fate of every message, and nobody else serves their queue meanwhile.
    producer.purge(PurgeConfig::default().queue().inflight());
    if producer.flush(ABORT_TIMEOUT).is_ok()
        && let Err(error) = producer.abort_transaction(ABORT_TIMEOUT)
    {
        tracing::debug!(%error, "the transaction could not be aborted now");
    }
}

/// What has gone wrong with the transaction under way, if something has.
///
/// librdkafka tells it with the next call. This one is refused in every case, since a transaction is under way, and changes
/// nothing.
#[must_use]
pub fn trouble<C: ProducerContext>(
    producer: &BaseProducer<C>,
    transactional_id: &str,
) -> Option<TransactionError> {
    match producer.begin_transaction() {
        Err(KafkaError::Transaction(error)) if error.is_fatal() || error.txn_requires_abort() => {
            Some(classify(&KafkaError::Transaction(error), transactional_id, Topics::Written))
        }
        _ => None,
    }
}

/// Makes a call until it is through or fails for good.
fn call(
    transactional_id: &str,
    topics: Topics,
    give_up: &dyn Fn() -> bool,
    mut make: impl FnMut() -> KafkaResult<()>,
) -> Result<(), TransactionError> {
    loop {
        match make() {
            Ok(()) => return Ok(()),
            Err(KafkaError::Transaction(error)) if error.is_retriable() => {
                if give_up() {
                    return Err(TransactionError::Aborted(format!("leadership was lost meanwhile: {error}")));
                }
                tracing::debug!(%error, "a call on the transaction is made again");
                thread::sleep(PAUSE);
            }
            Err(error) => return Err(classify(&error, transactional_id, topics)),
        }
    }
}

/// What an error of a transaction means that can't be tried again.
#[must_use]
pub fn classify(error: &KafkaError, transactional_id: &str, topics: Topics) -> TransactionError {
    use RDKafkaErrorCode::{
        ClusterAuthorizationFailed, Fenced, GroupAuthorizationFailed, InvalidTransactionTimeout,
        ProducerFenced, TopicAuthorizationFailed, TransactionalIdAuthorizationFailed,
        UnknownTopicOrPartition,
    };
    let text = error.to_string();
    match super::code(error) {
        Some(Fenced | ProducerFenced) => TransactionError::Fenced(text),
        Some(TransactionalIdAuthorizationFailed | ClusterAuthorizationFailed) => {
            TransactionError::Final(format!(
                "no right to transactions: {text}; give the principal the rights to WRITE and DESCRIBE the transactional \
             id '{transactional_id}' (kafka.group)"
            ))
        }
        Some(InvalidTransactionTimeout) => TransactionError::Final(format!(
            "the brokers refuse delivery.timeout: {text}; it is above their transaction.max.timeout.ms"
        )),
        Some(TopicAuthorizationFailed) => TransactionError::Final(format!("{text}; {}", topics.remedy())),
        Some(GroupAuthorizationFailed) => TransactionError::Final(format!(
            "{text}; give the principal the right to READ the group '{transactional_id}' (kafka.group)"
        )),
        Some(UnknownTopicOrPartition) => {
            TransactionError::Final(format!("{text}; {}", topics.missing_remedy()))
        }
        _ => match error {
            KafkaError::Transaction(error) if error.is_fatal() => {
                TransactionError::Final(format!("the transactional client can't go on: {text}"))
            }
            _ => TransactionError::Aborted(text),
        },
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use rdkafka::{
        ClientConfig, Offset,
        consumer::{BaseConsumer, Consumer},
        mocking::MockCluster,
        producer::{BaseRecord, DefaultProducerContext},
        types::{RDKafkaApiKey, RDKafkaRespErr},
    };

    use super::*;

    /// A broker whose answers can be injected, and a transactional client of it that is ready.
    struct Mock {
        cluster: MockCluster<'static, DefaultProducerContext>,
        producer: BaseProducer,
    }

    impl Mock {
        fn start() -> Self {
            let cluster = MockCluster::new(1).unwrap();
            for topic in ["in", "out"] {
                cluster.create_topic(topic, 1, 1).unwrap();
            }
            let producer: BaseProducer = ClientConfig::new()
                .set("bootstrap.servers", cluster.bootstrap_servers())
                .set("transactional.id", "g")
                .set("transaction.timeout.ms", "10000")
                .create()
                .unwrap();
            assert_eq!(init(&producer, "g", &mut || true), Ok(true));
            Self { cluster, producer }
        }

        /// Begins a transaction with a message in it, and waits until that is acknowledged or the transaction in trouble.
        fn produce(&self) -> Option<TransactionError> {
            self.producer.begin_transaction().unwrap();
            self.producer.send(BaseRecord::<(), _>::to("out").partition(0).payload("x")).unwrap();
            while self.producer.in_flight_count() > 0 {
                self.producer.poll(Duration::from_millis(20));
                if let Some(trouble) = trouble(&self.producer, "g") {
                    return Some(trouble);
                }
            }
            None
        }

        fn commit(&self) -> Result<(), TransactionError> {
            let consumer: BaseConsumer = ClientConfig::new()
                .set("bootstrap.servers", self.cluster.bootstrap_servers())
                .set("group.id", "g")
                .create()
                .unwrap();
            let mut offsets = TopicPartitionList::new();
            offsets.add_partition_offset("in", 0, Offset::Offset(1)).unwrap();
            commit(&self.producer, "g", &offsets, &consumer.group_metadata().unwrap(), &|| false)
        }
    }

    #[test]
    fn an_error_that_passes_costs_nothing() {
        use RDKafkaRespErr::{
            RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS as LOADING,
            RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE as AWAY, RD_KAFKA_RESP_ERR_NOT_COORDINATOR as MOVED,
        };
        let mock = Mock::start();
        mock.cluster.request_errors(RDKafkaApiKey::AddPartitionsToTxn, &[LOADING, MOVED]);
        mock.cluster.request_errors(RDKafkaApiKey::TxnOffsetCommit, &[LOADING, AWAY]);
        mock.cluster.request_errors(RDKafkaApiKey::EndTxn, &[LOADING, AWAY]);
        assert_eq!(mock.produce(), None);
        assert_eq!(mock.commit(), Ok(()));
        // And the client is as good as before.
        assert_eq!(mock.produce(), None);
        assert_eq!(mock.commit(), Ok(()));
    }

    #[test]
    fn a_transaction_that_has_to_be_aborted_is_and_the_next_one_is_committed() {
        use RDKafkaRespErr::{
            RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION as REBALANCED,
            RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID as NO_MEMBER,
        };
        for error in [REBALANCED, NO_MEMBER] {
            let mock = Mock::start();
            mock.cluster.request_errors(RDKafkaApiKey::TxnOffsetCommit, &[error]);
            assert_eq!(mock.produce(), None);
            assert!(matches!(mock.commit(), Err(TransactionError::Aborted(_))), "{error:?}");
            abort(&mock.producer);
            assert_eq!(mock.produce(), None);
            assert_eq!(mock.commit(), Ok(()));
        }
    }

    #[test]
    fn a_fenced_client_is_told_apart_from_one_without_rights() {
        use RDKafkaRespErr::{
            RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED as NO_GROUP,
            RD_KAFKA_RESP_ERR_PRODUCER_FENCED as FENCED,
            RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED as NO_TOPIC,
        };
        let mock = Mock::start();
        mock.cluster.request_errors(RDKafkaApiKey::EndTxn, &[FENCED]);
        assert_eq!(mock.produce(), None);
        assert!(matches!(mock.commit(), Err(TransactionError::Fenced(_))));

        let mock = Mock::start();
        mock.cluster.request_errors(RDKafkaApiKey::TxnOffsetCommit, &[NO_GROUP]);
        assert_eq!(mock.produce(), None);
        let Err(TransactionError::Final(told)) = mock.commit() else {
            panic!("nobody helps itself to rights")
        };
        assert!(told.contains("the right to READ the group"), "{told}");

        // A transaction in trouble sends nothing more: what has gone wrong shows while messages are awaited.
        let mock = Mock::start();
        mock.cluster.request_errors(RDKafkaApiKey::AddPartitionsToTxn, &[NO_TOPIC]);
        let Some(TransactionError::Final(told)) = mock.produce() else { panic!("it would wait for ever") };
        assert!(told.contains("the right to WRITE"), "{told}");
    }

    /// What `Publisher` relies on where it is told of the end by a message instead of by a call on the transaction.
    #[test]
    fn a_fenced_client_refuses_messages_without_a_reason_and_its_transaction_has_it() {
        use RDKafkaRespErr::RD_KAFKA_RESP_ERR_PRODUCER_FENCED as FENCED;
        let mock = Mock::start();
        mock.cluster.request_errors(RDKafkaApiKey::AddPartitionsToTxn, &[FENCED]);
        assert!(matches!(mock.produce(), Some(TransactionError::Fenced(_))));
        let message = BaseRecord::<(), _>::to("out").partition(0).payload("y");
        let (error, _) = mock.producer.send(message).unwrap_err();
        assert_eq!(crate::kafka::code(&error), Some(RDKafkaErrorCode::Fatal));
        assert!(matches!(trouble(&mock.producer, "g"), Some(TransactionError::Fenced(_))));
    }
}
