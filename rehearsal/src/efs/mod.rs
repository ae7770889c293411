//! The shared store of a rehearsal: a directory or a bucket, and what the scenarios do to it.
//! Owns: the place, faults, and reading records as a witness. Must not: write records.

mod bucket;
pub mod fuse;
mod translate;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::Value;

use self::bucket::Bucket;
use self::fuse::{Gate, Through};

/// What is wrong with the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Fault {
    /// Nothing.
    #[default]
    None,
    /// Every operation takes this much longer.
    Slow(Duration),
    /// Every operation hangs until the fault is over, like an unreachable hard NFS mount.
    Hang,
    /// Every change is refused with EROFS; a bucket refuses everything.
    ReadOnly,
    /// Whatever needs more space is refused with ENOSPC.
    Full,
    /// What is written of shards hangs until the fault is over; all else is as ever.
    Stall,
}

/// A claim as it lies in the store.
#[derive(Debug, Clone, Deserialize)]
pub struct Claim {
    /// Its token.
    pub token: String,
    /// ECS id of the task that made it.
    pub task: String,
}

/// The store.
pub struct Efs {
    real: PathBuf,
    seen: PathBuf,
    gate: Arc<Gate>,
    session: Option<fuser::BackgroundSession>,
    bucket: Option<Bucket>,
}

