//! What is known of all sets in the store: read whole, and only then used. Of records that are many or
//! large, plans and manifests, only what is needed is kept.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use planner::ids::{StoreId, Token};
use planner::keep::by_hand;
use planner::keep::clock::Taken;
use planner::keep::folder::{Found, seen};
use planner::keep::ids::SetId;
use planner::keep::records::{Origin, PlanRecord};
use planner::keep::seen::{Seen, State};
use planner::observed::Observed;

use super::{Circumstances, Shelf};
use crate::log::chain;

/// Since when each set is known as it is, to whoever looks, by its own clock.
pub type Known = BTreeMap<SetId, (Kind, Instant)>;

/// How a set is, as far as its age depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It has a tombstone.
    Tombstoned,
    /// It has a manifest.
    Made,
    /// It has neither.
    Unfinished,
    /// It is not ours, or could not be read.
    Other,
}

/// The sets as one look found them.
#[derive(Debug)]
pub struct Shelves {
    seen: Vec<Seen>,
    /// Those with a plan of ours: whether it is by hand.
    planned: Vec<(SetId, Origin)>,
    unfinished: Vec<PlanRecord>,
    /// The requests that have their set, whatever became of it.
    asked: BTreeMap<Token, SetId>,
}

/// Reads what there is of every set. `ours` is the store's own name, `running` the version of Qdrant.
///
/// # Errors
/// Which sets there are could not be listed; for people. What is in one of them and could not be read is
/// in its [`Seen`].
pub async fn look(
    shelf: &Shelf,
    ours: &StoreId,
    running: &str,
    known: &mut Known,
) -> Result<Shelves, String> {
    let sets = shelf.sets().await.map_err(|error| chain(&error))?;
    known.retain(|set, _| sets.contains(set));
    let mut there = Shelves {
        seen: Vec::with_capacity(sets.len()),
        planned: Vec::new(),
        unfinished: Vec::new(),
        asked: BTreeMap::new(),
    };
    for set in sets {
        let folder = shelf.folder(set).await.under(at_rest(Duration::ZERO));
        let mut seen = seen(&folder, ours, running);
        let kind = kind(&seen);
        let (was, since) = known.entry(set).or_insert((kind, Instant::now()));
        if *was != kind {
            (*was, *since) = (kind, Instant::now());
        }
        if let State::Unfinished { age, .. } = &mut seen.state {
            *age = since.elapsed();
        }
        if let Found::Good(plan) = &folder.plan
            && plan.source.cluster == *ours
            && let Some(asked) = &plan.asked
        {
            there.asked.insert(asked.token.clone(), set);
        }
        if kind != Kind::Other
            && let Found::Good(plan) = folder.plan
        {
            there.planned.push((set, plan.origin));
            if kind == Kind::Unfinished {
                there.unfinished.push(plan);
            }
        }
        there.seen.push(seen);
    }
    Ok(there)
}

/// Nobody makes it or reads it: what is looked at is at rest.
pub(super) fn at_rest(age: Duration) -> Circumstances {
    Circumstances {
        under_way: false,
        restoring: false,
        age,
    }
}

fn kind(seen: &Seen) -> Kind {
    match &seen.state {
        _ if seen.tombstoned => Kind::Tombstoned,
        State::Made(_) => Kind::Made,
        State::Unfinished { .. } => Kind::Unfinished,
        State::Bare | State::Foreign(_) | State::Unread(_) => Kind::Other,
    }
}

impl Shelves {
    /// What is known of each, the oldest first.
    pub fn seen(&self) -> &[Seen] {
        &self.seen
    }

    /// A restore reads this set.
    pub fn lend(&mut self, set: SetId) {
        for seen in self.seen.iter_mut().filter(|seen| seen.id == set) {
            seen.restoring = true;
        }
    }

    /// The newest set of everything is not there or not whole: what is kept is kept longer.
    pub fn is_failing(&self) -> bool {
        let by_hand = |id| self.planned.contains(&(id, Origin::Hand));
        let ours = self.seen.iter().filter(|seen| kind(seen) != Kind::Other);
        let mut ours = ours.filter(|seen| !by_hand(seen.id));
        ours.next_back()
            .is_some_and(|newest| !newest.contents().is_some_and(|there| there.is_complete()))
    }

    /// What the clock goes by. Unknown while one of the sets could not be read: it may be the newest.
    pub fn taken(&self) -> Observed<Taken> {
        if let Some(why) = self.unread() {
            return Observed::Unknown(why);
        }
        let tombstoned = self.seen.iter().filter(|seen| seen.tombstoned);
        Observed::Known(Taken {
            newest: self.newest(),
            given_up: tombstoned.map(|seen| seen.id).collect(),
        })
    }

    /// What a request for a set by hand goes by. Unknown while one of the sets could not be read: it may
    /// have been made for it.
    pub fn asked(&self) -> Observed<by_hand::Sets> {
        if let Some(why) = self.unread() {
            return Observed::Unknown(why);
        }
        Observed::Known(by_hand::Sets {
            latest: self.seen.iter().map(|seen| seen.id).max(),
            asked: self.asked.clone(),
        })
    }

    /// The first of what could not be read; for people.
    pub fn unread(&self) -> Option<String> {
        self.seen.iter().find_map(|seen| match &seen.state {
            State::Unread(why) => Some(format!("set {}: {why}", seen.id)),
            _ => None,
        })
    }

    /// The newest set that has no tombstone and is not by hand.
    pub fn newest(&self) -> Option<SetId> {
        let tombstoned = |id| {
            self.seen
                .iter()
                .any(|seen| seen.id == id && seen.tombstoned)
        };
        let planned = self
            .planned
            .iter()
            .filter(|(_, origin)| *origin != Origin::Hand);
        planned
            .map(|(id, _)| *id)
            .filter(|id| !tombstoned(*id))
            .max()
    }

    /// The plans of sets that are neither finished nor given up, the oldest first.
    pub fn unfinished(&self) -> &[PlanRecord] {
        &self.unfinished
    }
}
