//! What a request for a restore comes to: which set, what is made of it, and what stands in the way.

use std::collections::{BTreeMap, BTreeSet};

use planner::heal::names::CollectionName;
use planner::keep::choose::{Wanted, choose};
use planner::keep::ids::SetId;
use planner::keep::records::Manifest;
use planner::keep::seen::{Seen, State};
use planner::records::{Piece, PieceState, Then};
use qdrant_api::{Alias, CollectionIdentity};

use super::{Ask, NotTaken, in_the_way};

/// A set that is named counts when it is ours and nobody deletes it.
pub(super) fn counts(seen: &[Seen], set: SetId) -> Result<SetId, NotTaken> {
    let not = |why: String| Err(NotTaken::InTheWay(format!("set {set}: {why}")));
    match seen.iter().find(|seen| seen.id == set) {
        None => Err(NotTaken::NotFound(format!("there is no set {set}"))),
        Some(seen) if seen.tombstoned => not("it is being deleted".to_owned()),
        Some(seen) => match &seen.state {
            State::Made(_) => Ok(set),
            State::Bare | State::Unfinished { .. } => not("it is not finished".to_owned()),
            State::Foreign(why) => not(why.clone()),
            State::Unread(why) => Err(NotTaken::Unread(format!("set {set}: {why}"))),
        },
    }
}

/// The newest set that has what is asked for.
pub(super) fn newest(seen: &[Seen], ask: &Ask) -> Result<SetId, NotTaken> {
    let wanted = match &ask.collection {
        Some(name) => Wanted::These(BTreeSet::from([name.clone()])),
        None => Wanted::All,
    };
    let choice = choose(seen, &wanted, &BTreeSet::new());
    if let Some(set) = choice.set {
        let unsettled = choice.skipped.iter().find(|(_, why)| !why.is_settled());
        return match (unsettled, &ask.collection) {
            // One collection by itself comes from the newest set that has it.
            (None, _) | (_, Some(_)) => Ok(set),
            (Some((newer, why)), None) => in_the_way(format!(
                "set {newer} is newer than {set} and not restored: {why}; name the set with --set"
            )),
        };
    }
    let why = match choice.skipped.first() {
        Some((set, why)) => format!("no set can be restored; the newest is {set}: {why}"),
        None => "there is no set".to_owned(),
    };
    Err(NotTaken::NotFound(why))
}

/// What is served now.
pub(super) struct There {
    pub(super) identities: BTreeMap<String, CollectionIdentity>,
    pub(super) aliases: Vec<Alias>,
}

impl There {
    fn collection(&self, name: &CollectionName) -> Option<&CollectionIdentity> {
        self.identities.get(&name.0)
    }

    fn is_taken(&self, name: &CollectionName) -> bool {
        let is_alias = |alias: &Alias| alias.alias_name == name.0;
        self.collection(name).is_some() || self.aliases.iter().any(is_alias)
    }
}

/// What is made, by the name that it gets.
pub(super) fn pieces(
    ask: &Ask,
    manifest: &Manifest,
    there: &There,
) -> Result<BTreeMap<CollectionName, Piece>, NotTaken> {
    let set = manifest.set;
    let of_set = manifest.collections.iter();
    let wanted: Vec<_> = of_set
        .filter(|entry| {
            ask.collection
                .as_ref()
                .is_none_or(|name| *name == entry.name)
        })
        .collect();
    if wanted.is_empty() {
        let what = ask.collection.as_ref().map_or_else(
            || "no collection".to_owned(),
            |name| format!("no collection {name}"),
        );
        return Err(NotTaken::NotFound(format!("there is {what} in set {set}")));
    }
    let mut pieces = BTreeMap::new();
    for entry in wanted {
        let from = &entry.name;
        if !entry.whole || entry.description.is_none() {
            return in_the_way(format!(
                "{from} is not whole in set {set}: ask for it by itself from another set, with --collection and --set"
            ));
        }
        let old = there.collection(from);
        // Nobody uses this name, so nobody writes to what is half there.
        let beside = CollectionName(format!("{from}-{set}"));
        let (name, then) = match (&ask.new_name, ask.replace, old) {
            (Some(name), false, _) => (name.clone(), Then::Nothing),
            (None, _, None) if !there.is_taken(from) => (beside.clone(), Then::Name),
            (None, _, None) => {
                return in_the_way(format!(
                    "{from} is an alias now: restore it --as another name, and lead the alias there"
                ));
            }
            (None, false, Some(_)) => {
                return in_the_way(format!(
                    "there is a {from} already: restore it --as another name (with --switch its aliases follow), or --replace it"
                ));
            }
            (Some(_), true, None) => {
                return in_the_way(format!("there is no collection {from} to be replaced"));
            }
            (name, true, Some(old)) => {
                let Some(uuid) = old.uuid.clone() else {
                    return in_the_way(format!(
                        "{from} has no uuid, so it could not be told from another one: restore it --as another name"
                    ));
                };
                (name.clone().unwrap_or(beside), Then::Replace { uuid })
            }
        };
        let then = match ask.switch {
            true if old.is_none() => {
                return in_the_way(format!(
                    "there is no collection {from} whose aliases could be switched"
                ));
            }
            true => Then::Switch,
            false => then,
        };
        if there.is_taken(&name) {
            return in_the_way(format!(
                "there is a {name} already: choose another name with --as"
            ));
        }
        let piece = Piece {
            from: from.clone(),
            at: PieceState::Waiting,
            then,
        };
        pieces.insert(name, piece);
    }
    Ok(pieces)
}
