//! The last look at the store, for who looks at it again and again: what it showed counts until something
//! changes it. Owns how long a look counts in which something was not read.

use std::time::{Duration, Instant};

use super::shelves::Shelves;

/// So long, and then the store is looked at anew: nothing else would bring that look, for no set is begun before.
const UNREAD: Duration = Duration::from_secs(15);

/// What was seen, and since when a part of it has not been read.
#[derive(Debug, Default)]
pub struct Lookout {
    last: Option<(Shelves, Instant)>,
    unread: Option<Instant>,
}

impl Lookout {
    /// Something has changed: what was seen counts no more.
    pub fn forget(&mut self) {
        self.last = None;
    }

    /// Whether the last look counts at this moment.
    pub fn counts(&self, now: Instant) -> bool {
        match &self.last {
            None => false,
            Some((_, at)) => self.unread.is_none() || now.duration_since(*at) < UNREAD,
        }
    }

    /// What was seen last.
    pub fn last(&self) -> Option<&Shelves> {
        self.last.as_ref().map(|(there, _)| there)
    }

    /// This was seen.
    pub fn saw(&mut self, there: Shelves, now: Instant) {
        self.unread = there.unread().map(|_| self.unread.unwrap_or(now));
        self.last = Some((there, now));
    }

    /// Since when some of it could not be read, look after look.
    pub fn unread_since(&self) -> Option<Instant> {
        self.unread
    }
}
