#![allow(clippy::unwrap_used)]

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use ::arrow::{
    array::{
        ArrayRef, BooleanArray, Date32Array, DictionaryArray, Float32Array, Float64Array, Int32Array,
        Int64Array, LargeStringArray, RecordBatch, StringArray, StringViewArray, StructArray,
        TimestampMillisecondArray, TimestampNanosecondArray, UInt16Array,
    },
    datatypes::{DataType, Field, Fields, Int8Type, Schema},
    ipc::{reader::StreamReader, writer::StreamWriter},
};
use proptest::prelude::*;

use super::*;
use crate::config::{self, ThresholdValue};

fn path(dotted: &str) -> config::FieldPath {
    config::FieldPath(dotted.split('.').map(Into::into).collect())
}

fn feature(name: &str, at: &str, kind: config::FeatureKind) -> config::Feature {
    config::Feature { name: name.into(), path: path(at), kind }
}

fn number(transform: Option<config::Transform>) -> config::FeatureKind {
    config::FeatureKind::Number { transform }
}

fn config(format: InputFormat) -> Config {
    use config::{FeatureKind, TimeField, TimeUnit, Transform};
    let time = |at, unit| Some(TimeField { path: path(at), unit });
    Config {
        kafka: config::Kafka {
            brokers: "localhost:9092".into(),
            group: "g".into(),
            properties: BTreeMap::new(),
        },
        input: config::Input {
            topic: "flights".into(),
            format,
            time: time("at", TimeUnit::Auto),
            start: config::Start::Earliest,
            max_bytes: 1 << 20,
            max_ahead: Duration::from_secs(3600),
        },
        features: vec![
            feature("carrier", "carrier", FeatureKind::Category { size: 64 }),
            feature("dep_delay", "dep_delay", number(None)),
            feature("distance", "distance", number(Some(Transform::Log1p))),
            feature("hour", "hour", FeatureKind::Cycle { period: 24.0 }),
            feature("wind", "weather.wind", number(Some(Transform::Sqrt))),
            feature("fare", "fare", number(Some(Transform::Log))),
        ],
        target: config::Target {
            step: None,
            support: config::Support::Real,
            fields: vec![path("arr_delay")],
            time: time("arrived_at", TimeUnit::Millis),
            wait: Duration::from_secs(86400),
        },
        model: config::Model {
            kind: config::ModelKind::Nfn,
            flows: vec![config::FlowKind::Affine],
            hidden: vec![8],
            activation: config::Activation::Tanh,
            seed: 1,
        },
        learn: config::Learn {
            enabled: true,
            batch: 128,
            steps: 1,
            average: 0.95,
            momentum: 0.9,
            optimizer: config::OptimizerKind::Adam,
            rate: 1e-3,
            clip: 5.0,
            noise: config::Noise::Auto,
            warmup: 2048,
        },
        score: config::Score {
            exceed: vec![
                config::Threshold { name: "15".into(), value: ThresholdValue::Constant(15.0) },
                config::Threshold { name: "sla".into(), value: ThresholdValue::Field(path("sla")) },
            ],
            quantiles: vec![0.5],
            shortfall: vec![],
            limit: vec![],
            calibrate: config::Calibrate::Off,
        },
        monitor: config::Monitor { by: Some(path("carrier")) },
        output: config::Output {
            topic: "flight-risk".into(),
            format: config::OutputFormat::Arrow,
            carry: ["flight", "carrier", "distance", "weather.station"].map(path).into(),
            rows: 512,
            linger: Duration::from_millis(20),
            outcomes: None,
            rejected: None,
        },
        state: config::State {
            topic: "s".into(),
            dir: None,
            interval: Duration::from_secs(10),
            on_mismatch: config::OnMismatch::Fail,
            initial: None,
        },
        delivery: config::Delivery {
            guarantee: config::Guarantee::ExactlyOnce,
            commit: Duration::from_millis(200),
            timeout: Duration::from_secs(10),
            drain: Duration::from_secs(30),
        },
        admin: config::Admin { listen: "127.0.0.1:9464".parse().unwrap() },
    }
}

