//! The model's hands: what an action does to disk, store and Raft. It follows `entrypoint/src/act.rs`.

use planner::decision::{Action, Aside};
use planner::destruction;
use planner::ids::{GenerationId, PeerId, Token};
use std::collections::BTreeMap;

use planner::records::{Claim, FORMAT, Formed, Mode, Outcome, Regroup, Rejoin, Stage, Stamp};
use planner::view::Disk;

use crate::steps::How;
use crate::world::{
    Group, LOSS_TIMEOUT, Restore, SERVICE, STEADY, Sabotage, TICK, World, Write, host,
};

impl World {
    pub fn act(&mut self, i: usize, how: How) {
        let Some(mut intent) = self.tasks[i].intent.take() else {
            return;
        };
        match intent.action.clone() {
            Action::Wait => {}
            Action::Claim {
                number,
                previous,
                mode,
            } => {
                let store_id = self.token('s').as_str().into();
                let token = Token(self.token('t'));
                let generation = GenerationId { number, token };
                let restore = mode == Mode::Restore;
                let stamp = Stamp::founding(store_id, generation, previous, restore);
                self.claim(i, stamp, how);
            }
            Action::Regroup {
                number,
                previous,
                survivors,
                missing,
                commit,
                behind,
            } => {
                let token = Token(self.token('t'));
                if let Some(stamp) = self.tasks[i].disk.stamp.clone() {
                    let mark = Regroup {
                        claim: GenerationId { number, token },
                        previous,
                        survivors,
                        missing,
                        commit,
                        behind,
                        begun: stamp.regroup.as_ref().is_some_and(|mark| mark.begun),
                    };
                    if self.passed_over(i, &mark) {
                        self.broken = Some("a survivor went first that knows less than another");
                    }
                    let stamp = Stamp {
                        regroup: Some(mark),
                        ..stamp
                    };
                    self.claim(i, stamp, how);
                }
            }
            Action::StartReinit => self.start_reinit(i),
            Action::HoldStill(held) => {
                if let Some(stamp) = &mut self.tasks[i].disk.stamp {
                    stamp.held = Some(held);
                }
                self.tasks[i].stop();
            }
            Action::Resume => {
                let store = self.store_view(&self.tasks[i]);
                let disk = &mut self.tasks[i].disk;
                if destruction::may_resume(disk, &store).is_ok()
                    && let Some(stamp) = &mut disk.stamp
                {
                    stamp.regroup = None;
                }
            }
            Action::StartRejoin { formed, via, .. } => {
                self.start_rejoin(i, &formed, host(via), intent.proven.as_ref());
            }
            // The model knows no copies.
            Action::Rejoined { formed, .. } => self.settle(i, &formed),
            Action::RepeatClaim => {
                if let Some(stamp) = self.tasks[i].disk.stamp.clone() {
                    self.claim(i, stamp, how);
                }
            }
            Action::Abandon { number, .. } => {
                let outcome = Outcome::Abandoned {
                    format: FORMAT,
                    by: "somebody".into(),
                    why: String::new(),
                };
                self.write(i, Write::Outcome(number, outcome), how);
            }
            Action::Form => self.form(i, how),
            Action::Settle(formed) => self.settle(i, &formed),
            Action::StartFounder => self.start(i),
            Action::StartMember => self.start_member(i),
            Action::StartJoiner { formed, via, .. } => self.join(i, &formed, host(via)),
            Action::Publish(formed) => {
                let group = self.tasks[i].group.filter(|_| self.commits(i));
                if let Some(group) = group {
                    self.groups[group].proof = Some(formed);
                    self.groups[group].commit += 1;
                }
            }
            Action::Recreate(formed) => {
                // Two files, and anything may happen between them.
                if !intent.half {
                    if self.identify(i, &formed.store_id).as_ref() == Some(&formed.store_id) {
                        let claim = self.claim_of(i, &formed.generation, formed.previous.as_ref());
                        let number = formed.generation.number;
                        self.write(i, Write::Claim(number, claim), How::Answered);
                        intent.half = true;
                        self.tasks[i].intent = Some(intent);
                    }
                } else {
                    let number = formed.generation.number;
                    let outcome = Outcome::Formed(Formed {
                        complete: false,
                        ..formed
                    });
                    self.write(i, Write::Outcome(number, outcome), how);
                }
            }
            Action::Restored => {
                if let Some(stamp) = &mut self.tasks[i].disk.stamp {
                    stamp.restore = false;
                }
            }
            Action::Kill => self.tasks[i].stop(),
            Action::Discard(ground) => {
                let store = self.store_view(&self.tasks[i]);
                let task = &mut self.tasks[i];
                if destruction::may_discard(&ground, &task.disk, task.up, &store).is_ok() {
                    if task.disk.collections {
                        self.broken = Some("a disk with collections was wiped");
                    }
                    let task = &mut self.tasks[i];
                    task.disk = Disk {
                        aside: task.disk.aside,
                        ..Disk::EMPTY
                    };
                    task.group = None;
                }
            }
            Action::SetAside(ground) => self.set_aside(i, &ground, intent.proven.as_ref()),
        }
    }

