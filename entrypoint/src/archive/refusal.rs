//! Why an archive is refused, as one line each.

/// A fault and where it was found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("archive refused at byte {at}: {fault}")]
pub struct Refusal {
    /// Offset in the archive of the block in which it was noticed.
    pub at: u64,
    /// What is wrong.
    pub fault: Fault,
}

impl Refusal {
    pub(super) fn new(at: u64, fault: Fault) -> Self {
        Self { at, fault }
    }
}

/// What is wrong with an archive.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// The input ends before the archive does.
    #[error("it is cut off")]
    Truncated,
    /// The input goes on after the end blocks.
    #[error("something follows its end")]
    Trailing,
    /// One block of zeros where there must be two.
    #[error("its end is one block of zeros instead of two")]
    HalfEnd,
    /// A header does not have the sum that it states.
    #[error("the checksum of a header is wrong")]
    Checksum,
    /// A header of a format that Qdrant does not write.
    #[error("a header is of no known tar format")]
    Format,
    /// A number in a header cannot be read.
    #[error("a header's {0} is no number")]
    Number(&'static str),
    /// A long name or pax record that makes no sense.
    #[error("an extended header {0}")]
    Extended(&'static str),
    /// A name that could lead outside, or is no name.
    #[error("the name {path:?} {why}")]
    Name {
        /// The name, cut to a length that fits a log line.
        path: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A link, device, or anything else that is neither a file nor a directory.
    #[error("{path:?} is neither a file nor a directory (type {kind:?})")]
    Kind {
        /// The entry.
        path: String,
        /// The type flag of its header.
        kind: char,
    },
    /// A map of a sparse file that makes no sense.
    #[error("the map of the sparse file {path:?} {why}")]
    Sparse {
        /// The entry.
        path: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Not zero after the end of a file: it was longer than its header says.
    #[error("{path:?} goes on after its end; did it grow while it was archived?")]
    Padding {
        /// The entry.
        path: String,
    },
    /// An entry where no such thing can be.
    #[error("{path:?} {why}")]
    Misplaced {
        /// The entry.
        path: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A small file that must be JSON and is not.
    #[error("{path:?} is not the JSON that it should be")]
    Json {
        /// The entry.
        path: String,
    },
    /// Something without which it cannot be restored.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// A segment that lacks something.
    #[error("segment {segment} has no {what}")]
    Segment {
        /// Its id.
        segment: String,
        /// What it lacks.
        what: &'static str,
    },
    /// The snapshot of a replica that had no data of its own.
    #[error("it comes from a replica without data of its own")]
    NotLocal,
    /// More segments than any shard has.
    #[error("it has more segments than can be")]
    TooMany,
}

/// A name cut to a length that fits a log line.
pub(super) fn shown(path: &str) -> String {
    path.chars().take(120).collect()
}
