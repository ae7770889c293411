//! `entrypoint snapshots pin` and `unpin`: a set that must not be deleted, on the word of a person.
//!
//! A pin is a record in the set, created exclusively. A deletion begins with a tombstone and looks for a
//! pin after it, and a pin looks for the tombstone afterwards: so of the two at least one sees the other.

use std::time::Duration;

use planner::ids::StoreId;
use planner::keep::folder::{Found, seen};
use planner::keep::ids::SetId;
use planner::keep::layout::Entry;
use planner::keep::records::{FORMAT, Pin, Tombstone};
use planner::keep::seen::State;

use super::shelves::at_rest;
use super::{Shelf, now};
use crate::config::Config;
use crate::log::chain;
use crate::store::{self, Created};

/// Who pins which set, and why.
#[derive(Debug, Clone)]
pub struct Wish {
    /// The set.
    pub set: SetId,
    /// Who.
    pub owner: String,
    /// Why.
    pub reason: String,
}

/// `snapshots pin`. Exit code 0, or 1 when the set is not pinned, or is being deleted all the same.
pub async fn pin(config: &Config, wish: &Wish) -> u8 {
    let done = async {
        let (shelf, ours) = open(config).await?;
        pinned(&shelf, &ours, wish).await
    };
    end(done.await)
}

/// `snapshots unpin`. Exit code 0, or 1 when there may still be a pin.
pub async fn unpin(config: &Config, set: SetId) -> u8 {
    let done = async {
        let (shelf, ours) = open(config).await?;
        unpinned(&shelf, &ours, set).await
    };
    end(done.await)
}

fn end(done: Result<String, String>) -> u8 {
    match done {
        Ok(line) => {
            println!("{line}");
            0
        }
        Err(why) => {
            eprintln!("entrypoint: snapshots: {why}");
            1
        }
    }
}

async fn open(config: &Config) -> Result<(Shelf, StoreId), String> {
    let store = store::open(&config.store, &config.aws).map_err(|error| chain(&error))?;
    let ours = super::command::store_id(config, &store).await?;
    let shelf = Shelf::start(store, config.store_timeout).map_err(|error| chain(&error))?;
    Ok((shelf, ours))
}

pub(super) async fn pinned(shelf: &Shelf, ours: &StoreId, wish: &Wish) -> Result<String, String> {
    let set = wish.set;
    if wish.owner.trim().is_empty() || wish.reason.trim().is_empty() {
        return Err("a pin needs an owner and a reason".to_owned());
    }
    is_ours(shelf, ours, set).await?;
    if is_going(shelf, set).await? {
        return Err(format!(
            "set {set} is being deleted: it counts for nothing any more"
        ));
    }
    let pin = Pin {
        format: FORMAT,
        set,
        at: now().ok_or("the wall clock says no time that a pin could have")?,
        by: wish.owner.clone(),
        why: wish.reason.clone(),
    };
    match shelf.create(&pin).await {
        Ok(Created::Ours) => {}
        Ok(Created::Exists(_)) => {
            return Err(format!(
                "set {set} has a pin already: {}",
                said(shelf, set).await
            ));
        }
        Err(error) if error.is_unclear() => {
            let why = chain(&error);
            return Err(format!("set {set} may be pinned or not, ask again: {why}"));
        }
        Err(error) => return Err(chain(&error)),
    }
    match is_going(shelf, set).await {
        Ok(false) => Ok(format!("set {set} is pinned")),
        Ok(true) => Err(format!(
            "set {set} got its tombstone meanwhile, and counts for nothing any more: what is left of \
             its files stays while the pin does; `entrypoint snapshots unpin {set}` lets it go"
        )),
        Err(why) => Err(format!(
            "set {set} is pinned, and whether it is being deleted is not known: {why}"
        )),
    }
}

pub(super) async fn unpinned(shelf: &Shelf, ours: &StoreId, set: SetId) -> Result<String, String> {
    is_ours(shelf, ours, set).await?;
    let pin = match shelf.read::<Pin>(set, Entry::Pin).await {
        Found::Good(pin) => pin,
        Found::Absent => return Err(format!("set {set} has no pin")),
        // It may say more than this version knows.
        Found::Refused(why) => return Err(why.to_string()),
        Found::Unread(why) => return Err(format!("the pin of set {set} is not read: {why}")),
    };
    let removed = shelf.remove(set, Entry::Pin).await;
    match removed.map_err(|error| chain(&error))? {
        true => Ok(format!("set {set} is not pinned any more: {}", words(&pin))),
        false => Err(format!("somebody else has just unpinned set {set}")),
    }
}

/// Whether it has a tombstone. One that is not believed is one: somebody wants the set gone.
async fn is_going(shelf: &Shelf, set: SetId) -> Result<bool, String> {
    match shelf.read::<Tombstone>(set, Entry::Tombstone).await {
        Found::Absent => Ok(false),
        Found::Good(_) | Found::Refused(_) => Ok(true),
        Found::Unread(why) => Err(why),
    }
}

/// The set is there, and of this cluster.
async fn is_ours(shelf: &Shelf, ours: &StoreId, set: SetId) -> Result<(), String> {
    let sets = shelf.sets().await.map_err(|error| chain(&error))?;
    if !sets.contains(&set) {
        return Err(format!("there is no set {set} in {}", shelf.describe()));
    }
    let folder = shelf.folder(set).await.under(at_rest(Duration::ZERO));
    match seen(&folder, ours, "").state {
        State::Made(_) | State::Unfinished { .. } => Ok(()),
        State::Bare => Err(format!("set {set} is an empty folder")),
        State::Foreign(why) => Err(format!("set {set} is not ours: {why}")),
        State::Unread(why) => Err(format!("set {set} is not read: {why}")),
    }
}

async fn said(shelf: &Shelf, set: SetId) -> String {
    match shelf.read::<Pin>(set, Entry::Pin).await {
        Found::Good(pin) => words(&pin),
        Found::Refused(why) => why.to_string(),
        Found::Absent => "it has just gone".to_owned(),
        Found::Unread(why) => why,
    }
}

fn words(pin: &Pin) -> String {
    format!("{} since {}, by {}", pin.why, pin.at, pin.by)
}
