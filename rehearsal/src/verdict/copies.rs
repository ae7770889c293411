//! What our actions must never do to copies, judged on every look.
//! Owns: what was seen last and what a scenario harmed. Must not: ask, or judge rest.

use std::collections::{BTreeMap, BTreeSet};

use super::Failure;
use crate::observe::copies::{Collection, Holder, Look, Transfer};

/// The task that says so, the collection, the shard.
type Place = (usize, String, u32);

/// For so many seconds the source of a move may be gone before its target is Active: a node applies
/// the end of a move in steps, and shows them.
const APPLYING: f64 = 5.0;

/// Judges one look after the other.
///
/// Every task's own view is followed by itself: it moves along the log and never back, while the
/// views of two tasks at one moment may be apart.
#[derive(Debug, Default)]
pub struct Watch {
    /// The peer of each task that ever answered.
    peers: BTreeMap<usize, u64>,
    /// Peers whose task is harmed now, also those that it was before it began anew.
    harmed: BTreeSet<u64>,
    /// The same by task.
    hurt: BTreeMap<usize, BTreeSet<u64>>,
    /// Tasks that voted at the last look. One that joins works through the whole log first, and
    /// shows what was long ago.
    voting: BTreeSet<usize>,
    /// Active copies by place.
    active: BTreeMap<Place, BTreeSet<u64>>,
    /// Listed copies by place, whatever their state.
    listed: BTreeMap<Place, BTreeSet<u64>>,
    /// Moves on their way or just over, and when they were last seen.
    moves: BTreeMap<Place, BTreeMap<Transfer, f64>>,
    /// Sources that are gone, by place and target of the move, and since when.
    owed: BTreeMap<(Place, u64), (u64, f64)>,
    /// Transfers that we began, by task, as last seen.
    ours: BTreeMap<usize, BTreeSet<(String, Transfer)>>,
    /// Copies on living tasks that Qdrant itself took out of service because a write failed there.
    pub deactivated: usize,
}

impl Watch {
    /// Judges a look; `harmed` are the tasks that the scenario has killed or paused, until that
    /// is healed.
    pub fn look(&mut self, look: &Look, harmed: &BTreeSet<usize>) -> Vec<Failure> {
        let answered = look.holders.iter();
        let answered = answered.filter_map(|holder| Some((holder.task, holder.peer()?)));
        self.hurt.retain(|task, _| harmed.contains(task));
        self.note_hurt(harmed);
        self.peers.extend(answered);
        self.note_hurt(harmed);
        self.harmed = self.hurt.values().flatten().copied().collect();
        let voting: BTreeSet<usize> = look.live().filter(|h| h.votes()).map(|h| h.task).collect();
        let before = std::mem::replace(&mut self.voting, voting);
        let mut failures = Vec::new();
        for holder in look.live().filter(|holder| before.contains(&holder.task)) {
            let Some(collections) = &holder.collections else {
                continue;
            };
            failures.extend(self.one_at_a_time(holder, collections));
            for (name, collection) in collections {
                failures.extend(self.never_fewer(look.at, holder.task, name, collection));
            }
        }
        failures
    }

    fn note_hurt(&mut self, harmed: &BTreeSet<usize>) {
        for task in harmed {
            let peer = self.peers.get(task).copied();
            self.hurt.entry(*task).or_default().extend(peer);
        }
    }

