//! `entrypoint snapshots …`: what is in the store, why each set is kept, and whether its files are what
//! their manifests say. What is here reads the store alone, without any task that runs; changes nothing. What it shows
//! is judged at this moment: the steward judges anew before it deletes, and knows the age of what it sees.

use std::path::PathBuf;
use std::sync::Arc;

use planner::ids::{StoreId, TaskId};
use planner::keep::folder::Found;
use planner::keep::ids::SetId;
use planner::keep::layout::Entry;
use planner::keep::records::{Manifest, Tombstone};
use planner::keep::retention::{Verdict, retention};
use planner::keep::seen::{Seen, State};

use super::check::{Checked, check};
use super::shelves::{Known, look};
use super::{Shelf, retention_settings};
use crate::cli::EX_CONFIG;
use crate::config::Config;
use crate::ledger::Ledger;
use crate::log::chain;
use crate::store::{self, BlobStore, DirectoryStore, Store, StoreHandle};

/// Something is wrong with a set.
const WRONG: u8 = 1;
/// The store could not be read.
const UNREAD: u8 = 69;

/// Prints every set with why it is kept, or that it goes. Gives the exit code.
pub async fn list(config: &Config) -> u8 {
    match listed(config).await {
        Ok(lines) => {
            lines.iter().for_each(|line| println!("{line}"));
            0
        }
        Err(why) => {
            eprintln!("entrypoint: snapshots: {why}");
            UNREAD
        }
    }
}

/// What would be deleted next, and why: what [`list`] says of those that are not kept. Gives the exit code.
pub async fn prune(config: &Config, dry_run: bool) -> u8 {
    if !dry_run {
        eprintln!(
            "entrypoint: snapshots: the steward's task deletes by itself what is not kept; \
             `snapshots prune --dry-run` says what that would be"
        );
        return EX_CONFIG;
    }
    match doomed(config).await {
        Ok(lines) => {
            if lines.is_empty() {
                println!("nothing: every set is kept");
            }
            lines.iter().for_each(|line| println!("{line}"));
            0
        }
        Err(why) => {
            eprintln!("entrypoint: snapshots: {why}");
            UNREAD
        }
    }
}

async fn doomed(config: &Config) -> Result<Vec<String>, String> {
    let judged = judged(config).await?;
    let doomed = judged.into_iter().filter(|(keeps, _)| !keeps);
    Ok(doomed.map(|(_, line)| line).collect())
}

async fn listed(config: &Config) -> Result<Vec<String>, String> {
    let judged = judged(config).await?;
    Ok(judged.into_iter().map(|(_, line)| line).collect())
}

/// Every set, with whether it is kept.
async fn judged(config: &Config) -> Result<Vec<(bool, String)>, String> {
    let settings = retention_settings(config)
        .ok_or("no sets are made or deleted: ENTRYPOINT_SETS is off".to_owned())?;
    let store = store::open(&config.store, &config.aws).map_err(|error| chain(&error))?;
    let ours = store_id(config, &store).await?;
    let shelf = Shelf::start(store, config.store_timeout).map_err(|error| chain(&error))?;
    let there = look(&shelf, &ours, "", &mut Known::new()).await?;
    let verdicts = retention(&settings, there.seen(), there.is_failing());
    let lines = there.seen().iter().map(|set| {
        let verdict = match verdicts.get(&set.id) {
            Some(Verdict::Keep(reasons)) => {
                let reasons: Vec<_> = reasons.iter().map(ToString::to_string).collect();
                format!("kept: {}", reasons.join("; "))
            }
            Some(Verdict::Delete { why, now: true }) => format!("goes: {why}"),
            Some(Verdict::Delete { why, now: false }) => format!("goes later: {why}"),
            None => "not looked at".to_owned(),
        };
        let goes = matches!(verdicts.get(&set.id), Some(Verdict::Delete { .. }));
        (!goes, format!("{}  {}  {verdict}", set.id, state(set)))
    });
    Ok(lines.collect())
}

