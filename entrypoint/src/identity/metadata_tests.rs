//! Reading task metadata, from the shape that AWS documents to nonsense.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::{
    config::Config,
    identity::{IdentitySource, Interface, Machine, from_metadata},
};

const ARN: &str =
    "arn:aws:ecs:eu-central-1:123456789012:task/search/00112233445566778899aabbccddeeff";

/// The answer of `/task` on Fargate with EFS: a container of ECS comes first.
pub(crate) fn sample(address: &str) -> Value {
    json!({
        "Cluster": "arn:aws:ecs:eu-central-1:123456789012:cluster/search",
        "TaskARN": ARN,
        "ServiceName": "qdrant-search",
        "Family": "qdrant", "Revision": "17",
        "DesiredStatus": "RUNNING", "KnownStatus": "RUNNING",
        "Limits": {"CPU": 2, "Memory": 8192},
        "PullStartedAt": "2026-01-02T03:04:05.678901234Z",
        "AvailabilityZone": "eu-central-1b", "AvailabilityZoneID": "euc1-az3",
        "LaunchType": "FARGATE",
        "Containers": [
            {
                "DockerId": "00112233445566778899aabbccddeeff-1", "Name": "aws-fargate-supervisor",
                "Type": "AWS_FARGATE_SUPERVISOR", "KnownStatus": "RUNNING",
                "Networks": [{"NetworkMode": "awsvpc", "IPv4Addresses": ["169.254.172.2"]}]
            },
            container("00112233445566778899aabbccddeeff-2", address)
        ],
        "ClockDrift": {"ClockErrorBound": 0.4, "ClockSynchronizationStatus": "SYNCHRONIZED"},
        "EphemeralStorageMetrics": {"Utilized": 261, "Reserved": 20496}
    })
}

fn container(id: &str, address: &str) -> Value {
    json!({
        "DockerId": id, "Name": "qdrant", "DockerName": "qdrant", "Type": "NORMAL",
        "DesiredStatus": "RUNNING", "KnownStatus": "RUNNING", "Limits": {"CPU": 2},
        "Networks": [{
            "NetworkMode": "awsvpc", "IPv4Addresses": [address], "AttachmentIndex": 0,
            "MACAddress": "02:00:00:00:00:01", "IPv4SubnetCIDRBlock": "10.0.16.0/20",
            "DomainNameServers": ["10.0.0.2"], "SubnetGatewayIpv4Address": "10.0.16.1/20"
        }],
        "Snapshotter": "overlayfs"
    })
}

fn read(value: &Value) -> Result<TaskMetadata, MetadataError> {
    parse_task_metadata(value.to_string().as_bytes())
}

/// The sample with a change.
fn changed(change: impl FnOnce(&mut Value)) -> Result<TaskMetadata, MetadataError> {
    let mut value = sample("10.0.17.42");
    change(&mut value);
    read(&value)
}

fn config(entries: &[(&str, &str)]) -> Config {
    let map: std::collections::BTreeMap<_, _> = entries.iter().copied().collect();
    Config::from_env(&map).unwrap()
}

fn machine(addresses: &[&str]) -> Machine {
    let interfaces = addresses.iter().enumerate().map(|(n, address)| Interface {
        name: format!("eth{n}"),
        address: address.parse().unwrap(),
        netmask: None,
        loopback: false,
    });
    Machine {
        interfaces: interfaces.collect(),
        hostname: None,
    }
}

#[test]
fn the_documented_shape_gives_an_identity() {
    let metadata = read(&sample("10.0.17.42")).unwrap();
    let identity = from_metadata(&config(&[]), &metadata, &machine(&["10.0.17.42"])).unwrap();
    assert_eq!(identity.task, "00112233445566778899aabbccddeeff");
    assert_eq!(identity.address.to_string(), "10.0.17.42");
    assert_eq!(identity.zone.as_deref(), Some("eu-central-1b"));
    assert_eq!(identity.revision.as_deref(), Some("qdrant:17"));
    assert_eq!(identity.service, "qdrant-search");
    assert_eq!(identity.task_arn.as_deref(), Some(ARN));
    assert_eq!(identity.source, IdentitySource::Metadata);
}

#[test]
fn overrides_win_part_by_part() {
    let metadata = read(&sample("10.0.17.42")).unwrap();
    let config = config(&[
        ("ENTRYPOINT_ADDRESS", "192.0.2.7"),
        ("ENTRYPOINT_ZONE", "z"),
        ("ENTRYPOINT_TASK_ID", "t"),
        ("ENTRYPOINT_REVISION", "f:1"),
        ("ENTRYPOINT_SERVICE", "s"),
    ]);
    let identity = from_metadata(&config, &metadata, &machine(&[])).unwrap();
    assert_eq!(identity.address.to_string(), "192.0.2.7");
    assert_eq!(identity.source, IdentitySource::Environment);
    assert_eq!(
        (identity.task.as_str(), identity.service.as_str()),
        ("t", "s")
    );
    assert_eq!(
        (identity.zone.as_deref(), identity.revision.as_deref()),
        (Some("z"), Some("f:1"))
    );
}

