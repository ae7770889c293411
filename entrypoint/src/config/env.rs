//! Where the variables come from. Owns the one place that reads the process environment; everything
//! else, tests first of all, gets a map.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
};

/// A set of environment variables, read once.
pub trait Env {
    /// Every variable with its value. Names and values are whatever the operating system holds:
    /// not necessarily UTF-8.
    fn entries(&self) -> BTreeMap<OsString, OsString>;
}

/// The environment of this process.
#[derive(Debug, Clone, Copy, Default)]
pub struct ProcessEnv;

impl Env for ProcessEnv {
    fn entries(&self) -> BTreeMap<OsString, OsString> {
        std::env::vars_os().collect()
    }
}

impl<K: AsRef<OsStr>, V: AsRef<OsStr>> Env for BTreeMap<K, V> {
    fn entries(&self) -> BTreeMap<OsString, OsString> {
        self.iter()
            .map(|(name, value)| (name.as_ref().into(), value.as_ref().into()))
            .collect()
    }
}
