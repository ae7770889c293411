//! The preconditions of everything that cannot be undone, in one place.
//!
//! [`crate::decide`] proposes; whoever carries it out reads disk and store once more and asks
//! here. A refusal is not an error: the next round decides anew.

use core::fmt;
use core::net::IpAddr;
use std::collections::BTreeSet;

use crate::decision::{Aside, Discard};
use crate::ids::{GenerationId, PeerId, TaskId};
use crate::keep::records::{Manifest, Origin, Scope};
use crate::observed::Observed;
use crate::records::{End, FORMAT, Formed, Rejoin, Stage, Stamp};
use crate::view::{Disk, Observation, Store};

pub use crate::witness::{permitted, whole_without};

/// Why something that cannot be undone was not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused(pub String);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn refuse<T>(why: impl Into<String>) -> Result<T, Refused> {
    Err(Refused(why.into()))
}

fn stamp_of(disk: &Disk) -> Result<&Stamp, Refused> {
    disk.stamp
        .as_ref()
        .ok_or_else(|| Refused("this disk has no stamp of ours".to_owned()))
}

/// May Qdrant's files on this disk be deleted, on this ground, as things are *now*?
///
/// `store` is what was read just before. Never for a disk that ran a formed generation and holds
/// a collection.
pub fn may_discard(
    ground: &Discard,
    disk: &Disk,
    child_runs: bool,
    store: &Observed<Store>,
) -> Result<(), Refused> {
    if child_runs {
        return refuse("Qdrant is still running");
    }
    let stamp = stamp_of(disk)?;
    match ground {
        Discard::Dataless => {
            if stamp.stage == Stage::Founding {
                return refuse("the fate of our claim is not known");
            }
            if disk.collections {
                return refuse("the disk holds collections");
            }
            Ok(())
        }
        Discard::ClaimAbandoned { generation } | Discard::ClaimLost { generation } => {
            if stamp.stage != Stage::Founding || stamp.generation != *generation {
                return refuse("the disk does not belong to this claim");
            }
            if disk.collections {
                // Nobody was let in, but Qdrant's port was open.
                return refuse("the disk holds collections");
            }
            let store = match store {
                Observed::Known(store) => store,
                Observed::Unknown(why) => return refuse(format!("the store is unknown: {why}")),
            };
            let there = store.generations.get(&generation.number);
            match (ground, there) {
                (_, None) => refuse("the claim is not in the store"),
                (Discard::ClaimLost { .. }, Some(there)) => {
                    if there.claim.token == generation.token {
                        return refuse("the claim is ours");
                    }
                    Ok(())
                }
                (_, Some(there)) if there.claim.token != generation.token => {
                    refuse("the claim is another's")
                }
                // Any end but our own *formed*: it was abandoned, or a record of an earlier life
                // of the store has taken its place.
                (_, Some(there))
                    if there.outcome.is_some() && there.formed(generation.number).is_none() =>
                {
                    Ok(())
                }
                _ => refuse("the claim is not abandoned"),
            }
        }
    }
}

/// May Qdrant's files on this disk be renamed aside, on this ground?
///
/// `proven` is the highest formed generation, read just before from the store or from a believed
/// peer's key map; `word` is who said in this round that nothing here is needed, or that it is
/// permitted ([`word_for`]).
pub fn may_set_aside(
    ground: &Aside,
    disk: &Disk,
    child_runs: bool,
    proven: Option<&GenerationId>,
    word: Option<IpAddr>,
) -> Result<(), Refused> {
    if child_runs {
        return refuse("Qdrant is still running");
    }
    let stamp = stamp_of(disk)?;
    if stamp.stage == Stage::Founding {
        return refuse("the fate of our claim is not known");
    }
    let newer = match ground {
        Aside::Superseded { newer } => newer,
        Aside::Removed { .. } => {
            return match word {
                Some(_) => Ok(()),
                None => refuse("nobody says that the cluster is whole without this peer"),
            };
        }
        Aside::Permitted { .. } => {
            return match word {
                Some(_) => Ok(()),
                None => refuse("the steward does not permit it"),
            };
        }
    };
    match proven {
        Some(proven)
            if proven.number >= newer.number && proven.number > stamp.generation.number =>
        {
            Ok(())
        }
        Some(proven) => refuse(format!("the highest formed generation is {proven}")),
        None => refuse("no formed generation can be read"),
    }
}

