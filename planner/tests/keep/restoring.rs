//! What a restore does next, what it may delete, and when a collection is restored.

use std::collections::{BTreeMap, BTreeSet};

use planner::heal::life::Life;
use planner::heal::names::{CollectionName, ShardId};
use planner::heal::view::{ClusterView, CopyState, Transfer};
use planner::ids::PeerId;
use planner::keep::records::ShardKey;
use planner::keep::restore::{
    self, Agreement, Keep, Next, TRIES, agree, begun, cleared, done, empty, failed, finished,
    gathered, is_all_there_will_be, keys_in_order, lost, may_delete, next, placed, undone,
};
use planner::observed::Observed;
use planner::records::{Progress, Restore};

use crate::sample::{SLOT, cluster, collection, generation, manifest, name, set};

fn record() -> Restore {
    begun(&empty(generation(2)), &manifest())
}

fn collections(of: &Restore) -> Vec<(&str, &Progress)> {
    of.collections
        .iter()
        .map(|(name, at)| (name.0.as_str(), at))
        .collect()
}

#[test]
fn a_restore_goes_from_its_choice_through_every_collection_to_its_end() {
    let record = empty(generation(2));
    assert_eq!(next(&record), Next::Choose);
    let record = begun(&record, &manifest());
    let mut steps = Vec::new();
    let mut now = record;
    loop {
        now = match next(&now) {
            Next::Collection(of, name) => {
                assert_eq!(of, set(SLOT));
                steps.push(name.0.clone());
                done(&now, &name, "any")
            }
            Next::Finish(of) => {
                assert_eq!(of, Some(set(SLOT)));
                finished(&now)
            }
            Next::Finished => break,
            other => panic!("{other:?}"),
        };
    }
    assert_eq!(steps, ["articles", "notes"]);
    assert!(now.finished);
}

#[test]
fn what_is_not_whole_in_the_set_is_not_restored() {
    let mut there = manifest();
    there.collections[1].whole = false;
    let record = begun(&empty(generation(2)), &there);
    assert_eq!(collections(&record), [("articles", &Progress::Pending)]);
}

#[test]
fn a_set_that_fails_again_gives_way_and_takes_back_what_came_of_it() {
    let first = done(&record(), &name("articles"), "a");
    let (again, given_up) = failed(&first, set(SLOT));
    assert!(!given_up);
    assert_eq!((again.set, again.tries), (Some(set(SLOT)), 1));
    // What was restored stands: only the failed one is made again.
    assert_eq!(next(&again), Next::Collection(set(SLOT), name("notes")));
    let (over, given_up) = failed(&again, set(SLOT));
    assert!(given_up && TRIES == 2);
    assert_eq!(over.given_up, BTreeSet::from([set(SLOT)]));
    assert_eq!(next(&over), Next::Choose);
    // An older set without notes: what there is of them goes before anything is made.
    let mut older = manifest();
    older.set = set("20260228T090000Z");
    older
        .collections
        .retain(|there| there.name == name("articles"));
    let next_one = begun(&over, &older);
    assert_eq!(next_one.tries, 0);
    let Next::Clear(names) = next(&next_one) else {
        panic!("{:?}", next(&next_one));
    };
    assert_eq!(
        (next_one.set, &names),
        (Some(older.set), &vec![name("notes")])
    );
    let next_one = cleared(&next_one, &names);
    assert_eq!(collections(&next_one), [("articles", &Progress::Pending)]);
}

#[test]
fn a_set_that_is_wrong_before_it_is_chosen_is_not_chosen_again() {
    let nothing = empty(generation(2));
    let (record, given_up) = failed(&nothing, set(SLOT));
    assert!(given_up);
    assert_eq!(record.given_up, BTreeSet::from([set(SLOT)]));
    assert_eq!((record.tries, next(&record)), (0, Next::Choose));
}

fn of((collection, uuid): (&str, &str)) -> (CollectionName, String) {
    (name(collection), uuid.to_owned())
}