const AT_US: i64 = 1_357_035_420_000_000;
const FULL: &str = r#"{
    "at": "2013-01-01T10:17:00Z", "arrived_at": 1357050540000, "carrier": "UA", "flight": 1545,
    "distance": 1400, "hour": 5, "dep_delay": 2.5, "weather": {"wind": 16.0, "station": "EWR", "sky": [1, {}]},
    "fare": 1, "sla": 30, "arr_delay": 11, "ignored": {"deep": [1, "x", null, 1e999]}
}"#;

fn message(payload: &[u8]) -> Message<'_> {
    Message {
        partition: 1,
        offset: 42,
        timestamp_ms: Some(AT_US / 1000),
        key: Some(b"UA1545"),
        payload: Some(payload),
    }
}

fn decode_all(config: &Config, message: &Message<'_>) -> Vec<Record> {
    let mut out = Vec::new();
    Decoder::new(config).decode(message, &mut out);
    out
}

fn decode(config: &Config, payload: impl AsRef<[u8]>) -> Record {
    let mut records = decode_all(config, &message(payload.as_ref()));
    assert_eq!(records.len(), 1);
    records.pop().unwrap()
}

fn event(record: Record) -> Event {
    match record {
        Record::Event(event) => (*event).clone(),
        Record::Reject(reject) => panic!("rejected: {reject:?}"),
    }
}

fn json_event(payload: &str) -> Event {
    event(decode(&config(InputFormat::Json), payload))
}

/// The reason and detail that a JSON record is rejected with.
fn json_fault(payload: impl AsRef<[u8]>) -> (RejectReason, String) {
    match decode(&config(InputFormat::Json), payload.as_ref()) {
        Record::Event(event) => panic!("accepted: {event:?}"),
        Record::Reject(reject) => {
            assert_eq!(reject.payload.as_deref(), Some(payload.as_ref()));
            assert_eq!(reject.key.as_deref(), Some(&b"UA1545"[..]));
            assert_eq!((reject.partition, reject.offset, reject.row, reject.last), (1, 42, 0, true));
            (reject.reason, reject.detail)
        }
    }
}

/// The full record with one field replaced.
fn with(field: &str, value: &str) -> String {
    let mut record: serde_json::Value = serde_json::from_str(&FULL.replace("1e999", "0")).unwrap();
    record[field] = "@".into();
    record.to_string().replace("\"@\"", value)
}

#[test]
fn a_json_object_becomes_an_event() {
    let text = |text: &str| Cell::Text(text.into());
    let event = json_event(FULL);
    assert_eq!((event.partition, event.offset, event.row, event.last), (1, 42, 0, true));
    assert_eq!(event.timestamp_ms, Some(AT_US / 1000));
    assert_eq!(event.key.as_deref(), Some(&b"UA1545"[..]));
    assert_eq!(event.time_us, AT_US);
    assert_eq!(
        *event.features,
        [
            text("UA"),
            Cell::Number(2.5),
            Cell::Number(1401_f64.ln()),
            Cell::Number(5.0),
            Cell::Number(4.0),
            Cell::Number(0.0)
        ]
    );
    // A field can be carried and a feature at once, and is carried as it was read.
    assert_eq!(*event.carry, [Cell::Number(1545.0), text("UA"), Cell::Number(1400.0), text("EWR")]);
    assert_eq!(*event.thresholds, [30.0]);
    assert_eq!(event.segment.as_deref(), Some("UA"));
    let target = event.target.unwrap();
    assert_eq!((&*target.values, target.known), (&[11.0][..], Known::At(1_357_050_540_000_000)));
}

