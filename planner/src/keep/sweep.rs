//! Of which sets may go what broken-off writes have left: hidden halves of files, and empty folders.
//! Nothing that any record names, or any list shows, is among that.

use core::time::Duration;

use crate::keep::clock::Interval;
use crate::keep::ids::SetId;
use crate::keep::resume::FINISH_WITHIN;
use crate::keep::seen::{Seen, State};

/// So many slots, an hour at most.
const SLOTS: u32 = 4;

/// For so long nothing comes late any more: a file that was not written to for as long is nobody's, for
/// whoever hangs gives up much earlier, and a task that has not heard of a set's end has by then.
pub fn settles_after(interval: Interval) -> Duration {
    let slots = interval.length().saturating_mul(SLOTS);
    slots.min(FINISH_WITHIN)
}

/// Whether what is left in this folder may go. `since` is for how long it has been as it is, and `newest`
/// the newest set that there is: nobody makes an older one.
pub fn may_sweep(set: &Seen, since: Duration, newest: Option<SetId>, interval: Interval) -> bool {
    let ours = match &set.state {
        State::Made(_) | State::Bare => true,
        State::Unfinished { under_way, .. } => !under_way,
        // It is not ours to tidy up, or not known to be.
        State::Foreign(_) | State::Unread(_) => false,
    };
    let over = newest.is_some_and(|newest| set.id < newest);
    ours && over && !set.restoring && since >= settles_after(interval)
}
