#![allow(clippy::unwrap_used)]

use std::{io::Write as _, path::Path, sync::Arc};

use arrow::{
    array::{ArrayRef, Int64Array, RecordBatch},
    ipc::writer::StreamWriter,
};
use proptest::prelude::*;

use super::*;
use crate::replay::source::{OwnedMessage, Piece, file::FileSource};

/// The draft of a file of this name with this text.
fn of_file(name: &str, text: &str, wishes: &Wishes) -> Result<Draft, Error> {
    let mut file = tempfile::Builder::new().suffix(name).tempfile().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    of(file.path(), name, wishes)
}

fn sample(path: &Path) -> Sample {
    let mut source = FileSource::open(path, 1 << 20).unwrap();
    let mut sample = Sample::default();
    while let Some(piece) = source.read().unwrap() {
        sample.add(&piece).unwrap();
    }
    sample
}

fn of(path: &Path, name: &str, wishes: &Wishes) -> Result<Draft, Error> {
    draft(&sample(path), Origin::File { name: name.to_owned() }, wishes, &[])
}

fn wishes(target: &str) -> Wishes {
    Wishes { target: FieldPath::parse(target), time: None }
}

fn config(draft: &Draft) -> Config {
    load(&draft.text, &[]).unwrap()
}

/// Lines of a CSV whose fields are made of the row's number.
fn csv(header: &str, rows: u32, row: impl Fn(u32) -> String) -> String {
    (0..rows).map(row).fold(format!("{header}\n"), |text, row| text + &row + "\n")
}

#[test]
fn the_flights_get_the_config_that_stands_beside_the_tests() {
    let name = "data/flights-2013.csv.zst";
    let draft = of(Path::new(name), name, &Wishes::default()).unwrap();
    let expected = std::fs::read_to_string("tests/golden/init-flights.toml").unwrap_or_default();
    let regenerate = format!("tailwater init --input {name} --out tests/golden/init-flights.toml --force");
    assert!(draft.text == expected, "not as it was; if this is right, {regenerate}:\n{}", draft.text);
}

#[test]
fn the_flights_guesses_are_those_of_who_knows_them() {
    let name = "data/flights-2013.csv.zst";
    let draft = of(Path::new(name), name, &Wishes::default()).unwrap();
    let guessed = config(&draft);
    let known = Config::load(Path::new("examples/flights.toml"), &[], std::iter::empty()).unwrap();
    assert_eq!(guessed.target, known.target);
    assert_eq!(guessed.input.time, known.input.time);
    assert_eq!(guessed.output.carry, [FieldPath::parse("flight").unwrap()]);
    for feature in known
        .features
        .iter()
        .filter(|feature| !["distance", "precip", "dest"].contains(&feature.name.as_str()))
    {
        let guess = guessed.features.iter().find(|guess| guess.name == feature.name).unwrap();
        assert_eq!(guess.kind, feature.kind, "{}", feature.name);
    }
    assert_eq!(guessed.features.len(), known.features.len());
    assert_eq!(draft.checked.scored, draft.checked.rows);
}

#[test]
fn a_small_file_without_a_time_gets_a_short_warm_up_and_its_row_numbers_are_no_feature() {
    let text = csv("rownames,region,age,claim", 400, |n| {
        let claim = 20_000.0 / f64::from(n * 7919 % 400 + 1) - 40.0;
        format!("{},{},{},{claim:.3}", n + 1, ["N", "S", "E"][n as usize % 3], 18 + n * 31 % 60)
    });
    let draft = of_file("Fire claims.csv", &text, &Wishes::default()).unwrap();
    let config = config(&draft);
    assert_eq!(config.target.fields[0].to_string(), "claim");
    assert_eq!(config.target.support, crate::config::Support::Positive);
    let names: Vec<&str> = config.features.iter().map(|feature| feature.name.as_str()).collect();
    assert_eq!(names, ["region", "age"]);
    assert_eq!(config.output.carry[0].to_string(), "rownames");
    assert!(config.learn.warmup <= 100, "{}", config.learn.warmup);
    assert_eq!(config.input.topic, "Fire-claims");
    assert!(config.input.time.is_none() && draft.text.contains("no field is a time"), "{}", draft.text);
}