#[test]
fn what_was_restored_and_is_lost_again_before_the_end_is_made_again() {
    let all = done(
        &done(&record(), &name("articles"), "a"),
        &name("notes"),
        "n",
    );
    let all_there = BTreeMap::from([("articles", "a"), ("notes", "n")].map(of));
    assert_eq!(lost(&cluster(), &all_there, &all), Ok(Vec::new()));
    // Somebody has made it anew under the same name: nobody has compared that one.
    let anew = BTreeMap::from([("articles", "a"), ("notes", "another")].map(of));
    assert_eq!(lost(&cluster(), &anew, &all), Ok(vec![name("notes")]));
    let mut view = cluster();
    for copy in collection(&mut view, "notes")
        .shards
        .get_mut(&ShardId(0))
        .unwrap()
        .copies
        .values_mut()
    {
        copy.state = CopyState::Other("Dead".to_owned());
    }
    assert_eq!(lost(&view, &all_there, &all), Ok(vec![name("notes")]));
    let again = undone(&all, &[name("notes")]);
    assert_eq!(next(&again), Next::Collection(set(SLOT), name("notes")));
    let Observed::Known(there) = &mut view.collections else {
        panic!("known");
    };
    there.remove(&name("articles"));
    assert_eq!(
        lost(&view, &all_there, &all),
        Ok(vec![name("articles"), name("notes")])
    );
    view.collections = Observed::Unknown("no answer".to_owned());
    lost(&view, &all_there, &all).unwrap_err();
}

#[test]
fn only_what_the_restore_made_and_has_not_finished_may_be_deleted() {
    let ours = generation(2);
    let record = record();
    let may = |record: &Restore, of: &str| may_delete(record, &ours, &name(of));
    assert_eq!(may(&record, "articles"), Ok(()));
    assert_eq!(may(&record, "somebody's"), Err(Keep::NotOurs));
    let one_done = done(&record, &name("articles"), "a");
    assert_eq!(may(&one_done, "articles"), Err(Keep::Done));
    assert_eq!(may(&finished(&record), "articles"), Err(Keep::Finished));
    let other = may_delete(&record, &generation(3), &name("articles"));
    assert_eq!(other, Err(Keep::Generation));
}

#[test]
fn nothing_is_made_before_all_wanted_tasks_are_here_or_have_been_waited_for() {
    let mut view = cluster();
    view.wanted_tasks = Some(4);
    assert!(
        gathered(&view, true).is_err(),
        "the formation is not complete"
    );
    view.service.complete = true;
    let why = gathered(&view, false).unwrap_err();
    assert_eq!(why, "3 of 4 tasks are here");
    assert_eq!(gathered(&view, true), Ok(()));
    view.wanted_tasks = Some(3);
    assert_eq!(gathered(&view, false), Ok(()));
    view.peers.get_mut(&PeerId(2)).unwrap().said.ending = true;
    gathered(&view, false).unwrap_err();
}

#[test]
fn a_service_that_was_made_smaller_is_complete_with_the_tasks_that_are_wanted() {
    let mut view = cluster();
    let with = |view: &mut ClusterView, wanted| {
        view.wanted_tasks = wanted;
        is_all_there_will_be(view)
    };
    assert!(
        !with(&mut view, Some(3)),
        "a configuration says so, not ECS"
    );
    view.service.told = true;
    assert!(with(&mut view, Some(3)));
    assert!(!with(&mut view, Some(4)), "one is on its way");
    assert!(!with(&mut view, None), "nobody says how many are wanted");
    assert!(!with(&mut view, Some(0)), "it is being ended");
    view.service.complete = true;
    assert!(!with(&mut view, Some(3)), "nothing is left to say");
    view.service.complete = false;
    view.peers.get_mut(&PeerId(2)).unwrap().said.ending = true;
    assert!(!with(&mut view, Some(3)), "one is being stopped");
}

#[test]
fn a_restore_goes_on_in_the_generation_that_a_requorum_made_of_its_own() {
    let of = |number| restore::ours(Some(record()), &generation(number));
    assert_eq!(of(2), Ok(record()));
    let later = of(3).unwrap();
    assert_eq!(later.generation, generation(3));
    assert_eq!(later.collections, record().collections);
    let refused = of(1).unwrap_err();
    assert!(refused.contains("ours is"), "{refused}");
    assert_eq!(
        restore::ours(None, &generation(2)),
        Ok(empty(generation(2)))
    );
}