#[test]
fn an_absent_field_and_a_null_are_the_same() {
    let event = json_event(r#"{"at": 1357035420, "carrier": null, "weather": null}"#);
    assert!(event.features.iter().chain(&event.carry).all(|cell| *cell == Cell::Null));
    assert!(event.thresholds[0].is_nan());
    assert_eq!((&event.segment, &event.target), (&None, &None));
    // Compared as printed: NaN differs from itself.
    assert_eq!(format!("{event:?}"), format!("{:?}", json_event(r#"{"at": 1357035420}"#)));
}

#[test]
fn nothing_is_left_over_from_the_record_before() {
    let mut decoder = Decoder::new(&config(InputFormat::Json));
    let mut out = Vec::new();
    for payload in [FULL, r#"{"carrier": "#, r#"{"at": 1357035420}"#] {
        decoder.decode(&message(payload.as_bytes()), &mut out);
    }
    let event = event(out.pop().unwrap());
    assert!(event.features.iter().chain(&event.carry).all(|cell| *cell == Cell::Null));
    assert_eq!(event.target, None);
}

#[test]
fn categories_are_texts_numbers_or_booleans() {
    for (value, text) in [
        ("\"UA\"", "UA"),
        ("\"\"", ""),
        ("\"\\u00e9\\n\"", "é\n"),
        ("7", "7"),
        ("7.0", "7"),
        ("-1.5", "-1.5"),
        ("true", "true"),
        ("18446744073709551615", "18446744073709551615"),
    ] {
        assert_eq!(json_event(&with("carrier", value)).features[0], Cell::Text(text.into()), "{value}");
    }
}

#[test]
fn booleans_are_numbers_too() {
    assert_eq!(json_event(&with("dep_delay", "true")).features[1], Cell::Number(1.0));
}

#[test]
fn a_carried_identifier_keeps_all_its_digits() {
    let event = json_event(&with("flight", "1234567890123456789"));
    assert_eq!(event.carry[0], Cell::Text("1234567890123456789".into()));
}

#[test]
fn the_last_of_a_repeated_key_counts() {
    let event = json_event(
        r#"{"at": 0, "dep_delay": 1, "weather": {"station": "a"}, "dep_delay": 2, "weather": {"wind": 4}}"#,
    );
    assert_eq!(event.features[1], Cell::Number(2.0));
    assert_eq!(event.features[4], Cell::Number(2.0));
    assert_eq!(event.carry[3], Cell::Null);
}

#[test]
fn a_field_of_another_type_is_named() {
    for (field, value, detail) in [
        ("arr_delay", "\"abc\"", "arr_delay: expected a number, found a text \"abc\""),
        ("dep_delay", "\"2.5\"", "dep_delay: expected a number, found a text \"2.5\""),
        ("hour", "[5]", "hour: expected a number, found an array"),
        ("carrier", "{\"code\": 1}", "carrier: expected a text or a number, found an object"),
        ("flight", "[]", "flight: expected a text or a number, found an array"),
        ("sla", "\"\"", "sla: expected a number, found a text \"\""),
        ("weather", "\"sunny\"", "weather.wind: expected a number, found no object around it"),
        ("weather", "[]", "weather.wind: expected a number, found no object around it"),
    ] {
        assert_eq!(json_fault(with(field, value)), (RejectReason::WrongType, detail.to_owned()));
    }
}

#[test]
fn a_number_past_a_double_is_not_finite() {
    for field in ["dep_delay", "carrier", "arr_delay", "sla"] {
        let (reason, detail) = json_fault(with(field, "-1e999"));
        assert_eq!(reason, RejectReason::NonFinite, "{detail}");
        assert!(detail.starts_with(&format!("{field}: ")), "{detail}");
    }
    let (reason, _) = json_fault(r#"{"dep_delay": 1e999, "at": "#);
    assert_eq!(reason, RejectReason::Undecodable);
}

#[test]
fn a_number_outside_of_its_transform_s_domain_is_named() {
    for (field, value, name) in [
        ("distance", "-1", "distance: -1 is outside of the domain of log1p"),
        ("fare", "0", "fare: 0 is outside of the domain of log"),
        ("weather", "{\"wind\": -0.25}", "weather.wind: -0.25 is outside of the domain of sqrt"),
    ] {
        assert_eq!(json_fault(with(field, value)), (RejectReason::OutOfDomain, name.to_owned()));
    }
}

#[test]
fn what_is_no_json_object_is_undecodable() {
    let truncated = &FULL[..FULL.len() - 1];
    let trailing = format!("{FULL} x");
    let two = format!("{FULL}{FULL}");
    let ignored_invalid = [&b"{\"at\": 0, \"ignored\": \""[..], b"\xff", b"\"}"].concat();
    let cases: [&[u8]; 12] = [
        b"",
        b" ",
        b"null",
        b"[]",
        b"\"text\"",
        b"1e999",
        b"{\"at\": 0,}",
        b"{\"at\": 0, \"ignored\": tru}",
        truncated.as_bytes(),
        trailing.as_bytes(),
        two.as_bytes(),
        &ignored_invalid,
    ];
    for payload in cases {
        let (reason, detail) = json_fault(payload);
        assert_eq!(reason, RejectReason::Undecodable, "{}", String::from_utf8_lossy(payload));
        assert!(!detail.is_empty());
    }
}

#[test]
fn nesting_without_end_is_undecodable_or_skipped_but_never_a_stack_overflow() {
    let deep = "[".repeat(500_000);
    assert_eq!(json_fault(&deep).0, RejectReason::Undecodable);
    assert_eq!(json_fault(format!("{{\"dep_delay\": {deep}")).0, RejectReason::Undecodable);
    let closed = format!("{{\"at\": 0, \"ignored\": {deep}{}}}", "]".repeat(500_000));
    assert_eq!(json_event(&closed).time_us, 0);
}

#[test]
fn a_record_without_a_readable_time_is_rejected() {
    for value in ["null", "\"soon\"", "true", "{}", "1e300", "-1e18", "\"9999-01-01T00:00:00Z\""] {
        let (reason, detail) = json_fault(with("at", value));
        assert_eq!(reason, RejectReason::BadTime, "{value}");
        assert!(detail.starts_with("at: "), "{detail}");
    }
}

#[test]
fn without_input_time_the_kafka_timestamp_counts() {
    let mut config = config(InputFormat::Json);
    config.input.time = None;
    assert_eq!(event(decode(&config, FULL)).time_us, AT_US);
    for timestamp_ms in [None, Some(i64::MAX)] {
        let message = Message { timestamp_ms, ..message(FULL.as_bytes()) };
        let Record::Reject(reject) = &decode_all(&config, &message)[0] else { panic!("accepted") };
        assert_eq!(reject.reason, RejectReason::BadTime);
    }
}

#[test]
fn an_event_further_ahead_than_allowed_is_rejected() {
    let seconds = AT_US / 1_000_000 + 3600;
    assert_eq!(json_event(&with("at", &seconds.to_string())).time_us, AT_US + 3_600_000_000);
    let ahead = with("at", &format!("{seconds}.000001"));
    let (reason, detail) = json_fault(&ahead);
    assert_eq!(reason, RejectReason::Future);
    assert!(detail.starts_with("at: 2013-01-01T11:17:00.000001Z"), "{detail}");
    let message = Message { timestamp_ms: None, ..message(ahead.as_bytes()) };
    assert!(matches!(&decode_all(&config(InputFormat::Json), &message)[0], Record::Event(_)));
}

#[test]
fn a_target_needs_its_time_only_where_it_is_there() {
    let (reason, detail) = json_fault(with("arrived_at", "null"));
    assert_eq!(reason, RejectReason::BadTime);
    assert!(detail.starts_with("arrived_at: expected a number of milliseconds"), "{detail}");
    let none = with("arr_delay", "null").replace("1357050540000", "null");
    assert_eq!(json_event(&none).target, None);
    let early = json_event(&with("arrived_at", "-1")).target.unwrap();
    assert_eq!(early.known, Known::At(-1000));

    let mut config = config(InputFormat::Json);
    config.target.time = None;
    assert_eq!(event(decode(&config, FULL)).target.unwrap().known, Known::WithEvent);
}

#[test]
fn a_joint_target_is_there_when_all_of_its_fields_are() {
    let mut config = config(InputFormat::Json);
    config.target.fields = vec![path("arr_delay"), path("sla")];
    assert_eq!(*event(decode(&config, FULL)).target.unwrap().values, [11.0, 30.0]);
    assert_eq!(event(decode(&config, with("sla", "null"))).target, None);
    let wrong = with("sla", "\"x\"").replace("\"arr_delay\":11", "\"arr_delay\":null");
    assert!(matches!(decode(&config, wrong), Record::Reject(_)));
}

#[test]
fn a_message_without_a_value_or_with_too_large_a_one_is_rejected_unread() {
    let mut config = config(InputFormat::Json);
    let message = message(FULL.as_bytes());
    let Record::Reject(empty) = &decode_all(&config, &Message { payload: None, ..message })[0] else {
        panic!("accepted")
    };
    assert_eq!((empty.reason, empty.payload.as_deref(), empty.last), (RejectReason::Empty, None, true));

    config.input.max_bytes = FULL.len();
    assert!(matches!(decode(&config, FULL), Record::Event(_)));
    config.input.max_bytes -= 1;
    let Record::Reject(oversized) = decode(&config, FULL) else { panic!("accepted") };
    assert_eq!(oversized.reason, RejectReason::Oversized);
    assert_eq!(oversized.payload.as_deref(), Some(FULL.as_bytes()));
    assert!(oversized.detail.contains("input.max_bytes"), "{}", oversized.detail);
}

#[test]
fn carried_fields_are_numbers_where_the_config_uses_them_as_such() {
    let mut config = config(InputFormat::Json);
    config.output.carry = ["flight", "carrier", "distance", "hour", "arr_delay", "at"].map(path).into();
    use CarryType::{Number, Text};
    assert_eq!(carry_types(&config), [Text, Text, Number, Number, Number, Text]);
}

// Arrow

fn stream(batches: &[RecordBatch]) -> Vec<u8> {
    let mut writer = StreamWriter::try_new(Vec::new(), &batches[0].schema()).unwrap();
    for batch in batches {
        writer.write(batch).unwrap();
    }
    writer.into_inner().unwrap()
}

fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, array)| (name, array, true)))
        .unwrap()
}

/// Three rows: sound; with a text that is null and a struct that is null; with a NaN.
fn flights() -> RecordBatch {
    let weather = StructArray::new(
        Fields::from(vec![
            Field::new("wind", DataType::Float32, true),
            Field::new("station", DataType::LargeUtf8, true),
        ]),
        vec![
            Arc::new(Float32Array::from(vec![Some(16.0), Some(1.0), None])),
            Arc::new(LargeStringArray::from(vec!["EWR", "JFK", "LGA"])),
        ],
        Some(vec![true, false, true].into()),
    );
    let carrier: DictionaryArray<Int8Type> = [Some("UA"), None, Some("UA")].into_iter().collect();
    batch(vec![
        ("at", Arc::new(TimestampMillisecondArray::from(vec![AT_US / 1000; 3]))),
        ("arrived_at", Arc::new(TimestampNanosecondArray::from(vec![AT_US * 1000 + 1999; 3]))),
        ("carrier", Arc::new(carrier)),
        ("flight", Arc::new(StringViewArray::from(vec!["UA1545", "a flight of more than 12 bytes", "B6"]))),
        ("distance", Arc::new(UInt16Array::from(vec![1400, 0, 7]))),
        ("hour", Arc::new(BooleanArray::from(vec![true, false, true]))),
        ("dep_delay", Arc::new(Float64Array::from(vec![2.5, -1.0, f64::NAN]))),
        ("weather", Arc::new(weather)),
        ("arr_delay", Arc::new(Int32Array::from(vec![Some(11), None, Some(3)]))),
    ])
}

fn decode_arrow(payload: &[u8]) -> Vec<Record> {
    decode_all(&config(InputFormat::Arrow), &message(payload))
}

#[test]
fn rows_of_an_arrow_stream_become_events() {
    let records = decode_arrow(&stream(&[flights(), flights().slice(0, 2)]));
    assert_eq!(records.len(), 5);
    let first = event(records[0].clone());
    assert_eq!((first.offset, first.row, first.last, first.time_us), (42, 0, false, AT_US));
    let text = |text: &str| Cell::Text(text.into());
    assert_eq!(
        *first.features,
        [
            text("UA"),
            Cell::Number(2.5),
            Cell::Number(1401_f64.ln()),
            Cell::Number(1.0),
            Cell::Number(4.0),
            Cell::Null
        ]
    );
    assert_eq!(*first.carry, [text("UA1545"), text("UA"), Cell::Number(1400.0), text("EWR")]);
    assert!(first.thresholds[0].is_nan());
    assert_eq!(first.target.unwrap(), Target { values: [11.0].into(), known: Known::At(AT_US + 1) });

    let second = event(records[1].clone());
    assert_eq!((second.row, second.target), (1, None));
    assert_eq!((&second.features[0], &second.features[4]), (&Cell::Null, &Cell::Null));
    assert_eq!(second.carry[3], Cell::Null, "a null struct has no fields");

    let lasts: Vec<_> = records
        .iter()
        .map(|record| match record {
            Record::Event(event) => (event.row, event.last),
            Record::Reject(reject) => (reject.row, reject.last),
        })
        .collect();
    assert_eq!(lasts, [(0, false), (1, false), (2, false), (3, false), (4, true)]);
}

#[test]
fn a_bad_row_is_rejected_alone_as_a_stream_of_its_own() {
    let records = decode_arrow(&stream(&[flights()]));
    let Record::Reject(reject) = &records[2] else { panic!("accepted") };
    assert_eq!((reject.reason, reject.detail.as_str()), (RejectReason::NonFinite, "dep_delay: NaN"));
    assert_eq!((reject.row, reject.last), (2, true));
    let payload = reject.payload.as_deref().unwrap();
    let alone: Vec<_> = StreamReader::try_new(payload, None).unwrap().map(Result::unwrap).collect();
    assert_eq!(alone.len(), 1);
    assert_eq!(alone[0].schema(), flights().schema());
    // Compared as printed: NaN differs from itself.
    assert_eq!(format!("{:?}", alone[0].columns()), format!("{:?}", flights().slice(2, 1).columns()));
    assert!(matches!(&decode_arrow(payload)[..], [Record::Reject(again)] if again.detail == reject.detail));
}

#[test]
fn a_bad_row_takes_no_other_row_s_texts_along() {
    let texts: Vec<_> = (0..1000).map(|index| format!("{index:0>100}")).collect();
    let dictionary: DictionaryArray<::arrow::datatypes::Int32Type> =
        texts.iter().map(|text| Some(text.as_str())).collect();
    let payload = stream(&[batch(vec![
        ("flight", Arc::new(StringViewArray::from_iter_values(&texts))),
        ("carrier", Arc::new(dictionary)),
        ("weather", Arc::new(StringArray::from_iter_values(&texts))),
    ])]);
    for record in decode_arrow(&payload) {
        let Record::Reject(reject) = record else { panic!("accepted") };
        assert_eq!(reject.reason, RejectReason::BadTime);
        assert!(reject.payload.unwrap().len() < 4096);
    }
}

#[test]
fn arrow_values_follow_the_same_rules_as_json() {
    let decode = |columns: Vec<(&str, ArrayRef)>| {
        let mut all: Vec<(&str, ArrayRef)> = vec![("at", Arc::new(Date32Array::from(vec![15_706])))];
        all.extend(columns);
        decode_arrow(&stream(&[batch(all)])).pop().unwrap()
    };
    let fault = |column: (&'static str, ArrayRef)| match decode(vec![column]) {
        Record::Reject(reject) => (reject.reason, reject.detail),
        Record::Event(event) => panic!("accepted: {event:?}"),
    };
    let sound = event(decode(vec![("carrier", Arc::new(Int64Array::from(vec![7])))]));
    assert_eq!(sound.time_us, 1_356_998_400_000_000);
    assert_eq!(sound.features[0], Cell::Text("7".into()));
    assert_eq!(
        fault(("dep_delay", Arc::new(StringArray::from(vec!["x"])))),
        (RejectReason::WrongType, "dep_delay: expected a number, found a text \"x\"".into())
    );
    assert_eq!(
        fault(("carrier", Arc::new(Float64Array::from(vec![f64::INFINITY])))).0,
        RejectReason::NonFinite
    );
    assert_eq!(fault(("fare", Arc::new(Int64Array::from(vec![0])))).0, RejectReason::OutOfDomain);
    assert_eq!(
        fault(("weather", Arc::new(Int64Array::from(vec![0])))),
        (RejectReason::WrongType, "weather.wind: expected a number, found no struct around it".into())
    );
    assert_eq!(
        fault(("dep_delay", Arc::new(Date32Array::from(vec![0])))),
        (
            RejectReason::WrongType,
            "dep_delay: expected a number, found a time 1970-01-01T00:00:00.000000Z".into()
        )
    );
    assert_eq!(
        fault(("at", Arc::new(TimestampMillisecondArray::from(vec![i64::MAX])))).0,
        RejectReason::BadTime
    );
}

#[test]
fn a_stream_without_rows_is_one_empty_reject() {
    for batches in [vec![flights().slice(0, 0)], vec![flights().slice(0, 0); 2]] {
        let records = decode_arrow(&stream(&batches));
        let [Record::Reject(reject)] = &records[..] else { panic!("{records:?}") };
        assert_eq!((reject.reason, reject.row, reject.last), (RejectReason::Empty, 0, true));
    }
}

#[test]
fn a_broken_stream_is_rejected_whole() {
    let sound = stream(&[flights(), flights()]);
    let trailing = [&sound[..], b"x"].concat();
    for payload in [&sound[..sound.len() - 40], &trailing, b"", b"{}", &sound[..7], FULL.as_bytes()] {
        let records = decode_arrow(payload);
        let [Record::Reject(reject)] = &records[..] else { panic!("{records:?}") };
        // Nothing at all is a stream without batches.
        let reason = if payload.is_empty() { RejectReason::Empty } else { RejectReason::Undecodable };
        assert_eq!(reject.reason, reason);
        assert_eq!(reject.payload.as_deref(), Some(payload));
        assert!(reject.last);
    }
}

#[test]
fn a_batch_can_t_claim_more_rows_than_its_bytes_hold() {
    let options = ::arrow::array::RecordBatchOptions::new().with_row_count(Some(1 << 40));
    let empty = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), vec![], &options).unwrap();
    let [Record::Reject(reject)] = &decode_arrow(&stream(&[empty]))[..] else { panic!("accepted") };
    assert_eq!(reject.reason, RejectReason::Undecodable);
}

