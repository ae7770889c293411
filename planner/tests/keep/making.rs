//! From a plan and its parts to the manifest.

use planner::heal::names::ShardId;
use planner::heal::view::{ClusterView, CopyState};
use planner::ids::PeerId;
use planner::keep::assemble::{End, NoManifest, assemble, outstanding};
use planner::keep::missing::{Lack, Missing, When};
use planner::keep::plan::Described;
use planner::keep::read::{Record, read};
use planner::keep::records::{Manifest, Outcome, PartRecord, PlanRecord, Taken};
use planner::observed::Observed;
use serde_json::json;

use crate::sample::{
    SLOT, at, cluster, collection, described, generation, manifest, name, parts, planned, set,
    source,
};

struct Scene {
    plan: PlanRecord,
    parts: Vec<PartRecord>,
    view: ClusterView,
    described: Described,
}

impl Scene {
    fn new() -> Self {
        let plan = planned();
        Self {
            parts: parts(&plan),
            plan,
            view: cluster(),
            described: described(),
        }
    }

    fn assemble(&self) -> Result<Manifest, NoManifest> {
        let end = End {
            view: &self.view,
            described: &self.described,
            source: &source(),
            now: at("2026-02-28T09:15:20Z"),
        };
        let manifest = assemble(&self.plan, &self.parts, end)?;
        // Whatever comes out can be read back.
        let bytes = serde_json::to_vec(&manifest).unwrap();
        let again: Manifest = read(SLOT, "manifest.json", &bytes).unwrap();
        assert_eq!(again, manifest);
        Ok(manifest)
    }

    /// Why `articles` is not whole; `notes` is.
    fn lack(&self) -> Vec<Missing> {
        let manifest = self.assemble().unwrap();
        let [articles, notes] = &manifest.collections[..] else {
            panic!("two collections");
        };
        assert!(notes.whole && !articles.whole);
        articles.missing.clone()
    }

    fn taken(&mut self) -> &mut Taken {
        match &mut self.parts[0].outcome {
            Outcome::Taken(taken) => taken,
            Outcome::Failed(why) => panic!("{why}"),
        }
    }
}

fn of_shard(why: Lack) -> Vec<Missing> {
    let shard = Some(ShardId(0));
    vec![Missing { shard, why }]
}

fn of_all(why: Lack) -> Vec<Missing> {
    vec![Missing { shard: None, why }]
}

const PEER: PeerId = PeerId(2);

#[test]
fn all_parts_make_every_collection_whole() {
    let manifest = manifest();
    assert!(manifest.collections.iter().all(|there| there.whole));
    assert_eq!(manifest.check(), Ok(()));
    let files: Vec<_> = manifest
        .collections
        .iter()
        .flat_map(|there| &there.files)
        .map(|file| file.path.as_str())
        .collect();
    assert_eq!(
        files,
        ["c000/s0-2.shard", "c000/s1-3.shard", "c001/s0-1.shard"]
    );
    assert_eq!(manifest.started, at("2026-02-28T09:15:02Z"));
}

#[test]
fn what_has_not_come_is_missing() {
    let mut scene = Scene::new();
    assert!(outstanding(&scene.plan, &scene.parts).is_empty());
    scene.parts.remove(0);
    let open = outstanding(&scene.plan, &scene.parts);
    assert_eq!(open.len(), 1);
    assert_eq!(open[0].2.peer, PEER);
    assert_eq!(scene.lack(), of_shard(Lack::NotDelivered { peer: PEER }));
}

#[test]
fn a_failure_concerns_its_own_collection_alone() {
    let mut scene = Scene::new();
    let why = "the archive ends in the middle".to_owned();
    scene.parts[0].outcome = Outcome::Failed(why.clone());
    assert_eq!(scene.lack(), of_shard(Lack::Failed { peer: PEER, why }));
    let manifest = scene.assemble().unwrap();
    assert_eq!(
        manifest.collections[0].files.len(),
        1,
        "the other shard is there"
    );
}

