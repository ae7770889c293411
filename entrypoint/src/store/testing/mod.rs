//! What tests of stores share: the conformance suite that every [`super::Store`] passes, and a
//! decorator that misbehaves on demand.

pub(crate) mod conformance;
mod faulty;
pub(crate) mod moto;

pub(crate) use faulty::{Fault, FaultyStore, Gate};

use super::Key;

/// A key written down in a test.
pub(crate) fn key(text: &str) -> Key {
    Key::new(text).unwrap()
}
