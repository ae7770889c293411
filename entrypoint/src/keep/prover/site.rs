//! The folder of a scratch Qdrant: on the local disk, beside Qdrant's storage and never in it. Whether it
//! may be removed is `planner::keep::scratch`'s to say, upon a look just before.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::sys::statvfs::statvfs;
use planner::keep::scratch::{FOLDER, MARK, Not, SAYS, Seen, may_remove};

/// What went wrong with the folder.
#[derive(Debug, thiserror::Error)]
pub enum SiteError {
    /// A system call failed.
    #[error("{doing} {path}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// With which file.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// It is not removed.
    #[error("{path} is not removed: {why}; look at it, and move it away")]
    NotOurs {
        /// The folder.
        path: PathBuf,
        /// Why.
        why: Not,
    },
    /// There is no place beside the storage.
    #[error("{0} is no folder beside which anything could be")]
    NoPlace(PathBuf),
}

trait At<T> {
    fn at(self, doing: &'static str, path: &Path) -> Result<T, SiteError>;
}

impl<T> At<T> for io::Result<T> {
    fn at(self, doing: &'static str, path: &Path) -> Result<T, SiteError> {
        self.map_err(|source| SiteError::Io {
            doing,
            path: path.to_owned(),
            source,
        })
    }
}

/// Where the folder is, or would be.
#[derive(Clone, Debug)]
pub struct Site {
    storage: PathBuf,
    place: PathBuf,
}

impl Site {
    /// Beside this storage directory: `/qdrant/storage.proof/scratch`.
    ///
    /// # Errors
    /// [`SiteError::NoPlace`] for a path that has no name, or cannot be made absolute.
    pub fn beside(storage: &Path) -> Result<Self, SiteError> {
        let none = || SiteError::NoPlace(storage.to_owned());
        let storage = std::path::absolute(storage).map_err(|_| none())?;
        let mut name = OsString::from(storage.file_name().ok_or_else(none)?);
        name.push(".proof");
        Ok(Self {
            place: storage.with_file_name(name),
            storage,
        })
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> PathBuf {
        self.place.join(FOLDER)
    }

    /// Free bytes there.
    ///
    /// # Errors
    /// [`SiteError::Io`]
    pub fn free(&self) -> Result<u64, SiteError> {
        self.make_place()?;
        let look = || -> io::Result<u64> {
            let there = statvfs(&self.place)?;
            Ok(there
                .blocks_available()
                .saturating_mul(there.fragment_size()))
        };
        look().at("look at the disk of", &self.place)
    }

    /// Makes the folder, with its mark and nothing else in it. What an earlier one left is removed.
    ///
    /// # Errors
    /// Those of [`Site::clear`].
    pub fn make(&self) -> Result<PathBuf, SiteError> {
        self.clear()?;
        self.make_place()?;
        let folder = self.folder();
        let mut builder = fs::DirBuilder::new();
        builder.mode(0o700).create(&folder).at("make", &folder)?;
        let mark = folder.join(MARK);
        let mut file = File::create_new(&mark).at("create", &mark)?;
        file.write_all(SAYS.as_bytes()).at("write", &mark)?;
        file.sync_all().at("flush", &mark)?;
        Ok(folder)
    }

    fn make_place(&self) -> Result<(), SiteError> {
        match fs::create_dir(&self.place) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                Err(error).at("make", &self.place)
            }
            _ => Ok(()),
        }
    }

    /// Removes the folder with all that is in it; says whether there was one. Nothing may run in it.
    ///
    /// # Errors
    /// [`SiteError::NotOurs`]; [`SiteError::Io`].
    pub fn clear(&self) -> Result<bool, SiteError> {
        let folder = self.folder();
        let Some(seen) = self.look(&folder)? else {
            return Ok(false);
        };
        may_remove(seen).map_err(|why| SiteError::NotOurs {
            path: folder.clone(),
            why,
        })?;
        // The mark goes last: what an interruption leaves is still known as ours.
        for entry in fs::read_dir(&folder).at("list", &folder)? {
            let entry = entry.at("list", &folder)?;
            if entry.file_name() != MARK {
                let path = entry.path();
                let kind = entry.file_type().at("look at", &path)?;
                match kind.is_dir() {
                    true => fs::remove_dir_all(&path),
                    false => fs::remove_file(&path),
                }
                .at("remove", &path)?;
            }
        }
        let mark = folder.join(MARK);
        if mark.symlink_metadata().is_ok() {
            fs::remove_file(&mark).at("remove", &mark)?;
        }
        fs::remove_dir(&folder).at("remove", &folder)?;
        Ok(true)
    }

