//! Collections that ask for fewer copies than this service wants. Last, because it makes
//! new work.

use crate::heal::action::{Action, Purpose};
use crate::heal::round::Round;

pub(crate) fn raise(round: &mut Round<'_>) -> bool {
    let view = round.view;
    let Some(wanted) = round.settings.wanted_factor else {
        return false;
    };
    // Fewer tasks cannot hold more copies; when more come, it is raised again.
    let tasks = view.wanted_tasks.unwrap_or(0).max(round.facts.seats.len());
    let factor = wanted.min(u32::try_from(tasks).unwrap_or(u32::MAX));
    let low = view.known().filter(|(_, there)| there.factor < factor);
    low.into_iter().any(|(name, there)| {
        let action = Action::RaiseFactor {
            collection: name.clone(),
            factor,
        };
        round.offer(action, Purpose::FactorTooLow(there.factor))
    })
}
