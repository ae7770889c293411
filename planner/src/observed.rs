//! What was observed, with how much it is worth.

/// A fact from outside. `Unknown` is a value of its own: it never authorises destruction and it
/// resets every count of silence.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Observed<T> {
    /// Read in this round.
    Known(T),
    /// Could not be read; the reason is for people.
    Unknown(String),
}

impl<T> Observed<T> {
    /// The value, when it is known.
    pub fn known(&self) -> Option<&T> {
        match self {
            Self::Known(value) => Some(value),
            Self::Unknown(_) => None,
        }
    }
}
