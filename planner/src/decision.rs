//! What a round decided, and why: the output of [`crate::decide`].

use core::fmt;
use core::net::IpAddr;
use core::time::Duration;

use std::collections::{BTreeMap, BTreeSet};

use crate::ids::{GenerationId, PeerId, TaskId};
use crate::records::{Formed, Grant, Held, Plight, State};

/// One round's decision. At most one action; everything else that was not done has its reason in
/// `reason` or `alarms`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Where the task stands.
    pub phase: Phase,
    /// What to do now.
    pub action: Action,
    /// Why this, and not more.
    pub reason: Reason,
    /// What a person must look at.
    pub alarms: Vec<Alarm>,
    /// What we say of ourselves until the next round.
    pub state: State,
    /// Our generation, as we say it to others.
    pub generation: Option<GenerationId>,
    /// Our Qdrant must stand still: it may have been removed without knowing it.
    pub stand_still: bool,
    /// Renew the lease of our claim with the next beat.
    pub renew_lease: bool,
    /// Find out by a write whether consensus still commits.
    pub probe_commit: bool,
    /// The load balancer may send traffic here.
    pub ready: Result<(), NotReady>,
    /// We say that nothing has committed here for the loss time-out.
    pub quorum_lost: bool,
    /// We say that this is the last entry that is known here to be committed.
    pub commit: Option<u64>,
    /// What else we say when our data does not serve.
    pub plight: Plight,
}

/// Where a task stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// Looks for others and for the right to found.
    Discovering,
    /// Waits for somebody else, or for something to become known.
    Waiting,
    /// Has claimed a generation and brings it up.
    Founding,
    /// Joins a formed generation.
    Joining,
    /// Belongs to the cluster.
    Member,
    /// Survived a lost majority and begins a new generation with the others, its data kept.
    Regrouping,
    /// Was told that the cluster is elsewhere; its Qdrant is stopped.
    Fenced,
    /// Cannot go on without a person.
    Blocked,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Discovering => "discovering",
            Self::Waiting => "waiting",
            Self::Founding => "founding",
            Self::Joining => "joining",
            Self::Member => "member",
            Self::Regrouping => "regrouping",
            Self::Fenced => "fenced",
            Self::Blocked => "blocked",
        })
    }
}

/// What the shell does. Each is idempotent; each destructive one names what must still hold when
/// it is carried out (see [`crate::destruction`]).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Nothing.
    Wait,
    /// Write the local stamp (stage founding) with a new token, then create identity and claim, for a
    /// new, empty cluster.
    Claim {
        /// The number to claim.
        number: u64,
        /// The formed generation it follows.
        previous: Option<GenerationId>,
    },
    /// Mark our disk as that of a claimant by re-quorum, with a new token, then create the claim.
    Regroup {
        /// The number to claim.
        number: u64,
        /// The formed generation whose majority is lost.
        previous: GenerationId,
        /// Who goes on with its data, ourselves included.
        survivors: BTreeMap<PeerId, TaskId>,
        /// Who is silent.
        missing: BTreeSet<PeerId>,
        /// The last entry that is known here to be committed.
        commit: u64,
        /// Whose data has stood still while others went on.
        behind: BTreeSet<PeerId>,
    },
    /// Create the identity and the claim of our stamp again: the last try has left no trace.
    RepeatClaim,
    /// Create `abandoned` for an undecided claim.
    Abandon {
        /// The claim's number.
        number: u64,
        /// Why, for people.
        why: String,
    },
    /// Create `formed` for our own claim.
    Form,
    /// Our generation is formed: mark our disk as a member's.
    Settle(Formed),
    /// Start Qdrant as the first peer of our claimed generation.
    StartFounder,
    /// Mark the disk as joining this generation and start Qdrant with this peer as bootstrap.
    StartJoiner {
        /// The generation, as proven by the peer.
        formed: Formed,
        /// The peer's address.
        via: IpAddr,
        /// The peer's URI for `--bootstrap`.
        uri: String,
    },
    /// Start Qdrant with the data of this disk.
    StartMember,
    /// Mark that this peer has left the old generation, and start Qdrant with `--reinit` as the only
    /// voter of the claimed one.
    StartReinit,
    /// Mark on our disk that Qdrant rests for the claim of another survivor, then stop it at once.
    HoldStill(Held),
    /// Our claim by re-quorum came to nothing and Raft was not begun anew: take the mark off.
    Resume,
    /// Mark the disk as going over, and start Qdrant with `--reinit` and this peer as bootstrap: the
    /// data stays, Raft begins anew.
    StartRejoin {
        /// The generation, as proven by the peer.
        formed: Formed,
        /// The peer's address.
        via: IpAddr,
        /// The peer's URI for `--bootstrap`.
        uri: String,
    },
    /// Raft has let us in with our data: drop the copies that a settled member holds as well, because
    /// ours may have missed writes, then mark our disk as a member's.
    Rejoined {
        /// The generation.
        formed: Formed,
        /// The peers that are members of it.
        settled: BTreeSet<PeerId>,
    },
    /// Write the formed record into Qdrant's key map, committed.
    Publish(Formed),
    /// Write identity, claim and outcome of our generation into a store that lost them.
    Recreate(Formed),
    /// Stop Qdrant at once (SIGKILL): it must not serve a moment longer.
    Kill,
    /// Remove Qdrant's files and our stamp from the disk.
    Discard(Discard),
    /// Rename Qdrant's files aside and remove our stamp.
    SetAside(Aside),
}

