#![allow(clippy::unwrap_used)]

use std::time::Duration;

use super::*;

const MINIMAL: &str = r#"
kafka  = { brokers = "localhost:9092", group = "g" }
input  = { topic = "in" }
target = { fields = ["y"] }
output = { topic = "out" }
features = { b = "number", a = "category" }
"#;

fn load(text: &str, sets: &[String]) -> Result<Config, ConfigErrors> {
    Config::from_parts(text, "t.toml", sets, std::iter::empty())
}

fn with(sets: &[&str]) -> Result<Config, ConfigErrors> {
    load(MINIMAL, &sets.iter().map(ToString::to_string).collect::<Vec<_>>())
}

#[test]
fn what_is_not_said_has_the_default_of_the_contract() {
    let config = with(&[]).unwrap();
    assert_eq!((config.input.start, config.input.max_bytes), (Start::Earliest, 1 << 20));
    assert_eq!(config.input.max_ahead, Duration::from_secs(3_600));
    assert_eq!(config.target.wait, Duration::from_secs(86_400));
    assert_eq!(config.features[1].kind, FeatureKind::Category { size: 64 });
    assert_eq!(config.model.flows[3..], [FlowKind::Radial, FlowKind::Affine]);
    assert_eq!(
        (config.model.hidden, config.model.activation, config.model.seed),
        (vec![32, 32], Activation::Tanh, 1)
    );
    let learn = Learn {
        enabled: true,
        batch: 128,
        average: 0.95,
        optimizer: OptimizerKind::Adam,
        rate: 1e-3,
        clip: 5.0,
        noise: Noise::Auto,
        warmup: 2048,
    };
    assert_eq!(config.learn, learn);
    assert_eq!(config.score.quantiles, [0.5, 0.9, 0.99, 0.999]);
    assert_eq!((config.output.rows, config.output.linger), (512, Duration::from_millis(20)));
    assert_eq!((config.output.outcomes, config.output.rejected), (None, None));
    let state = State {
        topic: "g-state".into(),
        dir: None,
        interval: Duration::from_secs(10),
        on_mismatch: OnMismatch::Fail,
        initial: None,
    };
    assert_eq!(config.state, state);
    let delivery = Delivery {
        guarantee: Guarantee::ExactlyOnce,
        commit: Duration::from_millis(200),
        timeout: Duration::from_secs(10),
        drain: Duration::from_secs(30),
    };
    assert_eq!(config.delivery, delivery);
    assert_eq!(config.admin.listen.to_string(), "127.0.0.1:9464");
}

#[test]
fn every_key_takes_its_example() {
    for section in reference::sections() {
        for key in section.keys {
            let (Presence::Required(example)
            | Presence::Optional(example)
            | Presence::Default(example)
            | Presence::Derived(_, example)) = key.presence;
            let set = format!("{}.{}={example}", section.name, key.name);
            assert_eq!(with(&[&set]).err(), None, "{set}");
        }
    }
}

#[test]
fn every_key_refuses_nonsense_by_its_name_and_nothing_else_is_blamed() {
    for section in reference::sections() {
        let names =
            section.keys.iter().map(|key| key.name).chain(section.later.iter().map(|later| later.name));
        for name in names {
            let key = format!("{}.{name}", section.name);
            let errors = with(&[&format!("{key}=[[1979-05-27]]")]).expect_err(&key).errors;
            assert!(errors.len() == 1 && errors[0].key.starts_with(&key), "{key}: {errors:?}");
        }
    }
}

#[test]
fn a_key_of_a_later_version_is_taken_only_where_it_changes_nothing() {
    for section in reference::sections() {
        for later in section.later {
            let key = format!("{}.{}", section.name, later.name);
            let refused = with(&[&format!("{key}=later")]).unwrap_err().to_string();
            assert!(
                refused.contains(&format!("{key} = \"later\": not supported in this version")),
                "{refused}"
            );
            if let Some(only) = later.only {
                assert_eq!(with(&[&format!("{key}={only}")]).err(), None);
            }
        }
    }
}

