//! Properties of reading the environment: nothing makes it panic, and what it prints reads back.
#![allow(
    clippy::expect_used,
    reason = "helpers of tests may fail as loudly as tests"
)]

use std::{collections::BTreeMap, ffi::OsString, os::unix::ffi::OsStringExt};

use entrypoint::config::{Config, Source, render_check};
use proptest::{collection::btree_map, prelude::*};

/// Names that matter to us, so that arbitrary values reach the parsers.
fn known_names() -> Vec<String> {
    let none = BTreeMap::<String, String>::new();
    let config = Config::from_env(&none).expect("defaults are valid");
    config
        .effective
        .iter()
        .map(|effective| effective.name.to_owned())
        .collect()
}

fn any_bytes() -> impl Strategy<Value = OsString> {
    prop_oneof![
        any::<Vec<u8>>().prop_map(OsString::from_vec),
        any::<String>().prop_map(OsString::from),
        // Things that look almost right.
        "[0-9a-z:/.+ -]{0,24}".prop_map(OsString::from),
        "[0-9]{1,25}(ns|ms|s|m|h|d|y)?".prop_map(OsString::from),
    ]
}

fn any_name() -> impl Strategy<Value = OsString> {
    prop_oneof![
        4 => proptest::sample::select(known_names()).prop_map(OsString::from),
        1 => "ENTRYPOINT_.{0,40}".prop_map(OsString::from),
        1 => "(?i:qdrant__service__api_key)".prop_map(OsString::from),
        1 => any_bytes(),
    ]
}

prop_compose! {
    /// A map that obeys every rule.
    fn valid()(
        size in 1_u32..200,
        ready in 1_u32..200,
        beat in 1_u64..10_000,
        round in 1_u64..10_000,
        claim in 1_u64..100_000,
        loss in 1_u64..1_000_000,
        gone in 1_u64..100_000,
        lost in 0_u64..1_000_000,
        margin in 0_u64..60_000,
        linger in 0_u64..60_000,
        stop in 1_u64..60_000,
        port in 1_u16..6000,
        label in "[a-z][a-z0-9-]{0,20}",
        ipv4 in any::<[u8; 4]>(),
        key in proptest::option::of("[!-~]{1,40}"),
        store in "(/[a-zA-Z0-9 ._é-]{1,8}x){1,4}",
    ) -> BTreeMap<String, String> {
        let claim = beat * 3 + claim;
        let gone = beat * 3 + gone;
        let mut map = BTreeMap::new();
        let mut set = |name: &str, value: String| map.insert(name.to_owned(), value);
        set("ENTRYPOINT_CLUSTER_SIZE", size.to_string());
        set("ENTRYPOINT_READY_PEERS", ready.min(size).to_string());
        set("ENTRYPOINT_DNS_NAME", format!("{label}.internal"));
        set("ENTRYPOINT_SERVICE", label);
        set("ENTRYPOINT_BEAT", format!("{beat}ms"));
        set("ENTRYPOINT_ROUND", format!("{}ms", round.min(beat)));
        set("ENTRYPOINT_CLAIM_TIMEOUT", format!("{claim}ms"));
        set("ENTRYPOINT_LOSS_TIMEOUT", format!("{}ms", claim + loss));
        set("ENTRYPOINT_GONE_TIMEOUT", format!("{gone}ms"));
        set("ENTRYPOINT_LOST_COPY_TIMEOUT", format!("{}ms", gone + lost));
        set("ENTRYPOINT_STOP_MARGIN", format!("{margin}ms"));
        set("ENTRYPOINT_STOP_LINGER", format!("{linger}ms"));
        set("ENTRYPOINT_STOP_TIMEOUT", format!("{}ms", margin + linger + stop));
        set("ENTRYPOINT_CONTROL_PORT", port.to_string());
        set("ENTRYPOINT_BIND", std::net::IpAddr::from(ipv4).to_string());
        set("ENTRYPOINT_STORE", format!("file://{store}"));
        if let Some(key) = key {
            set("QDRANT__SERVICE__API_KEY", key);
        }
        map
    }
}

proptest! {
    #[test]
    fn no_environment_makes_it_panic(map in btree_map(any_name(), any_bytes(), 0..12)) {
        match Config::from_env(&map) {
            Ok(config) => {
                prop_assert!(!render_check(&config).is_empty());
            }
            Err(errors) => {
                prop_assert!(!errors.is_empty());
                for error in errors {
                    let line = error.to_string();
                    prop_assert!(!line.chars().any(char::is_control), "{line:?}");
                    prop_assert!(!error.variable().is_empty());
                }
            }
        }
    }

    #[test]
    fn a_valid_environment_reads_back_from_what_is_printed(map in valid()) {
        let first = Config::from_env(&map).map_err(|e| TestCaseError::fail(format!("{e:?}")))?;
        let mut again = map.clone();
        for effective in &first.effective {
            if let (Some(value), Source::Set) = (&effective.value, effective.source)
                && !effective.name.ends_with("API_KEY")
            {
                again.insert(effective.name.to_owned(), value.clone());
            }
        }
        let second = Config::from_env(&again).map_err(|e| TestCaseError::fail(format!("{e:?}")))?;
        prop_assert_eq!(first, second);
    }

    #[test]
    fn a_secret_never_reaches_the_output(key in "[!-~]{12,40}") {
        let map = BTreeMap::from([("QDRANT__SERVICE__API_KEY", key.as_str())]);
        let config = Config::from_env(&map).map_err(|e| TestCaseError::fail(format!("{e:?}")))?;
        prop_assert!(!render_check(&config).contains(&key));
        let debug = format!("{config:?}");
        prop_assert!(!debug.contains(&key));
    }
}
