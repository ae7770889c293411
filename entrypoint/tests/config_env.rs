//! What the environment is read as, and what is refused with which line.
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    reason = "helpers of tests may fail as loudly as tests"
)]

use std::{
    collections::BTreeMap,
    ffi::OsString,
    os::unix::ffi::OsStringExt,
    path::{Path, PathBuf},
    time::Duration,
};

use entrypoint::config::{Config, ConfigError, DnsType, Source, render_check};

type Map = BTreeMap<String, String>;

fn map(entries: &[(&str, &str)]) -> Map {
    entries
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_string()))
        .collect()
}

fn read(entries: &[(&str, &str)]) -> Config {
    Config::from_env(&map(entries)).unwrap_or_else(|errors| panic!("{entries:?}: {errors:?}"))
}

/// The error lines for these entries.
fn errors(entries: &[(&str, &str)]) -> Vec<String> {
    match Config::from_env(&map(entries)) {
        Ok(_) => panic!("{entries:?} was accepted"),
        Err(errors) => errors.iter().map(ConfigError::to_string).collect(),
    }
}

/// The only error line for these entries.
fn error(entries: &[(&str, &str)]) -> String {
    let lines = errors(entries);
    assert_eq!(lines.len(), 1, "{lines:#?}");
    lines[0].clone()
}

#[test]
fn an_empty_environment_is_one_node() {
    let config = read(&[]);
    assert_eq!((config.cluster_size, config.ready_peers), (1, 1));
    assert_eq!(config.stop_linger, Duration::ZERO);
    assert_eq!(
        config.store.directory(),
        Some(Path::new("/qdrant/snapshots/.cluster"))
    );
    assert_eq!(config.qdrant.storage_path, PathBuf::from("./storage"));
    assert_eq!(config.qdrant.local_address().to_string(), "127.0.0.1");
    assert_eq!(config.warnings, Vec::<String>::new());
}

#[test]
fn a_cluster() {
    let config = read(&[
        ("ENTRYPOINT_CLUSTER_SIZE", "6"),
        ("ENTRYPOINT_DNS_NAME", "qdrant.search.internal"),
        ("ENTRYPOINT_DNS_TYPE", "srv"),
        ("ENTRYPOINT_DNS_SERVER", "127.0.0.1:5353"),
        ("ENTRYPOINT_BEAT", "500ms"),
        ("QDRANT__SERVICE__HOST", "127.0.1.1"),
        ("PATH", "/bin"),
        ("QDRANT__LOG_LEVEL", "DEBUG"),
    ]);
    assert_eq!((config.cluster_size, config.ready_peers), (6, 6));
    assert_eq!(config.dns_type, DnsType::Srv);
    assert_eq!(config.stop_linger, Duration::from_secs(5));
    assert_eq!(config.beat, Duration::from_millis(500));
    assert_eq!(config.qdrant.local_address().to_string(), "127.0.1.1");
    let ready = config
        .effective
        .iter()
        .find(|e| e.name == "ENTRYPOINT_READY_PEERS")
        .unwrap();
    assert_eq!(
        (ready.value.as_deref(), ready.source),
        (Some("6"), Source::Default)
    );
}

#[test]
fn all_mistakes_are_reported_at_once() {
    let lines = errors(&[
        ("ENTRYPOINT_BEAT", "5 parsecs"),
        ("ENTRYPOINT_CLUSTERSIZE", "6"),
        ("ENTRYPOINT_CONTROL_PORT", "6333"),
        ("ENTRYPOINT_DNS_TYPE", ""),
        ("QDRANT__CLUSTER__ENABLED", "false"),
    ]);
    assert_eq!(
        lines,
        [
            "ENTRYPOINT_CLUSTERSIZE: no such variable; did you mean ENTRYPOINT_CLUSTER_SIZE? \
             Correct the name or remove it",
            "ENTRYPOINT_DNS_TYPE=\"\": the value is empty; give a or srv",
            "ENTRYPOINT_BEAT=\"5 parsecs\": not a duration; give a duration with its unit, such as \
             250ms, 5s or 4m, at most 24h",
            "ENTRYPOINT_CONTROL_PORT=\"6333\": the same port as QDRANT__SERVICE__HTTP_PORT; give \
             each its own port",
            "QDRANT__CLUSTER__ENABLED=\"false\": the entrypoint orders a cluster, and one node is a \
             cluster of one; remove it; it is set to true",
        ]
    );
}