#[test]
fn copies_are_placed_when_all_are_active_on_living_peers_and_nothing_moves() {
    let there = manifest();
    let entry = &there.collections[0];
    let articles: CollectionName = name("articles");
    let holders = placed(&cluster(), &articles, entry).unwrap();
    let all: BTreeSet<PeerId> = (1..=3).map(PeerId).collect();
    assert_eq!(
        holders,
        BTreeMap::from([(ShardId(0), all.clone()), (ShardId(1), all)])
    );

    let refused = |change: &dyn Fn(&mut planner::heal::view::ClusterView), why: &str| {
        let mut view = cluster();
        change(&mut view);
        let refused = placed(&view, &articles, entry).unwrap_err();
        assert!(refused.contains(why), "{refused}");
    };
    refused(
        &|view| view.collections = Observed::Unknown("no answer".to_owned()),
        "no answer",
    );
    refused(
        &|view| {
            let Observed::Known(all) = &mut view.collections else {
                panic!("known");
            };
            all.remove(&name("articles"));
        },
        "not there",
    );
    refused(
        &|view| {
            let there = collection(view, "articles");
            let shard = there.shards.get_mut(&ShardId(1)).unwrap();
            shard.copies.get_mut(&PeerId(2)).unwrap().state = CopyState::Other("Partial".into());
        },
        "shard 1 on peer 2",
    );
    refused(
        &|view| {
            let there = collection(view, "articles");
            there
                .shards
                .get_mut(&ShardId(0))
                .unwrap()
                .copies
                .remove(&PeerId(3));
        },
        "shard 0 has 2 of 3 copies",
    );
    refused(
        &|view| {
            let since = std::time::Duration::from_secs(1);
            view.peers.get_mut(&PeerId(3)).unwrap().life = Life::Unsure {
                why: planner::heal::life::Doubt::TooSoon,
                lasted: since,
            };
        },
        "silent",
    );
    refused(
        &|view| {
            let there = collection(view, "articles");
            there.shards.remove(&ShardId(1));
        },
        "it has the shards 0, the set has 0, 1",
    );
    refused(
        &|view| {
            collection(view, "articles").transfers.push(Transfer {
                shard: ShardId(0),
                from: PeerId(1),
                to: PeerId(2),
                sync: true,
                stalled: std::time::Duration::ZERO,
            });
        },
        "under way",
    );
}

#[test]
fn a_shard_is_restored_when_every_copy_counts_the_same() {
    let there = manifest();
    // Counted as 10 before and 12 after.
    let file = &there.collections[0].files[0];
    let counts = |all: [u64; 3]| (1..).map(PeerId).zip(all).collect::<BTreeMap<_, _>>();
    for between in [10, 11, 12] {
        assert_eq!(agree(file, &counts([between; 3])), Ok(Agreement::Agrees));
    }
    let more = Agreement::Differs { restored: 13 };
    assert_eq!(agree(file, &counts([13; 3])), Ok(more));
    // One point, deleted before the cut, and another one written after it.
    let mut one = file.clone();
    (one.before.points, one.after.points) = (1, 1);
    let none = Agreement::Differs { restored: 0 };
    assert_eq!(agree(&one, &counts([0; 3])), Ok(none));
    let differ = agree(file, &counts([11, 11, 0])).unwrap_err().to_string();
    assert!(differ.contains("peer 3 has 0 points"), "{differ}");
    assert_eq!(
        agree(file, &BTreeMap::new()).unwrap_err().to_string(),
        "there is no copy"
    );
}

#[test]
fn keys_are_made_in_the_order_of_their_shards_and_gaps_are_filled_for_a_while() {
    let word = |text: &str| ShardKey::Word(text.to_owned());
    let had = |all: &[(u32, &ShardKey)]| {
        let all = all.iter().map(|(id, key)| (ShardId(*id), (*key).clone()));
        all.collect::<BTreeMap<_, _>>()
    };
    let (eu, us, seven) = (word("eu"), word("us"), ShardKey::Number(7));
    let shown = |had: &BTreeMap<ShardId, ShardKey>| {
        let order = keys_in_order(had).unwrap();
        let shown = order
            .into_iter()
            .map(|new| (new.key, new.shards, new.filler));
        shown.collect::<Vec<_>>()
    };
    assert_eq!(
        shown(&had(&[(1, &us), (2, &us), (3, &eu)])),
        [(us.clone(), 2, false), (eu.clone(), 1, false)]
    );
    let filler = |text: &str, shards| (word(text), shards, true);
    let gaps = had(&[(3, &eu), (4, &eu), (7, &seven)]);
    assert_eq!(
        shown(&gaps),
        [
            filler("entrypoint-filler-1", 2),
            (eu.clone(), 2, false),
            filler("entrypoint-filler-5", 2),
            (seven.clone(), 1, false),
        ]
    );
    let taken = word("entrypoint-filler-1");
    let clash = had(&[(2, &taken)]);
    assert_eq!(
        shown(&clash),
        [filler("entrypoint-filler-1-", 1), (taken.clone(), 1, false)]
    );
    assert_eq!(
        keys_in_order(&had(&[(1, &eu), (2, &us), (3, &eu)])),
        Err(eu)
    );
    assert_eq!(keys_in_order(&had(&[(0, &us)])), Err(us));
    assert_eq!(keys_in_order(&had(&[])), Ok(Vec::new()));
}
