#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use ::arrow::{
    array::{Array, AsArray, RecordBatch},
    datatypes::{
        Float32Type, Float64Type, Int32Type, Int64Type, TimestampMicrosecondType, UInt32Type, UInt64Type,
    },
    ipc::reader::StreamReader,
};
use proptest::prelude::*;

use super::{
    arrow::BatchBuilder,
    columns::Columns,
    json::JsonEncoder,
    row::{Provenance, Row, RowSchema},
    *,
};
use crate::{
    config::InputFormat,
    record::{CarryType, Cell},
};

const NUM_PARAMS: usize = 3;
const PROVENANCE: Provenance<'_> =
    Provenance { version: "0.1.0", group: "flight-delays", config: "c0ffee", model: "nfn" };
const CARRY_TYPES: [CarryType; 2] = [CarryType::Text, CarryType::Number];

fn columns() -> Columns {
    let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
    Columns {
        carry: names(&["flight", "distance"]),
        exceed: names(&["p_gt_15", "p_gt_60"]),
        quantiles: names(&["q50", "q99_9"]),
        shortfall: names(&["es99"]),
        limited: vec![],
        targets: names(&["target"]),
        pits: names(&["pit"]),
    }
}

fn score_schema(input: InputFormat) -> RowSchema<Scored> {
    RowSchema::scores(&columns(), &CARRY_TYPES, input, NUM_PARAMS, &PROVENANCE)
}

fn outcome_schema(input: InputFormat) -> RowSchema<Outcome> {
    RowSchema::outcomes(&columns(), &CARRY_TYPES, input, &PROVENANCE)
}

fn event(key: Option<&[u8]>, carry: [Cell; 2]) -> Event {
    Event {
        partition: 2,
        offset: 77,
        row: 5,
        last: true,
        timestamp_ms: Some(0),
        time_us: 1_357_035_420_000_001,
        key: key.map(Into::into),
        features: [].into(),
        carry: carry.into(),
        thresholds: [].into(),
        segment: None,
        target: None,
    }
}

fn score(status: Status) -> Score {
    let is_warm = status != Status::Warmup;
    Score {
        held_back: Default::default(),
        epoch: 1,
        updates: 9_000_000_000,
        status,
        figures: if is_warm { [0.25, 0.0625, 1.5, f64::INFINITY, f64::NAN] } else { [f64::NAN; 5] }.into(),
        params: if is_warm { vec![0.5, -1.25, 3.0] } else { vec![] }.into(),
        realized: match is_warm {
            true => Realized {
                targets: smallvec![11.0],
                log_score: -4.5,
                pits: smallvec![0.75],
                log_scores_of_parts: None,
            },
            false => Realized::unknown(1),
        },
    }
}

fn scored() -> Scored {
    let carry = [Cell::Text("UA1545".into()), Cell::Number(1400.0)];
    Scored { event: Arc::new(event(Some(b"UA1545"), carry)), score: Arc::new(score(Status::Ok)) }
}

/// Of a row in warm-up, without a key, whose carried values have other types than their columns.
fn unscored() -> Scored {
    let carry = [Cell::Number(1545.0), Cell::Text("far".into())];
    Scored { event: Arc::new(event(None, carry)), score: Arc::new(score(Status::Warmup)) }
}

fn outcome(of: Scored) -> Outcome {
    let realized = Realized {
        targets: smallvec![-3.0],
        log_score: -5.0,
        pits: smallvec![f64::NAN],
        log_scores_of_parts: None,
    };
    let score = Score { held_back: realized.into(), ..Score::clone(&of.score) };
    Outcome { event: of.event, score: Arc::new(score), target_time_us: 1_357_050_540_000_000 }
}

fn encode<R: Row>(schema: &RowSchema<R>, rows: &[R]) -> Vec<u8> {
    let mut builder = BatchBuilder::new(schema).unwrap();
    rows.iter().for_each(|row| builder.push(row));
    builder.finish().unwrap()
}

fn read(payload: &[u8]) -> RecordBatch {
    let mut reader = StreamReader::try_new(payload, None).unwrap();
    let batch = reader.next().unwrap().unwrap();
    assert!(reader.next().is_none(), "one batch a stream");
    batch
}

fn floats(batch: &RecordBatch, name: &str) -> Vec<Option<f64>> {
    batch.column_by_name(name).unwrap().as_primitive::<Float64Type>().iter().collect()
}

