//! Sets, manifests and clusters for the tests.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use planner::heal::life::Life;
use planner::heal::names::{CollectionName, ShardId};
use planner::heal::view::{ClusterView, Collection, Copy, CopyState, Peer, Service, Shard};
use planner::ids::{GenerationId, PeerId, TaskId};
use planner::keep::assemble::{End, assemble};
use planner::keep::ids::{SetId, Sha256};
use planner::keep::plan::{Described, Order, plan};
use planner::keep::records::{
    Count, Description, Manifest, Origin, Outcome, PartRecord, PlanRecord, Scope, Sharding, Source,
    Taken,
};
use planner::keep::seen::{Contents, Seen, Standing, State};
use planner::keep::time::Utc;
use planner::observed::Observed;
use planner::records::Said;
use serde_json::json;

pub fn set(text: &str) -> SetId {
    text.parse().unwrap()
}

/// `at("2026-02-28T09:15:00Z")`.
pub fn at(text: &str) -> Utc {
    let basic = text.replace(['-', ':'], "");
    set(&basic).time()
}

pub fn name(text: &str) -> CollectionName {
    text.into()
}

pub fn names(all: &[&str]) -> BTreeSet<CollectionName> {
    all.iter().map(|text| name(text)).collect()
}

pub fn generation(number: u64) -> GenerationId {
    GenerationId {
        number,
        token: "token".into(),
    }
}

pub fn source() -> Source {
    Source {
        cluster: "store".into(),
        generation: generation(1),
        qdrant: "1.19.0".to_owned(),
        image: "0.1.0".to_owned(),
        steward: "task-1".into(),
    }
}

pub fn task(peer: u64) -> TaskId {
    TaskId(format!("task-{peer}"))
}

pub fn copy(bytes: u64) -> Copy {
    Copy {
        state: CopyState::Active,
        bytes: Some(bytes),
        unwell: Duration::ZERO,
    }
}

/// Peers 1 to 3, which all hold the shards 0 and 1 of `articles` and 0 of `notes`.
pub fn cluster() -> ClusterView {
    let peer = |id: u64| Peer {
        life: Life::Alive,
        zone: None,
        voter: true,
        uri: String::new(),
        leaving: false,
        disk: None,
        task: Some(task(id)),
        said: Said::default(),
    };
    let shard = |bytes| Shard {
        key: None,
        copies: (1..=3).map(|id| (PeerId(id), copy(bytes))).collect(),
    };
    let collection = |shards: &[u64]| {
        let shards = (0..).map(ShardId).zip(shards.iter().map(|b| shard(*b)));
        Observed::Known(Collection {
            factor: 3,
            resharding: false,
            shards: shards.collect(),
            transfers: Vec::new(),
        })
    };
    ClusterView {
        us: PeerId(1),
        commits: Observed::Known(true),
        paused: None,
        wanted_tasks: None,
        peers: (1..=3).map(|id| (PeerId(id), peer(id))).collect(),
        age: Duration::ZERO,
        collections: Observed::Known(BTreeMap::from([
            (name("articles"), collection(&[500, 400])),
            (name("notes"), collection(&[30])),
        ])),
        losses: BTreeSet::new(),
        service: Service::default(),
    }
}

pub fn collection<'a>(view: &'a mut ClusterView, of: &str) -> &'a mut Collection {
    let Observed::Known(all) = &mut view.collections else {
        panic!("known");
    };
    let Some(Observed::Known(there)) = all.get_mut(&name(of)) else {
        panic!("known");
    };
    there
}

pub fn description(shards: u32, aliases: &[&str]) -> Description {
    Description {
        config: json!({"params": {"vectors": {"size": 4, "distance": "Cosine"}, "shard_number": shards}}),
        indexes: BTreeMap::from([("lang".to_owned(), json!({"data_type": "keyword"}))]),
        aliases: aliases.iter().map(|text| (*text).to_owned()).collect(),
        sharding: Sharding::Auto,
        keys: BTreeMap::new(),
        shards,
        copies: 3,
    }
}

pub fn described() -> Described {
    BTreeMap::from([
        (name("articles"), Observed::Known(description(2, &["main"]))),
        (name("notes"), Observed::Known(description(1, &[]))),
    ])
}

pub const SLOT: &str = "20260228T091500Z";

pub fn order() -> Order {
    Order {
        set: set(SLOT),
        origin: Origin::Clock,
        asked: None,
        scope: Scope::All,
        source: source(),
        now: at("2026-02-28T09:15:02Z"),
        unfinished: BTreeSet::new(),
        failed_before: BTreeSet::new(),
        shut: BTreeMap::new(),
        deleted: BTreeMap::new(),
    }
}

pub fn planned() -> PlanRecord {
    plan(&order(), &cluster(), &described()).unwrap()
}

/// Every file of a plan, taken without trouble.
pub fn parts(plan: &PlanRecord) -> Vec<PartRecord> {
    let mut parts = Vec::new();
    for collection in &plan.collections {
        for (shard, holder) in &collection.shards {
            parts.push(PartRecord {
                format: 1,
                set: plan.set,
                generation: plan.source.generation.clone(),
                index: collection.index,
                collection: collection.name.clone(),
                shard: *shard,
                holder: holder.clone(),
                outcome: Outcome::Taken(Taken {
                    bytes: 1000,
                    sha256: Sha256([7; 32]),
                    state_before: "Active".to_owned(),
                    state_after: "Active".to_owned(),
                    started: at("2026-02-28T09:15:04Z"),
                    ended: at("2026-02-28T09:15:09Z"),
                    before: Count {
                        points: 10,
                        exact: true,
                    },
                    after: Count {
                        points: 12,
                        exact: true,
                    },
                    samples: None,
                }),
            });
        }
    }
    parts
}

pub fn manifest() -> Manifest {
    let plan = planned();
    let (view, described, source) = (cluster(), described(), source());
    let end = End {
        view: &view,
        described: &described,
        source: &source,
        now: at("2026-02-28T09:15:20Z"),
    };
    assemble(&plan, &parts(&plan), end).unwrap()
}

/// A set by the clock in which all of these are whole.
pub fn seen(id: &str, whole: &[&str]) -> Seen {
    seen_at(set(id), whole)
}

pub fn seen_at(id: SetId, whole: &[&str]) -> Seen {
    let good = Standing {
        whole: true,
        ..Standing::default()
    };
    Seen {
        id,
        state: State::Made(Contents {
            origin: Origin::Clock,
            all: true,
            generation: generation(1),
            collections: whole.iter().map(|text| (name(text), good)).collect(),
            deleted: BTreeMap::new(),
        }),
        pinned: false,
        tombstoned: false,
        restoring: false,
    }
}

pub fn contents(seen: &mut Seen) -> &mut Contents {
    match &mut seen.state {
        State::Made(contents) => contents,
        other => panic!("not made: {other:?}"),
    }
}

pub fn standing<'a>(seen: &'a mut Seen, of: &str) -> &'a mut Standing {
    contents(seen).collections.entry(name(of)).or_default()
}