#[test]
fn a_value_that_cannot_be_read_breaks_no_rule_besides() {
    let line = error(&[
        ("ENTRYPOINT_CLUSTER_SIZE", "six"),
        ("ENTRYPOINT_READY_PEERS", "4"),
    ]);
    assert!(
        line.starts_with("ENTRYPOINT_CLUSTER_SIZE=\"six\": not a whole number"),
        "{line}"
    );
}

#[test]
fn rules_between_variables() {
    let dns = ("ENTRYPOINT_DNS_NAME", "qdrant.internal");
    let cases: &[(&[(&str, &str)], &str)] = &[
        (
            &[("ENTRYPOINT_CLUSTER_SIZE", "3")],
            "ENTRYPOINT_DNS_NAME is not set: 3 tasks",
        ),
        (
            &[
                ("ENTRYPOINT_CLUSTER_SIZE", "3"),
                ("ENTRYPOINT_READY_PEERS", "4"),
                dns,
            ],
            "ENTRYPOINT_READY_PEERS=\"4\": more than the 3 tasks",
        ),
        (
            &[("ENTRYPOINT_PROBE_TIMEOUT", "0s")],
            "ENTRYPOINT_PROBE_TIMEOUT=\"0s\": must be above",
        ),
        (
            &[("ENTRYPOINT_ROUND", "3s")],
            "ENTRYPOINT_ROUND=\"3s\": longer than ENTRYPOINT_BEAT (2s)",
        ),
        (
            &[
                ("ENTRYPOINT_BEAT", "20s"),
                ("ENTRYPOINT_GONE_TIMEOUT", "2m"),
            ],
            "ENTRYPOINT_CLAIM_TIMEOUT=\"1m\": not longer than three",
        ),
        (
            &[("ENTRYPOINT_GONE_TIMEOUT", "6s")],
            "ENTRYPOINT_GONE_TIMEOUT=\"6s\": not longer than three beats (6s)",
        ),
        (
            &[("ENTRYPOINT_LOST_COPY_TIMEOUT", "19s")],
            "ENTRYPOINT_LOST_COPY_TIMEOUT=\"19s\": shorter than ENTRYPOINT_GONE_TIMEOUT",
        ),
        (
            &[("ENTRYPOINT_RELEASE_TIMEOUT", "30s")],
            "ENTRYPOINT_RELEASE_TIMEOUT=\"30s\": not longer than ENTRYPOINT_STOP_TIMEOUT (30s)",
        ),
        (
            &[("ENTRYPOINT_HEAL", "maybe")],
            "ENTRYPOINT_HEAL=\"maybe\": not one of the known words; give act or dry-run",
        ),
        (
            &[("QDRANT__STORAGE__SNAPSHOTS_PATH", "./storage/snapshots")],
            "QDRANT__STORAGE__SNAPSHOTS_PATH=\"./storage/snapshots\": inside QDRANT__STORAGE__STORAGE_PATH",
        ),
        (
            &[("ENTRYPOINT_CLAIM_TIMEOUT", "4m")],
            "ENTRYPOINT_LOSS_TIMEOUT=\"4m\": not longer than ENTRYPOINT_CLAIM_TIMEOUT (4m)",
        ),
        (
            &[("ENTRYPOINT_STOP_LINGER", "27s")],
            "ENTRYPOINT_STOP_TIMEOUT=\"30s\": ENTRYPOINT_STOP_LINGER (27s) and",
        ),
        (
            &[("ENTRYPOINT_RESTART_MIN", "31s")],
            "ENTRYPOINT_RESTART_MIN=\"31s\": longer than",
        ),
        (
            &[("QDRANT__CLUSTER__P2P__PORT", "6334")],
            "QDRANT__CLUSTER__P2P__PORT=\"6334\": the same port as QDRANT__SERVICE__GRPC_PORT",
        ),
        (
            &[("ENTRYPOINT_ADDRESS", "0.0.0.0")],
            "ENTRYPOINT_ADDRESS=\"0.0.0.0\": other tasks",
        ),
        (
            &[("ENTRYPOINT_STORE", "s3://b/p")],
            "ENTRYPOINT_STORE=\"s3://b/p\": names no bucket",
        ),
        (
            &[
                ("ENTRYPOINT_STORE", "s3://bucket/p"),
                (
                    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
                    "/v2/credentials/x",
                ),
            ],
            "AWS_REGION is not set: a store on S3",
        ),
        (
            &[
                ("ENTRYPOINT_STORE", "s3://bucket/p"),
                ("AWS_REGION", "eu-central-1"),
            ],
            "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI is not set: a store on S3 needs credentials",
        ),
        (
            &[
                ("ENTRYPOINT_STORE", "s3://bucket/p"),
                ("AWS_REGION", "eu-central-1"),
                ("AWS_ACCESS_KEY_ID", "x"),
            ],
            "AWS_SECRET_ACCESS_KEY is not set: one half",
        ),
        (
            &[
                ("ENTRYPOINT_STORE", "s3://bucket/p"),
                ("AWS_REGION", "eu-central-1"),
                (
                    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
                    "/v2/credentials/x",
                ),
                ("AWS_ENDPOINT_URL_S3", "https://minio.internal/bucket"),
            ],
            "AWS_ENDPOINT_URL_S3=\"https://minio.internal/bucket\": not an http:// or",
        ),
        (
            &[("QDRANT__SERVICE__ENABLE_TLS", "on")],
            "QDRANT__SERVICE__ENABLE_TLS=\"true\": not sup",
        ),
        (
            &[("QDRANT__CLUSTER__P2P__ENABLE_TLS", "1")],
            "QDRANT__CLUSTER__P2P__ENABLE_TLS=\"true\":",
        ),
        (
            &[(
                "QDRANT__STORAGE__TEMP_PATH",
                "/qdrant/./snapshots/x/../.cluster/tmp",
            )],
            "QDRANT__STORAGE__TEMP_PATH=\"/qdrant/./snapshots/x/../.cluster/tmp\": inside the store",
        ),
        (
            &[(
                "QDRANT__STORAGE__STORAGE_PATH",
                "/qdrant/snapshots/.cluster",
            )],
            "QDRANT__STORAGE__STORAGE_PATH=\"/qdrant/snapshots/.cluster\": inside the store",
        ),
        (
            &[
                ("QDRANT__STORAGE__STORAGE_PATH", "/d"),
                ("ENTRYPOINT_STORE", "file:///d/s"),
            ],
            "ENTRYPOINT_STORE=\"file:///d/s\": inside Qdrant's own data",
        ),
        (
            &[(
                "QDRANT__STORAGE__SNAPSHOTS_PATH",
                "/qdrant/snapshots/.cluster/a",
            )],
            "QDRANT__STORAGE__SNAPSHOTS_PATH=\"/qdrant/snapshots/.cluster/a\": inside the store",
        ),
        (
            &[
                ("QDRANT__STORAGE__SNAPSHOTS_PATH", "/qdrant/snapshots"),
                ("QDRANT__STORAGE__TEMP_PATH", "/qdrant/snapshots/mine"),
            ],
            "QDRANT__STORAGE__TEMP_PATH=\"/qdrant/snapshots/mine\": inside \
             QDRANT__STORAGE__SNAPSHOTS_PATH (/qdrant/snapshots), which tasks may share",
        ),
        (
            // Where Qdrant's snapshots are when nobody says it.
            &[("QDRANT__STORAGE__TEMP_PATH", "./snapshots")],
            "QDRANT__STORAGE__TEMP_PATH=\"./snapshots\": inside QDRANT__STORAGE__SNAPSHOTS_PATH",
        ),
        (
            &[
                ("QDRANT__STORAGE__SNAPSHOTS_PATH", "/qdrant/snapshots"),
                ("ENTRYPOINT_STORE", "file:///qdrant/snapshots/tmp/cluster"),
            ],
            "ENTRYPOINT_STORE=\"file:///qdrant/snapshots/tmp/cluster\": inside \
             /qdrant/snapshots/tmp, which Qdrant deletes at each start",
        ),
        (
            &[
                ("QDRANT__STORAGE__STORAGE_PATH", "/d/tmp/storage"),
                ("QDRANT__STORAGE__TEMP_PATH", "/d"),
            ],
            "QDRANT__STORAGE__STORAGE_PATH=\"/d/tmp/storage\": inside /d/tmp, which Qdrant deletes",
        ),
        (
            &[
                ("QDRANT__STORAGE__SNAPSHOTS_PATH", "/d/tmp"),
                ("QDRANT__STORAGE__TEMP_PATH", "/d"),
            ],
            "QDRANT__STORAGE__SNAPSHOTS_PATH=\"/d/tmp\": inside /d/tmp, which Qdrant deletes",
        ),
    ];
    for (entries, beginning) in cases {
        let line = error(entries);
        assert!(
            line.starts_with(beginning),
            "{line}\nshould begin with\n{beginning}"
        );
        assert_eq!(line.lines().count(), 1, "{line}");
    }
}