#[test]
fn a_score_batch_has_the_promised_columns_and_metadata() {
    let described = |schema: &RowSchema<Scored>| -> Vec<String> {
        let fields = schema.arrow().fields().iter();
        fields
            .map(|field| {
                let nullable = if field.is_nullable() { "?" } else { "" };
                format!("{} {}{nullable}", field.name(), field.data_type())
            })
            .collect()
    };
    let schema = score_schema(InputFormat::Json);
    let names = described(&schema);
    assert_eq!(
        names,
        [
            "key Binary?",
            "partition Int32",
            "offset Int64",
            "time Timestamp(µs, \"UTC\")",
            "flight Utf8?",
            "distance Float64?",
            "epoch UInt32",
            "updates UInt64",
            "status Utf8",
            "p_gt_15 Float64?",
            "p_gt_60 Float64?",
            "q50 Float64?",
            "q99_9 Float64?",
            "es99 Float64?",
            "target Float64?",
            "log_score Float64?",
            "pit Float64?",
            "params FixedSizeList(3 x non-null Float32)?",
        ]
    );
    let with_row = described(&score_schema(InputFormat::Arrow));
    assert_eq!(with_row[3], "row Int32");
    assert_eq!([&with_row[..3], &with_row[4..]].concat(), names);

    let batch = read(&encode(&schema, &[scored()]));
    assert_eq!(batch.schema(), *schema.arrow());
    let metadata = batch.schema().metadata().clone();
    assert_eq!(metadata.len(), 4);
    assert_eq!(metadata["tailwater.version"], "0.1.0");
    assert_eq!(metadata["tailwater.group"], "flight-delays");
    assert_eq!(metadata["tailwater.config"], "c0ffee");
    assert_eq!(metadata["tailwater.model"], "nfn");
}

#[test]
fn a_score_batch_reads_back_as_it_was_pushed() {
    let batch = read(&encode(&score_schema(InputFormat::Arrow), &[scored(), unscored()]));
    assert_eq!(batch.num_rows(), 2);
    let column = |name: &str| batch.column_by_name(name).unwrap();
    assert_eq!(column("key").as_binary::<i32>().iter().collect::<Vec<_>>(), [Some(&b"UA1545"[..]), None]);
    assert_eq!(column("partition").as_primitive::<Int32Type>().values(), &[2, 2]);
    assert_eq!(column("offset").as_primitive::<Int64Type>().values(), &[77, 77]);
    assert_eq!(column("row").as_primitive::<Int32Type>().values(), &[5, 5]);
    let times = column("time").as_primitive::<TimestampMicrosecondType>();
    assert_eq!(times.values(), &[1_357_035_420_000_001; 2]);
    let flights: Vec<_> = column("flight").as_string::<i32>().iter().collect();
    assert_eq!(flights, [Some("UA1545"), Some("1545")]);
    assert_eq!(floats(&batch, "distance"), [Some(1400.0), None]);
    assert_eq!(column("epoch").as_primitive::<UInt32Type>().values(), &[1, 1]);
    assert_eq!(column("updates").as_primitive::<UInt64Type>().values(), &[9_000_000_000; 2]);
    let statuses: Vec<_> = column("status").as_string::<i32>().iter().collect();
    assert_eq!(statuses, [Some("ok"), Some("warmup")]);
    for (name, value) in [
        ("p_gt_15", Some(0.25)),
        ("p_gt_60", Some(0.0625)),
        ("q50", Some(1.5)),
        ("q99_9", Some(f64::INFINITY)),
        ("es99", None),
        ("target", Some(11.0)),
        ("log_score", Some(-4.5)),
        ("pit", Some(0.75)),
    ] {
        assert_eq!(floats(&batch, name), [value, None], "{name}");
    }
    let params = column("params").as_fixed_size_list();
    assert_eq!(params.value(0).as_primitive::<Float32Type>().values(), &[0.5, -1.25, 3.0]);
    assert!(params.is_valid(0) && params.is_null(1));
}