    /// While a service is rolled out or scaled at most one copy of any shard is missing, whoever
    /// stopped its task, beside those on tasks that the scenario harmed. The newest view counts.
    pub fn fewer(&self, look: &Look, least: usize, harmed: &BTreeSet<usize>) -> Option<Failure> {
        let newest = look.newest()?;
        // A task that does not answer in time is still there.
        let peer = |holder: &Holder| holder.peer().or(self.peers.get(&holder.task).copied());
        let living = look.live().filter(|holder| !harmed.contains(&holder.task));
        let living: BTreeSet<u64> = living.filter_map(peer).collect();
        for (name, collection) in newest.collections.as_ref()? {
            for (shard, copies) in &collection.shards {
                let active = copies.iter().filter(|(_, copy)| copy.active());
                let there = active.filter(|(peer, _)| living.contains(*peer)).count();
                if there + harmed.len() < least {
                    let states: Vec<String> = copies
                        .iter()
                        .map(|(peer, copy)| {
                            let task = self.peers.iter().find(|(_, known)| *known == peer);
                            let task = task.map_or("?".into(), |(task, _)| format!("t{task}"));
                            let gone = if living.contains(peer) { "" } else { ", gone" };
                            format!("{task} {}{gone}", copy.state)
                        })
                        .collect();
                    let detail = format!(
                        "{name}/{shard} has {there} copies on living tasks, {least} are the least: {}",
                        states.join(", ")
                    );
                    return Some(Failure::new("at most one copy is missing", detail));
                }
            }
        }
        None
    }

    /// An Active copy on an unharmed task stays, unless it was moved. One that turns Dead missed a
    /// write: that is Qdrant's doing and counted. One that is overwritten or vanishes is ours.
    fn never_fewer(&mut self, at: f64, task: usize, name: &str, now: &Collection) -> Vec<Failure> {
        let mut failures = Vec::new();
        for (shard, copies) in &now.shards {
            let place = (task, name.to_owned(), *shard);
            let active: BTreeSet<u64> = copies
                .iter()
                .filter_map(|(peer, copy)| copy.active().then_some(*peer))
                .collect();
            let before = self.active.insert(place.clone(), active.clone());
            let before = before.unwrap_or_default();
            let mine = now.transfers.iter().filter(|t| t.shard == *shard);
            let moving = mine.filter(|t| !t.keeps).map(|t| (t.clone(), at));
            let moves = self.moves.entry(place.clone()).or_default();
            moves.extend(moving);
            moves.retain(|_, seen| at - *seen <= APPLYING);
            let taken = |peer: &u64, became: &str| {
                let detail = format!(
                    "the copy of {name}/{shard} on peer {peer} was Active and is {became}, \
                     Active were {before:?} and are {active:?}, as t{task} says"
                );
                Failure::new("no action of ours takes a copy", detail)
            };
            for peer in &before {
                if active.contains(peer) || self.harmed.contains(peer) {
                    continue;
                }
                match copies.get(peer).map(|copy| copy.state.as_str()) {
                    Some("Dead") => self.deactivated += 1,
                    Some(state) => failures.push(taken(peer, state)),
                    // A move may be over between two looks: then another copy has come.
                    None if active.iter().any(|other| !before.contains(other)) => {}
                    None => match moves.keys().find(|moved| moved.from == *peer) {
                        Some(moved) => {
                            let key = (place.clone(), moved.to);
                            self.owed.insert(key, (*peer, at));
                        }
                        None => failures.push(taken(peer, "dropped")),
                    },
                }
            }
            self.owed.retain(|(there, to), (from, since)| {
                let open = *there != place || !(active.contains(to) || self.harmed.contains(to));
                if open && *there == place && at - *since > APPLYING {
                    failures.push(taken(from, "dropped, and where it went it is not Active"));
                    return false;
                }
                open
            });
        }
        failures
    }