#[test]
fn nested_json_is_named_by_dotted_paths_and_what_comes_later_is_the_targets_time() {
    let text: String = (0..300)
        .map(|n| {
            let [at, paid] = [n, n + 3].map(|day| format!("2024-{:02}-{:02}T00:00:00Z", 1 + day / 28 % 12, 1 + day % 28));
            format!(
                "{{\"event\": {{\"created_at\": {at:?}, \"paid_at\": {paid:?}}}, \"cost\": {{\"total\": {}.5}}, \"wind\": {{\"dir\": {}}}}}\n",
                n * 37 % 101,
                n * 13 % 360
            )
        })
        .collect();
    let draft = of_file("x.ndjson", &text, &wishes("cost.total")).unwrap();
    let config = config(&draft);
    assert_eq!(config.target.fields[0].0, ["cost", "total"]);
    assert_eq!(config.input.time.unwrap().path.0, ["event", "created_at"]);
    assert_eq!(config.target.time.unwrap().path.0, ["event", "paid_at"]);
    assert_eq!(config.features[0].path.0, ["wind", "dir"]);
    assert_eq!((draft.checked.scored, draft.checked.labelled, draft.checked.expired), (300, 300, 0));
}

/// Claims that are paid so many days after they were made.
fn claims(days: impl Fn(u32) -> u32) -> Draft {
    let text = csv("created_at,paid_at,x,cost", 400, |n| {
        let created_s = 1_700_000_000 + n * 3_600;
        format!("{created_s},{},{},{}", created_s + days(n) * 86_400, n * 31 % 97, n * 37 % 101)
    });
    of_file("claims.csv", &text, &wishes("cost")).unwrap()
}

#[test]
fn events_wait_for_as_long_as_targets_take() {
    const DAY_S: u64 = 86_400;
    let wait_s = |draft: &Draft| config(draft).target.wait.as_secs();
    let draft = claims(|n| 1 + n % 30);
    assert_eq!((wait_s(&draft), draft.checked.expired), (30 * DAY_S, 0));
    assert!(draft.text.contains("99.9 % are known within 30.0 days"), "{}", draft.text);
    let draft = claims(|_| 1);
    assert_eq!((wait_s(&draft), draft.checked.expired), (DAY_S, 0));
    assert!(draft.text.contains("wait    = \"24h\""), "{}", draft.text);
    // What a shorter wait loses is told.
    let mut late = claims(|n| 1 + n % 3);
    let two_days = late.text.replace("wait    = \"3d\"", "wait    = \"2d\"");
    let mut file = tempfile::Builder::new().suffix(".csv").tempfile().unwrap();
    let text = csv("created_at,paid_at,x,cost", 3, |n| {
        format!("{0},{1},1,2", 1_700_000_000, 1_700_000_000 + (n + 1) * 86_400)
    });
    file.write_all(text.as_bytes()).unwrap();
    late.checked = draft::check(&load(&two_days, &[]).unwrap(), &sample(file.path()));
    assert_eq!((late.checked.labelled, late.checked.expired), (3, 1));
    assert!(
        tell(&late, 1_000).contains("1 of which are known later than target.wait"),
        "{}",
        tell(&late, 1_000)
    );
}

#[test]
fn a_chosen_times_unit_is_told_by_its_size() {
    let draft_of = |scale: u64| {
        let text = csv("x,when_it_was,y", 300, |n| {
            format!("{},{},{}", n * 31 % 97, (1_700_000_000 + u64::from(n)) * scale, n * 37 % 101)
        });
        of_file(
            "x.csv",
            &text,
            &Wishes { target: FieldPath::parse("y"), time: FieldPath::parse("when_it_was") },
        )
    };
    for (scale, unit) in [
        (1, TimeUnit::Auto),
        (1_000, TimeUnit::Millis),
        (1_000_000, TimeUnit::Micros),
        (1_000_000_000, TimeUnit::Nanos),
    ] {
        let draft = draft_of(scale).unwrap();
        assert_eq!(config(&draft).input.time.unwrap().unit, unit);
        assert!(draft.text.contains("since 1970, 2023-11-14 to 2023-11-14"), "{}", draft.text);
        assert_eq!(draft.checked.scored, 300);
    }
    let error = draft_of(30).unwrap_err().to_string();
    assert!(error.contains("not within 1985 to 2100 in any unit"), "{error}");
}

