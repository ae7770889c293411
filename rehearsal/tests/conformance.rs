//! What the entrypoint relies on in Qdrant's cluster behaviour, one test per behaviour, held
//! against the stand-in always and against the real binary when `QDRANT_BIN` names one. Where the
//! two differ, the real one is right.
//!
//! Every test of `real::` prints `skipped:` on stderr when there is no real binary.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test may fail loudly; clippy only knows this of functions marked as tests"
)]

#[path = "conformance/subject.rs"]
mod subject;

#[path = "conformance/cluster.rs"]
mod cluster;

#[path = "conformance/auth.rs"]
mod auth;
#[path = "conformance/consensus.rs"]
mod consensus;
#[path = "conformance/describing.rs"]
mod describing;
#[path = "conformance/founding.rs"]
mod founding;
#[path = "conformance/joining.rs"]
mod joining;
#[path = "conformance/observation.rs"]
mod observation;
#[path = "conformance/process.rs"]
mod process;
#[path = "conformance/reinit.rs"]
mod reinit;
#[path = "conformance/removal.rs"]
mod removal;
#[path = "conformance/replicas.rs"]
mod replicas;
#[path = "conformance/restart.rs"]
mod restart;
#[path = "conformance/shard_keys.rs"]
mod shard_keys;
#[path = "conformance/snapshots.rs"]
mod snapshots;
#[path = "conformance/transfers.rs"]
mod transfers;

/// For each behaviour (an `async fn(Lab)` in this module): one test per subject.
macro_rules! behaviours {
    ($($name:ident),* $(,)?) => {
        mod standin {
            $(#[tokio::test]
            async fn $name() {
                let lab = crate::subject::Lab::standin(stringify!($name)).await;
                super::$name(lab).await;
            })*
        }
        mod real {
            $(#[tokio::test]
            async fn $name() {
                if let Some(lab) = crate::subject::Lab::real(stringify!($name)).await {
                    super::$name(lab).await;
                }
            })*
        }
    };
}
pub(crate) use behaviours;