/// The member whose word this ground rests on, as things were seen in this round; `None` when nobody
/// says so, and for a ground that rests on records.
pub fn word_for(
    ground: &Aside,
    service: &str,
    task: &TaskId,
    seen: &Observation,
    stamp: &Stamp,
) -> Option<IpAddr> {
    match ground {
        Aside::Superseded { .. } => None,
        Aside::Removed { .. } => whole_without(service, seen, stamp),
        Aside::Permitted { .. } => permitted(service, task, seen, stamp),
    }
}

/// May *formed* be created for the claim of this disk, as things are *now*?
///
/// Not destructive by itself, but it ends every lower generation and cannot be undone. `store` is
/// what was read just before; a task that slept since it decided finds out here.
pub fn may_form(stamp: &Stamp, store: &Observed<Store>) -> Result<(), Refused> {
    let store = match store {
        Observed::Known(store) => store,
        Observed::Unknown(why) => return refuse(format!("the store is unknown: {why}")),
    };
    if store.identity.as_ref().map(|identity| &identity.store_id) != Some(&stamp.store_id) {
        return refuse("the store is not the one of our claim");
    }
    let Some((claim, previous)) = stamp.claims() else {
        return refuse("this disk claims nothing");
    };
    let formed = store.formed().map(|formed| &formed.generation);
    if formed != previous {
        return refuse("the highest formed generation is not the one our claim follows");
    }
    match store.undecided() {
        Some((number, there)) if number == claim.number && there.claim.token == claim.token => {
            Ok(())
        }
        _ => refuse("our claim is not the one that is open"),
    }
}

/// What our Qdrant said while nobody else could reach it, after the final set was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alone {
    /// Its peer.
    pub peer: PeerId,
    /// Whom it lists.
    pub peers: BTreeSet<PeerId>,
    /// It votes, and leads itself.
    pub leads: bool,
    /// A write of its own committed: with nobody to reach, that proves that nobody else votes.
    pub commits: bool,
}

/// May it be put on record that the generation of this disk has ended with this final set, as things are
/// *now*?
///
/// From then on an empty task may begin the next generation with the set, without waiting; what is here
/// never runs in the old one again. `store` is what was read just before.
///
/// # Errors
/// What speaks against it; then silence has to be waited for, as ever.
pub fn may_end(
    disk: &Disk,
    child_runs: bool,
    store: &Observed<Store>,
    alone: &Alone,
    manifest: &Manifest,
    task: &TaskId,
) -> Result<End, Refused> {
    if child_runs {
        return refuse("Qdrant is still running");
    }
    let stamp = stamp_of(disk)?;
    let busy = stamp.regroup.is_some() || stamp.rejoin.is_some() || stamp.held.is_some();
    if stamp.stage != Stage::Member || busy {
        return refuse("this disk is not an undisputed member's");
    }
    if stamp.restore {
        return refuse("a restore has not been seen finished");
    }
    if disk.peer_id != Some(alone.peer) {
        return refuse("another peer answered than the one on this disk");
    }
    if alone.peers != BTreeSet::from([alone.peer]) {
        return refuse("our Qdrant lists other peers");
    }
    // One that was removed lists nobody either.
    if !alone.leads || !alone.commits {
        return refuse("our Qdrant has not proven that it is the only voter");
    }
    let of_all = manifest.scope == Scope::All && manifest.origin == Origin::Stop;
    if !of_all || manifest.source.generation != stamp.generation {
        return refuse("the set is not the final one of this generation");
    }
    if manifest.source.cluster != stamp.store_id {
        return refuse("the set is of another cluster");
    }
    if manifest.collections.iter().any(|there| !there.whole) {
        return refuse("not every collection is whole in the set");
    }
    let store = match store {
        Observed::Known(store) => store,
        Observed::Unknown(why) => return refuse(format!("the store is unknown: {why}")),
    };
    if store.identity.as_ref().map(|identity| &identity.store_id) != Some(&stamp.store_id) {
        return refuse("the store is not the one of our generation");
    }
    if store.formed().map(|formed| &formed.generation) != Some(&stamp.generation) {
        return refuse("the highest formed generation is not ours");
    }
    if let Some((number, open)) = store.undecided() {
        return refuse(format!(
            "task {} has claimed generation {number}",
            open.claim.task
        ));
    }
    Ok(End {
        format: FORMAT,
        generation: stamp.generation.clone(),
        set: manifest.set,
        peer: alone.peer,
        task: task.clone(),
    })
}

