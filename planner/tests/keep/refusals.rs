//! What is not believed: every bad record is refused with the reason, and nothing panics.

use planner::heal::names::ShardId;
use planner::keep::ids::CollectionIndex;
use planner::keep::missing::{Lack, Missing};
use planner::keep::read::{Record, read};
use planner::keep::records::{
    Checked, Level, Manifest, Outcome, PartRecord, Pin, PlanRecord, ProofRecord, Scope, Sharding,
    Tombstone,
};
use planner::keep::refusal::{CollectionFault, Fault, Refusal};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::sample::{SLOT, at, manifest, name, parts, planned, set};

fn read_manifest(bytes: &[u8]) -> Result<Manifest, Refusal> {
    read(SLOT, "manifest.json", bytes)
}

/// The fault of the sample once it was changed like this.
fn changed(change: impl FnOnce(&mut Manifest)) -> Fault {
    let mut manifest = manifest();
    change(&mut manifest);
    let bytes = serde_json::to_vec(&manifest).unwrap();
    read_manifest(&bytes).expect_err("refused").fault
}

/// The fault of the sample once its JSON was changed like this.
fn rewritten(change: impl FnOnce(&mut Value)) -> Fault {
    let mut value = serde_json::to_value(manifest()).unwrap();
    change(&mut value);
    let bytes = serde_json::to_vec(&value).unwrap();
    read_manifest(&bytes).expect_err("refused").fault
}

fn of_articles(fault: CollectionFault) -> Fault {
    Fault::Collection(name("articles"), fault)
}

#[test]
fn good_records_are_read_back_as_they_were_written() {
    fn same<R: Record + serde::Serialize + PartialEq + std::fmt::Debug>(record: &R) {
        let bytes = serde_json::to_vec_pretty(record).unwrap();
        let path = record.place();
        assert_eq!(&read::<R>(SLOT, &path, &bytes).unwrap(), record);
    }
    same(&manifest());
    let plan: PlanRecord = planned();
    same(&plan);
    let part: PartRecord = parts(&plan).remove(0);
    same(&part);
    same(&ProofRecord {
        format: 1,
        set: set(SLOT),
        level: Level::L1,
        at: at("2026-03-01T00:00:07Z"),
        task: "task-2".into(),
        qdrant: "1.19.0".to_owned(),
        checked: vec![Checked {
            index: CollectionIndex(0),
            shard: ShardId(1),
            wrong: Some("its hash is another one".to_owned()),
        }],
    });
    same(&Tombstone {
        format: 1,
        set: set(SLOT),
        cluster: "store".into(),
        at: at("2026-03-01T00:00:07Z"),
        task: "task-2".into(),
        why: "newer sets have all that it has".to_owned(),
    });
    same(&Pin {
        format: 1,
        set: set(SLOT),
        at: at("2026-03-01T00:00:07Z"),
        by: "ada".to_owned(),
        why: "before the migration".to_owned(),
    });
}

#[test]
fn a_cut_off_manifest_is_called_cut_off() {
    let bytes = serde_json::to_vec(&manifest()).unwrap();
    for end in 0..bytes.len() {
        let refused = read_manifest(&bytes[..end]).expect_err("cut off");
        assert_eq!(refused.fault, Fault::Truncated, "at {end}");
    }
    assert!(read_manifest(&bytes).is_ok());
}

#[test]
fn a_newer_format_is_called_newer_whatever_else_is_in_it() {
    let bytes = serde_json::to_vec(&json!({"format": 2, "novelty": [1, 2]})).unwrap();
    let refused = read_manifest(&bytes).expect_err("newer");
    assert_eq!(refused.fault, Fault::Newer(2));
    assert_eq!(
        refused.to_string(),
        "sets/20260228T091500Z/manifest.json: its format is 2, and this version reads 1: use a version of the \
         image that reads it"
    );
    assert_eq!(
        rewritten(|all| all["format"] = json!(u64::MAX)),
        Fault::Newer(u64::MAX)
    );
    for none in [json!("1"), json!(null), json!(-1), json!(1.5)] {
        assert_eq!(rewritten(|all| all["format"] = none), Fault::NoFormat);
    }
    assert!(matches!(
        rewritten(|all| all["format"] = json!(0)),
        Fault::Shape(_)
    ));
    for foreign in ["null", "[]", "{}", "7", "\"a\""] {
        let refused = read_manifest(foreign.as_bytes()).expect_err("foreign");
        assert_eq!(refused.fault, Fault::NoFormat, "{foreign}");
    }
    assert!(matches!(
        read_manifest(b"\xff\xfe").expect_err("binary").fault,
        Fault::NotJson(_)
    ));
    assert!(matches!(
        read_manifest(b"{} {}").expect_err("two").fault,
        Fault::NotJson(_)
    ));
    let deep = "[".repeat(100_000);
    assert!(matches!(
        read_manifest(deep.as_bytes()).expect_err("deep").fault,
        Fault::NotJson(_)
    ));
}

