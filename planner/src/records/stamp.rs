//! What the task's own disk says of its data.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::ids::{GenerationId, PeerId, StoreId, TaskId};
use crate::keep::ids::SetId;
use crate::records::{FORMAT, Formed, Mode};

/// How far the Qdrant on this disk has come in its generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Claimed, not formed. Whatever is on the disk was never served.
    Founding,
    /// Joining a formed generation; a member as soon as Raft has a term.
    Joining,
    /// A member.
    Member,
}

/// `.entrypoint/stamp.json` on the task's own disk: which generation the data belongs to. Written
/// before Qdrant first starts there.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Stamp {
    /// Format of this record.
    pub format: u32,
    /// The store; unknown only to a joiner that joined without one.
    pub store_id: StoreId,
    /// The generation.
    pub generation: GenerationId,
    /// The generation it followed.
    pub previous: Option<GenerationId>,
    /// The founder's peer id, once formed; with it a member can re-create lost records.
    pub founder: Option<PeerId>,
    /// How far this disk has come.
    pub stage: Stage,
    /// The peers that came into this generation with their data: not empty exactly when it began by
    /// re-quorum.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub survivors: BTreeSet<PeerId>,
    /// Ours is the claim that follows `generation` by re-quorum. The data still belongs to
    /// `generation`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub regroup: Option<Regroup>,
    /// The data is of the generation before, which goes on in this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejoin: Option<Rejoin>,
    /// Qdrant rests for the claim of another survivor: written before it is stopped, so that a process
    /// that is started again knows it without the store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<Held>,
    /// The survivors whose data had stood still when this generation began.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub behind: BTreeSet<PeerId>,
    /// The generation began with a restore, or goes on from one that did, and this task has not seen
    /// it finished: it does not serve before that ([`Restore`](crate::records::Restore)). Taken off for
    /// good once it has, so that neither a missed read nor a new process asks again.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub restore: bool,
    /// The generation has ended here with this final set: written before the store is told
    /// ([`End`](crate::records::End)). Others may begin the next one at any moment, so what is on this disk
    /// never runs in this generation again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<SetId>,
}

/// The mark of a survivor that rests for the claim of another.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Held {
    /// The claimant.
    pub task: TaskId,
    /// The generation that is claimed.
    pub claim: GenerationId,
}

/// The mark of a claimant by re-quorum on its disk, written before the claim.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Regroup {
    /// The generation that is claimed.
    pub claim: GenerationId,
    /// The formed generation that it follows.
    pub previous: GenerationId,
    /// Who goes on, ourselves included.
    pub survivors: BTreeMap<PeerId, TaskId>,
    /// Whom our Qdrant listed and who was silent.
    pub missing: BTreeSet<PeerId>,
    /// The last Raft entry that was known here to be committed, before Raft was begun anew.
    pub commit: u64,
    /// Qdrant may have been started with `--reinit`: this peer never runs in the old generation
    /// again, whatever becomes of the claim.
    #[serde(default)]
    pub begun: bool,
    /// Who of the survivors is behind, see [`Claim::behind`].
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub behind: BTreeSet<PeerId>,
}

/// The mark of a survivor that goes over into the new generation, written before Qdrant is started.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Rejoin {
    /// Voters of the old generation that are not in the new one. While one of them stands in the
    /// Raft state, that state is the old one, and joining begins anew.
    pub left: BTreeSet<PeerId>,
    /// The last Raft entry that was known here to be committed in the old generation.
    pub commit: Option<u64>,
}

impl Stamp {
    /// The stamp of a disk that belongs to this generation.
    pub fn of(formed: &Formed, stage: Stage) -> Self {
        Self {
            format: FORMAT,
            store_id: formed.store_id.clone(),
            generation: formed.generation.clone(),
            previous: formed.previous.clone(),
            founder: Some(formed.founder),
            stage,
            survivors: formed.survivors.clone(),
            regroup: None,
            rejoin: None,
            held: None,
            behind: formed.behind.clone(),
            restore: formed.restore,
            ended: None,
        }
    }

    /// The stamp of a claimant that begins with an empty disk, to `restore` or to found.
    pub fn founding(
        store_id: StoreId,
        generation: GenerationId,
        previous: Option<GenerationId>,
        restore: bool,
    ) -> Self {
        Self {
            format: FORMAT,
            store_id,
            generation,
            previous,
            founder: None,
            stage: Stage::Founding,
            survivors: BTreeSet::new(),
            regroup: None,
            rejoin: None,
            held: None,
            behind: BTreeSet::new(),
            restore,
            ended: None,
        }
    }

    /// The generation that this disk claims, and the formed one that it follows; `None` when it
    /// claims nothing.
    pub fn claims(&self) -> Option<(&GenerationId, Option<&GenerationId>)> {
        match (&self.regroup, self.stage) {
            (Some(mark), _) => Some((&mark.claim, Some(&mark.previous))),
            (None, Stage::Founding) => Some((&self.generation, self.previous.as_ref())),
            (None, _) => None,
        }
    }

    /// The mode of the claim on this disk, and of the record of a claim that is written again.
    pub fn mode(&self) -> Mode {
        match (&self.regroup, self.survivors.is_empty(), self.restore) {
            (None, true, true) => Mode::Restore,
            (None, true, false) => Mode::Found,
            _ => Mode::Requorum,
        }
    }

    /// The record that ends our claim, with this peer as its founder. Survivors take an unfinished restore
    /// along: what is left of it is theirs to finish.
    pub fn claimed(&self, service: &str, founder: PeerId) -> Option<Formed> {
        let (claim, previous) = self.claims()?;
        let survivors = self.regroup.iter().flat_map(|mark| mark.survivors.keys());
        let behind = self.regroup.iter().flat_map(|mark| &mark.behind);
        Some(Formed {
            format: FORMAT,
            service: service.to_owned(),
            store_id: self.store_id.clone(),
            generation: claim.clone(),
            previous: previous.cloned(),
            founder,
            complete: false,
            survivors: survivors.copied().collect(),
            behind: behind.copied().collect(),
            restore: self.restore,
        })
    }

    /// The formed record that belongs to this stamp: what a member re-creates in a store that was
    /// emptied, and publishes in the key map. `None` while the founder's peer id is not known.
    pub fn formed(&self, service: &str, complete: bool) -> Option<Formed> {
        Some(Formed {
            format: FORMAT,
            service: service.to_owned(),
            store_id: self.store_id.clone(),
            generation: self.generation.clone(),
            previous: self.previous.clone(),
            founder: self.founder?,
            complete,
            survivors: self.survivors.clone(),
            behind: self.behind.clone(),
            restore: self.restore,
        })
    }
}
