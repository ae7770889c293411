//! The numbers that the rules use.

use core::net::IpAddr;
use core::time::Duration;

use crate::ids::TaskId;

/// How many arrived DNS answers in a row a founder needs.
pub const DNS_ANSWERS: usize = 3;

/// Cloud Map answers at most this many addresses; a shorter answer is a whole one.
/// <https://docs.aws.amazon.com/cloud-map/latest/api/API_DnsConfig.html>
pub const DNS_LIMIT: usize = 8;

/// How long a joiner waits for a member that leads before it tries any: elections take 2 to 4 s
/// (facts: section 7).
pub const ELECTION: Duration = Duration::from_secs(6);

/// What a task knows of itself and of how patient it should be.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Settings {
    /// This task.
    pub task: TaskId,
    /// This task's address.
    pub address: IpAddr,
    /// Our service.
    pub service: String,
    /// Our deployment stack, when one is named.
    pub stack: Option<String>,
    /// A store made by another stack may be taken over, its cluster given up (`fresh`).
    pub adopt_fresh: bool,
    /// Members that must be in before anyone is ready for the first time.
    pub ready_peers: usize,
    /// The pause between two beats of a member.
    pub beat: Duration,
    /// The longest time between two rounds that still counts; a longer one means that this task
    /// itself was paused, and breaks every count. Two beats and the deadlines of a slow round.
    pub gap: Duration,
    /// A task that did not run for so long may have been removed from the cluster meanwhile: half of the
    /// silence that takes.
    pub sleep: Duration,
    /// A claim whose lease has not moved for so long may be abandoned.
    pub claim_timeout: Duration,
    /// A generation whose members were all silent for so long is lost.
    pub loss_timeout: Duration,
    /// How long DNS must have answered without our own address before we believe that it never
    /// will list us. Longer than members need to re-create the records of an emptied store.
    pub dns_settle: Duration,
    /// Survivors of a lost majority go on by themselves (rule R8); otherwise they call a person.
    pub requorum: bool,
    /// A new cluster begins with what the snapshot sets of a lost one hold (rule R7); otherwise a person is
    /// called.
    pub restore: bool,
}
