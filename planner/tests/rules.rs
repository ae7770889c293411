//! The rules of `docs/architecture.md`, one test per behaviour.

#[path = "rules/cluster.rs"]
mod cluster;
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
#[path = "rules/scene.rs"]
mod scene;
