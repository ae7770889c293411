//! When the record of a task that was killed leaves the store's `members/`.
//!
//! A record says that its task may live and may hold data, so it is evidence for the rules of
//! silence (R7, R8) and nobody removes it lightly: only the steward does, whose Qdrant committed a
//! write in this very round, and only when the task has been silent for several times as long as
//! those rules ask for and is no peer any more. From then on it counts as what it is: silent. A
//! task that wakes after all writes its record again with its next beat.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use crate::destruction::Refused;
use crate::ids::{PeerId, TaskId};
use crate::observed::Observed;
use crate::records::{Formed, Member};
use crate::view::{Probe, Store};

/// A record stays for so many loss time-outs after its last beat.
pub const PATIENCE: u32 = 4;

/// For how long each record's beat has not moved, by the steward's own monotonic clock.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Beats {
    own: Option<u64>,
    others: BTreeMap<TaskId, (Member, Duration)>,
}

impl Beats {
    /// Takes in one read of the store, `step` after the last one; `None` when there was none, or a
    /// gap. `own` is our own beat as read back: while it does not move, the store shows the past,
    /// and nobody's silence is known.
    pub fn observe(&mut self, step: Option<Duration>, store: &Observed<Store>, own: Option<u64>) {
        let moved = own.is_some() && own != self.own;
        let (Observed::Known(store), Some(step), true) = (store, step, moved) else {
            self.others.clear();
            self.own = own;
            return;
        };
        let before = core::mem::take(&mut self.others);
        let counted = store.members.iter().map(|(task, member)| {
            let still = match before.get(task) {
                Some((same, still)) if same == member => still.saturating_add(step),
                _ => Duration::ZERO,
            };
            (task.clone(), (member.clone(), still))
        });
        self.others = counted.collect();
        self.own = own;
    }

    /// The records that have not moved for so long, longest first, at most `few`.
    pub fn still_for(&self, patience: Duration, few: usize) -> Vec<(TaskId, Member, Duration)> {
        let still = self
            .others
            .iter()
            .filter(|(_, (_, for_))| *for_ >= patience);
        let mut still: Vec<_> = still
            .map(|(task, (member, for_))| (task.clone(), member.clone(), *for_))
            .collect();
        still.sort_by(|one, other| other.2.cmp(&one.2).then_with(|| one.0.cmp(&other.0)));
        still.truncate(few);
        still
    }
}

/// What was read just now of the task whose record is to go.
#[derive(Clone, Copy, Debug)]
pub struct Evidence<'a> {
    /// Its record as it was counted.
    pub record: &'a Member,
    /// For how long that has not changed.
    pub still: Duration,
    /// The store, read again.
    pub store: &'a Observed<Store>,
    /// The proof in our Qdrant's key map.
    pub proof: &'a Observed<Option<Formed>>,
    /// The peers that our Qdrant lists, while it leads.
    pub listed: &'a Observed<BTreeSet<PeerId>>,
    /// A probe write of this round committed.
    pub commits: &'a Observed<bool>,
    /// Who answers at its address.
    pub there: &'a Probe,
}

/// May this task's record be removed, as things are *now*?
pub fn may_forget(
    loss_timeout: Duration,
    task: &TaskId,
    seen: Evidence<'_>,
) -> Result<(), Refused> {
    fn known<'a, T>(what: &str, seen: &'a Observed<T>) -> Result<&'a T, Refused> {
        match seen {
            Observed::Known(seen) => Ok(seen),
            Observed::Unknown(why) => Err(Refused(format!("{what}: unknown ({why})"))),
        }
    }
    let refuse = |why: String| Err(Refused(why));
    if !*known("whether consensus commits", seen.commits)? {
        return refuse("consensus does not commit".to_owned());
    }
    let Some(proof) = known("our generation", seen.proof)? else {
        return refuse("our key map proves no generation".to_owned());
    };
    let store = known("the store", seen.store)?;
    if store.identity.as_ref().map(|identity| &identity.store_id) != Some(&proof.store_id) {
        return refuse("the store is not our cluster's".to_owned());
    }
    if store.formed().map(|formed| &formed.generation) != Some(&proof.generation) {
        return refuse("the store's highest formed generation is not ours".to_owned());
    }
    match store.members.get(task) {
        Some(record) if record == seen.record => {}
        Some(_) => return refuse("it has beaten again".to_owned()),
        None => return refuse("its record is gone already".to_owned()),
    }
    let newer = |number: u64| number > proof.generation.number;
    if seen
        .record
        .generation
        .as_ref()
        .is_some_and(|g| newer(g.number))
    {
        return refuse("it belongs to a newer generation".to_owned());
    }
    if seen.still < loss_timeout.saturating_mul(PATIENCE) {
        return refuse("it has not been silent for long enough".to_owned());
    }
    let listed = known("the peers of our Qdrant", seen.listed)?;
    if let Some(peer) = seen.record.peer_id.filter(|peer| listed.contains(peer)) {
        return refuse(format!("it is still peer {peer}"));
    }
    match seen.there {
        Probe::Silent => Ok(()),
        Probe::Task { hello, .. } if hello.task == *task => refuse("it answers".to_owned()),
        Probe::Task { .. } => Ok(()),
        Probe::Opaque(why) => refuse(format!("somebody is alive at its address: {why}")),
        Probe::Unasked(why) => refuse(format!("its address could not be asked: {why}")),
    }
}
