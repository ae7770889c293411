//! Snapshot sets: when one is made, who takes what, what it holds, how long it is kept, and which one
//! is restored.
//!
//! A set is a folder of write-once files, and its manifest comes last (decision 0022). Everything here
//! is decided from what was read of the store and seen of the cluster; `docs/snapshots.md` says it
//! for people.
//!
//! | module | owns |
//! |---|---|
//! | [`time`], [`ids`] | UTC moments; the names of sets, folders, hashes |
//! | [`layout`] | every path below `sets/` |
//! | [`clock`] | when a set by the clock is due, what was missed, a clock that is wrong |
//! | [`by_hand`] | what becomes of a request for a set by hand |
//! | [`records`], [`missing`] | what is written |
//! | [`mod@read`], [`refusal`] | what is believed of what is read |
//! | [`mod@plan`] | which copy of each shard is taken |
//! | [`mod@assemble`] | from plan and parts to the manifest |
//! | [`mod@resume`] | what becomes of a set that another steward began |
//! | [`folder`], [`seen`] | what is known of each set in the store |
//! | [`mod@sweep`] | of which sets the rest of broken-off writes may go |
//! | [`mod@retention`], [`reasons`] | which sets are kept, and why |
//! | [`mod@choose`] | which set a restore takes |
//! | [`restore`] | what the restore of everything does next, and what it may throw away |
//! | [`restore_wish`] | what a person decides while it waits |
//! | [`job`] | the same of a restore by hand, beside what is served |
//! | [`proving`] | which proof is due, and who does it |
//! | [`samples`] | what is noted of some points of a shard, and how a restored one is compared with it |
//! | [`scratch`] | whether the folder of a scratch Qdrant may be removed |

pub mod assemble;
pub mod by_hand;
pub mod choose;
pub mod clock;
pub mod ends;
pub mod folder;
pub mod ids;
pub mod job;
pub mod layout;
pub mod missing;
pub mod plan;
pub mod proving;
pub mod read;
pub mod reasons;
pub mod records;
pub mod refusal;
pub mod restore;
pub mod restore_wish;
pub mod resume;
pub mod retention;
pub mod samples;
pub mod scratch;
pub mod seen;
pub mod sweep;
pub mod time;

mod check_manifest;
mod check_plan;