#[test]
fn early_answers_are_incomplete() {
    let no_networks = changed(|task| {
        task["KnownStatus"] = json!("NONE");
        task["Containers"][1]["KnownStatus"] = json!("NONE");
        task["Containers"][1]["Networks"] = Value::Null;
    });
    let no_containers = changed(|task| task["Containers"] = json!([]));
    let no_addresses = changed(|task| {
        task["Containers"][1]["Networks"] =
            json!([{"NetworkMode": "awsvpc", "IPv4Addresses": [""]}]);
    });
    for answer in [no_networks, no_containers, no_addresses] {
        let error = answer.unwrap().own_addresses().unwrap_err();
        assert!(error.may_pass());
        assert_eq!(
            error.to_string(),
            "the answer has no address of this container yet"
        );
    }
    let error = changed(|task| task["TaskARN"] = json!(""))
        .unwrap()
        .task_id()
        .unwrap_err();
    assert!(matches!(
        error,
        MetadataError::Incomplete { what: "TaskARN" }
    ));
}

#[test]
fn optional_parts_may_be_absent() {
    let metadata = changed(|task| {
        for field in ["ServiceName", "AvailabilityZone", "Revision"] {
            task.as_object_mut().unwrap().remove(field);
        }
        task["Family"] = Value::Null;
    });
    let identity =
        from_metadata(&config(&[]), &metadata.unwrap(), &machine(&["10.0.17.42"])).unwrap();
    assert_eq!(identity.service, "qdrant");
    assert_eq!((identity.zone, identity.revision), (None, None));
}

#[test]
fn an_address_that_is_not_ours_is_refused() {
    let metadata = read(&sample("10.0.17.42")).unwrap();
    let error = from_metadata(&config(&[]), &metadata, &machine(&["10.0.17.43"])).unwrap_err();
    assert_eq!(
        error.to_string(),
        "no network interface of this machine has the address in it (10.0.17.42)"
    );
}

#[test]
fn ipv6_only_and_both_families() {
    let six = json!([{"IPv6Addresses": ["fe80::1", "2001:db8::5"]}]);
    let only_six = changed(|task| task["Containers"][1]["Networks"] = six.clone()).unwrap();
    let own = machine(&["fe80::1", "2001:db8::5"]);
    let identity = from_metadata(&config(&[]), &only_six, &own).unwrap();
    assert_eq!(identity.address.to_string(), "2001:db8::5");

    let both = changed(|task| {
        task["Containers"][1]["Networks"] =
            json!([{"IPv6Addresses": ["2001:db8::5"], "IPv4Addresses": ["10.0.17.42"]}]);
    });
    let own = machine(&["2001:db8::5", "10.0.17.42"]);
    let identity = from_metadata(&config(&[]), &both.unwrap(), &own).unwrap();
    assert_eq!(identity.address.to_string(), "10.0.17.42");
}

#[test]
fn among_different_containers_ours_is_found_by_its_id() {
    let mut metadata = changed(|task| {
        let other = container("sidecar", "10.0.17.99");
        task["Containers"].as_array_mut().unwrap().insert(0, other);
    })
    .unwrap();
    assert!(metadata.is_ambiguous());
    assert!(metadata.own_addresses().is_err(), "chosen blindly");
    let bare = container("00112233445566778899aabbccddeeff-2", "10.0.17.42").to_string();
    metadata.own_docker_id = Some(parse_own_docker_id(bare.as_bytes()).unwrap());
    assert_eq!(
        metadata.own_addresses().unwrap(),
        ["10.0.17.42".parse::<IpAddr>().unwrap()]
    );
    metadata.own_docker_id = Some("nobody".to_owned());
    assert!(metadata.own_addresses().unwrap_err().may_pass());
}

#[test]
fn containers_that_share_their_address_need_no_id() {
    let metadata = changed(|task| {
        let other = container("sidecar", "10.0.17.42");
        task["Containers"].as_array_mut().unwrap().insert(0, other);
    })
    .unwrap();
    assert!(!metadata.is_ambiguous());
    assert_eq!(metadata.own_addresses().unwrap().len(), 1);
}

#[test]
fn wrong_shapes_are_refused_for_good_with_one_line() {
    for (what, answer) in [
        ("TaskARN", changed(|task| task["TaskARN"] = json!(5))),
        (
            "Containers",
            changed(|task| task["Containers"] = json!("none")),
        ),
        (
            "address",
            changed(|task| {
                task["Containers"][1]["Networks"][0]["IPv4Addresses"] = json!(["10.0.17\n.42"]);
            }),
        ),
        (
            "ServiceName",
            changed(|task| task["ServiceName"] = json!("../up")),
        ),
        (
            "AvailabilityZone",
            changed(|task| task["AvailabilityZone"] = json!("a b")),
        ),
        ("list", read(&json!([1, 2]))),
    ] {
        let error = answer.expect_err(what);
        assert!(
            matches!(error, MetadataError::Shape { .. }),
            "{what}: {error:?}"
        );
        assert!(!error.may_pass(), "{what}");
        assert_eq!(error.to_string().lines().count(), 1, "{error}");
    }
    for arn in [
        "x",
        "arn:aws:ecs:r:1:service/a",
        "arn:aws:ecs:r:1:task/c/",
        "arn:a:task/c/../..",
        "urn:ecs:task/c/abc",
    ] {
        let metadata = changed(|task| task["TaskARN"] = json!(arn)).unwrap();
        assert!(
            matches!(metadata.task_id(), Err(MetadataError::Shape { .. })),
            "{arn}"
        );
    }
}

