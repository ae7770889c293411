//! Deletes what `planner::keep::retention` gives up: a tombstone first, then the files, the plan, and the
//! tombstone as the last, so that whoever finds half of it knows what it is.
//!
//! Just before the first step each set is looked at once more, and must be what it was when it was
//! judged. What is in its folder and is not ours stays, and the folder with it. Sets that stay lose what
//! broken-off writes have left in them.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use planner::ids::{StoreId, TaskId};
use planner::keep::folder::seen;
use planner::keep::ids::SetId;
use planner::keep::layout::Entry;
use planner::keep::retention::{Settings, Verdict, retention};
use planner::keep::seen::{Seen, State};
use planner::keep::sweep::{may_sweep, settles_after};
use planner::keep::time::Utc;

use super::shelves::{Kind, Known, Shelves, at_rest};
use super::{Shelf, tombstone};
use crate::events;
use crate::log::chain;
use crate::store::StoreError;

/// So many files are listed at a time: their sizes are asked for one by one.
const BATCH: usize = 500;
/// So many sets that stay are tidied up in one round.
const SWEPT: usize = 4;

/// Deletes sets of one store.
pub struct Pruner {
    shelf: Shelf,
    task: TaskId,
    settings: Settings,
    /// Sets in which nothing was left.
    swept: BTreeSet<SetId>,
    /// There was more to delete than there was time.
    behind: bool,
}

impl Pruner {
    /// One for the sets in `shelf`.
    pub fn new(shelf: Shelf, task: TaskId, settings: Settings) -> Self {
        Self {
            shelf,
            task,
            settings,
            swept: BTreeSet::new(),
            behind: false,
        }
    }

    /// Whether the last round ended before its work was done.
    pub fn is_behind(&self) -> bool {
        self.behind
    }

    /// Deletes a few of the sets that are not kept. `ours` is the store's own name, `running` the
    /// version of Qdrant. Gives, for people, what could not be deleted: it is tried again. A round is short
    /// enough that no slot is missed for it.
    pub async fn prune(
        &mut self,
        there: &Shelves,
        known: &Known,
        ours: &StoreId,
        running: &str,
        now: Utc,
    ) -> Vec<String> {
        let mut troubles = Vec::new();
        let end = Instant::now() + self.settings.interval.tolerance() / 2;
        self.behind = false;
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
            if Instant::now() >= end {
                self.behind = true;
                break;
            }
            match self
                .delete(judged, ours, &why.to_string(), now, settled, end)
                .await
            {
                Ok(false) => {
                    self.behind = true;
                    break;
                }
                // Its files are gone; of a set that was given up that has been said.
                Ok(true) if !judged.tombstoned => {
                    tracing::info!(event = events::SET_DELETED, "set {set}: {why}");
                }
                Ok(true) => {}
                Err(error) => troubles.push(format!("set {set} cannot be deleted: {error}")),
            }
        }
        let goes = |set: &&Seen| matches!(verdicts.get(&set.id), Some(Verdict::Delete { .. }));
        let stay: Vec<&Seen> = there.seen().iter().filter(|set| !goes(set)).collect();
        troubles.extend(self.sweep(&stay, there.newest(), known).await);
        troubles
    }

    /// Takes what broken-off writes have left out of a few of the sets that stay. Once for each of them:
    /// nothing comes to one that is over. Gives, for people, what could not be looked at.
    async fn sweep(&mut self, stay: &[&Seen], newest: Option<SetId>, known: &Known) -> Vec<String> {
        let interval = self.settings.interval;
        self.swept.retain(|set| known.contains_key(set));
        let is_over = |set: &&&Seen| {
            let since = known.get(&set.id).map(|(_, since)| since.elapsed());
            let over = |since| may_sweep(set, since, newest, interval);
            !self.swept.contains(&set.id) && since.is_some_and(over)
        };
        let over: Vec<&Seen> = stay.iter().filter(is_over).copied().collect();
        let mut troubles = Vec::new();
        for set in over.into_iter().take(SWEPT) {
            match self.tidy(set, settles_after(interval)).await {
                Ok(true) => {
                    self.swept.insert(set.id);
                }
                // It may be somebody who is slow.
                Ok(false) => {}
                Err(error) => {
                    let why = chain(&error);
                    troubles.push(format!("set {} is not tidied up: {why}", set.id));
                }
            }
        }
        troubles
    }

    /// Gives whether nothing is left.
    async fn tidy(&self, set: &Seen, older: Duration) -> Result<bool, StoreError> {
        let left = self.shelf.clear(set.id, older).await?;
        // A proof may be on its way into a set that is one.
        if left == 0 && set.state == State::Bare {
            self.shelf.fold(set.id).await?;
        }
        Ok(left == 0)
    }

    /// Takes away all but the tombstone, and that as well when it is `settled` and nothing came late.
    /// Gives whether that was done by `end`.
    async fn delete(
        &self,
        judged: &Seen,
        ours: &StoreId,
        why: &str,
        now: Utc,
        settled: bool,
        end: Instant,
    ) -> Result<bool, String> {
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
        loop {
            if self.shelf.is_pinned(set).await {
                return Err("it has been pinned, or whether it has cannot be read".to_owned());
            }
            let (mut entries, whole) = self.inside(set).await?;
            // What says whose they are goes when it is certain that it says it of nothing.
            entries.retain(|entry| *entry != Entry::Tombstone && (whole || place(*entry) < LAST));
            if entries.is_empty() && !whole {
                return Err(format!(
                    "it holds more than {BATCH} files that are not ours"
                ));
            }
            entries.sort_by_key(|entry| (place(*entry), *entry));
            for entry in entries {
                if Instant::now() >= end {
                    return Ok(false);
                }
                let removed = self.shelf.remove(set, entry).await;
                removed.map_err(|error| chain(&error))?;
            }
            if whole {
                break;
            }
            if Instant::now() >= end {
                return Ok(false);
            }
        }
        let left = self.shelf.clear(set, settles_after(self.settings.interval));
        let left = left.await.map_err(|error| chain(&error))?;
        let folded = self.shelf.fold(set).await;
        folded.map_err(|error| chain(&error))?;
        if left > 0 || !settled {
            return Ok(true);
        }
        let (entries, whole) = self.inside(set).await?;
        if whole && entries == [Entry::Tombstone] {
            let removed = self.shelf.remove(set, Entry::Tombstone).await;
            removed.map_err(|error| chain(&error))?;
        }
        Ok(true)
    }

    /// The tombstone has stood for long enough: what a task that has not heard of it writes late is seen
    /// to belong to nothing, and the slot is not taken again.
    fn is_old(&self, kind: Kind, since: Instant) -> bool {
        kind == Kind::Tombstoned && since.elapsed() >= settles_after(self.settings.interval)
    }

    /// What is ours of a set, and whether that is all of it.
    async fn inside(&self, set: SetId) -> Result<(Vec<Entry>, bool), String> {
        let inside = self.shelf.some(set, BATCH).await;
        let inside = inside.map_err(|error| chain(&error))?;
        let ours = inside.ours.into_iter().map(|(entry, _)| entry);
        Ok((ours.collect(), inside.whole))
    }
}

/// From here on the files of a set say whose the others are.
const LAST: u8 = 2;

/// In which order the files go: what says whose they are goes last.
fn place(entry: Entry) -> u8 {
    match entry {
        Entry::Payload(..) => 0,
        Entry::Part(..) | Entry::Proof(..) | Entry::Pin => 1,
        Entry::Manifest => LAST,
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