#[test]
fn the_earliest_of_several_times_is_so_in_whatever_units() {
    // The later one in seconds, whose numbers are less.
    let text = csv("created_at,paid_at,y", 300, |n| {
        let created_s = 1_700_000_000 + u64::from(n) * 60;
        format!("{},{},{}", created_s * 1_000, created_s + 3_600, n * 37 % 101)
    });
    let config = config(&of_file("x.csv", &text, &wishes("y")).unwrap());
    assert_eq!(config.input.time.unwrap().path.to_string(), "created_at");
    assert_eq!(config.target.time.unwrap().path.to_string(), "paid_at");
}

#[test]
fn dates_that_are_written_as_numbers_are_no_target() {
    let text =
        csv("x,cost,date", 300, |n| format!("{},{},{}", n * 31 % 97, n * 37 % 101, 20_130_101 + n % 28));
    let draft = of_file("x.csv", &text, &Wishes::default()).unwrap();
    assert_eq!(config(&draft).target.fields[0].to_string(), "cost");
    assert!(draft.other_targets.iter().all(|path| path.to_string() != "date"), "{:?}", draft.other_targets);
}

#[test]
fn what_gives_the_target_away_is_left_out() {
    let text = csv("x,euros,log_cents,cents", 300, |n| {
        let euros = f64::from(n * 7919 % 300 + 1);
        format!("{},{euros},{},{}", n * 31 % 97, (100.0 * euros).ln(), 100.0 * euros)
    });
    let draft = of_file("x.csv", &text, &wishes("cents")).unwrap();
    let names: Vec<String> = config(&draft).features.into_iter().map(|feature| feature.name).collect();
    assert_eq!(names, ["x"]);
    assert!(draft.text.contains("# euros = \"number\""), "{}", draft.text);
    assert!(draft.text.contains("would give it away"), "{}", draft.text);
}

#[test]
fn names_that_the_scores_have_too_are_not_carried() {
    let text = csv("Offset,key,q50,p_gt_90,id,x,y", 200, |n| {
        format!("a{n},b{n},c{n},d{n},e{n},{},{}", n * 31 % 97, n * 7919 % 101)
    });
    let draft = of_file("x.csv", &text, &wishes("y")).unwrap();
    assert_eq!(config(&draft).output.carry, [FieldPath::parse("id").unwrap()], "{}", draft.text);
}

#[test]
fn dots_in_a_columns_own_name_are_no_hindrance_but_an_empty_name_is() {
    let text = csv(",Solar.R,Solar..Max,Ozone", 200, |n| {
        format!("{},{},{n},{}", n * n, n * 31 % 97, n * 7919 % 101)
    });
    let draft = of_file("air.csv", &text, &wishes("Ozone")).unwrap();
    let names: Vec<String> = config(&draft).features.into_iter().map(|feature| feature.name).collect();
    assert_eq!(names, ["Solar.R"]);
    assert_eq!(draft.text.matches("can't be written in a config").count(), 2, "{}", draft.text);
}

#[test]
fn a_target_alone_gets_a_config_too() {
    let text = csv("loss", 500, |n| format!("{}", f64::from(n * 7919 % 500 + 1).recip()));
    let draft = of_file("danish.csv", &text, &Wishes::default()).unwrap();
    assert_eq!(config(&draft).features[0].name, "nothing1");
    assert_eq!(draft.checked.labelled, 500);
}

