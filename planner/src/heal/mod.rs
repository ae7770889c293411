//! The steward's decisions: what to do next so that dead peers leave, copies come back, zones hold.
//!
//! [`plan()`] takes what the member beside the Raft leader observed and returns at most one action,
//! the reasons for everything that was not done, and a report. It changes nothing itself, and the
//! order of its steps is the order of urgency; see [`mod@plan`] for the list.
//!
//! | module | owns |
//! |---|---|
//! | [`view`] | what was observed: peers, collections, copies, transfers |
//! | [`life`], [`sight`] | is a peer alive, hung, unsure or gone: two witnesses and none against |
//! | [`guard`] | the precondition of every action; asked when planning and again when acting |
//! | [`action`] | what can be done, and what for |
//! | [`mod@plan`] | which of it is done now |
//! | [`waiting`] | why something is not done |
//! | [`memory`] | what is under way, back-off after failures, how long a peer has been missing |
//! | [`measure`] | what every action lowers, so that planning comes to an end |
//! | [`concern`] | what a person must look at: lost shards, and what is waited for too long |
//! | [`divergence`] | copies that are Active and differ: said, never repaired |
//! | [`report`] | the figures of one round, for people and metrics |
//!
//! What it must never do: act on what is unknown, drop a last copy, remove a peer that may live,
//! have two transfers at once. The invariants are in `tests/heal`.

pub mod action;
pub mod concern;
pub mod divergence;
pub mod guard;
pub mod life;
pub mod measure;
pub mod memory;
pub mod names;
pub mod plan;
pub mod report;
pub mod settings;
pub mod sight;
pub mod view;
pub mod waiting;

mod facts;
mod follow;
mod health;
mod placement;
mod round;
mod steps;

pub use plan::{Plan, Planned, orders, plan};
