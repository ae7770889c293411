//! The heal planner against a small model of a Qdrant cluster.
//!
//! `UPDATE_GOLDEN=1` rewrites the stories in `heal/scripts/*.out`, `MODEL_DEEP=1` runs ten times as
//! many random schedules, `HEAL_SEED=n` runs one.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::unwrap_in_result,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a cluster of known shape, in tests that may fail loudly"
)]

#[path = "heal/asides.rs"]
mod asides;
#[path = "heal/concerns.rs"]
mod concerns;
#[path = "heal/diverging.rs"]
mod diverging;
#[path = "heal/ecs.rs"]
mod ecs;
#[path = "heal/evacuating.rs"]
mod evacuating;
#[path = "heal/farewells.rs"]
mod farewells;
#[path = "heal/fresh.rs"]
mod fresh;
#[path = "heal/guards.rs"]
mod guards;
#[path = "heal/large.rs"]
mod large;
#[path = "heal/lives.rs"]
mod lives;
#[path = "heal/memories.rs"]
mod memories;
#[path = "heal/promises.rs"]
mod promises;
#[path = "heal/properties.rs"]
mod properties;
#[path = "heal/qdrant.rs"]
mod qdrant;
#[path = "heal/schedules.rs"]
mod schedules;
#[path = "heal/script.rs"]
mod script;
#[path = "heal/senses.rs"]
mod senses;
#[path = "heal/show.rs"]
mod show;
#[path = "heal/sim.rs"]
mod sim;
#[path = "heal/speed.rs"]
mod speed;
#[path = "heal/stories.rs"]
mod stories;
