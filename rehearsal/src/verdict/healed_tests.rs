//! Tests of [`super::healed`]: a healed cluster of six, and everything that can be wrong with it.

use std::collections::BTreeMap;

use super::healed::{Wanted, spread, voters, whole};
use crate::observe::copies::{Collection, Copy, Holder, Look, Transfer};
use crate::observe::sample::Raft;

type Layout<'a> = &'a [(u32, &'a [u64])];

fn wanted(shards: usize, copies: usize) -> BTreeMap<String, Wanted> {
    [("c".to_owned(), Wanted { shards, copies })].into()
}

/// Tasks 1, 2, … in these zones, each its own peer, and collection `c` laid out like this.
fn look(zones: &str, layout: Layout<'_>) -> Look {
    let count = zones.len() as u64;
    let peers: BTreeMap<u64, String> = (1..=count).map(|peer| (peer, String::new())).collect();
    let holder = |(at, zone): (usize, char)| {
        let me = at as u64 + 1;
        let copy = |peer: u64| Copy {
            state: "Active".into(),
            points: (peer == me).then_some(10),
        };
        let shards = layout
            .iter()
            .map(|(shard, on)| (*shard, on.iter().map(|peer| (*peer, copy(*peer))).collect()))
            .collect();
        let collection = Collection {
            shards,
            ..Collection::default()
        };
        Holder {
            task: at + 1,
            address: format!("127.64.16.{me}"),
            zone: zone.to_string(),
            paused: false,
            raft: Some(Raft {
                peer_id: me,
                peers: peers.clone(),
                is_voter: true,
                ..Raft::default()
            }),
            collections: Some([("c".to_owned(), collection)].into()),
        }
    };
    let holders = zones.chars().enumerate().map(holder).collect();
    Look { at: 0.0, holders }
}

const SIX: Layout<'_> = &[(0, &[1, 2, 3]), (1, &[4, 5, 6])];

fn collection(look: &mut Look, at: usize) -> &mut Collection {
    let collections = look.holders[at].collections.as_mut().unwrap();
    collections.get_mut("c").unwrap()
}

#[test]
fn six_tasks_in_three_zones_with_one_copy_each_are_healed() {
    let (six, wanted) = (look("abcabc", SIX), wanted(2, 3));
    assert_eq!(voters(&six), Ok(()));
    assert_eq!(whole(&six, &wanted), Ok(()));
    assert_eq!(spread(&six, &wanted), Ok(()));
}

#[test]
fn a_dead_a_silent_or_a_missing_voter_is_seen() {
    let mut six = look("abcabc", SIX);
    let books = |six: &mut Look, change: fn(&mut BTreeMap<u64, String>)| {
        for holder in &mut six.holders {
            change(&mut holder.raft.as_mut().unwrap().peers);
        }
    };
    books(&mut six, |peers| drop(peers.insert(9, String::new())));
    assert!(voters(&six).unwrap_err().contains("lists peer 9"));
    books(&mut six, |peers| drop((peers.remove(&9), peers.remove(&2))));
    assert!(voters(&six).unwrap_err().contains("does not list peer 2"));
    books(&mut six, |peers| drop(peers.insert(2, String::new())));
    assert_eq!(voters(&six), Ok(()));
    six.holders[3].raft.as_mut().unwrap().is_voter = false;
    assert!(voters(&six).unwrap_err().contains("t4 does not vote"));
    six.holders[3].raft = None;
    assert!(voters(&six).unwrap_err().contains("t4 does not answer"));
}

#[test]
fn copies_are_counted_on_live_tasks_and_only_when_active() {
    let wanted = wanted(2, 3);
    let short = look("abcabc", &[(0, &[1, 2]), (1, &[4, 5, 6])]);
    let why = whole(&short, &wanted).unwrap_err();
    assert_eq!(why, "c/0 has 2 of 3 copies");
    let dead = look("abcabc", &[(0, &[1, 2, 9]), (1, &[4, 5, 6])]);
    assert!(whole(&dead, &wanted).unwrap_err().contains("dead peer 9"));
    let many = look("abcabc", &[(0, &[1, 2, 3, 4]), (1, &[4, 5, 6])]);
    assert!(whole(&many, &wanted).unwrap_err().contains("4 of 3 copies"));
    let lost = look("abcabc", &[(0, &[1, 2, 3])]);
    assert!(whole(&lost, &wanted).unwrap_err().contains("1 of 2 shards"));
    // One task that has not heard of it yet is enough.
    let mut late = look("abcabc", SIX);
    let copy = collection(&mut late, 5).shards.get_mut(&0).unwrap();
    copy.get_mut(&1).unwrap().state = "Recovery".into();
    let why = whole(&late, &wanted).unwrap_err();
    assert!(why.contains("peer 1 is Recovery for t6"), "{why}");
    let mut moving = look("abcabc", SIX);
    let (shard, from, to) = (0, 1, 4);
    collection(&mut moving, 0).transfers.insert(Transfer {
        shard,
        from,
        to,
        keeps: true,
    });
    assert!(whole(&moving, &wanted).unwrap_err().contains("on its way"));
}

#[test]
fn fewer_tasks_than_copies_need_fewer_copies() {
    let two = look("ab", &[(0, &[1, 2])]);
    assert_eq!(whole(&two, &wanted(1, 3)), Ok(()));
    let one = look("ab", &[(0, &[1])]);
    assert!(whole(&one, &wanted(1, 3)).is_err());
}

#[test]
fn two_copies_in_one_zone_are_a_crowd_where_another_zone_has_room() {
    let crowded = look("abcabc", &[(0, &[1, 4, 2]), (1, &[3, 5, 6])]);
    let why = spread(&crowded, &wanted(2, 3)).unwrap_err();
    assert!(why.contains("2 copies in zone a, 0 in c"), "{why}");
    // Two zones, three copies: two and one is as even as can be, three and none is not.
    assert_eq!(
        spread(&look("aaabbb", &[(0, &[1, 2, 4])]), &wanted(1, 3)),
        Ok(())
    );
    assert!(spread(&look("aaabbb", &[(0, &[1, 2, 3])]), &wanted(1, 3)).is_err());
    // A zone whose only task has a copy already can take no more.
    assert_eq!(
        spread(&look("aaab", &[(0, &[1, 2, 3, 4])]), &wanted(1, 4)),
        Ok(())
    );
}

#[test]
fn two_copies_on_one_task_are_too_many_where_its_neighbour_has_none() {
    let uneven = look("abcabc", &[(0, &[1, 2, 3]), (1, &[1, 5, 6])]);
    let why = spread(&uneven, &wanted(2, 3)).unwrap_err();
    assert_eq!(why, "c: in zone a one task has 2 copies, one 0");
}
