//! What becomes of a set that another steward began.

use std::time::Duration;

use planner::heal::names::{ShardId, ShardRef};
use planner::heal::view::ClusterView;
use planner::ids::{GenerationId, PeerId};
use planner::keep::ids::SetId;
use planner::keep::records::{Outcome, PartRecord, PlanRecord};
use planner::keep::resume::{FINISH_WITHIN, Loss, Resume, Unfinished, Why, resume};
use planner::observed::Observed;

use crate::sample::{SLOT, cluster, collection, generation, name, parts, planned, set};

struct Scene {
    plan: PlanRecord,
    parts: Vec<PartRecord>,
    view: ClusterView,
    age: Duration,
    newest: SetId,
    generation: GenerationId,
}

impl Scene {
    /// Planned a minute ago, and nothing has come.
    fn new() -> Self {
        Self {
            plan: planned(),
            parts: Vec::new(),
            view: cluster(),
            age: Duration::from_secs(60),
            newest: set(SLOT),
            generation: generation(1),
        }
    }

    fn resume(&self) -> Resume {
        resume(Unfinished {
            plan: &self.plan,
            parts: &self.parts,
            age: self.age,
            newest: self.newest,
            generation: &self.generation,
            view: &self.view,
            limit: FINISH_WITHIN,
        })
    }

    fn gone(&mut self, peer: u64) {
        self.view.peers.remove(&PeerId(peer));
    }
}

fn shard(of: &str, shard: u32) -> ShardRef {
    ShardRef {
        collection: name(of),
        shard: ShardId(shard),
    }
}

#[test]
fn a_recent_plan_whose_sources_hold_is_finished() {
    let mut scene = Scene::new();
    assert_eq!(scene.resume(), Resume::Finish);
    scene.parts = parts(&scene.plan);
    assert_eq!(scene.resume(), Resume::Finish);
    scene.age = FINISH_WITHIN;
    assert_eq!(scene.resume(), Resume::Finish);
}

#[test]
fn what_is_old_overtaken_or_of_another_life_is_given_up() {
    let mut scene = Scene::new();
    scene.age = FINISH_WITHIN + Duration::from_secs(1);
    assert_eq!(
        scene.resume(),
        Resume::GiveUp(Why::TooOld { age: scene.age })
    );
    let mut scene = Scene::new();
    scene.newest = set("20260228T093000Z");
    assert_eq!(
        scene.resume(),
        Resume::GiveUp(Why::Overtaken { by: scene.newest })
    );
    let mut scene = Scene::new();
    scene.generation = generation(2);
    assert_eq!(scene.resume(), Resume::GiveUp(Why::OtherGeneration));
}

#[test]
fn it_goes_on_while_one_collection_can_become_whole() {
    let mut scene = Scene::new();
    scene.gone(2);
    assert_eq!(scene.resume(), Resume::Finish, "notes are with peer 1");
    scene.gone(1);
    let lost = vec![
        (name("articles"), Loss::SourceLost(shard("articles", 0))),
        (name("notes"), Loss::SourceLost(shard("notes", 0))),
    ];
    let given_up = scene.resume();
    assert_eq!(given_up, Resume::GiveUp(Why::NothingLeft(lost)));
    let Resume::GiveUp(why) = given_up else {
        panic!("given up");
    };
    assert!(
        why.to_string()
            .contains("notes: the source of shard 0 is lost"),
        "{why}"
    );
}

#[test]
fn what_was_taken_needs_its_copy_and_not_its_task() {
    let mut scene = Scene::new();
    scene.parts = parts(&scene.plan);
    for peer in scene.view.peers.values_mut() {
        peer.said.ending = true;
    }
    assert_eq!(scene.resume(), Resume::Finish);
    scene.parts.clear();
    assert!(matches!(
        scene.resume(),
        Resume::GiveUp(Why::NothingLeft(_))
    ));
}

#[test]
fn a_failed_part_ends_its_collection() {
    let mut scene = Scene::new();
    scene.parts = parts(&scene.plan);
    for part in &mut scene.parts {
        part.outcome = Outcome::Failed("no space left".to_owned());
    }
    scene.parts.remove(1);
    let Resume::GiveUp(Why::NothingLeft(lost)) = scene.resume() else {
        panic!("given up");
    };
    assert_eq!(lost[0].1, Loss::Failed(shard("articles", 0)));
}

#[test]
fn what_is_not_known_ends_nothing() {
    let mut scene = Scene::new();
    scene.gone(1);
    scene.view.collections = Observed::Unknown("late".to_owned());
    assert_eq!(scene.resume(), Resume::Finish);
    let mut scene = Scene::new();
    scene.gone(1);
    let Observed::Known(all) = &mut scene.view.collections else {
        panic!("known");
    };
    all.insert(name("articles"), Observed::Unknown("late".to_owned()));
    assert_eq!(scene.resume(), Resume::Finish);
    // That a collection is gone is known.
    let Observed::Known(all) = &mut scene.view.collections else {
        panic!("known");
    };
    all.remove(&name("articles"));
    assert!(matches!(
        scene.resume(),
        Resume::GiveUp(Why::NothingLeft(_))
    ));
    let mut scene = Scene::new();
    collection(&mut scene.view, "notes").shards.clear();
    scene.gone(3);
    assert!(matches!(
        scene.resume(),
        Resume::GiveUp(Why::NothingLeft(_))
    ));
}
