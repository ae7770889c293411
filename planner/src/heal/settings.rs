//! The numbers that the steward uses.

use core::time::Duration;

/// How patient the steward is, and what it calls even.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// What cannot be undone is done only while what is known of the peers is no older: one beat.
    pub fresh: Duration,
    /// A peer that does not answer for so long is gone, when a second witness says so.
    pub gone_timeout: Duration,
    /// For so long after the end of its task a peer is kept for the sake of a last copy.
    pub lost_copy_timeout: Duration,
    /// Copies on a peer that is not in the address book are left alone for so long: the address book
    /// and the copies are read one after the other.
    pub unlisted_timeout: Duration,
    /// For so long after a loss a missing copy waits for the replacement task, unless only one lives.
    pub replacement_wait: Duration,
    /// A peer that neither answers nor is gone stops counting for a shard with one living copy
    /// after so long.
    pub patience: Duration,
    /// A transfer in which nothing has moved for so long is stuck.
    pub stall_timeout: Duration,
    /// A copy on a living peer that has not become Active in so long is synchronised again. Qdrant
    /// does that by itself within seconds, so this is for what it has given up.
    pub resync_timeout: Duration,
    /// What was asked of Qdrant must show within so long, else the request was lost.
    pub appear_timeout: Duration,
    /// A permission that is not used in so long is taken back.
    pub grant_timeout: Duration,
    /// A task that was let go and that ECS has not ended in so long takes copies again.
    pub release_timeout: Duration,
    /// So long must there be more tasks than wanted, or tasks that block a deployment, before one of
    /// them is emptied: longer than what ECS has told may be out of date.
    pub surplus_delay: Duration,
    /// A task that has not been seen for so long does not wait for anything any more.
    pub sight_timeout: Duration,
    /// The pause after the first failure of an action; it doubles with each further one.
    pub backoff_first: Duration,
    /// The longest pause after failures.
    pub backoff_longest: Duration,
    /// Two peers' sizes are out of balance when the larger is so many percent of the smaller …
    pub balance_percent: u64,
    /// … and they are this many bytes apart.
    pub balance_bytes: u64,
    /// Collections with a lower factor are raised to it; `None` leaves them as they are.
    pub wanted_factor: Option<u32>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            fresh: Duration::from_secs(2),
            gone_timeout: Duration::from_secs(20),
            lost_copy_timeout: Duration::from_secs(15 * 60),
            unlisted_timeout: Duration::from_secs(2),
            replacement_wait: Duration::from_secs(3 * 60),
            patience: Duration::from_secs(2 * 60),
            stall_timeout: Duration::from_secs(10 * 60),
            resync_timeout: Duration::from_secs(5 * 60),
            appear_timeout: Duration::from_secs(60),
            grant_timeout: Duration::from_secs(60),
            release_timeout: Duration::from_secs(10 * 60),
            surplus_delay: Duration::from_secs(45),
            sight_timeout: Duration::from_secs(10),
            backoff_first: Duration::from_secs(10),
            backoff_longest: Duration::from_secs(10 * 60),
            balance_percent: 200,
            balance_bytes: 1 << 30,
            wanted_factor: None,
        }
    }
}