#[test]
fn an_assertion_in_the_arrow_reader_rejects_the_record_alone() {
    let sound = stream(&[flights()]);
    let mut num_caught = 0;
    for index in (0..sound.len() - 8).step_by(8) {
        // An offset or a length far past the end, wherever the stream has one.
        let mut payload = sound.clone();
        payload[index..index + 8].copy_from_slice(&(1_i64 << 40).to_le_bytes());
        let records = decode_arrow(&payload);
        assert_complete(&records);
        let is_caught =
            |record: &Record| matches!(record, Record::Reject(reject) if reject.detail.contains("malformed"));
        num_caught += records.iter().filter(|record| is_caught(record)).count();
    }
    assert!(num_caught > 0, "the reader no longer panics: it needn't be caught any more");
}

/// Exactly one record has `last`, at the end.
fn assert_complete(records: &[Record]) {
    let last = |record: &Record| match record {
        Record::Event(event) => event.last,
        Record::Reject(reject) => reject.last,
    };
    assert!(!records.is_empty());
    assert!(records.iter().enumerate().all(|(index, record)| last(record) == (index + 1 == records.len())));
}

fn mutate(payload: &mut [u8], changes: &[(usize, u8)]) {
    for &(index, byte) in changes {
        let index = index % payload.len();
        payload[index] = byte;
    }
}

