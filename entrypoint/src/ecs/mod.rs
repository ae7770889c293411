//! What this task says to ECS itself, and hears from it: task protection at the agent's endpoint,
//! and what ECS wants of the service, from its API where that is permitted.

pub mod api;
pub mod keeper;
pub mod protection;
pub mod wanted;
