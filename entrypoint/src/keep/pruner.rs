//! Deletes what `planner::keep::retention` gives up: a tombstone first, then the files, the plan, and the
//! tombstone as the last, so that whoever finds half of it knows what it is.
//!
//! Just before the first step each set is looked at once more, and must be what it was when it was
//! judged. What is in its folder and is not ours stays, and the folder with it.

use std::time::{Duration, Instant};

use planner::ids::{StoreId, TaskId};
use planner::keep::folder::seen;
use planner::keep::ids::SetId;
use planner::keep::layout::Entry;
use planner::keep::resume::FINISH_WITHIN;
use planner::keep::retention::{Settings, Verdict, retention};
use planner::keep::seen::{Seen, State};
use planner::keep::time::Utc;

use super::shelves::{Kind, Known, Shelves, at_rest};
use super::{Shelf, tombstone};
use crate::events;
use crate::log::chain;

/// A file that was not written to for so long is nobody's: whoever hangs gives up much earlier.
const ABANDONED: Duration = FINISH_WITHIN;
/// For so many slots, an hour at most, a tombstone stays when nothing else does: what a task that has not
/// heard of it writes late is seen to belong to nothing, and the slot is not taken again.
const SLOTS: u32 = 4;

/// Deletes sets of one store.
pub struct Pruner {
    shelf: Shelf,
    task: TaskId,
    settings: Settings,
}

impl Pruner {
    /// One for the sets in `shelf`.
    pub fn new(shelf: Shelf, task: TaskId, settings: Settings) -> Self {
        Self {
            shelf,
            task,
            settings,
        }
    }

    /// Deletes a few of the sets that are not kept. `ours` is the store's own name, `running` the
    /// version of Qdrant. Gives, for people, what could not be deleted: it is tried again.
    pub async fn prune(
        &self,
        there: &Shelves,
        known: &Known,
        ours: &StoreId,
        running: &str,
        now: Utc,
    ) -> Vec<String> {
        let mut troubles = Vec::new();
        let verdicts = retention(&self.settings, there.seen(), there.is_failing());
        for judged in there.seen() {
            let Some(Verdict::Delete { why, now: true }) = verdicts.get(&judged.id) else {
                continue;
            };
            let set = judged.id;
            let again = self.shelf.folder(set).await.under(at_rest(Duration::ZERO));
            if let Err(why) = may_go(judged, &seen(&again, ours, running)) {
                troubles.push(format!("set {set}: {why}"));
                continue;
            }
            // A slot that was given up is not taken again while its tombstone stands.
            let settled = there.newest().is_some_and(|newest| set < newest)
                && known
                    .get(&set)
                    .is_some_and(|(kind, since)| self.is_old(*kind, *since));
            match self
                .delete(judged, ours, &why.to_string(), now, settled)
                .await
            {
                // Its files are gone; of a set that was given up that has been said.
                Ok(()) if !judged.tombstoned => {
                    tracing::info!(event = events::SET_DELETED, "set {set}: {why}");
                }
                Ok(()) => {}
                Err(error) => troubles.push(format!("set {set} cannot be deleted: {error}")),
            }
        }
        troubles
    }

    /// Takes away all but the tombstone, and that as well when it is `settled` and nothing came late.
    async fn delete(
        &self,
        judged: &Seen,
        ours: &StoreId,
        why: &str,
        now: Utc,
        settled: bool,
    ) -> Result<(), String> {
        let set = judged.id;
        if !judged.tombstoned {
            let tombstone = tombstone(set, ours, &self.task, now, why);
            // One that is there already says the same.
            let _ = self
                .shelf
                .create(&tombstone)
                .await
                .map_err(|error| chain(&error))?;
        }
        let mut entries = self.inside(set).await?;
        if entries.contains(&Entry::Pin) {
            return Err("it has been pinned".to_owned());
        }
        entries.sort_by_key(|entry| (place(*entry), *entry));
        for entry in entries
            .into_iter()
            .filter(|entry| *entry != Entry::Tombstone)
        {
            let removed = self.shelf.remove(set, entry).await;
            removed.map_err(|error| chain(&error))?;
        }
        let left = self.shelf.clear(set, ABANDONED).await;
        let left = left.map_err(|error| chain(&error))?;
        if left > 0 || !settled || self.inside(set).await? != [Entry::Tombstone] {
            return Ok(());
        }
        let removed = self.shelf.remove(set, Entry::Tombstone).await;
        removed.map_err(|error| chain(&error))?;
        Ok(())
    }

    /// The tombstone has stood for long enough.
    fn is_old(&self, kind: Kind, since: Instant) -> bool {
        let slots = self.settings.interval.length().saturating_mul(SLOTS);
        kind == Kind::Tombstoned && since.elapsed() >= slots.min(FINISH_WITHIN)
    }

    async fn inside(&self, set: SetId) -> Result<Vec<Entry>, String> {
        let inside = self
            .shelf
            .entries(set)
            .await
            .map_err(|error| chain(&error))?;
        Ok(inside.ours.into_iter().map(|(entry, _)| entry).collect())
    }
}

/// In which order the files go: what says whose they are goes last.
fn place(entry: Entry) -> u8 {
    match entry {
        Entry::Payload(..) => 0,
        Entry::Part(..) | Entry::Proof(..) | Entry::Pin => 1,
        Entry::Manifest => 2,
        Entry::Plan => 3,
        Entry::Tombstone => 4,
    }
}

/// Whether a set that is not wanted may go: it is what it was when it was judged.
fn may_go(judged: &Seen, now: &Seen) -> Result<(), String> {
    let same = match (&judged.state, &now.state) {
        (State::Unfinished { .. }, State::Unfinished { under_way, .. }) => !under_way,
        (State::Made(before), State::Made(after)) => before == after,
        (_, State::Foreign(why) | State::Unread(why)) => return Err(why.clone()),
        _ => false,
    };
    let marks = |set: &Seen| (set.id, set.pinned, set.tombstoned, set.restoring);
    match same && marks(judged) == marks(now) && !now.pinned && !now.restoring {
        true => Ok(()),
        false => Err("it has changed since it was judged".to_owned()),
    }
}
