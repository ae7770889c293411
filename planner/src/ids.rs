//! The names of things, each its own type, so that a task can never be passed where a peer is meant.

use core::fmt;

use serde::{Deserialize, Serialize};

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub String);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.to_owned())
            }
        }
    };
}

text_id! {
    /// One ECS task: the last part of its ARN. Never reused by ECS.
    TaskId
}
text_id! {
    /// The random word that makes one claim different from every other claim.
    Token
}
text_id! {
    /// The name that a store got when it was first used; it is also the cluster's id.
    StoreId
}

/// A Qdrant peer in Raft. Random 53-bit number, never reused (facts: T12).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PeerId(pub u64);

impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// One life of the cluster: its number and the token of the claim that began it.
///
/// The number orders lives, the token tells two lives of the same number apart, which only an
/// emptied or exchanged store can produce.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct GenerationId {
    /// 1, 2, 3, …
    pub number: u64,
    /// The token of the claim.
    pub token: Token,
}

impl GenerationId {
    /// The first Raft term of a generation that begins by re-quorum: each has so many of its own
    /// (decision 0019).
    pub fn first_term(&self) -> u64 {
        self.number.saturating_mul(1 << 32)
    }
}

impl fmt::Display for GenerationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.number, self.token)
    }
}