#[test]
fn neighbours_of_the_rules_are_accepted() {
    read(&[(
        "QDRANT__STORAGE__STORAGE_PATH",
        "/qdrant/snapshots/.cluster2",
    )]);
    read(&[("QDRANT__STORAGE__SNAPSHOTS_PATH", "/qdrant/snapshots")]);
    read(&[("ENTRYPOINT_STORE", "file:///qdrant/snapshots/tmp2")]);
    read(&[("QDRANT__STORAGE__TEMP_PATH", "./storage/temporary")]);
    read(&[("ENTRYPOINT_STOP_LINGER", "26s")]);
    read(&[("ENTRYPOINT_ROUND", "2s")]);
}

#[test]
fn a_temporary_directory_far_from_the_data_is_a_warning() {
    let config = read(&[("QDRANT__STORAGE__TEMP_PATH", "/scratch")]);
    assert_eq!(config.warnings.len(), 1, "{:?}", config.warnings);
    let expected =
        "QDRANT__STORAGE__TEMP_PATH=/scratch is outside of QDRANT__STORAGE__STORAGE_PATH";
    assert!(
        config.warnings[0].starts_with(expected),
        "{:?}",
        config.warnings
    );
    assert_eq!(read(&[]).warnings, Vec::<String>::new());
}

