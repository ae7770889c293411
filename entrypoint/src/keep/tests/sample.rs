//! Records for the tests.

use std::collections::{BTreeMap, BTreeSet};

use planner::heal::names::ShardId;
use planner::ids::{GenerationId, PeerId, TaskId};
use planner::keep::ids::{CollectionIndex, SetId, Sha256};
use planner::keep::missing::{Lack, Missing};
use planner::keep::records::{
    Checked, CollectionEntry, Count, Description, FORMAT, FileEntry, Holder, Level, Manifest,
    Origin, Outcome, PartRecord, Pin, PlanRecord, PlannedCollection, ProofRecord, Scope, Sharding,
    Source, Taken, Tombstone,
};
use planner::keep::time::Utc;
use serde_json::json;

pub(crate) const SET: &str = "20260228T091500Z";
pub(super) const PEER: PeerId = PeerId(1);

pub(super) fn set(text: &str) -> SetId {
    text.parse().unwrap()
}

pub(super) fn at(text: &str) -> Utc {
    set(text).time()
}

pub(super) fn now() -> Utc {
    at("20260228T091502Z")
}

fn source() -> Source {
    Source {
        cluster: "store".into(),
        generation: generation(),
        qdrant: "1.19.0".to_owned(),
        image: "0.1.0".to_owned(),
        steward: "task-1".into(),
    }
}

fn generation() -> GenerationId {
    GenerationId {
        number: 1,
        token: "token".into(),
    }
}

fn holder() -> Holder {
    Holder {
        peer: PEER,
        task: TaskId("task-1".to_owned()),
    }
}

fn description(shards: u32) -> Description {
    Description {
        config: json!({"params": {"vectors": {"size": 4, "distance": "Cosine"}}}),
        indexes: BTreeMap::new(),
        aliases: BTreeSet::new(),
        sharding: Sharding::Auto,
        keys: BTreeMap::new(),
        shards,
        copies: 1,
    }
}

/// A plan of so many collections of three shards.
pub(super) fn plan(collections: u32) -> PlanRecord {
    let collections = (0..collections).map(|n| PlannedCollection {
        index: CollectionIndex(n),
        name: format!("collection-{n:04}").as_str().into(),
        description: Some(description(3)),
        shards: (0..3).map(|shard| (ShardId(shard), holder())).collect(),
        missing: Vec::new(),
    });
    PlanRecord {
        format: FORMAT,
        set: set(SET),
        origin: Origin::Clock,
        asked: None,
        scope: Scope::All,
        source: source(),
        planned: now(),
        collections: collections.collect(),
        deleted: BTreeMap::new(),
    }
}

/// The same at another second: another task's.
pub(super) fn other_plan(second: u64) -> PlanRecord {
    let later = std::time::Duration::from_secs(second);
    PlanRecord {
        planned: now().plus(later),
        ..plan(1)
    }
}

const COUNT: Count = Count {
    points: 10,
    exact: true,
};

pub(super) fn part(shard: u32, bytes: u64) -> PartRecord {
    PartRecord {
        format: FORMAT,
        set: set(SET),
        generation: generation(),
        index: CollectionIndex(0),
        collection: "collection-0000".into(),
        shard: ShardId(shard),
        holder: holder(),
        outcome: Outcome::Taken(Taken {
            bytes,
            sha256: Sha256([7; 32]),
            state_before: "Active".to_owned(),
            state_after: "Active".to_owned(),
            started: now(),
            ended: now(),
            before: COUNT,
            after: COUNT,
            samples: None,
        }),
    }
}

pub(crate) fn manifest() -> Manifest {
    let file = FileEntry {
        path: "c000/s0-1.shard".to_owned(),
        bytes: 1000,
        sha256: Sha256([7; 32]),
        shard: ShardId(0),
        peer: PEER,
        task: holder().task,
        started: now(),
        ended: now(),
        before: COUNT,
        after: COUNT,
    };
    Manifest {
        format: FORMAT,
        set: set(SET),
        origin: Origin::Clock,
        asked: None,
        scope: Scope::All,
        source: source(),
        started: now(),
        ended: now(),
        collections: vec![CollectionEntry {
            index: CollectionIndex(0),
            name: "collection-0000".into(),
            whole: false,
            missing: vec![Missing {
                shard: Some(ShardId(1)),
                why: Lack::NoSource,
            }],
            description: Some(description(2)),
            files: vec![file],
        }],
        deleted: BTreeMap::new(),
    }
}

pub(super) fn proof(level: Level, time: Utc) -> ProofRecord {
    ProofRecord {
        format: FORMAT,
        set: set(SET),
        level,
        at: time,
        task: holder().task,
        qdrant: "1.19.0".to_owned(),
        checked: vec![Checked {
            index: CollectionIndex(0),
            shard: ShardId(0),
            wrong: None,
        }],
    }
}

pub(super) fn tombstone() -> Tombstone {
    Tombstone {
        format: FORMAT,
        set: set(SET),
        cluster: "store".into(),
        at: now(),
        task: holder().task,
        why: "retention".to_owned(),
    }
}

pub(super) fn pin(by: &str) -> Pin {
    Pin {
        format: FORMAT,
        set: set(SET),
        at: now(),
        by: by.to_owned(),
        why: "a test".to_owned(),
    }
}
