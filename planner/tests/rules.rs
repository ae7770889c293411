//! The rules of `docs/architecture.md`, one test per behaviour.
#![allow(
    clippy::type_complexity,
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tables of named changes, and helpers of tests that may fail loudly"
)]

#[path = "rules/aside.rs"]
mod aside;
#[path = "rules/cluster.rs"]
mod cluster;
#[path = "rules/ended.rs"]
mod ended;
#[path = "rules/forgetting.rs"]
mod forgetting;
#[path = "rules/founding.rs"]
mod founding;
#[path = "rules/grounds.rs"]
mod grounds;
#[path = "rules/invariants.rs"]
mod invariants;
#[path = "rules/loss.rs"]
mod loss;
#[path = "rules/peers.rs"]
mod peers;
#[path = "rules/requorum.rs"]
mod requorum;
#[path = "rules/restore.rs"]
mod restore;
#[path = "rules/scene.rs"]
mod scene;
#[path = "rules/stores.rs"]
mod stores;
#[path = "rules/survivors.rs"]
mod survivors;
#[path = "rules/verdicts.rs"]
mod verdicts;