#[test]
fn what_is_not_known_or_misspelled_is_refused() {
    let changes: [&dyn Fn(&mut Value); 11] = [
        &|all| all["novelty"] = json!(1),
        &|all| all["collections"][0]["novelty"] = json!(1),
        &|all| all["collections"][0]["files"][0]["novelty"] = json!(1),
        &|all| all["collections"][0]["files"][0]["sha256"] = json!("00FF".repeat(16)),
        &|all| all["collections"][0]["files"][0]["sha256"] = json!("00"),
        &|all| all["collections"][0]["files"][0]["bytes"] = json!(-1),
        &|all| all["collections"][0]["files"][0]["ended"] = json!("2026-02-30T00:00:00Z"),
        &|all| all["collections"][0]["index"] = json!(1_u64 << 40),
        &|all| all["origin"] = json!("moon"),
        &|all| all["set"] = json!("20260229T091500Z"),
        &|all| drop(all.as_object_mut().unwrap().remove("source")),
    ];
    for (at, change) in changes.into_iter().enumerate() {
        assert!(matches!(rewritten(change), Fault::Shape(_)), "change {at}");
    }
    // A key that stands there twice could be read in two ways.
    let text = serde_json::to_string(&manifest()).unwrap();
    let twice = text.replacen("\"origin\":", "\"origin\":\"hand\",\"origin\":", 1);
    assert!(matches!(
        read_manifest(twice.as_bytes()).expect_err("twice").fault,
        Fault::Shape(_)
    ));
}

#[test]
fn a_record_must_lie_where_it_belongs() {
    let bytes = serde_json::to_vec(&manifest()).unwrap();
    let other = read::<Manifest>("20260228T093000Z", "manifest.json", &bytes);
    assert_eq!(
        other.expect_err("other set").fault,
        Fault::OtherSet(set(SLOT))
    );
    for folder in ["", "..", "20260228T091500", "20260228T091500Z.partial"] {
        let refused = read::<Manifest>(folder, "manifest.json", &bytes).expect_err("folder");
        assert_eq!(refused.fault, Fault::Folder);
    }
    let place = read::<Manifest>(SLOT, "plan.json", &bytes).expect_err("place");
    assert_eq!(place.fault, Fault::OtherPlace("manifest.json".to_owned()));
    for path in ["../manifest.json", "c000/s0-1.shard", "notes.txt"] {
        let refused = read::<Manifest>(SLOT, path, &bytes).expect_err("path");
        assert_eq!(refused.fault, Fault::Place, "{path}");
    }
    let part = parts(&planned()).remove(0);
    let bytes = serde_json::to_vec(&part).unwrap();
    let refused = read::<PartRecord>(SLOT, "parts/c000-s9-9.json", &bytes).expect_err("part");
    assert!(matches!(refused.fault, Fault::OtherPlace(_)));
}

#[test]
fn a_file_is_where_the_layout_puts_it() {
    for found in [
        "../20260228T090000Z/c000/s0-2.shard",
        "/etc/passwd",
        "c000/../../secrets",
        "./c000/s0-2.shard",
        "c000//s0-2.shard",
        "c001/s0-2.shard",
        "c000/s1-2.shard",
        "c000/s0-9.shard",
        "C000/s0-2.shard",
        "",
    ] {
        let fault = changed(|all| all.collections[0].files[0].path = found.to_owned());
        assert!(
            matches!(fault, Fault::Path { found: said, .. } if said == found),
            "{found}"
        );
    }
    let twice = changed(|all| {
        let files = &mut all.collections[0].files;
        files.push(files[0].clone());
    });
    assert!(matches!(twice, Fault::Twice(_)));
    let empty = changed(|all| all.collections[0].files[0].bytes = 0);
    assert!(matches!(empty, Fault::NoBytes(_)));
    let shown = Refusal {
        folder: SLOT.to_owned(),
        path: "manifest.json".to_owned(),
        fault: Fault::Path {
            found: "a\nb\u{1b}[2J".to_owned(),
            wanted: "c000/s0-2.shard".to_owned(),
        },
    };
    assert!(
        !shown.to_string().chars().any(char::is_control),
        "one line: {shown}"
    );
}

