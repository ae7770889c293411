//! Cloud Map on loopback: a DNS server for the one service under rehearsal, which can lie the way
//! real ones do.
//!
//! - [`Registry`] holds what is registered; the scheduler calls [`Registry::register`] when a task
//!   starts and [`Registry::deregister`] when it stops, and changes the [`Behaviour`] at any moment.
//!   Clones share one state.
//! - [`Server`] answers on one loopback address, by UDP and TCP. Several servers may share a
//!   registry, one per Availability Zone for instance: each is a *view* with its own behaviour and
//!   its own caches, as each zone has its own resolver in a VPC.
//!
//! ```no_run
//! # async fn example() -> anyhow::Result<()> {
//! use rehearsal::dns::{Mode, Registry, Server};
//! let registry = Registry::new("qdrant.cluster.local", 6335, 7)?;
//! let server = Server::bind("127.0.0.53:0".parse()?, registry.clone(), "zone-a").await?;
//! registry.register("task-1", "127.0.1.1".parse()?)?;
//! registry.change(|behaviour| behaviour.mode = Mode::Stale); // frozen from now on
//! registry.change_view("zone-a", |behaviour| behaviour.mode = Mode::Silent);
//! println!("{} answers {:?}", server.address(), registry.counts());
//! # server.stop().await; Ok(()) }
//! ```
//!
//! It must not know anything about tasks beyond their id and address.

mod behaviour;
mod registry;
mod server;
mod zone;

pub use behaviour::{Behaviour, Counts, Mode, Scope, Unregistered};
pub use registry::Registry;
pub use server::{Server, ServerError};

/// Why a registry refused a call.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The service's name is no DNS name.
    #[error("`{name}` is no DNS name for a service: {why}")]
    Service {
        /// The name given.
        name: String,
        /// What is wrong with it.
        why: String,
    },
    /// A task id is no DNS label, so that `<task>.<service>` cannot exist.
    #[error("task id `{task}` is no DNS label: 1 to 63 letters, digits or `-`")]
    Task {
        /// The id given.
        task: String,
    },
}