/// Any JSON value: of numbers, whole ones and doubles.
fn any_json() -> impl Strategy<Value = String> {
    let scalar = prop_oneof![
        Just("null".to_owned()),
        any::<bool>().prop_map(|value| value.to_string()),
        any::<i64>().prop_map(|value| value.to_string()),
        any::<u64>().prop_map(|value| value.to_string()),
        any::<f64>()
            .prop_filter("JSON has none", |value| value.is_finite())
            .prop_map(|value| format!("{value:?}")),
        "[a-z\"\\\\é\n]{0,30}".prop_map(|text| serde_json::Value::from(text).to_string()),
    ];
    scalar.prop_recursive(3, 24, 6, |inner| {
        let array =
            prop::collection::vec(inner.clone(), 0..3).prop_map(|array| format!("[{}]", array.join(",")));
        prop_oneof![1 => array, 4 => object(inner)]
    })
}

/// An object of such values: some of the keys are wanted, some are repeated, and one is written with an escape.
fn object(value: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    let key = prop::sample::select(&["a", "b", "c", "d", "", "x", "\\u0061", "a.b"][..]);
    let fields = prop::collection::vec((key, value), 0..6);
    fields.prop_map(|fields| {
        let fields: Vec<_> = fields.iter().map(|(key, value)| format!("\"{key}\": {value}")).collect();
        format!("{{{}}}", fields.join(", "))
    })
}