#[test]
fn an_outcome_batch_reads_back_as_it_was_pushed() {
    let batch = read(&encode(&outcome_schema(InputFormat::Json), &[outcome(scored()), outcome(unscored())]));
    let schema = batch.schema();
    let names: Vec<_> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    assert_eq!(names[..3], ["key", "partition", "offset"]);
    assert_eq!(
        names[3..],
        ["time", "flight", "distance", "epoch", "updates", "target", "target_time", "log_score", "pit"]
    );
    assert_eq!(floats(&batch, "target"), [Some(-3.0); 2]);
    assert_eq!(floats(&batch, "log_score"), [Some(-5.0); 2]);
    assert_eq!(floats(&batch, "pit"), [None; 2]);
    let times = batch.column_by_name("target_time").unwrap().as_primitive::<TimestampMicrosecondType>();
    assert_eq!(times.values(), &[1_357_050_540_000_000; 2]);
}

#[test]
fn a_finished_builder_starts_anew_with_the_same_bytes() {
    let schema = score_schema(InputFormat::Json);
    let mut builder = BatchBuilder::new(&schema).unwrap();
    let empty = builder.num_bytes();
    builder.push(&scored());
    builder.push(&unscored());
    assert_eq!(builder.num_rows(), 2);
    let first = builder.finish().unwrap();
    assert_eq!((builder.num_rows(), builder.num_bytes()), (0, empty));
    builder.push(&scored());
    builder.push(&unscored());
    assert_eq!(builder.finish().unwrap(), first);
    assert_eq!(encode(&score_schema(InputFormat::Json), &[scored(), unscored()]), first);
}

#[test]
fn a_json_score_has_the_columns_names_in_the_same_order() {
    let encoder = JsonEncoder::new(&score_schema(InputFormat::Arrow));
    assert_eq!(
        String::from_utf8(encoder.encode(&scored())).unwrap(),
        concat!(
            r#"{"key":"UA1545","partition":2,"offset":77,"row":5,"time":"2013-01-01T10:17:00.000001Z","#,
            r#""flight":"UA1545","distance":1400.0,"epoch":1,"updates":9000000000,"status":"ok","#,
            r#""p_gt_15":0.25,"p_gt_60":0.0625,"q50":1.5,"q99_9":null,"es99":null,"#,
            r#""target":11.0,"log_score":-4.5,"pit":0.75,"params":[0.5,-1.25,3.0]}"#,
        )
    );
    let encoder = JsonEncoder::new(&score_schema(InputFormat::Json));
    assert_eq!(
        String::from_utf8(encoder.encode(&unscored())).unwrap(),
        concat!(
            r#"{"key":null,"partition":2,"offset":77,"time":"2013-01-01T10:17:00.000001Z","#,
            r#""flight":"1545","distance":null,"epoch":1,"updates":9000000000,"status":"warmup","#,
            r#""p_gt_15":null,"p_gt_60":null,"q50":null,"q99_9":null,"es99":null,"#,
            r#""target":null,"log_score":null,"pit":null,"params":null}"#,
        )
    );
}

#[test]
fn a_json_outcome_tells_when_the_target_came() {
    let json = JsonEncoder::new(&outcome_schema(InputFormat::Json)).encode(&outcome(scored()));
    let json = String::from_utf8(json).unwrap();
    let end = r#""target":-3.0,"target_time":"2013-01-01T14:29:00.000000Z","log_score":-5.0,"pit":null}"#;
    assert!(json.ends_with(end), "{json}");
}

#[test]
fn a_json_key_that_is_no_text_stands_in_hexadecimal() {
    let carry = [Cell::Null, Cell::Null];
    let row = Scored { event: Arc::new(event(Some(&[0xff, 0x0a]), carry)), ..scored() };
    let json = JsonEncoder::new(&score_schema(InputFormat::Json)).encode(&row);
    let object: serde_json::Value = serde_json::from_slice(&json).unwrap();
    assert_eq!(object["key_hex"], "ff0a");
    assert!(object.get("key").is_none());
    assert_eq!(object["partition"], 2);
}

