//! Whether a peer lives. Only a proof makes it *gone*; everything unclear is *unsure*, and nobody
//! is removed for that.

use core::fmt;
use core::time::Duration;
use std::collections::BTreeSet;

use crate::ids::PeerId;

/// What is known of a peer's life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Life {
    /// Its Qdrant answers.
    Alive,
    /// Its PID 1 answers and its Qdrant does not. When it ends, PID 1 starts it again; while it only
    /// hangs, that task calls for a person.
    Hung {
        /// For how long its Qdrant has not answered.
        lasted: Duration,
    },
    /// It does not answer, and that it is gone is not proven.
    Unsure {
        /// What is missing.
        why: Doubt,
        /// For how long it has not answered.
        lasted: Duration,
    },
    /// It has been silent for long enough, a second witness says so in this round, and nobody
    /// says otherwise.
    Gone {
        /// Who says so beside the silence.
        witnesses: BTreeSet<Witness>,
        /// For how long this has been proven without a gap.
        lasted: Duration,
    },
}

impl Life {
    /// Proven, not supposed.
    pub fn is_gone(&self) -> bool {
        matches!(self, Self::Gone { .. })
    }
}

/// A second witness of a peer's end, read in this round. The silence itself is the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Witness {
    /// Its task's beat in the store has stopped.
    BeatStopped,
    /// DNS lists its address no more.
    NotInDns,
    /// Its address is another task's now.
    AddressTaken,
}

/// Why a silent peer is not called gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// It has not been silent for long enough.
    TooSoon,
    /// We could not ask: our own trouble.
    CouldNotAsk(String),
    /// Somebody answers at its address whom we cannot read.
    Unreadable(String),
    /// Its task's beat in the store has moved lately.
    Beats,
    /// Another member says that it answers.
    HeardBy(PeerId),
    /// Nobody else says anything.
    NoWitness,
}

impl fmt::Display for Witness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BeatStopped => "its beat has stopped",
            Self::NotInDns => "DNS lists it no more",
            Self::AddressTaken => "its address is another task's now",
        })
    }
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooSoon => f.write_str("not silent for long enough"),
            Self::CouldNotAsk(why) => write!(f, "it could not be asked: {why}"),
            Self::Unreadable(why) => {
                write!(
                    f,
                    "somebody answers at its address whom we cannot read: {why}"
                )
            }
            Self::Beats => f.write_str("it beats in the store"),
            Self::HeardBy(peer) => write!(f, "peer {peer} hears it"),
            Self::NoWitness => f.write_str("no second witness says that it is gone"),
        }
    }
}

impl fmt::Display for Life {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Alive => f.write_str("alive"),
            Self::Hung { lasted } => {
                write!(
                    f,
                    "hung for {} s: its PID 1 answers, Qdrant does not",
                    lasted.as_secs()
                )
            }
            Self::Unsure { why, lasted } => {
                write!(f, "silent for {} s: {why}", lasted.as_secs())
            }
            Self::Gone { witnesses, lasted } => {
                write!(f, "gone for {} s", lasted.as_secs())?;
                for (nth, witness) in witnesses.iter().enumerate() {
                    let sign = if nth == 0 { ":" } else { "," };
                    write!(f, "{sign} {witness}")?;
                }
                Ok(())
            }
        }
    }
}
