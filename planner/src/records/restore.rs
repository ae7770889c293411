//! How far the restore into a new cluster has come, one record in Qdrant's key map.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::heal::names::CollectionName;
use crate::ids::GenerationId;
use crate::keep::ids::SetId;
use crate::records::Stamp;

/// The key of [`Restore`] in Qdrant's key map.
pub const RESTORE_KEY: &str = "entrypoint.restore";

/// How far the restore has come, in Qdrant's key map, where only a steward that commits can write it.
/// Written before anything is created; every steward goes on from it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Restore {
    /// Format of this record.
    pub format: u32,
    /// The generation into which it restores.
    pub generation: GenerationId,
    /// The set that was chosen; `None` before that, and where none can be used.
    #[serde(default)]
    pub set: Option<SetId>,
    /// How far each collection of it has come.
    #[serde(default)]
    pub collections: BTreeMap<CollectionName, Progress>,
    /// How often this set was tried.
    #[serde(default)]
    pub tries: u32,
    /// The sets that failed too often, and are not chosen again.
    #[serde(default)]
    pub given_up: BTreeSet<SetId>,
    /// Nothing is left to restore: the cluster may serve. Never taken back.
    #[serde(default)]
    pub finished: bool,
    /// Who accepted that what is missing stays lost, when that is how it was finished.
    #[serde(default)]
    pub accepted: Option<String>,
}

/// How far one collection has come.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Progress {
    /// Not all there. What there is of it is deleted and begun again by whoever goes on.
    Pending,
    /// Whole, on all of its holders.
    Done {
        /// Qdrant's own name of the collection that was compared. One of the same name with another uuid was
        /// made by a steward that was late or early, and is not the restored one.
        uuid: String,
    },
    /// It could not be restored from this set, for this reason.
    Failed(String),
}

impl Restore {
    /// The restore into the generation of this stamp is finished.
    ///
    /// The key map lives exactly as long as the Raft state of one cluster, and a re-quorum takes it along:
    /// so the record of an earlier generation counts where ours goes on from that one, or a restore
    /// that was finished before the majority was lost would never be so for its survivors. Where
    /// ours began empty only its own counts: a hand that was late would have written any other.
    pub fn is_finished_for(&self, stamp: &Stamp) -> bool {
        let ours = self.generation == stamp.generation;
        let goes_on = !stamp.survivors.is_empty();
        let earlier = goes_on && self.generation.number < stamp.generation.number;
        self.finished && (ours || earlier)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::ids::{PeerId, Token};
    use crate::records::{FORMAT, Formed, Mode, Stage};

    fn id(number: u64, token: &str) -> GenerationId {
        GenerationId {
            number,
            token: Token(token.to_owned()),
        }
    }

    fn stamp(number: u64, survivors: &[u64]) -> Stamp {
        let formed = Formed {
            format: FORMAT,
            service: "vectors".to_owned(),
            store_id: "store".into(),
            generation: id(number, "ours"),
            previous: None,
            founder: PeerId(1),
            complete: true,
            survivors: survivors.iter().copied().map(PeerId).collect(),
            behind: BTreeSet::new(),
            restore: true,
        };
        Stamp::of(&formed, Stage::Member)
    }

    fn record(generation: GenerationId, finished: bool) -> Restore {
        Restore {
            format: FORMAT,
            generation,
            set: "20260228T091500Z".parse().ok(),
            collections: BTreeMap::from([
                (
                    name("books"),
                    Progress::Done {
                        uuid: "b".to_owned(),
                    },
                ),
                (name("films"), Progress::Pending),
                (
                    name("songs"),
                    Progress::Failed("the file is short".to_owned()),
                ),
            ]),
            tries: 1,
            given_up: "20260228T093000Z".parse().into_iter().collect(),
            finished,
            accepted: Some("ops".to_owned()),
        }
    }

    fn name(text: &str) -> CollectionName {
        CollectionName(text.to_owned())
    }

    #[test]
    fn the_record_is_read_as_it_was_written() {
        let record = record(id(2, "ours"), true);
        let value = serde_json::to_value(&record).unwrap();
        let whole = json!({
            "format": 1,
            "generation": {"number": 2, "token": "ours"},
            "set": "20260228T091500Z",
            "collections": {
                "books": {"done": {"uuid": "b"}},
                "films": "pending",
                "songs": {"failed": "the file is short"},
            },
            "tries": 1,
            "given_up": ["20260228T093000Z"],
            "finished": true,
            "accepted": "ops",
        });
        assert_eq!(value, whole);
        assert_eq!(serde_json::from_value::<Restore>(value).unwrap(), record);
    }

    #[test]
    fn what_is_not_said_is_not_finished() {
        let short = json!({"format": 1, "generation": {"number": 2, "token": "ours"}});
        let record: Restore = serde_json::from_value(short).unwrap();
        assert!(!record.is_finished_for(&stamp(2, &[])));
        assert!(serde_json::from_value::<Restore>(json!({"format": 1, "finished": true})).is_err());
    }

    #[test]
    fn it_is_finished_for_its_own_generation_and_for_those_that_go_on_from_it() {
        let (ours, before, other) = (id(2, "ours"), id(1, "one"), id(2, "theirs"));
        for (generation, finished, survivors, counts) in [
            (&ours, true, &[][..], true),
            (&ours, false, &[], false),
            (&before, true, &[], false),
            (&before, true, &[1, 2], true),
            (&before, false, &[1, 2], false),
            (&other, true, &[], false),
            (&other, true, &[1, 2], false),
            (&id(3, "later"), true, &[1, 2], false),
        ] {
            let record = record(generation.clone(), finished);
            let stamp = stamp(2, survivors);
            assert_eq!(
                record.is_finished_for(&stamp),
                counts,
                "{generation} {finished} {survivors:?}"
            );
        }
    }

    #[test]
    fn the_mark_goes_where_the_generation_goes_and_is_not_written_when_there_is_none() {
        let founding = |restore| Stamp::founding("store".into(), id(1, "ours"), None, restore);
        for restore in [false, true] {
            let founding = founding(restore);
            let formed = founding.claimed("vectors", PeerId(1)).unwrap();
            let member = Stamp::of(&formed, Stage::Member);
            let again = member.formed("vectors", true).unwrap();
            for said in [
                founding.restore,
                formed.restore,
                member.restore,
                again.restore,
            ] {
                assert_eq!(said, restore);
            }
            let mode = match restore {
                true => Mode::Restore,
                false => Mode::Found,
            };
            assert_eq!((founding.mode(), member.mode()), (mode, mode));
            let json = serde_json::to_string(&(&formed, &member)).unwrap();
            assert_eq!(json.contains("restore"), restore);
            let read: (Formed, Stamp) = serde_json::from_str(&json).unwrap();
            assert_eq!(read, (formed, member));
        }
        let mode = serde_json::to_value(Mode::Restore).unwrap();
        assert_eq!(mode, json!("restore"));
    }
}
