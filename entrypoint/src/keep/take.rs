//! `entrypoint snapshots take`: asks this task for a set by hand, and waits until there is one, or until
//! it is certain that there will be none.

use std::time::{Duration, Instant};

use planner::keep::folder::Found;
use planner::keep::ids::SetId;
use planner::keep::layout::Entry;
use planner::keep::records::{Manifest, PlanRecord, Tombstone};

use super::Shelf;
use super::asked::{Record, Wish, what};
use crate::config::Config;
use crate::log::chain;
use crate::query;
use crate::store;

/// Longer than a set may take: half of that is the sources', and then it is finished or given up.
const LONGEST: Duration = Duration::from_secs(40 * 60);
const PAUSE: Duration = Duration::from_secs(2);
/// A request that is gone has its plan in the store; so long may the volume hide it from us.
const HIDDEN: Duration = Duration::from_secs(60);
const GONE: &str = "the request is gone and no set has come of it: `set.request_dropped` or \
                    `set.given_up` in the leader's log says why";

/// Asks, and waits when that is wanted. Exit code 0, or 1 when there is no such request, or no set.
pub async fn take(config: &Config, wish: &Wish, wait: bool) -> u8 {
    let done = async {
        let record = asked(config, wish).await?;
        let (what, by, token) = (what(&record.scope), &record.by, &record.token);
        println!(
            "asked for {what}, by {by} at {}: request {token}",
            record.at
        );
        match wait {
            true => waited(config, &record).await.map(Some),
            false => Ok(None),
        }
    };
    match done.await {
        Ok(line) => {
            line.iter().for_each(|line| println!("{line}"));
            0
        }
        Err(why) => {
            eprintln!("entrypoint: snapshots: {}", why.trim_end());
            1
        }
    }
}

async fn asked(config: &Config, wish: &Wish) -> Result<Record, String> {
    let answer = query::ask_for_set(config, wish).await;
    let answer = answer.map_err(|error| format!("{error:#}"))?;
    let good = answer.status().is_success();
    let text = answer.text().await.map_err(|error| error.to_string())?;
    match good {
        true => serde_json::from_str(&text).map_err(|error| format!("{text}: {error}")),
        false => Err(text),
    }
}

async fn waited(config: &Config, record: &Record) -> Result<String, String> {
    let store = store::open(&config.store, &config.aws).map_err(|error| chain(&error))?;
    let shelf = Shelf::start(store, config.store_timeout).map_err(|error| chain(&error))?;
    let end = Instant::now() + LONGEST;
    let (mut set, mut gone, mut said) = (None, None, String::new());
    loop {
        // Before the sets: it goes when its plan is in the store, and not earlier.
        let waits = query::request_for_set(config).await;
        let is_gone = waits.is_ok_and(|there| there.as_ref() != Some(&record.token));
        let found = match set {
            Some(set) => Ok(Some(set)),
            None => of(&shelf, record).await,
        };
        let mut now = match found {
            Ok(Some(found)) => {
                set = Some(found);
                if let Some(over) = outcome(&shelf, found).await {
                    return over;
                }
                format!("set {found} is being made")
            }
            Ok(None) => {
                gone = gone.or(Some(Instant::now())).filter(|_| is_gone);
                if gone.is_some_and(|since: Instant| since.elapsed() > HIDDEN) {
                    return Err(GONE.to_owned());
                }
                "it is not begun".to_owned()
            }
            Err(why) => why,
        };
        if let Ok((_, status)) = query::fetch(config).await
            && !status.sets.is_empty()
        {
            now = format!("{now}; {}", status.sets);
        }
        if now != said {
            eprintln!("{now}");
            said = now;
        }
        if Instant::now() > end {
            return Err(format!("not finished after 40 minutes: {said}"));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// The set that was planned for this request. Its name is not earlier than the request.
async fn of(shelf: &Shelf, record: &Record) -> Result<Option<SetId>, String> {
    let sets = shelf.sets().await.map_err(|error| chain(&error))?;
    let later = sets.into_iter().filter(|set| set.time() >= record.at);
    for set in later.collect::<Vec<_>>() {
        match shelf.read::<PlanRecord>(set, Entry::Plan).await {
            Found::Good(plan) if is_for(&plan, record) => return Ok(Some(set)),
            // It may be this one.
            Found::Unread(why) => return Err(format!("set {set} is not read: {why}")),
            Found::Good(_) | Found::Refused(_) | Found::Absent => {}
        }
    }
    Ok(None)
}

fn is_for(plan: &PlanRecord, record: &Record) -> bool {
    let asked = plan.asked.as_ref();
    asked.is_some_and(|asked| asked.token == record.token)
}

/// How it ended; `None`: it has not, as far as is known.
async fn outcome(shelf: &Shelf, set: SetId) -> Option<Result<String, String>> {
    match shelf.read::<Tombstone>(set, Entry::Tombstone).await {
        Found::Good(tombstone) => {
            return Some(Err(format!("set {set} is given up: {}", tombstone.why)));
        }
        Found::Refused(why) => return Some(Err(why.to_string())),
        Found::Unread(_) => return None,
        Found::Absent => {}
    }
    match shelf.read::<Manifest>(set, Entry::Manifest).await {
        Found::Good(manifest) => Some(Ok(line(&manifest))),
        Found::Refused(why) => Some(Err(why.to_string())),
        Found::Absent | Found::Unread(_) => None,
    }
}

fn line(manifest: &Manifest) -> String {
    let all = &manifest.collections;
    let whole = all.iter().filter(|there| there.whole).count();
    let files = all.iter().flat_map(|there| &there.files);
    let bytes: u64 = files.map(|file| file.bytes).sum();
    let (set, all) = (manifest.set, all.len());
    match whole == all {
        true => format!("{set}  {all} collections, {bytes} bytes"),
        false => format!("{set}  {all} collections, of which {whole} are whole, {bytes} bytes"),
    }
}
