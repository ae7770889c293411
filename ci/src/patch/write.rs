//! Puts a plan onto the disk whole or not at all. Owns the order of steps and their undoing; knows nothing of patches.
//!
//! Everything new is written beside its target first: that is the step that needs room. Then names are exchanged,
//! which needs none, and neither does exchanging them back.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};

/// The few things that are done to a disk, so that tests can let each of them fail.
pub trait Disk {
    /// A new file, on stable storage.
    ///
    /// # Errors
    /// As the system says, above all when there is no room.
    fn write(&mut self, path: &Path, text: &str) -> io::Result<()>;
    /// Another name for a file; replaces what had it.
    ///
    /// # Errors
    /// As the system says.
    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()>;
    /// A file that is no longer wanted.
    ///
    /// # Errors
    /// As the system says.
    fn remove(&mut self, path: &Path) -> io::Result<()>;
}

/// The real one.
pub struct RealDisk;

impl Disk for RealDisk {
    fn write(&mut self, path: &Path, text: &str) -> io::Result<()> {
        use io::Write as _;
        let mut file = fs::File::create_new(path)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    }

    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&mut self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }
}

/// One exchange of names that was begun.
struct Exchange {
    target: PathBuf,
    /// Where the old text waits, if there was one.
    old: Option<PathBuf>,
    /// Is the new text under the target's name?
    done: bool,
}

/// Writes all files below `root`; missing folders are an error, for every file of ours goes beside upstream's.
///
/// # Errors
/// A step failed; then the tree is as it was, or the error says which file is not.
pub fn all_or_nothing(
    root: &Path,
    files: &BTreeMap<String, String>,
    disk: &mut dyn Disk,
) -> anyhow::Result<()> {
    let beside = |path: &str, suffix: &str| root.join(format!("{path}.{suffix}"));
    let mut written = Vec::new();
    for (path, text) in files {
        let partial = beside(path, "patch-new");
        written.push(partial.clone());
        if let Err(error) = disk.write(&partial, text) {
            let left = tidy(&written, disk);
            return Err(anyhow!(error)).with_context(|| {
                format!("write {path}: the tree is as it was{left}; make room or check the folder")
            });
        }
    }
    let mut exchanges: Vec<Exchange> = Vec::new();
    for path in files.keys() {
        let target = root.join(path);
        let old = target.exists().then(|| beside(path, "patch-old"));
        let step = exchange(
            &mut exchanges,
            target,
            old,
            &beside(path, "patch-new"),
            disk,
        );
        if let Err(error) = step {
            let undone = undo(&exchanges, disk);
            let left = tidy(&written, disk);
            return Err(anyhow!(error))
                .with_context(|| format!("put {path} in place: {undone}{left}"));
        }
    }
    let old: Vec<PathBuf> = exchanges.into_iter().filter_map(|one| one.old).collect();
    let left = tidy(&old, disk);
    if !left.is_empty() {
        eprintln!("warning: all files are in place{left}");
    }
    Ok(())
}

fn exchange(
    exchanges: &mut Vec<Exchange>,
    target: PathBuf,
    old: Option<PathBuf>,
    new: &Path,
    disk: &mut dyn Disk,
) -> io::Result<()> {
    if let Some(old) = &old {
        disk.rename(&target, old)?;
    }
    exchanges.push(Exchange {
        target: target.clone(),
        old,
        done: false,
    });
    disk.rename(new, &target)?;
    if let Some(last) = exchanges.last_mut() {
        last.done = true;
    }
    Ok(())
}

/// Gives every target its old text back, last first; says how that went.
fn undo(exchanges: &[Exchange], disk: &mut dyn Disk) -> String {
    let mut failed = Vec::new();
    for one in exchanges.iter().rev() {
        let step = match &one.old {
            Some(old) => disk.rename(old, &one.target),
            None if one.done => disk.remove(&one.target),
            None => Ok(()),
        };
        if let Err(error) = step {
            failed.push(format!("{} ({error})", one.target.display()));
        }
    }
    if failed.is_empty() {
        "the tree is as it was".to_owned()
    } else {
        format!("NOT put back, take a fresh tree: {}", failed.join(", "))
    }
}

/// Removes helper files; says which are left.
fn tidy(paths: &[PathBuf], disk: &mut dyn Disk) -> String {
    let left: Vec<String> = paths
        .iter()
        .filter(|path| path.exists())
        .filter_map(|path| {
            let error = disk.remove(path).err()?;
            Some(format!("{} ({error})", path.display()))
        })
        .collect();
    if left.is_empty() {
        String::new()
    } else {
        format!(", but these are left over: {}", left.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails at the step with this number, once.
    struct FailsAt {
        step: usize,
        at: usize,
    }

    impl FailsAt {
        fn count(&mut self) -> io::Result<()> {
            self.at += 1;
            if self.at == self.step {
                return Err(io::Error::from(io::ErrorKind::StorageFull));
            }
            Ok(())
        }
    }

    impl Disk for FailsAt {
        fn write(&mut self, path: &Path, text: &str) -> io::Result<()> {
            // A full disk leaves a part of the file.
            if self.count().is_err() {
                fs::write(path, text.get(..1).unwrap_or_default())?;
                return Err(io::Error::from(io::ErrorKind::StorageFull));
            }
            RealDisk.write(path, text)
        }

        fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
            self.count()?;
            RealDisk.rename(from, to)
        }

        fn remove(&mut self, path: &Path) -> io::Result<()> {
            self.count()?;
            RealDisk.remove(path)
        }
    }

    fn contents(root: &Path) -> BTreeMap<String, String> {
        fs::read_dir(root)
            .unwrap()
            .map(|entry| {
                let entry = entry.unwrap();
                (
                    entry.file_name().to_string_lossy().into_owned(),
                    fs::read_to_string(entry.path()).unwrap(),
                )
            })
            .collect()
    }

    #[test]
    fn whichever_step_fails_the_tree_is_as_it_was() {
        let files: BTreeMap<String, String> = [("a", "new a"), ("b", "new b"), ("c", "new c")]
            .map(|(path, text)| (path.to_owned(), text.to_owned()))
            .into();
        // Three writes and five renames; removing the old texts afterwards undoes nothing.
        for step in 1..=8 {
            let folder = tempfile::tempdir().unwrap();
            fs::write(folder.path().join("a"), "old a").unwrap();
            fs::write(folder.path().join("c"), "old c").unwrap();
            let before = contents(folder.path());
            let mut disk = FailsAt { step, at: 0 };
            let error = all_or_nothing(folder.path(), &files, &mut disk).unwrap_err();
            assert_eq!(contents(folder.path()), before, "step {step}: {error:#}");
            assert!(
                format!("{error:#}").contains("the tree is as it was"),
                "{error:#}"
            );
        }
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a"), "old a").unwrap();
        all_or_nothing(folder.path(), &files, &mut RealDisk).unwrap();
        assert_eq!(contents(folder.path()), files);
    }
}