#[test]
fn doubtful_values_are_warnings() {
    let config = read(&[
        ("ENTRYPOINT_LOSS_TIMEOUT", "3m"),
        ("ENTRYPOINT_STOP_TIMEOUT", "121s"),
    ]);
    assert_eq!(config.warnings.len(), 2, "{:?}", config.warnings);
    assert!(config.warnings[0].starts_with("ENTRYPOINT_LOSS_TIMEOUT=3m: "));
    assert!(config.warnings[1].starts_with("ENTRYPOINT_STOP_TIMEOUT=2m 1s: "));
    assert!(render_check(&config).contains("warning: ENTRYPOINT_LOSS_TIMEOUT=3m"));
}

fn words(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}

#[test]
fn the_check_shows_values_with_their_source() {
    let text = render_check(&read(&[
        ("ENTRYPOINT_BEAT", "500ms"),
        ("QDRANT__SERVICE__API_KEY", "k"),
    ]));
    for line in [
        "ENTRYPOINT_CLUSTER_SIZE 1 (default)",
        "ENTRYPOINT_BEAT 500ms (set)",
        "ENTRYPOINT_STACK - (not set)",
        "ENTRYPOINT_DNS_SERVER - (default: the system's resolv.conf)",
        "QDRANT__SERVICE__API_KEY (hidden) (set)",
        "for Qdrant: QDRANT__CLUSTER__ENABLED=true",
    ] {
        assert!(
            text.lines().any(|printed| words(printed) == words(line)),
            "{line:?} is not in\n{text}"
        );
    }
}