#[test]
fn features_keep_their_order_and_read_their_own_field_or_another() {
    let config =
        with(&[r#"features.w={ kind = "number", path = "weather.wind", transform = "sqrt" }"#]).unwrap();
    let names: Vec<&str> = config.features.iter().map(|feature| feature.name.as_str()).collect();
    assert_eq!(names, ["b", "a", "w"]);
    assert_eq!(config.features[2].path.to_string(), "weather.wind");
    assert_eq!(config.features[2].kind, FeatureKind::Number { transform: Some(Transform::Sqrt) });
}

#[test]
fn values_are_read_in_each_of_their_forms() {
    let config = with(&[
        r#"input.time={ field = "meta.sent", unit = "ms" }"#,
        "target.time=known_at",
        "input.start=2013-01-01T00:00:00Z",
        "learn.noise={ x = 0, y = 0.25 }",
        "learn.clip=inf",
        r#"score.exceed=[15.0, "sla.minutes", { late = 60 }, { own = "limit" }, -0.5]"#,
    ])
    .unwrap();
    let sent = TimeField { path: FieldPath::parse("meta.sent").unwrap(), unit: TimeUnit::Millis };
    assert_eq!(config.input.time, Some(sent));
    assert_eq!(config.target.time.unwrap().unit, TimeUnit::Auto);
    assert_eq!(config.input.start, Start::At(1_356_998_400_000_000));
    assert_eq!(config.learn.noise, Noise::Fixed { x: 0.0, y: 0.25 });
    assert!(config.learn.clip.is_infinite());
    let names: Vec<&str> = config.score.exceed.iter().map(|threshold| threshold.name.as_str()).collect();
    assert_eq!(names, ["15", "sla_minutes", "late", "own", "m0_5"]);
    assert_eq!(config.score.exceed[2].value, ThresholdValue::Constant(60.0));
    assert_eq!(config.score.exceed[3].value, ThresholdValue::Field(FieldPath::parse("limit").unwrap()));
}

#[test]
fn secrets_come_in_and_are_never_printed() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("password");
    fs::write(&file, "hunter2\n").unwrap();
    let sets = [
        format!("kafka.properties.sasl.password={{ file = {file:?} }}"),
        "kafka.properties.ssl.key.password=${PASSWORD}".to_owned(),
        "kafka.properties.client.id=1e5".to_owned(),
        "kafka.properties.socket.keepalive.enable=true".to_owned(),
        "kafka.brokers=${HOST}:9092".to_owned(),
    ];
    let environment =
        || [("PASSWORD", "hunter3"), ("HOST", "broker")].map(|(k, v)| (k.to_owned(), v.to_owned()));
    let config = Config::from_parts(MINIMAL, "t.toml", &sets, environment().into_iter()).unwrap();
    let property = |name: &str| config.kafka.properties[name].0.as_str();
    assert_eq!((property("sasl.password"), property("ssl.key.password")), ("hunter2", "hunter3"));
    assert_eq!((property("client.id"), property("socket.keepalive.enable")), ("1e5", "true"));
    assert_eq!(config.kafka.brokers, "broker:9092");
    assert!(!format!("{config:?}").contains("hunter"));
}

#[test]
fn no_error_quotes_what_may_be_a_password() {
    let texts = [
        "[kafka.properties]\n\"sasl.password\" = \"hunter2",
        "[kafka.properties]\n\"sasl.password\" = [\"hunter2\"]",
        "[kafka.properties]\n\"sasl.password\" = \"hunter2${\"",
        "[kafka]\nproperties = \"sasl.password=hunter2\"",
        "[kafka]\npropertys = { \"sasl.password\" = \"hunter2\" }",
        "kafka = \"hunter2\"",
        "[kafka.properties]\n\"group.id\" = \"hunter2\"",
        "[kafka.properties]\n\"a\" = \"hunter2\"\n\"a\" = \"hunter2\"",
    ];
    for text in texts {
        let error = load(text, &[]).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{text}: {error}");
    }
}

#[test]
fn the_hash_follows_what_changes_the_numbers_and_nothing_else() {
    let hash = |sets: &[&str]| with(sets).unwrap().hash();
    let base = hash(&[]);
    for same in [
        "kafka.brokers=other:9092",
        "output.rows=1",
        "output.linger=1s",
        "input.topic=other",
        "learn.rate=0.001",
    ] {
        assert_eq!(hash(&[same]), base, "{same}");
    }
    let others = [
        "learn.rate=0.002",
        "model.seed=2",
        "input.time=t",
        "features.c=number",
        "score.quantiles=[0.5]",
        "target.wait=1h",
    ];
    for other in others {
        assert_ne!(hash(&[other]), base, "{other}");
    }
    let reordered = MINIMAL.replace("b = \"number\", a = \"category\"", "a = \"category\", b = \"number\"");
    assert_ne!(
        load(&reordered, &[]).unwrap().hash(),
        base,
        "the order of the features is that of the model's inputs"
    );
    let sections: String = MINIMAL.lines().rev().map(|line| format!("{line}\n")).collect();
    assert_eq!(load(&sections, &[]).unwrap().hash(), base, "the order of the sections means nothing");
}

#[test]
fn the_columns_are_named_in_the_order_of_the_config() {
    let sets = ["score.exceed=[1e3, -3]", "score.shortfall=[0.99]", r#"output.carry=["a.b", "flight"]"#];
    let columns = crate::score::columns::Columns::new(&with(&sets).unwrap());
    assert_eq!(columns.carry, ["a_b", "flight"]);
    assert_eq!(columns.exceed, ["p_gt_1000", "p_gt_m3"]);
    assert_eq!(columns.quantiles, ["q50", "q90", "q99", "q99_9"]);
    assert_eq!(columns.shortfall, ["es99"]);
}