    /// Raft begins anew with this peer as the only voter; the key map stays as it was.
    fn start_reinit(&mut self, i: usize) {
        let store = self.store_view(&self.tasks[i]);
        let task = &mut self.tasks[i];
        if destruction::may_reinit(&task.disk, task.up, &store).is_err() {
            return;
        }
        if let Some(mark) = task.disk.stamp.as_mut().and_then(|s| s.regroup.as_mut()) {
            mark.begun = self.sabotage != Sabotage::Unmarked;
        }
        let (Some(old), Some(peer)) = (task.group, task.disk.peer_id) else {
            return;
        };
        let alone: BTreeMap<PeerId, u8> = [(peer, task.address)].into();
        if self.groups[old].voters != alone {
            self.groups.push(Group {
                voters: alone,
                proof: self.groups[old].proof.clone(),
                data: self.groups[old].data,
                restore: self.groups[old].restore.clone(),
                leader: None,
                // Its own first entries are its own.
                commit: self.tasks[i].commit + 2,
            });
            self.tasks[i].group = Some(self.groups.len() - 1);
        }
        self.tasks[i].shaken();
        self.tasks[i].up = true;
    }

    /// Raft begins anew at once, and is in when the door lets it in; else only the old state is gone.
    fn start_rejoin(&mut self, i: usize, formed: &Formed, via: u8, proven: Option<&GenerationId>) {
        let store = self.store_view(&self.tasks[i]);
        let in_store = store.known().and_then(|s| s.formed());
        let proven = in_store
            .map(|f| &f.generation)
            .into_iter()
            .chain(proven)
            .max_by_key(|id| id.number);
        let disk = self.observe(i).disk;
        if destruction::may_rejoin(formed, &disk, self.tasks[i].up, proven).is_err() {
            return;
        }
        let task = &mut self.tasks[i];
        let again = disk
            .stamp
            .as_ref()
            .is_some_and(|s| s.rejoin.is_some() && s.generation == formed.generation);
        if !again {
            task.disk.stamp = Some(Stamp {
                rejoin: Some(Rejoin {
                    left: disk.voters.difference(&formed.survivors).copied().collect(),
                    commit: disk.commit,
                }),
                restore: formed.restore && disk.stamp.as_ref().is_some_and(|s| s.restore),
                ..Stamp::of(formed, Stage::Joining)
            });
        }
        task.group = None;
        task.disk.joined = false;
        if let (Some(group), Some(peer)) = (self.door(i, via), self.tasks[i].disk.peer_id) {
            let address = self.tasks[i].address;
            self.groups[group].voters.insert(peer, address);
            let task = &mut self.tasks[i];
            task.group = Some(group);
            task.up = true;
            task.disk.joined = true;
        }
    }