/// May Raft be begun anew on this disk, as the only voter of the generation that we claim (R8)?
///
/// The data stays, but this peer can never vote in its old generation again, and entries that were
/// not known to be committed are cut off. `store` is what was read just before.
pub fn may_reinit(disk: &Disk, child_runs: bool, store: &Observed<Store>) -> Result<(), Refused> {
    if child_runs {
        return refuse("Qdrant is still running");
    }
    let stamp = stamp_of(disk)?;
    let Some(mark) = &stamp.regroup else {
        return refuse("this disk claims nothing by re-quorum");
    };
    if stamp.stage != Stage::Member || !disk.collections {
        return refuse("this disk is not a survivor's");
    }
    if disk
        .peer_id
        .is_none_or(|us| !mark.survivors.contains_key(&us))
    {
        return refuse("our claim does not name the peer on this disk");
    }
    may_form(stamp, store)
}

/// May Raft be begun anew on this disk, to go over into this generation with the data (R8)?
///
/// `proven` is the highest formed generation, read just before from the store or from a believed
/// peer's key map.
pub fn may_rejoin(
    formed: &Formed,
    disk: &Disk,
    child_runs: bool,
    proven: Option<&GenerationId>,
) -> Result<(), Refused> {
    if child_runs {
        return refuse("Qdrant is still running");
    }
    let stamp = stamp_of(disk)?;
    if stamp.store_id != formed.store_id {
        return refuse("the generation is of another store");
    }
    let mark = stamp
        .rejoin
        .as_ref()
        .filter(|_| stamp.generation == formed.generation);
    let again = mark.is_some();
    if mark.is_some_and(|mark| entered(disk, &formed.generation, mark)) {
        // Qdrant ends with 101 when it is begun anew with a vote (conformance `reinit`).
        return refuse("the Raft state on this disk is that of the generation already");
    }
    if !again
        && (stamp.stage == Stage::Founding || stamp.generation.number >= formed.generation.number)
    {
        return refuse("the data on this disk is not of an earlier generation");
    }
    if disk
        .peer_id
        .is_none_or(|us| !formed.survivors.contains(&us))
    {
        return refuse("the generation does not count on the peer on this disk");
    }
    match proven {
        Some(proven) if *proven == formed.generation => Ok(()),
        Some(proven) => refuse(format!("the highest formed generation is {proven}")),
        None => refuse("no formed generation can be read"),
    }
}

/// The Raft state on this disk is that of the generation that we go over into: it was let in. Its terms
/// tell (decision 0019); so do its voters, when one of the old ones is not in the new one.
pub fn entered(disk: &Disk, generation: &GenerationId, mark: &Rejoin) -> bool {
    let by_term = disk.term >= generation.first_term();
    let told = !mark.left.is_empty() && !disk.voters.is_empty();
    let by_voters = told && disk.voters.is_disjoint(&mark.left);
    disk.joined && (by_term || by_voters)
}

/// May the mark of our claim by re-quorum be taken off, so that this peer runs in its old generation
/// again?
pub fn may_resume(disk: &Disk, store: &Observed<Store>) -> Result<(), Refused> {
    let Some(mark) = &stamp_of(disk)?.regroup else {
        return refuse("this disk claims nothing by re-quorum");
    };
    if mark.begun {
        return refuse("Raft may have been begun anew");
    }
    let store = match store {
        Observed::Known(store) => store,
        Observed::Unknown(why) => return refuse(format!("the store is unknown: {why}")),
    };
    match store.generations.get(&mark.claim.number) {
        Some(there) if there.claim.token != mark.claim.token => Ok(()),
        Some(there) if there.outcome.is_some() && there.formed(mark.claim.number).is_none() => {
            Ok(())
        }
        _ => refuse("our claim may still be formed"),
    }
}

/// May Qdrant be started again that rests for the claim of another survivor? Only when that claim can
/// never be formed: what were written here now would be missing there.
pub fn may_let_go(stamp: &Stamp, store: &Observed<Store>) -> Result<(), Refused> {
    let Some(held) = &stamp.held else {
        return Ok(());
    };
    let store = match store {
        Observed::Known(store) => store,
        Observed::Unknown(why) => return refuse(format!("the store is unknown: {why}")),
    };
    match store.generations.get(&held.claim.number) {
        Some(there) if there.claim.token != held.claim.token => Ok(()),
        Some(there) if there.outcome.is_some() && there.formed(held.claim.number).is_none() => {
            Ok(())
        }
        _ => refuse("the claim that it rests for may still be formed"),
    }
}

/// May our own copy of a shard be dropped after going over, because a settled member holds it too?
///
/// `active_at` are the other peers with an Active copy of it, as the cluster says.
pub fn may_shed(active_at: &BTreeSet<PeerId>, settled: &BTreeSet<PeerId>) -> Result<(), Refused> {
    match active_at.is_disjoint(settled) {
        false => Ok(()),
        true => refuse("no settled member holds another active copy"),
    }
}