    /// At most one transfer that we began. Qdrant's own recoveries go to copies that were listed
    /// before. Two at once count when two looks in a row show both: the collections are asked one
    /// after the other.
    fn one_at_a_time(
        &mut self,
        holder: &Holder,
        collections: &BTreeMap<String, Collection>,
    ) -> Option<Failure> {
        let before = self.ours.get(&holder.task).cloned().unwrap_or_default();
        let mut ours = BTreeSet::new();
        for (name, collection) in collections {
            for transfer in &collection.transfers {
                let key = (name.clone(), transfer.clone());
                let place = (holder.task, name.clone(), transfer.shard);
                let listed = self.listed.get(&place);
                let fresh = listed.is_some_and(|listed| !listed.contains(&transfer.to));
                if fresh || before.contains(&key) {
                    ours.insert(key);
                }
            }
            for (shard, copies) in &collection.shards {
                let place = (holder.task, name.clone(), *shard);
                self.listed.insert(place, copies.keys().copied().collect());
            }
        }
        let both: Vec<_> = ours.intersection(&before).collect();
        let failure = (both.len() > 1).then(|| {
            let name = |(name, t): &&(String, Transfer)| {
                format!("{name}/{} from {} to {}", t.shard, t.from, t.to)
            };
            let names: Vec<String> = both.iter().map(name).collect();
            let detail = format!("t{} sees {}", holder.task, names.join(" and "));
            Failure::new("one transfer at a time", detail)
        });
        self.ours.insert(holder.task, ours);
        failure
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::copies::Copy;
    use crate::observe::sample::Raft;

    /// One task's view of shard 0 of `c`: peers with their states, and transfers.
    fn look(copies: &[(u64, &str)], transfers: &[(u64, u64, bool)]) -> Look {
        let copy = |state: &str| Copy {
            state: state.into(),
            points: None,
        };
        let transfer = |(from, to, keeps): &(u64, u64, bool)| Transfer {
            shard: 0,
            from: *from,
            to: *to,
            keeps: *keeps,
        };
        let copies = copies.iter().map(|(peer, state)| (*peer, copy(state)));
        let collection = Collection {
            shards: [(0, copies.collect())].into(),
            transfers: transfers.iter().map(transfer).collect(),
            ..Collection::default()
        };
        let holder = |task: usize| Holder {
            task,
            raft: Some(Raft {
                peer_id: task as u64,
                is_voter: true,
                ..Raft::default()
            }),
            collections: (task == 1).then(|| [("c".to_owned(), collection.clone())].into()),
            ..Holder::default()
        };
        Look {
            at: 0.0,
            holders: (1..=3).map(holder).collect(),
        }
    }

    fn judge(looks: &[Look], harmed: &[usize]) -> Vec<String> {
        let harmed = harmed.iter().copied().collect();
        let mut watch = watch();
        let failures = looks.iter().flat_map(|look| watch.look(look, &harmed));
        failures.map(|failure| failure.invariant).collect()
    }

    /// A watch that has seen all tasks vote.
    fn watch() -> Watch {
        Watch {
            voting: (1..=3).collect(),
            ..Watch::default()
        }
    }

    const A: &str = "Active";
    const TAKEN: &str = "no action of ours takes a copy";

    #[test]
    fn a_dropped_copy_of_a_living_task_is_found_out() {
        let before = look(&[(1, A), (2, A), (3, A)], &[]);
        let after = look(&[(1, A), (2, A)], &[]);
        assert_eq!(judge(&[before.clone(), after.clone()], &[]), [TAKEN]);
        assert_eq!(judge(&[before.clone(), after], &[3]), [""; 0]);
        let overwritten = look(&[(1, A), (2, A), (3, "Recovery")], &[(1, 3, true)]);
        assert_eq!(judge(&[before, overwritten], &[]), [TAKEN]);
    }

    #[test]
    fn one_copy_may_be_missing_and_no_second_one() {
        let mut watch = watch();
        let whole = look(&[(1, A), (2, A), (3, A)], &[]);
        watch.look(&whole, &BTreeSet::new());
        let nobody = BTreeSet::new();
        assert_eq!(watch.fewer(&whole, 2, &nobody), None);
        let mut one_gone = whole.clone();
        one_gone.holders.pop();
        assert_eq!(watch.fewer(&one_gone, 2, &nobody), None);
        // Its successor has no copy yet, and a second task is stopped.
        let mut two_gone = look(&[(1, A), (2, A), (3, A), (4, "Recovery")], &[]);
        two_gone.holders.truncate(1);
        let failure = watch.fewer(&two_gone, 2, &nobody).unwrap();
        assert_eq!(failure.invariant, "at most one copy is missing");
        assert!(failure.detail.contains("t3 Active, gone"), "{failure}");
        // The scenario took one of them itself.
        assert_eq!(watch.fewer(&two_gone, 2, &[3].into()), None);
        // A task that is slow to answer still holds what it held.
        let mut slow = whole;
        slow.holders[1].raft = None;
        slow.holders[2].raft = None;
        assert_eq!(watch.fewer(&slow, 2, &nobody), None);
    }

    #[test]
    fn a_copy_that_missed_a_write_is_counted_and_no_failure() {
        let mut watch = watch();
        for state in [A, "Dead", "Recovery", A] {
            let look = look(&[(1, A), (2, state)], &[]);
            assert_eq!(watch.look(&look, &BTreeSet::new()), []);
        }
        assert_eq!(watch.deactivated, 1);
    }

    #[test]
    fn a_moved_copy_is_none_the_fewer() {
        let before = look(&[(1, A), (2, A)], &[]);
        let moving = look(&[(1, A), (2, A), (3, "Recovery")], &[(2, 3, false)]);
        let after = look(&[(1, A), (3, A)], &[]);
        let slow = [before.clone(), moving.clone(), after.clone()];
        assert_eq!(judge(&slow, &[]), [""; 0]);
        assert_eq!(judge(&[before, after.clone()], &[]), [""; 0]);
        // The source went, and the target is not whole for longer than it takes to say so.
        let mut early = look(&[(1, A), (3, "Recovery")], &[]);
        let mut late = early.clone();
        (early.at, late.at) = (1.0, 7.0);
        let soon = [moving.clone(), early.clone(), after];
        assert_eq!(judge(&soon, &[]), [""; 0]);
        assert_eq!(
            judge(&[moving.clone(), early.clone(), late.clone()], &[]),
            [TAKEN]
        );
        // Or its task was killed.
        assert_eq!(judge(&[moving, early, late], &[3]), [""; 0]);
    }

    #[test]
    fn two_transfers_of_ours_at_once_are_one_too_many() {
        let before = look(&[(1, A)], &[]);
        let copies = [(1, A), (2, "Recovery"), (3, "Recovery")];
        let both = look(&copies, &[(1, 2, true), (1, 3, true)]);
        let all = [before.clone(), both.clone(), both.clone()];
        assert_eq!(judge(&all, &[]), ["one transfer at a time"]);
        // Seen once only, one may have begun when the other was over.
        assert_eq!(judge(&[before, both.clone()], &[]), [""; 0]);
        // Qdrant's own recoveries are not ours.
        let dead = look(&[(1, A), (2, "Dead"), (3, "Dead")], &[]);
        assert_eq!(judge(&[dead, both.clone(), both], &[]), [""; 0]);
    }

    #[test]
    fn what_a_newcomer_replays_is_history() {
        let mut then = look(&[(1, A), (2, A), (3, A)], &[]);
        for holder in &mut then.holders {
            holder.raft.as_mut().unwrap().is_voter = false;
        }
        let now = look(&[(1, A), (2, A)], &[]);
        let mut watch = Watch::default();
        for look in [&then, &now, &now] {
            assert_eq!(watch.look(look, &BTreeSet::new()), []);
        }
    }

    #[test]
    fn harm_is_forgiven_when_it_is_healed() {
        let whole = look(&[(1, A), (2, A), (3, A)], &[]);
        let mut watch = watch();
        let fewer = look(&[(1, A), (2, A)], &[]);
        for (harmed, failures) in [(vec![3], 0), (vec![], 1)] {
            let harmed = harmed.into_iter().collect();
            assert_eq!(watch.look(&whole, &harmed), []);
            assert_eq!(watch.look(&fewer, &harmed).len(), failures);
        }
    }
}