#[test]
#[should_panic(expected = "as many parameters")]
fn a_score_of_another_model_is_refused() {
    let score = Score { params: [1.0].into(), ..score(Status::Ok) };
    encode(&score_schema(InputFormat::Json), &[Scored { score: Arc::new(score), ..scored() }]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_batch_is_never_larger_than_its_builder_says_and_not_much_smaller(
        keys in prop::collection::vec((prop::option::of(any::<[u8; 9]>()), ".{0,40}", any::<bool>()), 0..300),
    ) {
        let mut builder = BatchBuilder::new(&score_schema(InputFormat::Arrow)).unwrap();
        let num_rows = keys.len();
        for (key, text, is_warm) in keys {
            let carry = [Cell::Text(text.into()), Cell::Null];
            let status = if is_warm { Status::Ok } else { Status::Warmup };
            let event = Arc::new(event(key.as_ref().map(|key| &key[..]), carry));
            builder.push(&Scored { event, score: Arc::new(score(status)) });
        }
        let bound = builder.num_bytes();
        let payload = builder.finish().unwrap();
        prop_assert!(payload.len() <= bound, "{} > {bound}", payload.len());
        prop_assert!(bound - payload.len() <= 600 + payload.len() / 6, "{} << {bound}", payload.len());
        prop_assert_eq!(read(&payload).num_rows(), num_rows);
    }
}

fn set_figure(score: &mut Score, nth: usize, value: f64) {
    let mut figures = score.figures.to_vec();
    figures[nth] = value;
    score.figures = figures.into();
}

#[test]
fn a_row_that_is_another_one_by_a_bit_is_told_by_its_column_in_either_format() {
    let schema = score_schema(InputFormat::Arrow);
    let encoded = [
        (
            arrow::CONTENT_TYPE,
            &(|row: &Scored| encode(&schema, std::slice::from_ref(row))) as &dyn Fn(&Scored) -> Vec<u8>,
        ),
        (json::CONTENT_TYPE, &|row: &Scored| JsonEncoder::new(&schema).encode(row)),
    ];
    let ulp = |value: f64| f64::from_bits(value.to_bits() + 1);
    type Change<'a> = (&'a [&'a str], &'a dyn Fn(&mut Event, &mut Score));
    let changes: [Change<'_>; 9] = [
        (&[], &|_, _| {}),
        (&["p_gt_60"], &|_, score| set_figure(score, 1, ulp(score.figures[1]))),
        (&["q50", "log_score"], &|_, score| {
            set_figure(score, 2, f64::NAN);
            score.realized.log_score = ulp(score.realized.log_score);
        }),
        (&["p_gt_15"], &|_, score| set_figure(score, 0, -0.0)),
        (&["params[1]"], &|_, score| score.params[1] = f32::from_bits(score.params[1].to_bits() + 1)),
        (&["params"], &|_, score| score.params = [].into()),
        (&["epoch", "updates", "status"], &|_, score| {
            (score.epoch, score.updates, score.status) = (2, 8, Status::Stale);
        }),
        (&["time", "distance"], &|event, _| {
            event.time_us += 1;
            event.carry[1] = Cell::Null;
        }),
        (&["key"], &|event, _| event.key = None),
    ];
    for (content_type, encode) in encoded {
        for (columns, change) in changes {
            let Scored { mut event, mut score } = scored();
            let recomputed = Scored { event: event.clone(), score: score.clone() };
            change(Arc::make_mut(&mut event), Arc::make_mut(&mut score));
            let published = whole::rows(content_type.as_bytes(), &encode(&Scored { event, score })).unwrap();
            let [published] = <[_; 1]>::try_from(published).unwrap();
            let own = whole::WholeRow::of(&recomputed, &schema, &published).unwrap();
            let mut found: Vec<_> = published.differing(&own).into_iter().map(|d| d.column).collect();
            found.sort_unstable();
            let mut expected = columns.to_vec();
            expected.sort_unstable();
            assert_eq!(found, expected, "{content_type}");
            assert_eq!(published.epoch(), Some(if columns.contains(&"epoch") { 2 } else { 1 }));
        }
    }
}

#[test]
fn what_differs_is_shown_with_all_of_its_digits_and_a_column_that_is_missing_is_told() {
    let schema = score_schema(InputFormat::Arrow);
    let mut row = scored();
    set_figure(Arc::make_mut(&mut row.score), 1, f64::from_bits(0.0625f64.to_bits() + 1));
    let published =
        whole::rows(b"", &JsonEncoder::new(&score_schema(InputFormat::Json)).encode(&row)).unwrap();
    let own = whole::WholeRow::of(&scored(), &schema, &published[0]).unwrap();
    let told: Vec<_> = published[0]
        .differing(&own)
        .into_iter()
        .map(|d| (d.column, d.published.unwrap_or_default(), d.recomputed.unwrap_or_default()))
        .collect();
    let told: Vec<_> = told.iter().map(|(a, b, c)| [a.as_str(), b, c]).collect();
    assert_eq!(told, [["p_gt_60", "0.06250000000000001", "0.0625"], ["row", "", "5"]]);
}
