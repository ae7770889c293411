//! Whether the thread of a file moves. It is between calls of the store most of the time that a
//! source is slow, and that is nothing to give up for.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::store::Op;

/// The call that the thread is in, if it is in one.
#[derive(Debug, Default)]
pub(super) struct Progress {
    call: Mutex<Option<(Op, Instant)>>,
}

impl Progress {
    /// A call begins, or has come so far that it begins anew.
    pub(super) fn enter(&self, op: Op) {
        *self.call.lock().unwrap_or_else(PoisonError::into_inner) = Some((op, Instant::now()));
    }

    /// It has returned, and the next waits for pieces.
    pub(super) fn rest(&self) {
        *self.call.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// The call that has not returned yet, and for how long.
    pub(super) fn stalled(&self) -> Option<(Op, Duration)> {
        let call = self.call.lock().unwrap_or_else(PoisonError::into_inner);
        call.map(|(op, began)| (op, began.elapsed()))
    }
}