impl Efs {
    /// A plain directory below `folder`.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn plain(folder: &Path) -> Result<Self> {
        let real = folder.join("efs");
        std::fs::create_dir_all(&real).context("make the store's directory")?;
        Ok(Self {
            seen: real.clone(),
            real,
            gate: Arc::default(),
            session: None,
            bucket: None,
        })
    }

    /// The same directory, seen through FUSE, so that faults can be set.
    ///
    /// # Errors
    /// When the mount fails; ask [`Efs::cannot_break`] first.
    pub fn breakable(folder: &Path) -> Result<Self> {
        let mut efs = Self::plain(folder)?;
        efs.seen = folder.join("efs-mount");
        std::fs::create_dir_all(&efs.seen).context("make the mount point")?;
        let files = Through::new(efs.real.clone(), efs.gate.clone());
        let mut config = fuser::Config::default();
        config.mount_options = vec![fuser::MountOption::FSName("rehearsal-efs".into())];
        config.n_threads = Some(32); // one hanging operation must not hold up another
        let session = fuser::spawn_mount(files, &efs.seen, &config).context("mount with FUSE")?;
        efs.session = Some(session);
        Ok(efs)
    }

    /// A bucket of a real S3 server. What lies in it is seen in a copy that is a moment old.
    ///
    /// # Errors
    /// When there is no such server.
    pub fn bucket(folder: &Path) -> Result<Self> {
        let mut efs = Self::plain(folder)?;
        efs.bucket = Some(Bucket::start(efs.records())?);
        Ok(efs)
    }

    /// Why this machine has no bucket; `None` when it has one.
    pub fn no_bucket() -> Option<String> {
        let test = || -> Result<()> {
            let folder = tempfile::tempdir().context("make a folder")?;
            Self::bucket(folder.path()).map(drop)
        };
        test().err().map(|error| format!("{error:#}"))
    }

    /// What the tasks are told of it.
    pub fn url(&self) -> String {
        match &self.bucket {
            Some(bucket) => bucket.url(),
            None => format!("file://{}", self.path().join("cluster").display()),
        }
    }

    /// The variables that it takes to reach it.
    pub fn env(&self) -> Vec<(String, String)> {
        let env = self.bucket.as_ref().map(Bucket::env);
        env.unwrap_or_default()
    }

    /// Why this machine cannot have a breakable store; `None` when it can.
    pub fn cannot_break() -> Option<String> {
        let test = || -> Result<()> {
            if !Path::new("/dev/fuse").exists() {
                bail!("there is no /dev/fuse");
            }
            let folder = tempfile::tempdir().context("make a folder")?;
            let efs = Self::breakable(folder.path())?;
            std::fs::write(efs.path().join("test"), "x").context("write through FUSE")?;
            Ok(())
        };
        test().err().map(|error| format!("{error:#}"))
    }

    /// Where the records lie: a folder of its own, which the entrypoints have to make. Seen from behind
    /// the faults; of a bucket it is a copy.
    pub fn records(&self) -> PathBuf {
        self.real.join("cluster")
    }

    /// The shared directory as the tasks see it.
    pub fn path(&self) -> &Path {
        &self.seen
    }

    /// Sets the fault; a plain directory has none.
    pub fn set(&self, fault: Fault) {
        self.gate.set(fault);
        if let Some(bucket) = &self.bucket {
            bucket.set(fault);
        }
    }

    /// Removes every record, as if an empty file system had been mounted.
    ///
    /// # Errors
    /// When something cannot be removed.
    pub fn wipe(&self) -> Result<()> {
        for entry in std::fs::read_dir(&self.real).context("list the store")? {
            let path = entry.context("list the store")?.path();
            let removed = if path.is_dir() {
                std::fs::remove_dir_all(&path)
            } else {
                std::fs::remove_file(&path)
            };
            // A task may write while we remove; what it re-creates may stay.
            if let Err(error) = removed
                && error.kind() != std::io::ErrorKind::NotFound
                && error.kind() != std::io::ErrorKind::DirectoryNotEmpty
            {
                return Err(error).with_context(|| format!("remove {}", path.display()));
            }
        }
        Ok(())
    }

    /// Rewrites the owner in `identity.json`, as if another service's file system were mounted.
    /// Returns what stood there, for [`Efs::give_back`].
    ///
    /// # Errors
    /// When there is no readable identity.
    pub fn give_to(&self, service: &str) -> Result<String> {
        let path = self.records().join("identity.json");
        let text = std::fs::read_to_string(&path).context("read identity.json")?;
        let mut identity: Value = serde_json::from_str(&text).context("parse identity.json")?;
        let fields = identity
            .as_object_mut()
            .context("identity.json is no object")?;
        fields.insert("service".into(), service.into());
        fields.insert("store_id".into(), uuid::Uuid::new_v4().to_string().into());
        self.give_back(&identity.to_string())?;
        Ok(text)
    }

    /// Puts an identity in place.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn give_back(&self, identity: &str) -> Result<()> {
        let path = self.records().join("identity.json");
        let fresh = path.with_extension("other");
        std::fs::write(&fresh, identity).context("write identity.json")?;
        std::fs::rename(&fresh, &path).context("replace identity.json")
    }

    /// The claim of a generation, when it lies there.
    pub fn claim(&self, generation: u64) -> Option<Claim> {
        self.record(generation, "claim.json")
    }

    /// Whether a generation's outcome is *formed*.
    pub fn formed(&self, generation: u64) -> bool {
        let outcome: Option<Value> = self.record(generation, "outcome.json");
        outcome.is_some_and(|outcome| outcome.get("formed").is_some())
    }

    /// Whether a generation's outcome is *abandoned*.
    pub fn abandoned(&self, generation: u64) -> bool {
        let outcome: Option<Value> = self.record(generation, "outcome.json");
        outcome.is_some_and(|outcome| outcome.get("abandoned").is_some())
    }

    /// Numbers of all generations whose outcome is *formed*, ascending.
    pub fn all_formed(&self) -> Vec<u64> {
        let entries = std::fs::read_dir(self.records().join("generations"))
            .into_iter()
            .flatten();
        let mut numbers: Vec<u64> = entries
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .filter(|number| self.formed(*number))
            .collect();
        numbers.sort_unstable();
        numbers
    }

    /// How many files the store holds.
    pub fn files(&self) -> usize {
        fn count(folder: &Path) -> usize {
            let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
            entries
                .map(|entry| match entry.file_type() {
                    Ok(kind) if kind.is_dir() => count(&entry.path()),
                    _ => 1,
                })
                .sum()
        }
        count(&self.records())
    }

    /// The tasks that have a member record.
    pub fn members(&self) -> BTreeSet<String> {
        let entries = std::fs::read_dir(self.records().join("members"));
        let names = entries.into_iter().flatten().flatten();
        names
            .filter_map(|entry| {
                Some(
                    entry
                        .file_name()
                        .to_str()?
                        .strip_suffix(".json")?
                        .to_owned(),
                )
            })
            .collect()
    }

    fn record<T: serde::de::DeserializeOwned>(&self, generation: u64, name: &str) -> Option<T> {
        let path = self
            .records()
            .join(format!("generations/{generation:06}"))
            .join(name);
        serde_json::from_str(&std::fs::read_to_string(path).ok()?).ok()
    }
}

