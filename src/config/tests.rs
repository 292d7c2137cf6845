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
    assert_eq!(config.model.flows[3..], [FlowKind::Radial, FlowKind::Tail]);
    assert_eq!(
        (config.model.hidden, config.model.activation, config.model.seed),
        (vec![32, 32], Activation::Tanh, 1)
    );
    let learn = Learn {
        enabled: true,
        batch: 32,
        steps: 1,
        average: 0.95,
        momentum: 0.0,
        optimizer: OptimizerKind::Adam,
        rate: 1e-3,
        clip: 5.0,
        noise: Noise::Off,
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
fn a_key_of_a_later_version_is_refused() {
    for section in reference::sections() {
        for later in section.later {
            let key = format!("{}.{}", section.name, later.name);
            let refused = with(&[&format!("{key}=later")]).unwrap_err().to_string();
            assert!(
                refused.contains(&format!("{key} = \"later\": not supported in this version")),
                "{refused}"
            );
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

/// The value of a key among the facts.
fn fact<'a>(facts: &'a [Fact], key: &str) -> Option<&'a str> {
    facts.iter().find(|fact| fact.key == key).map(|fact| fact.value.as_str())
}

/// What a change from the minimal config means, key by key.
fn changes(sets: &[&str]) -> Vec<(String, Change)> {
    let then = with(&[]).unwrap().facts();
    with(sets).unwrap().differences(&then).into_iter().map(|d| (d.key, d.change)).collect()
}

#[test]
fn a_change_of_brokers_outputs_state_delivery_or_start_is_free() {
    let free = [
        "kafka.brokers=other:9092",
        "kafka.group=h",
        "kafka.properties.client.id=x",
        "input.start=latest",
        "output.topic=other",
        "output.format=json",
        "output.carry=[\"flight\"]",
        "output.rows=1",
        "output.outcomes=o",
        "state.topic=s",
        "state.dir=/d",
        "state.interval=1s",
        "state.on_mismatch=fresh",
        "state.initial=f",
        "delivery.guarantee=at-least-once",
        "delivery.commit=1s",
        "delivery.timeout=1m",
        "delivery.drain=1s",
        "admin.listen=127.0.0.1:1",
    ];
    for set in free {
        assert_eq!(changes(&[set]), [], "{set}");
    }
}

#[test]
fn a_change_of_time_learning_or_figures_is_noted() {
    let noted = [
        "input.format=arrow",
        "input.time=at",
        "input.max_bytes=1",
        "input.max_ahead=1m",
        "target.time=known_at",
        "target.wait=1h",
        "model.seed=2",
        "learn.enabled=false",
        "learn.batch=1",
        "learn.average=0",
        "learn.optimizer=sgd",
        "learn.momentum=0.9",
        "learn.rate=1",
        "learn.clip=1",
        "learn.noise=auto",
        "learn.warmup=32",
        "score.exceed=[1]",
        "score.quantiles=[0.5]",
        "score.shortfall=[0.5]",
    ];
    for set in noted {
        let key = set.split('=').next().unwrap().to_owned();
        assert_eq!(changes(&[set]), [(key, Change::Noted)], "{set}");
    }
}

#[test]
fn a_change_of_the_input_the_features_the_target_or_the_net_needs_a_new_model() {
    let new_model = [
        "input.topic=other",
        "target.fields=[\"z\"]",
        "model.flows=[\"affine\"]",
        "model.hidden=[64]",
        "model.activation=relu",
        "features.a=number",
        "features.a={ kind = \"category\", size = 65 }",
        "features.b={ kind = \"number\", path = \"c\" }",
        "features.b={ kind = \"number\", transform = \"log\" }",
    ];
    for set in new_model {
        let key = set.split('=').next().unwrap().to_owned();
        assert_eq!(changes(&[set]), [(key, Change::NewModel)], "{set}");
    }
    let order_too = [("features".to_owned(), Change::NewModel), ("features.c".to_owned(), Change::NewModel)];
    assert_eq!(changes(&["features.c=number"]), order_too);
}

#[test]
fn a_feature_that_went_and_another_order_need_a_new_model() {
    let of =
        |features: &str| load(&MINIMAL.replace("b = \"number\", a = \"category\"", features), &[]).unwrap();
    let then = with(&[]).unwrap().facts();
    let told = |config: Config| {
        config.differences(&then).iter().map(|d| format!("{d} ({})", d.change)).collect::<Vec<_>>()
    };
    assert_eq!(
        told(of("a = \"category\", b = \"number\"")),
        ["features: was [\"b\", \"a\"], is [\"a\", \"b\"] (needs a new model)"]
    );
    assert_eq!(
        told(of("b = \"number\"")),
        [
            "features: was [\"b\", \"a\"], is [\"b\"] (needs a new model)",
            "features.a: was { kind = \"category\", size = 64 }, is not set (needs a new model)"
        ]
    );
}

#[test]
fn a_key_of_another_version_is_noted_and_one_that_is_free_by_now_is_not_told() {
    let config = with(&["input.time=at"]).unwrap();
    let mut then = with(&["model.hidden=[64]"]).unwrap().facts();
    let other = |key: &str| Fact { key: key.into(), value: "1".into() };
    then.extend(["model.depth", "featuresque", "output.rows", "future.key"].map(other));
    let told: Vec<_> = config.differences(&then).iter().map(|d| format!("{d} ({})", d.change)).collect();
    assert_eq!(
        told,
        [
            "input.time: was not set, is \"at\" (noted)",
            "model.hidden: was [64], is [32, 32] (needs a new model)",
            "model.depth: was 1, is not set (noted)",
            "featuresque: was 1, is not set (noted)",
            "future.key: was 1, is not set (noted)",
        ]
    );
    assert_eq!(config.differences(&config.facts()), []);
}

#[test]
fn facts_are_every_key_that_is_not_free_in_toml_that_reads_as_the_same() {
    let sets = [
        r#"input.time={ field = "meta.sent", unit = "ms" }"#,
        "target.time=known_at",
        "target.wait=1h30m",
        "target.step=1",
        "learn.noise={ x = 0, y = 0.25 }",
        "learn.clip=inf",
        "learn.rate=1e-7",
        r#"score.exceed=[15, "sla.minutes", { late = 60 }, { own = "limit" }, -0.5]"#,
        r#"features.w={ kind = "number", path = "weather.wind", transform = "sqrt" }"#,
        "features.h={ kind = \"cycle\", period = 24 }",
    ];
    let facts = with(&sets).unwrap().facts();
    let of_sections = reference::sections().into_iter().flat_map(|section| {
        let matters = section.keys.into_iter().filter(|key| key.change != Change::Free);
        matters.map(move |key| format!("{}.{}", section.name, key.name))
    });
    for key in of_sections {
        assert!(fact(&facts, &key).is_some(), "{key}");
    }
    for (key, value) in [
        ("features", r#"["b", "a", "w", "h"]"#),
        ("features.b", r#""number""#),
        ("features.w", r#"{ kind = "number", transform = "sqrt", path = "weather.wind" }"#),
        ("features.h", r#"{ kind = "cycle", period = 24.0 }"#),
        ("input.time", r#"{ field = "meta.sent", unit = "ms" }"#),
        ("target.wait", r#""90m""#),
        ("model.hidden", "[32, 32]"),
        ("model.activation", r#""tanh""#),
        ("learn.rate", "1e-7"),
        ("learn.clip", "inf"),
        ("learn.noise", "{ x = 0.0, y = 0.25 }"),
        ("score.exceed", r#"[15.0, "sla.minutes", { late = 60.0 }, { own = "limit" }, -0.5]"#),
    ] {
        assert_eq!(fact(&facts, key), Some(value));
    }
    let written = facts.iter().filter(|fact| fact.key != "features");
    let sets: Vec<String> = written.map(|fact| format!("{}={}", fact.key, fact.value)).collect();
    assert_eq!(load(MINIMAL, &sets).unwrap().facts(), facts);
}

#[test]
fn every_key_is_written_as_it_reads() {
    let of = |section: &reference::SectionInfo, key: &section::Key| {
        let set = format!("{}.{}={}", section.name, key.name, key.presence.example());
        with(&[&set]).unwrap().facts()
    };
    for section in reference::sections() {
        for key in section.keys.iter().filter(|key| key.change != Change::Free) {
            let name = format!("{}.{}", section.name, key.name);
            let facts = of(&section, key);
            let value = fact(&facts, &name).unwrap();
            assert_eq!(with(&[&format!("{name}={value}")]).unwrap().facts(), facts, "{name}");
        }
    }
}

#[test]
fn how_a_value_was_written_changes_no_fact() {
    let ways = [
        ["target.wait=90m", "target.wait=\"1h 30m\""],
        ["learn.rate=0.001", "learn.rate=1e-3"],
        ["learn.clip=5", "learn.clip=5.0"],
        ["score.exceed=[1e3]", "score.exceed=[{ 1000 = 1000.0 }]"],
        ["input.time=at", "input.time={ field = \"at\" }"],
        ["features.a=category", "features.a={ size = 64, path = \"a\", kind = \"category\" }"],
        ["model.hidden=[32,32]", "model.hidden=[ 32, 32 ]"],
    ];
    for [one, other] in ways {
        assert_eq!(with(&[one]).unwrap().facts(), with(&[other]).unwrap().facts(), "{one} and {other}");
    }
    assert_eq!(changes(&["learn.batch=32", "target.wait=24h"]), [], "a default that is said is no change");
}

#[test]
fn facts_hold_no_secret() {
    let sets =
        ["kafka.brokers=hunter2:9092", "kafka.group=hunter2", "kafka.properties.sasl.password=hunter2"];
    let facts = with(&sets).unwrap().facts();
    assert!(facts.iter().all(|fact| !fact.key.starts_with("kafka") && !fact.value.contains("hunter2")));
    assert_eq!(facts, with(&[]).unwrap().facts());
    // Even where one of these keys were to lose its class, its value would not be written.
    assert_eq!(kind::secret_text("a text").write(&"hunter2".to_owned()).to_string(), "\"***\"");
    let properties = [("sasl.password".to_owned(), Secret("hunter2".to_owned()))].into();
    assert_eq!(kind::properties().write(&properties).to_string(), "\"***\"");
}

#[test]
fn the_columns_are_named_in_the_order_of_the_config() {
    let sets = [
        "score.exceed=[1e3, -3]",
        "score.shortfall=[0.99]",
        "score.limit=[-0.5]",
        r#"output.carry=["a.b", "flight"]"#,
    ];
    let columns = crate::score::columns::Columns::new(&with(&sets).unwrap());
    assert_eq!(columns.carry, ["a_b", "flight"]);
    assert_eq!(columns.exceed, ["p_gt_1000", "p_gt_m3"]);
    assert_eq!(columns.quantiles, ["q50", "q90", "q99", "q99_9"]);
    assert_eq!(columns.shortfall, ["es99"]);
    assert_eq!(columns.limited, ["lev_m0_5"]);
}

#[test]
fn of_several_targets_each_has_its_columns_and_all_together_one() {
    let sets = [
        "target.fields=['y', 'deep.z']",
        "score.exceed=[15, 'sla', { both = { y = 15, 'deep.z' = 10.5 } }]",
        "score.quantiles=[0.5, 0.99]",
        "score.shortfall=[0.99]",
        "score.limit=[500]",
    ];
    let config = with(&sets).unwrap();
    let columns = crate::score::columns::Columns::new(&config);
    assert_eq!(
        columns.exceed,
        ["y__p_gt_15", "deep_z__p_gt_15", "y__p_gt_sla", "deep_z__p_gt_sla", "p_gt_both"]
    );
    assert_eq!(columns.quantiles, ["y__q50", "deep_z__q50", "y__q99", "deep_z__q99"]);
    assert_eq!(columns.shortfall, ["y__es99", "deep_z__es99"]);
    assert_eq!(columns.limited, ["y__lev_500", "deep_z__lev_500"]);
    assert_eq!(
        (columns.targets, columns.pits),
        (
            vec!["y__target".to_owned(), "deep_z__target".to_owned()],
            vec!["y__pit".to_owned(), "deep_z__pit".to_owned()],
        )
    );
    // What is written is read as the same.
    let again = config.facts().into_iter().find(|fact| fact.key == "score.exceed").unwrap();
    let set = format!("score.exceed={}", again.value);
    assert_eq!(with(&[sets[0], &set]).unwrap().score.exceed, config.score.exceed);
}

#[test]
fn a_state_of_before_a_key_was_there_fits_its_default_and_nothing_else() {
    let before = |config: &Config| -> Vec<Fact> {
        config.facts().into_iter().filter(|fact| fact.key != "target.support").collect()
    };
    let config = with(&[]).unwrap();
    assert_eq!(config.differences(&before(&config)), []);
    // Numbers that have come since are written as facts are.
    for fact in config.facts().into_iter().filter(|fact| fact.key.starts_with("learn.")) {
        let others: Vec<Fact> = config.facts().into_iter().filter(|other| other.key != fact.key).collect();
        let differences = config.differences(&others);
        assert_eq!(differences, []);
    }
    let positive = with(&["target.support=positive"]).unwrap();
    let differences = positive.differences(&before(&config));
    assert_eq!(differences.len(), 1);
    assert_eq!(differences[0].to_string(), "target.support: was \"real\", is \"positive\"");
}