fn state(set: &Seen) -> String {
    if set.tombstoned {
        return "given up".to_owned();
    }
    match &set.state {
        State::Made(contents) => {
            let whole = contents
                .collections
                .values()
                .filter(|there| there.whole)
                .count();
            format!("{whole}/{} whole", contents.collections.len())
        }
        State::Unfinished { .. } => "unfinished".to_owned(),
        State::Bare => "empty".to_owned(),
        State::Foreign(_) => "not ours".to_owned(),
        State::Unread(_) => "not read".to_owned(),
    }
}

/// Checks the files of one set, or of all, in the store of the configuration or in `copy` of one. Gives
/// the exit code.
pub async fn checked(config: &Config, copy: Option<PathBuf>, set: Option<SetId>) -> u8 {
    let store = match copy {
        Some(copy) => Ok(Arc::new(DirectoryStore::new(copy)) as Arc<dyn BlobStore>),
        None => store::open(&config.store, &config.aws).map_err(|error| chain(&error)),
    };
    let done = match store {
        Ok(store) => sets(config, store, set).await,
        Err(why) => Err(why),
    };
    match done {
        Ok(code) => code,
        Err(why) => {
            eprintln!("entrypoint: snapshots: {why}");
            UNREAD
        }
    }
}

async fn sets(
    config: &Config,
    store: Arc<dyn BlobStore>,
    only: Option<SetId>,
) -> Result<u8, String> {
    let shelf = Shelf::start(store, config.store_timeout);
    let shelf = shelf.map_err(|error| chain(&error))?;
    let sets = shelf.sets().await.map_err(|error| chain(&error))?;
    let sets: Vec<_> = match only {
        None => sets.into_iter().collect(),
        Some(set) if sets.contains(&set) => vec![set],
        Some(set) => return Err(format!("there is no set {set} in {}", shelf.describe())),
    };
    let (mut wrong, mut unread, mut checked) = (false, false, 0);
    for set in sets {
        if !matches!(
            shelf.read::<Tombstone>(set, Entry::Tombstone).await,
            Found::Absent
        ) {
            println!("{set}  is being deleted: it counts for nothing");
            continue;
        }
        match shelf.read::<Manifest>(set, Entry::Manifest).await {
            Found::Absent => println!("{set}  has no manifest: it counts for nothing"),
            Found::Refused(why) => {
                println!("{set}  WRONG: {why}");
                wrong = true;
            }
            Found::Unread(why) => {
                println!("{set}  not read: {why}");
                unread = true;
            }
            Found::Good(manifest) => {
                checked += 1;
                let found = check(&shelf, &manifest).await;
                tell(&manifest, &found);
                wrong |= !found.wrong.is_empty();
                unread |= !found.unread.is_empty();
            }
        }
    }
    // A folder that is not there looks like one without sets, and says as little.
    if checked == 0 && !wrong && !unread {
        return Err(format!(
            "no finished set is in {}, so nothing was checked: it must be the folder that holds `sets`",
            shelf.describe()
        ));
    }
    Ok(match (wrong, unread) {
        (true, _) => WRONG,
        (false, true) => UNREAD,
        (false, false) => 0,
    })
}

fn tell(manifest: &Manifest, found: &Checked) {
    let set = manifest.set;
    for there in manifest.collections.iter().filter(|there| !there.whole) {
        println!("{set}  {} is not whole", there.name);
    }
    for why in &found.wrong {
        println!("{set}  WRONG: {why}");
    }
    for why in &found.unread {
        println!("{set}  not read: {why}");
    }
    println!("{set}  {} files good, {} bytes", found.good, found.bytes);
}

/// The store's own name: a set of another one is not ours.
pub(super) async fn store_id(
    config: &Config,
    store: &Arc<dyn BlobStore>,
) -> Result<StoreId, String> {
    let store = StoreHandle::start(Arc::clone(store) as Arc<dyn Store>, config.store_timeout);
    let store = store.map_err(|error| chain(&error))?;
    let mut ledger = Ledger::new(store, TaskId::from("a look from outside"));
    let id = ledger.store_id().await.map_err(|error| chain(&error))?;
    id.ok_or_else(|| "the store belongs to no cluster yet".to_owned())
}