impl Drop for Efs {
    fn drop(&mut self) {
        // Whoever hangs in the store goes on, else the mount could never be taken away.
        self.gate.set(Fault::None);
        if let Some(session) = self.session.take() {
            let _ = session.umount_and_join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FUSE where this machine has it, with the reason printed where not.
    fn breakable(folder: &Path) -> Option<Efs> {
        match Efs::cannot_break() {
            None => Some(Efs::breakable(folder).unwrap()),
            Some(why) => {
                eprintln!("skipped: {why}");
                None
            }
        }
    }

    #[test]
    fn what_the_store_protocol_needs_works_through_fuse() {
        let folder = tempfile::tempdir().unwrap();
        let Some(efs) = breakable(folder.path()) else {
            return;
        };
        let claim = efs.path().join("cluster/generations/000001/claim.json");
        let draft = efs.path().join("draft");
        std::fs::create_dir_all(claim.parent().unwrap()).unwrap();
        std::fs::write(&draft, r#"{"token":"a","task":"b"}"#).unwrap();
        std::fs::File::open(&draft).unwrap().sync_all().unwrap();
        std::fs::hard_link(&draft, &claim).unwrap();
        let again = std::fs::hard_link(&draft, &claim).unwrap_err();
        assert_eq!(again.kind(), std::io::ErrorKind::AlreadyExists);
        std::fs::remove_file(&draft).unwrap();
        assert_eq!(
            std::fs::read_to_string(&claim).unwrap(),
            r#"{"token":"a","task":"b"}"#
        );
        assert_eq!(efs.claim(1).unwrap().token, "a");
        let listed: Vec<_> = std::fs::read_dir(efs.path()).unwrap().flatten().collect();
        assert_eq!(listed.len(), 1);
    }

    #[test]
    fn faults_do_what_they_say() {
        let folder = tempfile::tempdir().unwrap();
        let Some(efs) = breakable(folder.path()) else {
            return;
        };
        let file = efs.path().join("a");
        std::fs::write(&file, "1").unwrap();
        efs.set(Fault::ReadOnly);
        let refused = std::fs::write(&file, "2").unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "1");

        efs.set(Fault::Full);
        let refused = std::fs::write(efs.path().join("b"), "2").unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::StorageFull);
        efs.set(Fault::Stall);
        std::fs::write(efs.path().join("b"), "2").unwrap();
        let shard = efs.path().join(".s0-7.shard.x.partial");
        let stalled = std::thread::spawn(move || std::fs::write(shard, "2"));
        let other = std::fs::write(efs.path().join("c"), "2");
        assert!(other.is_ok() && !stalled.is_finished(), "{other:?}");
        efs.set(Fault::None);
        stalled.join().unwrap().unwrap();

        efs.set(Fault::Hang);
        let (done, finished) = std::sync::mpsc::channel();
        let path = file.clone();
        let reader = std::thread::spawn(move || {
            let _ = done.send(std::fs::read_to_string(path).ok());
        });
        let early = finished.recv_timeout(Duration::from_millis(300));
        assert!(early.is_err(), "a hanging store answered: {early:?}");
        efs.set(Fault::None);
        let answer = finished.recv_timeout(Duration::from_secs(10)).unwrap();
        assert_eq!(answer.as_deref(), Some("1"));
        reader.join().unwrap();
    }
}
