//! The preconditions of everything that cannot be undone, in one place.
//!
//! [`crate::decide`] proposes; whoever carries it out reads disk and store once more and asks
//! here. A refusal is not an error: the next round decides anew.

use core::fmt;
use core::net::IpAddr;

use crate::decision::{Aside, Discard};
use crate::ids::GenerationId;
use crate::observed::Observed;
use crate::records::{Stage, Stamp};
use crate::view::{Disk, Store};

pub use crate::witness::whole_without;

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
/// peer's key map; `whole` is who said in this round that nothing here is needed
/// ([`whole_without`]).
pub fn may_set_aside(
    ground: &Aside,
    disk: &Disk,
    child_runs: bool,
    proven: Option<&GenerationId>,
    whole: Option<IpAddr>,
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
            return match whole {
                Some(_) => Ok(()),
                None => refuse("nobody says that the cluster is whole without this peer"),
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
    let formed = store.formed().map(|formed| &formed.generation);
    if formed != stamp.previous.as_ref() {
        return refuse("the highest formed generation is not the one our claim follows");
    }
    match store.undecided() {
        Some((number, there))
            if number == stamp.generation.number && there.claim.token == stamp.generation.token =>
        {
            Ok(())
        }
        _ => refuse("our claim is not the one that is open"),
    }
}
