//! Snapshot sets: the clock, the records, who takes what, retention, the choice for a restore.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::unwrap_in_result,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "sets of known shape, in tests that may fail loudly"
)]

#[path = "keep/by_hand.rs"]
mod by_hand;
#[path = "keep/choosing.rs"]
mod choosing;
#[path = "keep/clocks.rs"]
mod clocks;
#[path = "keep/comparing.rs"]
mod comparing;
#[path = "keep/deciding.rs"]
mod deciding;
#[path = "keep/folders.rs"]
mod folders;
#[path = "keep/jobs.rs"]
mod jobs;
#[path = "keep/laws.rs"]
mod laws;
#[path = "keep/making.rs"]
mod making;
#[path = "keep/names.rs"]
mod names;
#[path = "keep/planning.rs"]
mod planning;
#[path = "keep/proving.rs"]
mod proving;
#[path = "keep/refusals.rs"]
mod refusals;
#[path = "keep/restoring.rs"]
mod restoring;
#[path = "keep/resuming.rs"]
mod resuming;
#[path = "keep/retaining.rs"]
mod retaining;
#[path = "keep/sample.rs"]
mod sample;
#[path = "keep/schema.rs"]
mod schema;
#[path = "keep/standing.rs"]
mod standing;
#[path = "keep/sweeping.rs"]
mod sweeping;
#[path = "keep/year.rs"]
mod year;