#[test]
fn what_is_not_text_is_an_error() {
    let bad = OsString::from_vec(vec![b'6', 0xff]);
    let value = BTreeMap::from([(OsString::from("ENTRYPOINT_CLUSTER_SIZE"), bad.clone())]);
    let lines = Config::from_env(&value).unwrap_err();
    assert_eq!(
        lines[0].to_string(),
        "ENTRYPOINT_CLUSTER_SIZE: the value is not UTF-8 text; give it as plain text"
    );
    let name = OsString::from_vec(b"ENTRYPOINT_BEAT\xff".to_vec());
    let lines = Config::from_env(&BTreeMap::from([(name, bad.clone())])).unwrap_err();
    assert!(matches!(
        &lines[0],
        ConfigError::Unknown {
            nearest: "ENTRYPOINT_BEAT",
            ..
        }
    ));
    // What is not ours may hold anything.
    Config::from_env(&BTreeMap::from([(OsString::from("OTHER"), bad)])).unwrap();
}

#[test]
fn spellings_that_only_qdrant_would_read_are_refused() {
    let line = error(&[("qdrant__service__api_key", "k")]);
    assert!(
        line.contains("did you mean QDRANT__SERVICE__API_KEY?"),
        "{line}"
    );
    let line = error(&[("QDRANT__Cluster__Connection_Timeout_Ms", "100")]);
    assert!(
        line.contains("did you mean QDRANT__CLUSTER__CONNECTION_TIMEOUT_MS?"),
        "{line}"
    );
    let line = error(&[("entrypoint_beat", "1s")]);
    assert!(line.contains("did you mean ENTRYPOINT_BEAT?"), "{line}");
    read(&[("qdrant__log_level", "INFO")]);
}

#[test]
fn secrets_are_never_printed() {
    let secret = "a-key-that-must-not-show";
    let config = read(&[
        ("QDRANT__SERVICE__API_KEY", secret),
        ("QDRANT__SERVICE__ALT_API_KEY", "b"),
    ]);
    assert!(
        config
            .qdrant
            .api_key
            .as_ref()
            .unwrap()
            .matches(secret.as_bytes())
    );
    for text in [render_check(&config), format!("{config:?}")] {
        assert!(text.contains("hidden"), "{text}");
        assert!(!text.contains(secret), "{text}");
    }
    let line = error(&[("QDRANT__SERVICE__API_KEY", "a-key-that-must-not-show\n")]);
    assert!(
        line.starts_with("QDRANT__SERVICE__API_KEY=(hidden): "),
        "{line}"
    );
    assert!(!line.contains(secret), "{line}");
}

#[test]
fn an_empty_key_is_no_key() {
    let config = read(&[("QDRANT__SERVICE__API_KEY", "")]);
    assert_eq!(config.qdrant.api_key, None);
    assert!(config.warnings[0].starts_with("QDRANT__SERVICE__API_KEY is set but empty"));
    assert!(
        config
            .qdrant_env_overrides()
            .iter()
            .all(|(name, _)| !name.contains("AUTH"))
    );
}

/// The variables that are set for Qdrant, by their names without what all have in common.
fn given(pairs: &[(&str, &str)]) -> std::collections::BTreeMap<&'static str, String> {
    let config = read(pairs);
    let given = config.qdrant_env_overrides().iter();
    given
        .map(|(name, value)| (name.trim_start_matches("QDRANT__"), value.clone()))
        .collect()
}

#[test]
fn qdrant_is_given_what_the_user_has_not_set() {
    let names = |pairs| given(pairs).into_keys().collect::<Vec<_>>();
    const COLLECTION: [&str; 3] = [
        "STORAGE__COLLECTION__REPLICATION_FACTOR",
        "STORAGE__COLLECTION__SHARD_NUMBER",
        "STORAGE__COLLECTION__WRITE_CONSISTENCY_FACTOR",
    ];
    let mut expected = vec!["CLUSTER__CONNECTION_TIMEOUT_MS", "CLUSTER__ENABLED"];
    expected.extend(COLLECTION);
    expected.push("STORAGE__TEMP_PATH");
    assert_eq!(names(&[]), expected);
    let mut expected = vec!["CLUSTER__ENABLED", "SERVICE__ENFORCE_INTERNAL_AUTH"];
    expected.extend(COLLECTION);
    expected.push("STORAGE__TEMP_PATH");
    assert_eq!(
        names(&[
            ("QDRANT__SERVICE__API_KEY", "k"),
            ("QDRANT__CLUSTER__CONNECTION_TIMEOUT_MS", "2000"),
        ]),
        expected
    );
    assert_eq!(
        names(&[
            ("QDRANT__SERVICE__API_KEY", "k"),
            ("QDRANT__SERVICE__ENFORCE_INTERNAL_AUTH", "false"),
            ("QDRANT__CLUSTER__ENABLED", "true"),
            ("QDRANT__CLUSTER__CONNECTION_TIMEOUT_MS", "1"),
            ("QDRANT__STORAGE__COLLECTION__REPLICATION_FACTOR", "1"),
            ("QDRANT__STORAGE__COLLECTION__WRITE_CONSISTENCY_FACTOR", "1"),
            // Qdrant would prefer the number of shards to this one.
            ("QDRANT__STORAGE__COLLECTION__SHARD_NUMBER_PER_NODE", "1"),
            ("QDRANT__STORAGE__TEMP_PATH", "./storage/mine"),
        ]),
        Vec::<&str>::new()
    );
}