    fn set_aside(&mut self, i: usize, ground: &Aside, proven: Option<&GenerationId>) {
        let store = self.store_view(&self.tasks[i]);
        let in_store = store
            .known()
            .and_then(|s| s.formed())
            .map(|f| &f.generation);
        let proven = in_store
            .into_iter()
            .chain(proven)
            .max_by_key(|id| id.number);
        let seen = self.observe(i);
        let task = &self.tasks[i];
        let stamp = task.disk.stamp.as_ref();
        let word = stamp
            .and_then(|stamp| destruction::word_for(ground, SERVICE, &task.id(), &seen, stamp));
        if destruction::may_set_aside(ground, &task.disk, task.up, proven, word).is_err() {
            return;
        }
        let own = stamp.map(|stamp| &stamp.generation);
        let needless = match ground {
            Aside::Superseded { newer } => {
                self.history.iter().any(|f| f.generation == *newer)
                    && own.is_some_and(|own| own.number < newer.number)
            }
            Aside::Removed { .. } | Aside::Permitted { .. } => self
                .served()
                .is_some_and(|group| !self.is_voter_of(i, group)),
        };
        if !needless {
            self.broken = Some("data that is needed was set aside");
        }
        let task = &mut self.tasks[i];
        task.disk = Disk {
            aside: true,
            ..Disk::EMPTY
        };
        task.group = None;
    }

    /// The identity that the store has afterwards; `None` when it cannot be written.
    fn identify(
        &mut self,
        i: usize,
        store_id: &planner::ids::StoreId,
    ) -> Option<planner::ids::StoreId> {
        if !self.may_write(i) {
            return None;
        }
        let identity = self
            .store
            .identity
            .get_or_insert_with(|| World::identity(store_id.clone()));
        Some(identity.store_id.clone())
    }

    fn claim_of(&self, i: usize, id: &GenerationId, previous: Option<&GenerationId>) -> Claim {
        let stamp = self.tasks[i].disk.stamp.as_ref();
        let mark = stamp
            .and_then(|stamp| stamp.regroup.as_ref())
            .filter(|mark| mark.claim == *id);
        let survivors = mark.map(|m| m.survivors.clone()).unwrap_or_default();
        Claim {
            format: FORMAT,
            token: id.token.clone(),
            mode: stamp.map_or(Mode::Found, Stamp::mode),
            task: self.tasks[i].id(),
            uri: self.tasks[i].uri(),
            previous: previous.cloned(),
            stack: None,
            survivors,
            missing: mark.map(|m| m.missing.clone()).unwrap_or_default(),
            behind: mark.map(|m| m.behind.clone()).unwrap_or_default(),
        }
    }

    fn claim(&mut self, i: usize, mut stamp: Stamp, how: How) {
        let Some(store_id) = self.identify(i, &stamp.store_id) else {
            return;
        };
        if stamp.regroup.is_some() && stamp.store_id != store_id {
            return;
        }
        stamp.store_id = store_id;
        self.tasks[i].disk.stamp = Some(stamp.clone());
        if let Some((id, previous)) = stamp.claims() {
            let claim = self.claim_of(i, id, previous);
            self.write(i, Write::Claim(id.number, claim), how);
        }
    }

    fn form(&mut self, i: usize, how: How) {
        let task = &self.tasks[i];
        let (Some(stamp), Some(peer_id), true) = (&task.disk.stamp, task.disk.peer_id, task.up)
        else {
            return;
        };
        let store = self.store_view(task);
        if destruction::may_form(stamp, &store).is_err() {
            return;
        }
        let Some(formed) = stamp.claimed(SERVICE, peer_id) else {
            return;
        };
        let number = formed.generation.number;
        let outcome = Outcome::Formed(formed.clone());
        self.write(i, Write::Outcome(number, outcome.clone()), how);
        let ours = self.store.outcomes.get(&number) == Some(&outcome);
        if how == How::Answered && self.may_write(i) && ours {
            self.settle(i, &formed);
        }
    }

    fn settle(&mut self, i: usize, formed: &Formed) {
        self.tasks[i].disk.stamp = Some(Stamp::of(formed, Stage::Member));
    }