    /// What is there now; `None`: nothing.
    fn look(&self, folder: &Path) -> Result<Option<Seen>, SiteError> {
        let there = match fs::symlink_metadata(folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            there => there.at("look at", folder)?,
        };
        let place = fs::symlink_metadata(&self.place).at("look at", &self.place)?;
        let real = folder.canonicalize().at("look at", folder)?;
        let storage = match self.storage.canonicalize() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.storage.clone(),
            storage => storage.at("look at", &self.storage)?,
        };
        let (mut marked, mut empty) = (false, false);
        if there.is_dir() {
            let first = fs::read_dir(folder).at("list", folder)?.next();
            empty = first.transpose().at("list", folder)?.is_none();
            marked = says_so(&folder.join(MARK))?;
        }
        Ok(Some(Seen {
            is_folder: there.is_dir(),
            place_is_folder: place.is_dir(),
            same_device: there.dev() == place.dev(),
            meets_storage: real.starts_with(&storage) || storage.starts_with(&real),
            marked,
            empty,
        }))
    }
}

fn says_so(mark: &Path) -> Result<bool, SiteError> {
    match fs::symlink_metadata(mark) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        there => {
            if !there.at("look at", mark)?.is_file() {
                return Ok(false);
            }
        }
    }
    let mut text = Vec::new();
    let file = File::open(mark).at("open", mark)?;
    let limit = SAYS.len() as u64 + 1;
    file.take(limit).read_to_end(&mut text).at("read", mark)?;
    Ok(text == SAYS.as_bytes())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use tempfile::TempDir;

    use super::*;

    fn site() -> (TempDir, Site) {
        let dir = TempDir::new().unwrap();
        let storage = dir.path().join("storage");
        fs::create_dir_all(storage.join("collections/c")).unwrap();
        let site = Site::beside(&storage).unwrap();
        assert_eq!(site.folder(), dir.path().join("storage.proof/scratch"));
        (dir, site)
    }

    #[test]
    fn it_is_made_and_removed_with_all_that_is_in_it() {
        let (dir, site) = site();
        assert!(!site.clear().unwrap());
        assert!(site.free().unwrap() > 0);
        for _ in 0..2 {
            let folder = site.make().unwrap();
            fs::create_dir_all(folder.join("storage/collections/c")).unwrap();
            fs::write(folder.join("storage/raft_state.json"), "x").unwrap();
            // A link in it goes, and not what it leads to.
            symlink(dir.path().join("storage"), folder.join("link")).unwrap();
        }
        assert!(site.clear().unwrap());
        assert!(!site.folder().exists());
        assert!(dir.path().join("storage/collections/c").exists());
    }

    #[test]
    fn what_an_interruption_leaves_is_removed() {
        let (_dir, site) = site();
        fs::create_dir_all(site.folder()).unwrap();
        assert!(site.clear().unwrap(), "made and not marked");
        site.make().unwrap();
        assert!(site.clear().unwrap(), "all but the mark removed");
    }

    #[test]
    fn what_is_not_ours_stays() {
        let (dir, site) = site();
        let refused = |why: Not| match site.clear() {
            Err(SiteError::NotOurs { why: found, .. }) => assert_eq!(found, why),
            other => panic!("{other:?}"),
        };
        // Somebody's files.
        fs::create_dir_all(site.folder()).unwrap();
        fs::write(site.folder().join("theirs"), "x").unwrap();
        refused(Not::Unmarked);
        fs::write(site.folder().join(MARK), "something else").unwrap();
        refused(Not::Unmarked);
        fs::remove_file(site.folder().join(MARK)).unwrap();
        let says = dir.path().join("says");
        fs::write(&says, SAYS).unwrap();
        symlink(&says, site.folder().join(MARK)).unwrap();
        refused(Not::Unmarked);
        assert!(site.make().is_err());
        assert!(site.folder().join("theirs").exists());
        fs::remove_dir_all(site.folder()).unwrap();
        // A link to the storage itself, with a mark in it.
        let storage = dir.path().join("storage");
        fs::write(storage.join(MARK), SAYS).unwrap();
        symlink(&storage, site.folder()).unwrap();
        refused(Not::Folder);
        fs::remove_file(site.folder()).unwrap();
        // The place is a link to a folder with such a folder.
        fs::remove_dir(dir.path().join("storage.proof")).unwrap();
        fs::create_dir_all(dir.path().join("elsewhere/scratch")).unwrap();
        symlink(
            dir.path().join("elsewhere"),
            dir.path().join("storage.proof"),
        )
        .unwrap();
        refused(Not::Folder);
        assert!(storage.join("collections/c").exists());
    }
}