/// On what ground data is renamed aside. Nothing is deleted by it, but the task begins anew, empty.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Aside {
    /// A higher generation is formed.
    Superseded {
        /// It.
        newer: GenerationId,
    },
    /// The cluster goes on without this peer, and every shard of it is whole there.
    Removed {
        /// The member that leads and says so.
        leader: IpAddr,
    },
    /// Our Qdrant cannot run with it, and the steward permits it.
    Permitted {
        /// The member that leads, in whose key map the permission stands.
        leader: IpAddr,
    },
}

/// On what ground a disk is wiped.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Discard {
    /// The claim was abandoned, so nothing here was ever served.
    ClaimAbandoned {
        /// The abandoned claim.
        generation: GenerationId,
    },
    /// Another task's claim has our number: ours never came to be.
    ClaimLost {
        /// Our would-be claim.
        generation: GenerationId,
    },
    /// There is no collection on this disk, and this Qdrant must not run again.
    Dataless,
}

/// Why the load balancer gets a 503.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum NotReady {
    /// Not a member.
    NotMember,
    /// Qdrant's own readiness has not come.
    Qdrant,
    /// A learner.
    Learner,
    /// The steward lets members be ready for the first time one after the other.
    NotAdmitted(Option<Grant>),
    /// The first formation is not complete.
    Forming {
        /// Members that answer, ourselves included.
        members: usize,
        /// Members wanted.
        wanted: usize,
    },
}

impl fmt::Display for NotReady {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotMember => f.write_str("this task is not a member of the cluster"),
            Self::Qdrant => f.write_str("Qdrant on this task is not ready"),
            Self::Learner => f.write_str("Qdrant on this task does not vote yet"),
            Self::NotAdmitted(grant) => {
                f.write_str("this task waits for the steward's permission to serve")?;
                others(f, grant.as_ref())
            }
            Self::Forming { members, wanted } => {
                write!(f, "the first formation has {members} of {wanted} members")
            }
        }
    }
}

/// Why a round did what it did, or did nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Nothing is in the way of a claim.
    MayFound,
    /// All members of the last generation are gone and no snapshot set exists.
    MayFoundAgain(GenerationId),
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
fn others(f: &mut fmt::Formatter<'_>, grant: Option<&Grant>) -> fmt::Result {
    match grant {
        Some(grant) => write!(f, "; now task {} may {}", grant.task.0, grant.kind),
        None => Ok(()),
    }
}

/// What a person must look at. Each names what is wrong, where, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Alarm {
    /// The disk holds Qdrant data that we never stamped.
    ForeignData,
    /// The store belongs to somebody else.
    ForeignStore(String),
    /// Believed peers, or peers and store, contradict each other.
    Contradiction(String),
    /// A generation is lost for good and a new, empty one takes its place.
    ClusterLost(GenerationId),
    /// Snapshot sets exist and the cluster that made them is lost, or has left no record; this
    /// version cannot restore them by itself.
    RestoreNeeded(Option<GenerationId>),
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
            Self::ClusterLost(lost) => write!(
                f,
                "generation {lost} was lost with all its members and no snapshot set exists: an empty cluster begins"
            ),
            Self::RestoreNeeded(None) => f.write_str(
                "the store holds snapshot sets and no record of the cluster that made them: this version does not restore by itself; restore by hand, or move sets/ away to begin empty",
            ),
            Self::RestoreNeeded(Some(lost)) => write!(
                f,
                "generation {lost} was lost with all its members and snapshot sets exist: this version does not restore by itself; restore by hand"
            ),
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