    /// The mark of whoever rested for a claim is taken off first.
    fn start_member(&mut self, i: usize) {
        let store = self.store_view(&self.tasks[i]);
        let stamp = self.tasks[i].disk.stamp.as_mut();
        match stamp.map(|stamp| (destruction::may_let_go(stamp, &store), stamp)) {
            Some((Err(_), _)) => return,
            Some((Ok(()), stamp)) => stamp.held = None,
            None => {}
        }
        // The others have not seen it serve yet.
        self.tasks[i].shaken();
        self.start(i);
    }

    /// Qdrant without a bootstrap: a new Raft cluster on an empty disk, else the old peer.
    fn start(&mut self, i: usize) {
        if self.tasks[i].group.is_none() {
            let peer = self.new_peer();
            let address = self.tasks[i].address;
            let stamp = self.tasks[i].disk.stamp.as_ref();
            self.groups.push(Group {
                voters: [(peer, address)].into(),
                proof: None,
                data: false,
                restore: match stamp.filter(|stamp| stamp.restore) {
                    Some(stamp) => Restore::Due(stamp.generation.clone()),
                    None => Restore::Nothing,
                },
                leader: None,
                commit: 1,
            });
            let task = &mut self.tasks[i];
            task.group = Some(self.groups.len() - 1);
            task.disk.joined = true;
            task.disk.peer_id = Some(peer);
        }
        self.tasks[i].up = true;
    }

    /// Through whichever Qdrant is at that address (facts: T4), when its cluster can commit.
    fn join(&mut self, i: usize, formed: &Formed, via: u8) {
        self.tasks[i].disk.stamp = Some(Stamp::of(formed, Stage::Joining));
        let Some(group) = self.door(i, via) else {
            return;
        };
        let peer = self.new_peer();
        let address = self.tasks[i].address;
        self.groups[group].voters.insert(peer, address);
        let data = self.groups[group].data;
        let task = &mut self.tasks[i];
        task.group = Some(group);
        task.up = true;
        task.disk.joined = true;
        task.disk.peer_id = Some(peer);
        task.disk.collections = data;
    }

    /// The group that whoever lives at this address lets us into.
    fn door(&self, i: usize, via: u8) -> Option<usize> {
        let door = self.tasks.iter().position(|t| t.address == via)?;
        let reachable = door != i && !self.tasks[door].cut && !self.tasks[i].cut;
        self.tasks[door]
            .group
            .filter(|_| reachable && self.commits(door))
    }

    fn new_peer(&mut self) -> PeerId {
        self.tokens += 1;
        PeerId(u64::from(self.tokens))
    }

    fn write(&mut self, i: usize, write: Write, how: How) {
        if !self.may_write(i) {
            return;
        }
        match how {
            How::Late => self.store.late.push((self.tasks[i].name, write)),
            How::Answered | How::Unanswered => self.land(write, false),
        }
    }

    /// Exclusive creation.
    pub fn land(&mut self, write: Write, late: bool) {
        match write {
            Write::Claim(number, claim) => {
                self.store.claims.entry(number).or_insert(claim);
            }
            Write::Outcome(number, outcome) => {
                let there = self.store.outcomes.contains_key(&number);
                if there && self.sabotage != Sabotage::Overwrite {
                    return;
                }
                if let Outcome::Formed(formed) = &outcome {
                    self.formed(formed, late);
                }
                self.store.outcomes.insert(number, outcome);
            }
            Write::End(end) => {
                self.store.ends.entry(end.generation.number).or_insert(end);
            }
        }
    }

    /// A generation comes to be: nobody of another one may be alive and seen.
    fn formed(&mut self, formed: &Formed, late: bool) {
        let new = self
            .history
            .iter()
            .all(|old| old.generation != formed.generation);
        let claimed = self
            .store
            .claims
            .get(&formed.generation.number)
            .is_some_and(|claim| claim.token == formed.generation.token);
        if !new {
            return;
        }
        self.history.push(formed.clone());
        // Without its claim it is a record that nobody believes.
        let over_the_living = match formed.survivors.is_empty() {
            true => self.alive_elsewhere(&formed.generation),
            false => self.left_out(formed, late),
        };
        let empty = formed.survivors.is_empty() && !formed.restore;
        if claimed && empty && self.store.sets {
            self.broken = Some("an empty cluster was founded beside snapshot sets");
        }
        if claimed && over_the_living {
            self.broken = Some("founded over the living");
        }
        for task in &mut self.tasks {
            task.shaken();
        }
    }

