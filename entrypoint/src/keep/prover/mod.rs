//! Proofs of sets: whether what was put into the store is still there, whole, and can be restored.
//!
//! Which proof is due, who does it and what a comparison says is decided by `planner::keep::proving` and
//! `planner::keep::samples`. What could not be looked at is no finding, and makes no record.
//!
//! | module | owns |
//! |---|---|
//! | [`examiner`] | beside the steward: orders one proof after the other, and follows it |
//! | [`sets`] | what the examiner knows of the sets in the store |
//! | [`worker`] | a task's own part: does what it is told, and says how far it is |
//! | [`reading`] | levels 0 and 1: all files of a set are read |
//! | [`restoring`] | level 2: one file is restored and compared |
//! | [`scratch`] | the scratch Qdrant: how it is started, told from others, and ended |
//! | [`site`] | its folder on the local disk |
//! | [`room`] | how much disk and memory there is for it |
//! | [`gate`] | how fast files are read |

pub mod examiner;
pub mod gate;
pub(super) mod reading;
mod restoring;
mod room;
mod scratch;
mod sets;
pub mod site;
pub mod worker;

use planner::ids::TaskId;
use planner::keep::proving::{Order, Pace};
use qdrant_api::Client;
use tokio::sync::watch as channel;
use tokio_util::task::AbortOnDropHandle;

use self::examiner::Examiner;
use self::scratch::Program;
use self::site::Site;
use self::worker::Prover;
use super::Shelf;
use super::taker::Call;
use crate::config::{Config, Proof};
use crate::events;
use crate::log::chain;
use crate::status::Board;
use crate::steward::Post;

/// What proves sets in a running task.
pub struct Proofs {
    _examiner: AbortOnDropHandle<()>,
    _prover: AbortOnDropHandle<()>,
}

/// What it needs of the task.
pub struct Parts {
    /// The sets.
    pub shelf: Shelf,
    /// Asks our own Qdrant.
    pub client: Client,
    /// Our task.
    pub task: TaskId,
    /// What we say.
    pub board: channel::Sender<Board>,
    /// Whether a set is being made.
    pub calls: channel::Receiver<Option<Call>>,
}

/// Starts both sides; `None` where nothing is to be proven, or no scratch Qdrant could ever be.
pub fn start(
    config: &Config,
    parts: Parts,
    posts: channel::Receiver<Option<Post>>,
    orders: channel::Receiver<Option<Order>>,
) -> Option<Proofs> {
    let Proof::Every(between) = config.proof else {
        return None;
    };
    let site = Site::beside(&config.qdrant.storage_path);
    let site = site.inspect_err(|why| {
        tracing::warn!(event = events::PROOF_SCRATCH, "{}", chain(why));
    });
    let program = Program::new(&config.qdrant_bin, std::env::vars_os());
    let program = program.inspect_err(|why| {
        tracing::warn!(event = events::PROOF_SCRATCH, "{}", chain(why));
    });
    let (site, program) = (site.ok()?, program.ok()?);
    let examiner = Examiner::new(
        Pace::of(between),
        config.heal,
        parts.client.clone(),
        parts.shelf.clone(),
        parts.board.clone(),
    );
    let prover = Prover::new(parts, site, program);
    Some(Proofs {
        _examiner: AbortOnDropHandle::new(tokio::spawn(examiner.run(posts))),
        _prover: AbortOnDropHandle::new(tokio::spawn(prover.run(orders))),
    })
}
