//! Why a round did what it did, or did nothing.

use core::fmt;
use core::net::IpAddr;
use core::time::Duration;

use crate::ids::{GenerationId, TaskId};
use crate::keep::ids::SetId;
use crate::records::Grant;

/// Why a round did what it did, or did nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Nothing is in the way of a claim.
    MayFound,
    /// All members of the last generation are gone and no snapshot set exists.
    MayFoundAgain(GenerationId),
    /// All members of the last generation are gone, or there is no record of one, and snapshot sets
    /// exist.
    MayRestore(Option<GenerationId>),
    /// The last generation has ended in order, and this is its final set.
    MayRestoreFinal(GenerationId, SetId),
    /// Our own generation has ended here with this final set; it goes on only as the next one.
    Ended(SetId),
    /// DNS has not answered often enough, or not lately.
    DnsNotSettled(String),
    /// This address does not say that it is empty.
    NotEmpty(IpAddr, String),
    /// Somebody is alive there whom we cannot read.
    CannotRead(IpAddr, String),
    /// The store cannot be read.
    StoreUnknown(String),
    /// The store answers and does not say enough yet.
    StoreUnclear(String),
    /// Our own claim came to nothing: somebody else may try first.
    OthersFirst(String),
    /// A claim is being worked on.
    FounderAtWork(TaskId, u64),
    /// The claimant has shown no life for the claim time-out.
    FounderSilent(TaskId, u64),
    /// The cluster exists, but nobody of it answers yet.
    NobodyAnswers {
        /// The formed generation.
        generation: GenerationId,
        /// For how long all its members have been silent.
        silent: Duration,
        /// What broke the count, or holds the decision back.
        hindrance: Option<String>,
    },
    /// Our Qdrant is coming up.
    QdrantStarting,
    /// Our Qdrant has stopped.
    QdrantStopped,
    /// Our Qdrant has stopped and its back-off is not over.
    Resting(String),
    /// A believed peer lets us in.
    JoinThrough(IpAddr),
    /// Members answer and none of them leads.
    NobodyLeads,
    /// The steward lets newcomers join one after the other.
    NotAdmitted(Option<Grant>),
    /// The members' orders could not be read, so whether we may join is not known.
    OrdersUnknown,
    /// Qdrant has joined and does not vote yet.
    Learner,
    /// All is well.
    InCluster,
    /// The generation is formed and must be told to the peers.
    Publish,
    /// The restore into our generation is finished, and need not be asked for again.
    RestoreFinished,
    /// Our claim must be formed now.
    LeadsItself,
    /// `formed` was read back.
    FormedReadBack,
    /// The store lost the records of our generation.
    RecordsMissing,
    /// Our claim was abandoned by somebody.
    ClaimAbandoned,
    /// A claim must not be formed while our generation lives.
    WeLive(TaskId, u64),
    /// Our claim's place was taken.
    ClaimLost,
    /// Our claim has left no trace in the store.
    ClaimUnseen,
    /// What allowed our claim no longer holds.
    ClaimOvertaken(String),
    /// A higher generation is formed.
    Superseded(GenerationId),
    /// Nobody can say that our data is still the cluster's.
    Unverified(String),
    /// The cluster does not list our peer any more.
    Removed(String),
    /// Consensus does not commit any more and nothing is stored here.
    Stuck,
    /// The majority of our generation is lost and we are the most advanced survivor.
    MayRegroup,
    /// A survivor has claimed the next generation: Qdrant rests, so that no copy takes writes that
    /// the others would miss.
    HoldsStill(TaskId, u64),
    /// Our claim is in the store; survivors still run their Qdrant.
    SurvivorsRun(Vec<TaskId>),
    /// Another survivor goes first.
    SurvivorsFirst(TaskId),
    /// The generation that we survive into is formed and nobody of it answers.
    NobodyRegroups(GenerationId),
    /// Our Qdrant cannot run with the data on this disk, which the steward lets tasks set aside one
    /// after the other.
    NotSetAside(String, Option<Grant>),
    /// The steward permits us to set our data aside.
    MaySetAside,
    /// The alarm says it.
    SeeAlarm,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MayFound => {
                f.write_str("no cluster was ever formed and everyone who is here is empty")
            }
            Self::MayFoundAgain(lost) => {
                write!(
                    f,
                    "every member of generation {lost} is gone and no snapshot set exists"
                )
            }
            Self::MayRestore(Some(lost)) => write!(
                f,
                "every member of generation {lost} is gone: snapshot sets are restored into the next one"
            ),
            Self::MayRestore(None) => f.write_str(
                "snapshot sets exist, and neither a record nor a sign of the cluster that made them: they are restored into a new one",
            ),
            Self::MayRestoreFinal(ended, set) => write!(
                f,
                "generation {ended} has ended with its final set {set}: that is restored into the next one"
            ),
            Self::Ended(set) => write!(
                f,
                "the generation of this disk has ended with its final set {set}: what is here goes on only as the next one"
            ),
            Self::DnsNotSettled(what) => write!(f, "DNS must settle first: {what}"),
            Self::NotEmpty(address, what) => write!(f, "{address} is not empty: {what}"),
            Self::CannotRead(address, what) => {
                write!(
                    f,
                    "somebody is alive at {address} whom we cannot read: {what}"
                )
            }
            Self::StoreUnknown(why) => write!(f, "the store cannot be read: {why}"),
            Self::StoreUnclear(why) => write!(f, "the store does not say enough yet: {why}"),
            Self::OthersFirst(why) => {
                write!(
                    f,
                    "a claim of ours came to nothing ({why}): others go first"
                )
            }
            Self::FounderAtWork(task, number) => {
                write!(f, "task {task} is bringing up generation {number}")
            }
            Self::FounderSilent(task, number) => {
                write!(
                    f,
                    "task {task} has stopped renewing its claim to generation {number}"
                )
            }
            Self::NobodyAnswers {
                generation,
                silent,
                hindrance,
            } => {
                write!(
                    f,
                    "generation {generation} is the cluster and nobody of it answers (silent for {:.0} s",
                    silent.as_secs_f64()
                )?;
                match hindrance {
                    Some(what) => write!(f, "; {what})"),
                    None => f.write_str(")"),
                }
            }
            Self::QdrantStarting => f.write_str("Qdrant is starting"),
            Self::QdrantStopped => f.write_str("Qdrant is not running"),
            Self::Resting(why) => write!(f, "Qdrant is started again after a pause: {why}"),
            Self::JoinThrough(address) => write!(f, "a member answers at {address}"),
            Self::NotAdmitted(grant) => {
                f.write_str("this task waits for the steward's permission to join")?;
                others(f, grant.as_ref())
            }
            Self::OrdersUnknown => {
                f.write_str("whether the steward permits this task to join could not be read")
            }
            Self::NobodyLeads => f.write_str("members answer and none of them leads yet"),
            Self::Learner => f.write_str("Qdrant has joined and does not vote yet"),
            Self::InCluster => f.write_str("in the cluster"),
            Self::Publish => f.write_str("the peers must be told which generation this is"),
            Self::RestoreFinished => f.write_str("the restore into this cluster is finished"),
            Self::LeadsItself => {
                f.write_str("Qdrant leads itself and nothing speaks against forming")
            }
            Self::FormedReadBack => f.write_str("the generation is formed"),
            Self::RecordsMissing => f.write_str("the store has lost the records of our generation"),
            Self::ClaimAbandoned => f.write_str("our claim was abandoned"),
            Self::WeLive(task, number) => {
                write!(
                    f,
                    "task {task} has claimed generation {number} while ours lives"
                )
            }
            Self::ClaimLost => f.write_str("another task has claimed this generation"),
            Self::ClaimUnseen => f.write_str("our claim is not in the store yet"),
            Self::ClaimOvertaken(what) => write!(f, "our claim is no longer allowed: {what}"),
            Self::Superseded(newer) => write!(f, "generation {newer} is formed"),
            Self::Unverified(what) => {
                write!(
                    f,
                    "nobody can say that this data is still the cluster's: {what}"
                )
            }
            Self::Removed(what) => write!(f, "the cluster does not list this peer: {what}"),
            Self::Stuck => {
                f.write_str("consensus does not commit and no collection is stored here")
            }
            Self::MayRegroup => f.write_str(
                "the majority of this generation is gone and nobody of the survivors knows more than we do",
            ),
            Self::HoldsStill(task, number) => write!(
                f,
                "task {task} has claimed generation {number} for the survivors, of whom we are one: Qdrant rests until that is decided"
            ),
            Self::SurvivorsRun(tasks) => {
                f.write_str("Qdrant must rest on the other survivors first:")?;
                tasks.iter().try_for_each(|task| write!(f, " {task}"))
            }
            Self::SurvivorsFirst(task) => {
                write!(f, "survivor {task} goes over before us")
            }
            Self::NobodyRegroups(generation) => write!(
                f,
                "we survive into generation {generation} and nobody of it answers"
            ),
            Self::NotSetAside(why, grant) => {
                write!(
                    f,
                    "Qdrant cannot run with the data on this disk ({why}): waits for the steward's permission to set it aside"
                )?;
                others(f, grant.as_ref())
            }
            Self::MaySetAside => f.write_str("the steward permits this task to set its data aside"),
            Self::SeeAlarm => f.write_str("see the alarm"),
        }
    }
}

/// Whose turn it is meanwhile.
pub(super) fn others(f: &mut fmt::Formatter<'_>, grant: Option<&Grant>) -> fmt::Result {
    match grant {
        Some(grant) => write!(f, "; now task {} may {}", grant.task.0, grant.kind),
        None => Ok(()),
    }
}
