//! What this task says to ECS itself, and hears from it: task protection at the agent's endpoint.

pub mod keeper;
pub mod protection;
