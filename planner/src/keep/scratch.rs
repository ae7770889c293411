//! Whether the folder of a scratch Qdrant may be removed: the only local files that are deleted for a proof.
//!
//! It is told by its place and its mark, so that a folder that somebody else made there, or a link to
//! somewhere else, is never emptied.

use core::fmt;

/// The name of the folder in which a scratch Qdrant lives, in its place beside the storage.
pub const FOLDER: &str = "scratch";
/// The file in it that says whose it is: made first, removed last.
pub const MARK: &str = ".entrypoint-scratch";
/// What the mark says.
pub const SAYS: &str = "a scratch Qdrant of the entrypoint; may be removed at any time\n";

/// What was seen at the place just now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// It is a folder, and no link to one.
    pub is_folder: bool,
    /// The place around it is a folder, and no link to one.
    pub place_is_folder: bool,
    /// It is on the file system of the place around it: nothing is mounted there.
    pub same_device: bool,
    /// Qdrant's storage is in it, or it is in Qdrant's storage, as both are really called.
    pub meets_storage: bool,
    /// What its mark says is what we write there.
    pub marked: bool,
    /// Nothing is in it.
    pub empty: bool,
}

/// Why it is left alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Not {
    /// A link, or a file.
    Folder,
    /// Something is mounted there.
    Mounted,
    /// It and the storage are not apart.
    Storage,
    /// Somebody else's.
    Unmarked,
}

/// Whether all of it may be removed.
///
/// # Errors
/// Why not.
pub fn may_remove(seen: Seen) -> Result<(), Not> {
    let Seen {
        is_folder,
        place_is_folder,
        same_device,
        meets_storage,
        marked,
        empty,
    } = seen;
    if !is_folder || !place_is_folder {
        return Err(Not::Folder);
    }
    if !same_device {
        return Err(Not::Mounted);
    }
    if meets_storage {
        return Err(Not::Storage);
    }
    // An empty one is what is left when we died between making it and marking it, or at its end.
    match marked || empty {
        true => Ok(()),
        false => Err(Not::Unmarked),
    }
}

impl fmt::Display for Not {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Folder => "it is no folder, or a link leads there",
            Self::Mounted => "something is mounted there",
            Self::Storage => "it and Qdrant's storage are not apart",
            Self::Unmarked => "it is not ours",
        })
    }
}
