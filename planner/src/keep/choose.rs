//! Which set a restore takes.
//!
//! The newest, unless something speaks against it; everything that was passed over is named. A
//! set with fewer collections than any earlier one had, whose end is on no record, may be what a
//! disaster left. Comparing with its predecessor only would not do: the second set after a
//! disaster lacks nothing that the first had.

use core::fmt;
use std::collections::BTreeSet;

use crate::heal::names::CollectionName;
use crate::keep::ids::SetId;
use crate::keep::seen::{Contents, Seen, State, newest_of_all};

/// What is to be restored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// All that a set has.
    All,
    /// These.
    These(BTreeSet<CollectionName>),
}

/// What was chosen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Choice {
    /// The set.
    pub set: Option<SetId>,
    /// A newer one has failed: this one is read and hashed before anything of it is used.
    pub prove_first: bool,
    /// The newer ones, the newest first, each with what speaks against it.
    pub skipped: Vec<(SetId, Skip)>,
}

/// What speaks against a set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Skip {
    /// It is being deleted.
    Tombstoned,
    /// It is not ours; for people.
    Foreign(String),
    /// It cannot be read; for people.
    Unread(String),
    /// It has no manifest.
    Unfinished,
    /// It is of one collection, and all are wanted.
    OfOne,
    /// It does not have these.
    Lacks(BTreeSet<CollectionName>),
    /// These are not whole in it.
    NotWhole(BTreeSet<CollectionName>),
    /// These were found to be bad.
    Failed(BTreeSet<CollectionName>),
    /// A restore from it has failed twice.
    GivenUp,
    /// Earlier sets have these, and nobody saw them end.
    Fewer(BTreeSet<CollectionName>),
}

impl Skip {
    /// An older set may be restored instead without asking anybody: this one is no set of everything, or
    /// was found to be bad. Of all else a person has to say that it is to be lost: what cannot be read or
    /// believed now, and what would take every other collection back in time for the sake of one.
    pub fn is_settled(&self) -> bool {
        match self {
            Self::Tombstoned | Self::Unfinished | Self::OfOne | Self::Failed(_) | Self::GivenUp => {
                true
            }
            Self::Foreign(_)
            | Self::Unread(_)
            | Self::Lacks(_)
            | Self::NotWhole(_)
            | Self::Fewer(_) => false,
        }
    }
}

/// The newest set from which all that is wanted can be restored.
pub fn choose(sets: &[Seen], wanted: &Wanted, given_up: &BTreeSet<SetId>) -> Choice {
    let mut newest_first: Vec<_> = sets.iter().collect();
    newest_first.sort_unstable_by_key(|set| core::cmp::Reverse(set.id));
    let mut choice = Choice::default();
    for set in newest_first {
        match usable(sets, set, wanted, given_up) {
            Ok(()) => {
                choice.set = Some(set.id);
                break;
            }
            Err(why) => {
                choice.prove_first |= matches!(why, Skip::Failed(_) | Skip::GivenUp);
                choice.skipped.push((set.id, why));
            }
        }
    }
    choice
}

fn usable(
    sets: &[Seen],
    set: &Seen,
    wanted: &Wanted,
    given_up: &BTreeSet<SetId>,
) -> Result<(), Skip> {
    if set.tombstoned {
        return Err(Skip::Tombstoned);
    }
    let contents = match &set.state {
        State::Made(contents) => contents,
        State::Unfinished { .. } | State::Bare => return Err(Skip::Unfinished),
        State::Foreign(why) => return Err(Skip::Foreign(why.clone())),
        State::Unread(why) => return Err(Skip::Unread(why.clone())),
    };
    if given_up.contains(&set.id) {
        return Err(Skip::GivenUp);
    }
    let names = match wanted {
        Wanted::These(names) => names.clone(),
        Wanted::All if !contents.all => return Err(Skip::OfOne),
        Wanted::All => contents.collections.keys().cloned().collect(),
    };
    let which = |wrong: &dyn Fn(&CollectionName) -> bool| {
        let found: BTreeSet<_> = names.iter().filter(|name| wrong(name)).cloned().collect();
        (!found.is_empty()).then_some(found)
    };
    let there = |name: &CollectionName| contents.collections.get(name);
    if let Some(names) = which(&|name| there(name).is_none()) {
        return Err(Skip::Lacks(names));
    }
    if let Some(names) = which(&|name| there(name).is_some_and(|there| !there.whole)) {
        return Err(Skip::NotWhole(names));
    }
    if let Some(names) = which(&|name| there(name).is_some_and(|there| there.failed)) {
        return Err(Skip::Failed(names));
    }
    if *wanted == Wanted::All {
        let fewer = fewer(sets, set.id, contents);
        if !fewer.is_empty() {
            return Err(Skip::Fewer(fewer));
        }
    }
    Ok(())
}

/// What earlier sets have, the newest of all collections lacks, and nobody saw end: a person must
/// restore it or accept its loss, for until then no newer set is chosen by itself.
pub fn unexplained(sets: &[Seen]) -> BTreeSet<CollectionName> {
    let newest = newest_of_all(sets);
    newest.map_or_else(BTreeSet::new, |(id, contents)| fewer(sets, id, contents))
}

/// What earlier sets have, this one lacks, and nobody saw end.
fn fewer(sets: &[Seen], id: SetId, contents: &Contents) -> BTreeSet<CollectionName> {
    let earlier = sets.iter().filter(|set| set.id < id);
    let earlier = earlier.filter_map(Seen::contents).filter(|there| there.all);
    let had = earlier.flat_map(|there| there.collections.keys());
    had.filter(|name| !contents.collections.contains_key(*name))
        .filter(|name| !contents.deleted.contains_key(*name))
        .cloned()
        .collect()
}

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |names: &BTreeSet<CollectionName>| {
            let names: Vec<_> = names.iter().map(|name| name.0.as_str()).collect();
            names.join(", ")
        };
        match self {
            Self::Tombstoned => f.write_str("it is being deleted"),
            Self::Foreign(why) => write!(f, "it is not ours: {why}"),
            Self::Unread(why) => write!(f, "it cannot be read: {why}"),
            Self::Unfinished => f.write_str("it is not finished"),
            Self::OfOne => f.write_str("it is of one collection"),
            Self::Lacks(names) => write!(f, "it does not have {}", list(names)),
            Self::NotWhole(names) => write!(f, "not whole in it: {}", list(names)),
            Self::Failed(names) => write!(f, "found to be bad in it: {}", list(names)),
            Self::GivenUp => f.write_str("a restore from it failed twice"),
            Self::Fewer(names) => write!(
                f,
                "earlier sets have {}, and nobody saw them end: restore it by name, or accept the loss",
                list(names)
            ),
        }
    }
}
