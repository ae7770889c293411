//! ECS in a box.

pub mod dns;
pub mod ecs;
pub mod standin;
