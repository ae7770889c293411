//! The steps of a plan, in their order. Each tries to choose an action and says whether it did.

mod admission;
mod balance;
mod choosing;
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
pub(crate) const ALL: [Step; 16] = [
    transfers::abort_doomed,
    gone::clear_away,
    gone::forget_unlisted,
    ending::hand_over,
    choosing::follow,
    admission::take_back,
    admission::join,
    copies::save_single,
    admission::set_aside,
    leaving::evacuate,
    copies::restore_missing,
    admission::serve,
    choosing::choose,
    spread::over_zones,
    balance::even_out,
    factor::raise,
];

/// What remains where no copy is to be touched: somebody who waits at the door waits for ever else.
pub(crate) const ORDERS: [Step; 3] = [admission::take_back, admission::join, admission::serve];