#[test]
fn every_error_says_what_to_do() {
    let text = csv("amount,name", 50, |n| format!("{}.5,n{n}", n * n));
    let said = |text: &str, wishes: &Wishes| of_file("x.csv", text, wishes).unwrap_err().to_string();
    let unknown = said(&text, &wishes("amuont"));
    assert!(unknown.contains("did you mean \"amount\"?"), "{unknown}");
    let unknown = said(&text, &wishes("z"));
    assert!(unknown.contains("there are: \"amount\", \"name\""), "{unknown}");
    let text_target = said(&text, &wishes("name"));
    assert!(
        text_target.contains("is no number") && text_target.contains("numbers are: \"amount\""),
        "{text_target}"
    );
    let no_time = said(&text, &Wishes { time: FieldPath::parse("name"), ..Wishes::default() });
    assert!(no_time.contains("is no time") && no_time.contains("RFC 3339"), "{no_time}");
    let nothing = said(&csv("name", 50, |n| format!("n{n}")), &Wishes::default());
    assert!(nothing.contains("nothing to predict: name:"), "{nothing}");
    assert!(matches!(of_file("x.csv", "a,b\n", &Wishes::default()), Err(Error::Empty)));
    assert!(matches!(of_file("x.ndjson", "", &Wishes::default()), Err(Error::Empty)));
    let no_json = of_file("x.ndjson", "one\ntwo\n", &Wishes::default()).unwrap_err().to_string();
    assert!(no_json.contains("as a JSON object") && no_json.contains("each line"), "{no_json}");
    assert!(matches!(of_file("x.ndjson", "{}\n{}\n", &Wishes::default()), Err(Error::NoFields)));
}

#[test]
fn unreadable_records_and_a_wrong_order_are_told() {
    let mut text: String = (0..200)
        .rev()
        .map(|n| format!("{{\"time\": {}, \"y\": {}, \"x\": {n}}}\n", 1_700_000_000 + n, n * 31 % 97))
        .collect();
    text.push_str("no object\n");
    let draft = of_file("x.ndjson", &text, &wishes("y")).unwrap();
    assert!(draft.notes.iter().any(|note| note.contains("can't be read")), "{:?}", draft.notes);
    assert!(draft.notes.iter().any(|note| note.contains("sort them by time")), "{:?}", draft.notes);
    assert_eq!(draft.checked.rejected["undecodable"].0, 1);
    let told = tell(&draft, 80);
    assert!(told.lines().all(|line| line.chars().count() <= 80), "{told}");
}

#[test]
fn a_stream_of_many_rows_is_told_by_its_rows() {
    let message = |nth: i64| {
        let rows = (0..50).map(|n| nth * 50 + n);
        let columns: [(&str, ArrayRef); 2] = [
            ("x", Arc::new(Int64Array::from_iter_values(rows.clone().map(|n| n * 31 % 97)))),
            ("y", Arc::new(Int64Array::from_iter_values(rows.map(|n| n * 37 % 101)))),
        ];
        let rows = RecordBatch::try_from_iter(columns).unwrap();
        let mut writer = StreamWriter::try_new(Vec::new(), &rows.schema()).unwrap();
        writer.write(&rows).unwrap();
        let payload = Some(writer.into_inner().unwrap().into());
        OwnedMessage { partition: 0, offset: nth, timestamp_ms: Some(0), key: None, payload }
    };
    let mut sample = Sample::of_messages(InputFormat::Arrow);
    sample.add(&Piece::Messages((0..10).map(message).collect())).unwrap();
    let origin = Origin::Topic {
        brokers: "\"localhost:9092\"".to_owned(),
        name: "xs".to_owned(),
        properties: Vec::new(),
    };
    let draft = draft(&sample, origin, &wishes("y"), &[]).unwrap();
    assert!(draft.text.contains("from 10 messages with 500 rows of xs."), "{}", draft.text);
    let told = tell(&draft, 1_000);
    assert!(told.starts_with("xs: looked at 10 messages with 500 rows\n"), "{told}");
    assert!(told.contains("of 500 rows, 500 can be scored and 500 hold a target\n"), "{told}");
}

/// A column's name as files have them, fit for a config or not.
fn any_name() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[a-z_]{1,8}",
        1 => prop::sample::select(vec!["key", "Partition", "offset", "time", "p_gt_15", "q50", "es99", "params", "target", "a.b", ".", "a..b", "", " "]).prop_map(str::to_owned),
        1 => any::<String>(),
    ]
}