#[test]
fn temporary_files_are_beside_the_data() {
    let at = |pairs| given(pairs)["STORAGE__TEMP_PATH"].clone();
    assert_eq!(at(&[]), "./storage/tmp");
    let elsewhere = &[("QDRANT__STORAGE__STORAGE_PATH", "/data/qdrant")];
    assert_eq!(at(elsewhere), "/data/qdrant/tmp");
}

#[test]
fn new_collections_get_what_the_cluster_can_hold_and_writes_outlive_a_copy() {
    let collection = |pairs: &[(&str, &str)]| {
        let mut all = vec![("ENTRYPOINT_DNS_NAME", "qdrant.internal")];
        all.extend(pairs);
        let given = given(&all);
        let of = |name: &str| given[&*format!("STORAGE__COLLECTION__{name}")].clone();
        let numbers = [
            of("REPLICATION_FACTOR"),
            of("WRITE_CONSISTENCY_FACTOR"),
            of("SHARD_NUMBER"),
        ];
        numbers.join(" ")
    };
    for (size, expected) in [
        ("1", "1 1 1"),
        ("2", "2 1 2"),
        ("3", "3 2 2"),
        ("9", "3 2 2"),
    ] {
        assert_eq!(
            collection(&[("ENTRYPOINT_CLUSTER_SIZE", size)]),
            expected,
            "{size}"
        );
    }
    for (copies, expected) in [
        ("2", "2 1 2"),
        ("5", "5 2 2"),
        ("9", "6 2 2"),
        ("off", "3 2 2"),
    ] {
        let pairs = [
            ("ENTRYPOINT_CLUSTER_SIZE", "6"),
            ("ENTRYPOINT_COPIES", copies),
        ];
        assert_eq!(collection(&pairs), expected, "{copies}");
    }
}

#[test]
fn the_wanted_copies_are_those_of_new_collections_unless_said() {
    let factor = |n| ("QDRANT__STORAGE__COLLECTION__REPLICATION_FACTOR", n);
    let wanted = |pairs: &[(&str, &str)]| read(pairs).copies.wanted();
    assert_eq!(wanted(&[]), Some(3));
    assert_eq!(wanted(&[factor("2")]), Some(2));
    assert_eq!(wanted(&[factor("2"), ("ENTRYPOINT_COPIES", "off")]), None);
    assert_eq!(wanted(&[factor("2"), ("ENTRYPOINT_COPIES", "4")]), Some(4));
    // One acknowledgement for two copies of the user's.
    let given = given(&[factor("2")]);
    assert_eq!(given["STORAGE__COLLECTION__WRITE_CONSISTENCY_FACTOR"], "1");
    let shown = render_check(&read(&[factor("2")]));
    let line = shown
        .lines()
        .find(|line| line.starts_with("ENTRYPOINT_COPIES "));
    assert!(
        line.is_some_and(|line| line.ends_with("2  (default)")),
        "{shown}"
    );
    let warned = read(&[
        factor("1"),
        ("ENTRYPOINT_COPIES", "2"),
        ("ENTRYPOINT_CLUSTER_SIZE", "3"),
        ("ENTRYPOINT_DNS_NAME", "qdrant.internal"),
    ]);
    assert!(
        warned.warnings.iter().any(|w| w.contains("too few copies")),
        "{:?}",
        warned.warnings
    );
    error(&[factor("0")]);
}
