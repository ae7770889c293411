//! What to start.

use super::{
    cgroup::CgroupPaths,
    output::{Line, Sink},
};
use std::{ffi::OsString, path::PathBuf};
use tokio::sync::mpsc;

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
    /// Straight to ours.
    Inherited,
    /// Through us: raw lines, untouched, whole lines never mixed with our own, and the child never
    /// waits for a reader of ours: when our own output is stuck, lines are lost and counted
    /// ([`Child::lost_lines`](super::Child::lost_lines)).
    Piped {
        /// Where lines of its standard output go.
        out: Sink,
        /// Where lines of its standard error go.
        err: Sink,
        /// Is shown every line as well, as far as there is room in the channel: it may miss lines,
        /// the sinks do not depend on it.
        observer: Option<mpsc::Sender<Line>>,
    },
}

impl Output {
    /// Lines to our own standard output and error, shown to `observer`.
    #[must_use]
    pub fn through_us(observer: Option<mpsc::Sender<Line>>) -> Self {
        Self::Piped {
            out: Sink::new(std::io::stdout()),
            err: Sink::new(std::io::stderr()),
            observer,
        }
    }
}