/// A cell's text, by the kind of its column and a number.
fn cell(kind: u8, n: u32) -> String {
    match kind % 14 {
        0 => format!("{n}"),
        1 => format!("{}", n % 5),
        2 => format!("{:e}", f64::from(n) * 1e300),
        3 => format!("-{n}.25"),
        4 => String::new(),
        5 => "7".to_owned(),
        6 => format!("t{}", n % 7),
        7 => format!("t{n}"),
        8 => {
            if n.is_multiple_of(3) {
                "NA".to_owned()
            } else {
                n.to_string()
            }
        }
        9 => format!("2024-01-{:02}T00:00:00Z", 1 + n % 28),
        10 => format!("{}", 1_700_000_000_000_u64 + u64::from(n)),
        11 => {
            if n.is_multiple_of(2) {
                "nan".to_owned()
            } else {
                "1e-320".to_owned()
            }
        }
        12 => format!("\u{1b}[31m\"'\\{n}"),
        _ => ["true", "false"][n as usize % 2].to_owned(),
    }
}

fn quoted_cell(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\"\""))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn whatever_the_columns_are_the_config_loads_and_the_records_can_be_used(
        columns in prop::collection::vec((any_name(), any::<u8>()), 1..8),
        rows in 1..80_u32,
        seed in any::<u32>(),
    ) {
        let header: Vec<String> = columns.iter().map(|(name, _)| quoted_cell(name)).collect();
        let text = csv(&header.join(","), rows, |n| {
            let n = n.wrapping_mul(seed | 1) % 1_009;
            let cells: Vec<String> = columns.iter().map(|(_, kind)| quoted_cell(&cell(*kind, n))).collect();
            cells.join(",")
        });
        match of_file("x.csv", &text, &Wishes::default()) {
            Ok(draft) => {
                prop_assert!(load(&draft.text, &[]).is_ok(), "{}", draft.text);
                let unusable = draft.checked.rows - draft.checked.scored;
                let target = &draft.field(|role| role == guess::Role::Target).unwrap().why;
                prop_assert!(unusable == 0 || target.contains("rejected"), "{:?}\n{}", draft.checked, draft.text);
                let told = tell(&draft, 80);
                let is_bare = told.contains('\u{1b}');
                prop_assert!(!is_bare, "{:?}", told);
                prop_assert!(draft.text.chars().all(|c| c == '\n' || !c.is_control()), "{}", draft.text);
            }
            Err(Error::NoTarget { .. } | Error::Empty) => {}
            Err(error) => prop_assert!(false, "{error}\n{text}"),
        }
    }

    #[test]
    fn whatever_the_objects_are_the_config_loads(
        objects in prop::collection::vec(any_object(), 1..40),
    ) {
        let text: String = objects.iter().map(|object| format!("{object}\n")).collect();
        match of_file("x.ndjson", &text, &Wishes::default()) {
            Ok(draft) => prop_assert!(load(&draft.text, &[]).is_ok(), "{}", draft.text),
            Err(Error::NoTarget { .. } | Error::NoFields) => {}
            Err(error) => prop_assert!(false, "{error}\n{text}"),
        }
    }
}

fn any_object() -> impl Strategy<Value = serde_json::Value> {
    use serde_json::{Map, Value};
    let name = prop_oneof![
        3 => prop::sample::select(vec!["a", "b", "c", "y"]).prop_map(str::to_owned),
        1 => any_name(),
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-1e9..1e9).prop_map(Value::from),
        "[a-c]{0,2}".prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    let inner = name.clone();
    let value = leaf.prop_recursive(3, 12, 4, move |value| {
        prop_oneof![
            prop::collection::vec(value.clone(), 0..3).prop_map(Value::from),
            prop::collection::btree_map(inner.clone(), value, 0..4)
                .prop_map(|map| Value::Object(Map::from_iter(map))),
        ]
    });
    prop::collection::btree_map(name, value, 0..6).prop_map(|map| Value::Object(Map::from_iter(map)))
}
