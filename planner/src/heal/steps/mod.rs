//! The steps of a plan, in their order. Each tries to choose an action and says whether it did.

mod balance;
mod copies;
mod ending;
mod factor;
mod gone;
mod leaving;
mod spread;
mod survey;
mod transfers;

pub(crate) use survey::survey;

use crate::heal::round::Round;

/// A step: chooses an action and returns true, or says why not and returns false.
pub(crate) type Step = fn(&mut Round<'_>) -> bool;

/// All steps after the gate, the most urgent first.
pub(crate) const ALL: [Step; 10] = [
    transfers::abort_doomed,
    gone::clear_away,
    gone::forget_unlisted,
    ending::hand_over,
    copies::save_single,
    leaving::evacuate,
    copies::restore_missing,
    spread::over_zones,
    balance::even_out,
    factor::raise,
];
