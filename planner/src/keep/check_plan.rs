//! Whether a plan, and the record of one file, are in accord with themselves.

use crate::keep::check_manifest::{asked, names, shards};
use crate::keep::layout;
use crate::keep::records::{Outcome, PartRecord, PlanRecord};
use crate::keep::refusal::{CollectionFault, Fault};

pub(super) fn check(plan: &PlanRecord) -> Result<(), Fault> {
    let entries = &plan.collections;
    let named = entries
        .iter()
        .map(|entry| (entry.index, &entry.name, entry.description.as_ref()));
    names(&plan.scope, named)?;
    asked(plan.origin, plan.asked.as_ref())?;
    for entry in entries {
        let wrong = |fault| Fault::Collection(entry.name.clone(), fault);
        if plan.deleted.contains_key(&entry.name) {
            return Err(Fault::Deleted(entry.name.clone()));
        }
        let Some(description) = &entry.description else {
            if entry.shards.is_empty() && !entry.missing.is_empty() {
                continue;
            }
            return Err(wrong(CollectionFault::Undescribed));
        };
        let all = shards(description).ok_or_else(|| wrong(CollectionFault::Keys))?;
        let strange = entry.shards.keys().find(|shard| !all.contains(shard));
        if let Some(strange) = strange {
            return Err(wrong(CollectionFault::StrangeShard(*strange)));
        }
        let missing = |shard| {
            let mut all = entry.missing.iter();
            all.any(|m| m.shard.is_none() || m.shard == Some(shard))
        };
        for shard in all {
            match (entry.shards.contains_key(&shard), missing(shard)) {
                (false, false) => return Err(wrong(CollectionFault::Unaccounted(shard))),
                (true, true) => return Err(wrong(CollectionFault::ThereAndMissing(shard))),
                _ => {}
            }
        }
    }
    Ok(())
}

pub(super) fn check_part(part: &PartRecord) -> Result<(), Fault> {
    match &part.outcome {
        Outcome::Taken(taken) if taken.bytes == 0 => Err(Fault::NoBytes(layout::payload(
            part.index,
            part.shard,
            part.holder.peer,
        ))),
        Outcome::Taken(_) | Outcome::Failed(_) => Ok(()),
    }
}
