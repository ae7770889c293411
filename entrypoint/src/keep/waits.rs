//! What somebody waits for, for people: said when it is new, and no more than once in a while, since a
//! reason may hold a time that moves on.

use std::time::{Duration, Instant};

/// What changes with every look is said this seldom.
const SELDOM: Duration = Duration::from_secs(60);

/// The last reason, and when one was last said.
#[derive(Debug, Default)]
pub(super) struct Waits(Option<(String, Instant)>);

impl Waits {
    /// Takes a reason; says whether it is to be said.
    pub(super) fn is_news(&mut self, what: String) -> bool {
        let quiet = |(_, at): &(String, Instant)| at.elapsed() < SELDOM;
        let before = match &self.0 {
            Some(said) if said.0 == what || quiet(said) => Some(said.1),
            _ => None,
        };
        self.0 = Some((what, before.unwrap_or_else(Instant::now)));
        before.is_none()
    }

    /// Nothing is waited for any more.
    pub(super) fn clear(&mut self) {
        self.0 = None;
    }

    /// The last reason.
    pub(super) fn text(&self) -> Option<&str> {
        self.0.as_ref().map(|(said, _)| said.as_str())
    }
}
