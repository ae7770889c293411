//! When our Qdrant must stand still: the others may go on without it, and it does not know that.
//!
//! Qdrant takes writes from whoever sends them, and passes them on to the holders that it knows
//! (v1.19.0: `replica_set/update.rs`, `update_impl`). One whose peer was removed meanwhile knows the
//! holders of old: two of them still take the write, it is acknowledged, and the copy that was made in
//! its place never hears of it. So after a sleep that may have been a removal's time, and as soon as a
//! majority does not list us, Qdrant is stopped where it stands, until a majority lists us again, or
//! the verdict (R9) kills it.

use core::time::Duration;

use crate::expulsion::{Voices, voices};
use crate::memory::{Memory, count};
use crate::records::Stamp;
use crate::settings::Settings;
use crate::view::Observation;

/// How far the doubt is cleared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Doubt {
    /// For how long it has lasted.
    pub lasted: Duration,
    /// For how long a majority has listed us.
    pub listed: Duration,
}

/// Whether the Qdrant of this member may not go on in this round.
pub(crate) fn wanted(
    settings: &Settings,
    memory: &mut Memory,
    seen: &Observation,
    stamp: &Stamp,
) -> bool {
    // Nobody can have removed who was never in.
    let Some(us) = seen.disk.peer_id.filter(|_| seen.disk.joined) else {
        memory.doubt = None;
        return false;
    };
    let voices = voices(settings, seen, stamp, us);
    if voices.go_on_without_us() && memory.was_listed(seen) {
        memory.doubt.get_or_insert_default();
    }
    let step = memory.step;
    let Some(doubt) = &mut memory.doubt else {
        return false;
    };
    doubt.lasted = count(doubt.lasted, step, settings.loss_timeout);
    // What they say may be a beat old, and so older than our removal.
    doubt.listed = match lists_us(&voices, seen) {
        true => count(doubt.listed, step, settings.beat),
        false => Duration::ZERO,
    };
    // Where no majority is to be heard, nobody can tell, and there is nothing to wait for: this is what
    // a lost majority looks like, whose survivors are needed (R8).
    let nobody_says = voices.without.is_empty() && doubt.lasted >= settings.loss_timeout;
    if doubt.listed >= settings.beat || nobody_says {
        memory.doubt = None;
    }
    memory.doubt.is_some()
}

/// Those who list us are, with us, a majority of those whom they list; or we are the only voter.
fn lists_us(voices: &Voices<'_>, seen: &Observation) -> bool {
    match voices.with.iter().map(|hello| hello.peers.len()).max() {
        Some(listed) => (1 + voices.with.len()) * 2 > listed,
        None => voices.without.is_empty() && seen.disk.voters.len() <= 1,
    }
}
