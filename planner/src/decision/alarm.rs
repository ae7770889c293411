//! What a person must look at.

use crate::ids::{GenerationId, TaskId};
use crate::records::Mode;
use core::fmt;
use core::time::Duration;

/// What a person must look at. Each names what is wrong, where, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Alarm {
    /// The disk holds Qdrant data that we never stamped.
    ForeignData,
    /// The store belongs to somebody else.
    ForeignStore(String),
    /// Believed peers, or peers and store, contradict each other.
    Contradiction(String),
    /// A generation is lost for good, or has left no record, and a new one takes its place.
    ClusterLost {
        /// It; `None` where only its snapshot sets are left.
        lost: Option<GenerationId>,
        /// How the new one begins: empty, or with what the sets hold.
        mode: Mode,
    },
    /// Snapshot sets exist and the cluster that made them is lost, or has left no record; nobody
    /// restores them without a person's word.
    RestoreNeeded {
        /// It; `None` where only its sets are left.
        lost: Option<GenerationId>,
        /// Why a person is asked.
        why: &'static str,
    },
    /// Our peer was removed while it held data; the data is kept and needs a person's word.
    RemovedWithData,
    /// Somebody is alive whom we cannot read, and has been for a while.
    Unreadable(String),
    /// The tokens of two generations do not chain.
    BrokenChain(String),
    /// Data of this generation is here and its consensus cannot commit: too few voters are left.
    QuorumLost {
        /// The generation.
        generation: GenerationId,
        /// Tasks of the generation that answer, ourselves included.
        answering: usize,
        /// Peers in Raft.
        voters: usize,
        /// What will come of it, or what is in the way.
        next: String,
    },
    /// The survivors of a lost majority begin a new generation with their data.
    Regrouping {
        /// The generation that was lost.
        lost: GenerationId,
        /// Who goes on.
        survivors: Vec<TaskId>,
        /// How many are gone.
        missing: usize,
    },
    /// This peer has left its generation for one that was not formed, and cannot go back.
    RegroupFails(String),
    /// Qdrant rests for the claim of another survivor, and what became of that is not known.
    RestsFor {
        /// The claimant.
        task: TaskId,
        /// The number that it claimed.
        number: u64,
        /// Why it is not known.
        why: String,
    },
    /// The data is to go over into a generation of which nobody leads.
    HeirsWait {
        /// The generation.
        generation: GenerationId,
        /// Why the survivors do not go on by themselves.
        why: String,
    },
    /// The store lost the records of the living generation and cannot take them back.
    Unrecorded(GenerationId),
    /// A cluster is lost, and this task keeps data that was set aside.
    AsideKept,
    /// Qdrant cannot run with the data on this disk, which is kept.
    CannotRun(String),
    /// A generation that we claimed could not be formed here.
    FoundingFails(String),
    /// This task has not been a working member for three loss time-outs, and nothing else says why.
    Adrift {
        /// For how long.
        lasted: Duration,
        /// What it waits for.
        reason: String,
    },
}

impl fmt::Display for Alarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ForeignData => f.write_str(
                "the storage directory holds Qdrant data that no cluster of ours wrote: mount an empty volume, or move the data away",
            ),
            Self::ForeignStore(what) => write!(
                f,
                "the store belongs to somebody else ({what}): give every service a store of its own with ENTRYPOINT_STORE"
            ),
            Self::Contradiction(what) => write!(
                f,
                "two clusters contradict each other ({what}): nothing is decided; stop the wrong one"
            ),
            Self::ClusterLost { lost, mode } => {
                match lost {
                    Some(lost) => write!(f, "generation {lost} was lost with all its members")?,
                    None => f.write_str("the store has no record of a cluster")?,
                }
                f.write_str(match mode {
                    Mode::Restore => {
                        " and snapshot sets exist: the newest are restored into a new cluster; what was written after them is lost"
                    }
                    Mode::Found | Mode::Requorum => {
                        " and no snapshot set exists: an empty cluster begins"
                    }
                })
            }
            Self::RestoreNeeded { lost, why } => {
                match lost {
                    Some(lost) => write!(
                        f,
                        "generation {lost} was lost with all its members and snapshot sets exist"
                    )?,
                    None => f.write_str(
                        "the store holds snapshot sets and no record of the cluster that made them",
                    )?,
                }
                write!(
                    f,
                    ": nothing is restored by itself ({why}); restore by hand, or move sets/ away to begin empty"
                )
            }
            Self::RemovedWithData => f.write_str(
                "this peer was removed from the cluster while its disk holds collections: the data is kept and Qdrant stays stopped; end the task when the data is no longer wanted",
            ),
            Self::Unreadable(what) => write!(
                f,
                "somebody is alive whom we cannot read ({what}): this task waits; was the API key changed, or does the address belong to somebody else?"
            ),
            Self::QuorumLost {
                generation,
                answering,
                voters,
                next,
            } => write!(
                f,
                "generation {generation} cannot commit: {answering} of {voters} voters answer; {next}"
            ),
            Self::Regrouping {
                lost,
                survivors,
                missing,
            } => {
                write!(
                    f,
                    "generation {lost} has lost its majority ({missing} peers are gone), and its survivors go on with their data:"
                )?;
                survivors
                    .iter()
                    .try_for_each(|task| write!(f, " {task}"))?;
                f.write_str("; what was changed last in collections and aliases may be lost: look at them")
            }
            Self::RegroupFails(what) => write!(
                f,
                "this task has left its generation for a new one, which was not formed ({what}): its data is kept and Qdrant stays stopped until the survivors agree; if they cannot, end the tasks that block them, or restore"
            ),
            Self::RestsFor { task, number, why } => write!(
                f,
                "Qdrant rests for the claim of task {task} to generation {number}, and it is not known what became of that ({why}): bring the store and that task back; if the claim is in no store any more, it can never be formed"
            ),
            Self::HeirsWait { generation, why } => write!(
                f,
                "the data here is to go over into generation {generation}, of which nobody leads, and the survivors cannot go on by themselves ({why}): bring a member of it back, or restore"
            ),
            Self::Unrecorded(generation) => write!(
                f,
                "the store was emptied under generation {generation} and another record stands in its place: remove the store's generations directory, the members write theirs again"
            ),
            Self::AsideKept => f.write_str(
                "nobody can found while this task keeps data that was set aside: save it or end the task",
            ),
            Self::CannotRun(what) => write!(
                f,
                "Qdrant cannot run with the data on this disk ({what}): it is kept, and set aside only when the steward permits it, because every copy here has another Active one on a peer that lives; look at Qdrant's log, and end the task if its data is not wanted"
            ),
            Self::FoundingFails(what) => write!(
                f,
                "a new cluster could not be formed here ({what}): the claim is given up and others may try; look at Qdrant's log, DNS and the store"
            ),
            Self::Adrift { lasted, reason } => write!(
                f,
                "this task has not belonged to a working cluster for {:.0} s: {reason}",
                lasted.as_secs_f64()
            ),
            Self::BrokenChain(what) => write!(
                f,
                "the generations in the store do not follow from ours ({what}): Qdrant stays stopped and the data is kept; look at the store"
            ),
        }
    }
}