#[test]
fn a_copy_must_be_active_all_the_time() {
    let not_active = |when, state: Option<&str>| {
        of_shard(Lack::NotActive {
            peer: PEER,
            when,
            state: state.map(str::to_owned),
        })
    };
    let mut scene = Scene::new();
    scene.taken().state_before = "Partial".to_owned();
    assert_eq!(scene.lack(), not_active(When::Before, Some("Partial")));

    let mut scene = Scene::new();
    scene.taken().state_after = "Dead".to_owned();
    assert_eq!(scene.lack(), not_active(When::After, Some("Dead")));

    let mut scene = Scene::new();
    let shards = &mut collection(&mut scene.view, "articles").shards;
    let copies = &mut shards.get_mut(&ShardId(0)).unwrap().copies;
    copies.get_mut(&PEER).unwrap().state = CopyState::Other("Dead".to_owned());
    assert_eq!(scene.lack(), not_active(When::AtTheEnd, Some("Dead")));

    let mut scene = Scene::new();
    let shards = &mut collection(&mut scene.view, "articles").shards;
    shards.get_mut(&ShardId(0)).unwrap().copies.remove(&PEER);
    assert_eq!(scene.lack(), not_active(When::AtTheEnd, None));

    // Its task may end: the copy was taken.
    let mut scene = Scene::new();
    scene.view.peers.get_mut(&PEER).unwrap().said.ending = true;
    assert!(scene.assemble().unwrap().collections[0].whole);
}

#[test]
fn parts_of_something_else_do_not_count() {
    let stray = |change: &dyn Fn(&mut PartRecord)| {
        let mut scene = Scene::new();
        change(&mut scene.parts[0]);
        let lack = scene.lack();
        assert!(matches!(lack[0].why, Lack::Stray { .. }), "{lack:?}");
    };
    stray(&|part| part.set = set("20260228T090000Z"));
    stray(&|part| part.generation = generation(2));
    stray(&|part| part.collection = name("notes"));
    // The peer's id is the plan's, its task is not: whoever that is was not asked.
    let mut scene = Scene::new();
    scene.parts[0].holder.task = "task-9".into();
    assert_eq!(scene.lack(), of_shard(Lack::NotDelivered { peer: PEER }));
}

#[test]
fn a_collection_that_changed_is_not_whole() {
    let change = |change: &dyn Fn(&mut planner::keep::records::Description)| {
        let mut scene = Scene::new();
        let Some(Observed::Known(there)) = scene.described.get_mut(&name("articles")) else {
            panic!("known");
        };
        change(there);
        scene
    };
    let changed = change(&|there| there.config["params"]["vectors"]["size"] = json!(8));
    assert_eq!(changed.lack(), of_all(Lack::Changed));
    assert!(changed.assemble().unwrap().collections[0].files.is_empty());
    assert_eq!(
        change(&|there| there.shards = 3).lack(),
        of_all(Lack::Changed)
    );
    let harmless = change(&|there| {
        there.aliases.clear();
        there.config["optimizer_config"] = json!({"flush_interval_sec": 1});
    });
    assert_eq!(harmless.assemble().unwrap(), manifest());

    let mut scene = Scene::new();
    collection(&mut scene.view, "articles").resharding = true;
    assert_eq!(scene.lack(), of_all(Lack::Resharding));
    let mut scene = Scene::new();
    scene.described.remove(&name("articles"));
    assert!(matches!(scene.lack()[0].why, Lack::Unread(_)));
}

#[test]
fn a_collection_that_was_deleted_meanwhile_is_on_record_as_deleted() {
    let mut scene = Scene::new();
    let Observed::Known(all) = &mut scene.view.collections else {
        panic!("known");
    };
    all.remove(&name("articles"));
    let manifest = scene.assemble().unwrap();
    assert_eq!(manifest.collections.len(), 1);
    assert_eq!(manifest.deleted[&name("articles")], set(SLOT));

    scene.view.collections = Observed::Known(std::collections::BTreeMap::new());
    assert_eq!(scene.assemble(), Err(NoManifest::Empty));
    scene.view.collections = Observed::Unknown("late".to_owned());
    assert_eq!(scene.assemble(), Err(NoManifest::Unread("late".to_owned())));
}

#[test]
fn a_set_in_which_nothing_is_whole_is_none() {
    let mut scene = Scene::new();
    scene.parts.clear();
    let refused = scene.assemble().expect_err("nothing");
    assert!(matches!(&refused, NoManifest::NothingWhole(all) if all.len() == 2));
    let text = refused.to_string();
    assert!(
        text.contains("articles: shard 0: peer 2 did not deliver it"),
        "{text}"
    );
    let mut scene = Scene::new();
    scene.plan.source.generation = generation(2);
    assert_eq!(scene.assemble(), Err(NoManifest::OtherGeneration));
}