#[test]
fn every_cut_is_asked_for_again() {
    let whole = sample("10.0.17.42").to_string();
    for end in 0..whole.len() {
        let answer = parse_task_metadata(&whole.as_bytes()[..end]);
        // A cut just after the point of a number is no JSON rather than cut, for serde_json.
        let cut = matches!(
            answer,
            Err(MetadataError::CutOff { .. } | MetadataError::NotJson { line: 1, .. })
        );
        assert!(cut, "the first {end} bytes gave {answer:?}");
    }
    let cut = parse_task_metadata(&whole.as_bytes()[..700]).unwrap_err();
    assert!(
        matches!(cut, MetadataError::CutOff { .. }) && cut.may_pass(),
        "{cut:?}"
    );
    let html = parse_task_metadata(b"<html>").unwrap_err();
    assert!(matches!(html, MetadataError::NotJson { line: 1, .. }) && html.may_pass());
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
        Just(json!("NORMAL")),
        Just(json!("10.0.17.42")),
        Just(json!(ARN)),
    ];
    let key = proptest::sample::select(vec![
        "TaskARN",
        "Containers",
        "Networks",
        "IPv4Addresses",
        "IPv6Addresses",
        "Type",
        "DockerId",
        "ServiceName",
        "Family",
        "Revision",
        "AvailabilityZone",
        "Cluster",
    ]);
    leaf.prop_recursive(5, 48, 6, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map(key.clone().prop_map(str::to_owned), inner, 0..8)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// Whatever was read must end in an address of this machine or in one line.
fn judge(answer: Result<TaskMetadata, MetadataError>) -> Result<(), TestCaseError> {
    let own = machine(&["10.0.17.42"]);
    match answer.and_then(|metadata| from_metadata(&config(&[]), &metadata, &own)) {
        Ok(identity) => {
            prop_assert_eq!(identity.address, own.interfaces[0].address);
            prop_assert!(Name::new(&identity.task).is_some());
        }
        Err(error) => {
            prop_assert!(
                !error.to_string().chars().any(char::is_control),
                "{error:?}"
            );
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn bytes_never_make_it_panic(body in any::<Vec<u8>>()) {
        judge(parse_task_metadata(&body))?;
    }

    #[test]
    fn no_json_makes_it_panic(value in any_json()) {
        judge(read(&value))?;
    }

    #[test]
    fn one_wrong_part_never_gives_a_wrong_address(
        field in 0_usize..64, within in any::<bool>(), value in any_json()
    ) {
        judge(changed(|task| {
            let part = if within { &mut task["Containers"][1] } else { task };
            let mut keys: Vec<_> = part.as_object().unwrap().keys().cloned().collect();
            let key = keys.swap_remove(field % keys.len());
            part[key] = value;
        }))?;
    }

    #[test]
    fn damaged_bytes_never_make_it_panic(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut body = sample("10.0.17.42").to_string().into_bytes();
        let at = at.index(body.len());
        body[at] = byte;
        judge(parse_task_metadata(&body))?;
    }
}

#[test]
fn a_task_is_as_old_as_its_container() {
    let of = |change: &dyn Fn(&mut Value)| changed(change).unwrap().created();
    let millisecond = |text: &str| {
        let at: jiff::Timestamp = text.parse().unwrap();
        u64::try_from(at.as_millisecond()).ok()
    };
    let pulled = millisecond("2026-01-02T03:04:05.678Z");
    assert_eq!(of(&|_| ()), pulled);
    assert_eq!(
        of(&|task| {
            // The supervisor's time is not ours.
            task["Containers"][0]["CreatedAt"] = json!("2026-01-02T03:00:00Z");
            task["Containers"][1]["CreatedAt"] = json!("2026-01-02T03:05:00.25Z");
        }),
        millisecond("2026-01-02T03:05:00.250Z")
    );
    for bad in [
        json!(""),
        json!("yesterday"),
        json!(null),
        json!("1969-01-01T00:00:00"),
    ] {
        assert_eq!(
            of(&|task| task["Containers"][1]["CreatedAt"] = bad.clone()),
            pulled,
            "{bad}"
        );
        assert_eq!(
            of(&|task| task["PullStartedAt"] = bad.clone()),
            None,
            "{bad}"
        );
    }
    assert_eq!(
        of(&|task| task["PullStartedAt"] = json!("1969-01-01T00:00:00Z")),
        None
    );
}
