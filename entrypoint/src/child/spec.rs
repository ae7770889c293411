//! What to start.

use super::cgroup::CgroupPaths;
use std::{ffi::OsString, os::fd::OwnedFd, path::PathBuf};

/// A program to start and how.
#[derive(Debug)]
pub struct Spec {
    /// Its path. Without a slash it is looked up in `PATH`.
    pub program: PathBuf,
    /// Its arguments, byte for byte, without the program's name.
    pub args: Vec<OsString>,
    /// Its environment.
    pub env: Environment,
    /// Its working directory; `None`: ours.
    pub cwd: Option<PathBuf>,
    /// Its standard input.
    pub stdin: Stdin,
    /// Its standard output and error.
    pub output: Output,
    /// It gives way to everything else: it runs when nobody wants the processor.
    pub yields: bool,
    /// Where the out-of-memory counter is read.
    pub cgroup: CgroupPaths,
}

impl Spec {
    /// A program with these arguments and this environment, no input, our own output, our own
    /// working directory.
    #[must_use]
    pub fn new(program: PathBuf, args: Vec<OsString>, env: Environment) -> Self {
        Self {
            program,
            args,
            env,
            cwd: None,
            stdin: Stdin::Null,
            output: Output::Inherited,
            yields: false,
            cgroup: CgroupPaths::default(),
        }
    }
}

/// The environment of a child.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Environment {
    /// These variables and no others.
    Exactly(Vec<(OsString, OsString)>),
    /// Ours untouched, and these (which win).
    InheritedPlus(Vec<(OsString, OsString)>),
}

/// The standard input of a child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stdin {
    /// Empty.
    Null,
    /// Ours.
    Inherited,
}

/// Where the standard output and error of a child go.
#[derive(Debug)]
pub enum Output {
    /// Straight to ours: no line passes through this process, which never waits for a reader.
    Inherited,
    /// Both into this file or pipe.
    To(OwnedFd),
}