/// What the tree that serde_json makes of a record has at a path.
fn at_path(record: &serde_json::Value, path: &config::FieldPath) -> Value {
    use serde_json::Value as Json;
    let mut at = record;
    for name in &path.0 {
        at = match at {
            Json::Object(object) => object.get(name).unwrap_or(&Json::Null),
            Json::Null => &Json::Null,
            _ => return Value::Other("no object around it".into()),
        };
    }
    match at {
        Json::Null => Value::Null,
        Json::Bool(value) => Value::Bool(*value),
        Json::Number(number) => {
            let whole = number.as_u64().map(Value::UInt).or(number.as_i64().map(Value::Int));
            whole.unwrap_or_else(|| Value::Float(number.as_f64().unwrap()))
        }
        Json::String(text) => Value::Text(text.into()),
        Json::Array(_) => Value::Other("an array".into()),
        Json::Object(_) => Value::Other("an object".into()),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn what_is_read_is_what_a_tree_of_the_record_holds_whichever_records_came_before(
        records in prop::collection::vec(object(any_json()), 1..6),
    ) {
        let paths = ["a", "b", "c", "c.a", "c.b", "c.d.a", "d"].map(path);
        let plan = Plan::of_fields(&paths);
        let mut slots = vec![Value::Null; plan.num_slots()];
        for record in records {
            // serde_json's own tree has the last of repeated keys, as has this.
            let tree = serde_json::from_str(&record).unwrap();
            json::read(&plan, record.as_bytes(), &mut slots).unwrap();
            let expected = paths.each_ref().map(|path| at_path(&tree, path));
            prop_assert_eq!(format!("{:?}", slots), format!("{:?}", expected), "{}", record);
        }
    }

    #[test]
    fn random_bytes_are_decoded_to_something(payload: Vec<u8>) {
        for format in [InputFormat::Json, InputFormat::Arrow] {
            assert_complete(&decode_all(&config(format), &message(&payload)));
        }
    }

    #[test]
    fn a_damaged_json_record_is_decoded_to_something(
        changes in prop::collection::vec((any::<usize>(), any::<u8>()), 1..4),
    ) {
        let mut payload = FULL.as_bytes().to_vec();
        mutate(&mut payload, &changes);
        assert_complete(&decode_all(&config(InputFormat::Json), &message(&payload)));
    }

    #[test]
    fn a_damaged_arrow_stream_is_decoded_to_something(
        changes in prop::collection::vec((any::<usize>(), any::<u8>()), 1..4),
        cut in any::<prop::sample::Index>(),
        is_cut: bool,
    ) {
        let mut payload = stream(&[flights(), flights()]);
        mutate(&mut payload, &changes);
        if is_cut {
            payload.truncate(cut.index(payload.len()));
        }
        assert_complete(&decode_arrow(&payload));
    }

    #[test]
    fn any_double_comes_through_json_unchanged(bits: u64) {
        let value = f64::from_bits(bits);
        prop_assume!(value.is_finite());
        let payload = format!(r#"{{"at": 0, "dep_delay": {value:?}}}"#);
        prop_assert_eq!(&json_event(&payload).features[1], &Cell::Number(value));
    }
}

#[test]
fn a_target_that_is_not_positive_is_rejected_where_it_has_to_be() {
    let mut config = config(InputFormat::Json);
    config.target.support = config::Support::Positive;
    let fault = |config: &Config, delay: &str| match decode(config, with("arr_delay", delay)) {
        Record::Reject(reject) => reject,
        Record::Event(event) => panic!("accepted: {event:?}"),
    };
    for delay in ["0", "-0.5"] {
        let reject = fault(&config, delay);
        assert_eq!(reject.reason, RejectReason::OutOfDomain);
        assert!(
            reject.detail.contains("arr_delay") && reject.detail.contains("target.support"),
            "{reject:?}"
        );
    }
    assert!(event(decode(&config, with("arr_delay", "1e-9"))).target.is_some());
    assert!(event(decode(&config, with("arr_delay", "null"))).target.is_none());
    // What is rounded to 0 may be above it.
    config.target.step = Some(1.0);
    assert!(event(decode(&config, with("arr_delay", "0"))).target.is_some());
    assert_eq!(fault(&config, "-0.5").reason, RejectReason::OutOfDomain);
}