    /// By re-quorum: a task of the generation before commits, or holds data and is not counted on, and
    /// could be noticed. What lands late was decided before one without a majority woke; its data is kept.
    fn left_out(&self, formed: &Formed, late: bool) -> bool {
        // Nor was one seen by a founder that slept between its decision and its deed.
        let mut founders = self.tasks.iter();
        let founder = founders.find(|task| task.disk.peer_id == Some(formed.founder));
        let late = late || founder.is_none_or(|task| task.steady < STEADY);
        self.tasks.iter().enumerate().any(|(i, task)| {
            let stamp = task.disk.stamp.as_ref();
            let of_it = stamp.is_some_and(|s| Some(&s.generation) == formed.previous.as_ref());
            let counted = task
                .disk
                .peer_id
                .is_some_and(|peer| formed.survivors.contains(&peer));
            let regroups = stamp.is_some_and(|s| s.regroup.is_some());
            let noticed = match task.paused {
                Some(ticks) => ticks < LOSS_TIMEOUT - 1 && task.steady >= STEADY,
                None => task.steady >= STEADY && task.store,
            };
            let commits = task.runs() && self.commits(i) && !regroups;
            of_it && noticed && (commits || (!late && task.disk.collections && !counted))
        })
    }

    /// By re-quorum: another survivor that is named knows more committed entries of the generation than the
    /// claimant does, and did not say for the whole time-out that it cannot claim.
    fn passed_over(&self, i: usize, mark: &Regroup) -> bool {
        let waited = self.tasks[i].memory.deferred >= TICK * u32::from(LOSS_TIMEOUT);
        let further = |task: &crate::world::Task| {
            let stamp = task.disk.stamp.as_ref();
            let of_it = stamp.is_some_and(|s| s.generation == mark.previous);
            let begun = stamp
                .and_then(|s| s.regroup.as_ref())
                .map(|mark| mark.commit);
            let named = task
                .disk
                .peer_id
                .is_some_and(|peer| mark.survivors.contains_key(&peer));
            of_it && named && begun.unwrap_or(task.commit) > mark.commit
        };
        let mut others = self
            .tasks
            .iter()
            .enumerate()
            .filter(|(other, _)| *other != i);
        !waited && others.any(|(_, task)| further(task))
    }

    /// Some task of another generation holds collections, or serves, and can be noticed: it has
    /// had its rounds undisturbed, or sleeps within its time-out.
    fn alive_elsewhere(&self, formed: &GenerationId) -> bool {
        let founder = self.tasks.iter().find(|task| {
            let stamp = task.disk.stamp.as_ref();
            stamp.is_some_and(|s| s.generation == *formed) && task.steady >= STEADY
        });
        let reaches = |task: &crate::world::Task| {
            founder.is_some_and(|founder| {
                founder.reaches(task)
                    || self.store.members.contains_key(&task.id()) && !founder.cut && !task.cut
            })
        };
        self.tasks.iter().enumerate().any(|(i, task)| {
            let member = (task.is_member() || task.disk.collections || task.disk.aside)
                && task
                    .disk
                    .stamp
                    .as_ref()
                    .is_none_or(|s| s.generation != *formed);
            let noticed = match task.paused {
                Some(ticks) => ticks < LOSS_TIMEOUT - 1 && task.steady >= STEADY,
                None => task.steady >= STEADY && (task.store || reaches(task)),
            };
            let holds = task.disk.collections
                || task.disk.aside
                || (task.runs() && self.commits(i) && !task.cut);
            member && noticed && holds
        })
    }
}