#[test]
fn every_shard_is_accounted_for() {
    let second = changed(|all| {
        let files = &mut all.collections[0].files;
        let mut other = files[0].clone();
        other.peer = planner::ids::PeerId(9);
        other.path = format!("c000/s{}-9.shard", other.shard);
        files.push(other);
    });
    assert!(matches!(
        second,
        Fault::Collection(_, CollectionFault::SecondFile(_))
    ));
    let short = changed(|all| drop(all.collections[0].files.remove(1)));
    assert!(matches!(
        short,
        Fault::Collection(_, CollectionFault::WholeWithout(_))
    ));
    let more = changed(|all| {
        let description = all.collections[0].description.as_mut().unwrap();
        description.shards = 3;
    });
    assert_eq!(more, of_articles(CollectionFault::WholeWithout(ShardId(2))));
    let fewer = changed(|all| {
        let description = all.collections[0].description.as_mut().unwrap();
        description.shards = 1;
    });
    assert_eq!(
        fewer,
        of_articles(CollectionFault::StrangeShard(ShardId(1)))
    );
    let untrue = changed(|all| all.collections[0].whole = false);
    assert_eq!(untrue, of_articles(CollectionFault::Contradiction));
    let lack = |shard| Missing {
        shard,
        why: Lack::NoSource,
    };
    let untrue = changed(|all| all.collections[0].missing.push(lack(None)));
    assert_eq!(untrue, of_articles(CollectionFault::Contradiction));
    let both = changed(|all| {
        let shard = all.collections[0].files[0].shard;
        all.collections[0].whole = false;
        all.collections[0].missing.push(lack(Some(shard)));
    });
    assert!(matches!(
        both,
        Fault::Collection(_, CollectionFault::ThereAndMissing(_))
    ));
    let neither = changed(|all| {
        let entry = &mut all.collections[0];
        entry.whole = false;
        entry.files.clear();
        entry.missing.push(lack(Some(ShardId(1))));
    });
    assert_eq!(
        neither,
        of_articles(CollectionFault::Unaccounted(ShardId(0)))
    );
    let undescribed = changed(|all| all.collections[0].description = None);
    assert_eq!(undescribed, of_articles(CollectionFault::Undescribed));
}

#[test]
fn numbers_and_keys_of_shards_must_make_sense() {
    for shards in [0, u32::MAX] {
        let fault = changed(|all| {
            let description = all.collections[0].description.as_mut().unwrap();
            description.shards = shards;
        });
        assert_eq!(fault, of_articles(CollectionFault::Keys));
    }
    let custom = changed(|all| {
        let description = all.collections[0].description.as_mut().unwrap();
        description.sharding = Sharding::Custom;
    });
    assert_eq!(custom, of_articles(CollectionFault::Keys));
}

#[test]
fn collections_are_each_there_once() {
    let index = changed(|all| {
        all.collections[1].index = CollectionIndex(0);
    });
    assert_eq!(index, Fault::SameIndex(CollectionIndex(0)));
    let twice = changed(|all| all.collections[1].name = name("articles"));
    assert_eq!(twice, Fault::SameName(name("articles")));
    let alias = changed(|all| {
        let description = all.collections[1].description.as_mut().unwrap();
        description.aliases.insert("main".to_owned());
    });
    assert_eq!(alias, Fault::SameAlias("main".to_owned()));
    let ended = changed(|all| {
        all.deleted.insert(name("notes"), set(SLOT));
    });
    assert_eq!(ended, Fault::Deleted(name("notes")));
    assert_eq!(changed(|all| all.collections.clear()), Fault::Empty);
    let scope = changed(|all| all.scope = Scope::One(name("notes")));
    assert_eq!(scope, Fault::Scope);
}

#[test]
fn plans_and_parts_are_checked_as_well() {
    let fault = |change: &dyn Fn(&mut PlanRecord)| {
        let mut plan = planned();
        change(&mut plan);
        let bytes = serde_json::to_vec(&plan).unwrap();
        read::<PlanRecord>(SLOT, "plan.json", &bytes)
            .expect_err("refused")
            .fault
    };
    let lost = fault(&|plan| drop(plan.collections[0].shards.remove(&ShardId(1))));
    assert_eq!(lost, of_articles(CollectionFault::Unaccounted(ShardId(1))));
    let strange = fault(&|plan| {
        let holder = plan.collections[0].shards[&ShardId(0)].clone();
        plan.collections[0].shards.insert(ShardId(7), holder);
    });
    assert_eq!(
        strange,
        of_articles(CollectionFault::StrangeShard(ShardId(7)))
    );
    let undescribed = fault(&|plan| plan.collections[0].description = None);
    assert_eq!(undescribed, of_articles(CollectionFault::Undescribed));
    assert_eq!(fault(&|plan| plan.collections.clear()), Fault::Empty);

    let mut part = parts(&planned()).remove(0);
    if let Outcome::Taken(taken) = &mut part.outcome {
        taken.bytes = 0;
    }
    let path = part.place();
    let bytes = serde_json::to_vec(&part).unwrap();
    let refused = read::<PartRecord>(SLOT, &path, &bytes).expect_err("refused");
    assert!(matches!(refused.fault, Fault::NoBytes(_)));
}

proptest! {
    /// Whatever is changed in the bytes: it is refused, or still accounts for every shard. No panic.
    #[test]
    fn flipped_bytes_never_break_the_reader(at in any::<prop::sample::Index>(), to in any::<u8>()) {
        let mut bytes = serde_json::to_vec(&manifest()).unwrap();
        let at = at.index(bytes.len());
        bytes[at] = to;
        match read_manifest(&bytes) {
            Ok(manifest) => prop_assert_eq!(manifest.check(), Ok(())),
            Err(refused) => prop_assert!(!refused.to_string().contains(char::is_control)),
        }
    }
}
