//! What can become of a file of a set: a disk that lies, a write that was cut off, a deletion, another
//! file in its place. Owns: doing it. Must not: say what is to be found.

use std::fs;

use anyhow::{Context, Result, bail};
use entrypoint::store::sha256;
use planner::keep::layout;
use planner::keep::records::{Outcome, PartRecord};

use super::sets::Set;

/// What is done to the first file of a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Damage {
    /// One bit in its middle is another one.
    Flip,
    /// Its second half is not there.
    Truncate,
    /// It is not there.
    Remove,
    /// It holds another shard, and every record says that this is the right file.
    Exchange,
}

impl Set {
    /// Damages its first file.
    ///
    /// # Errors
    /// When it has no such file, or it cannot be written.
    pub fn damage(&self, how: Damage) -> Result<()> {
        let manifest = self.manifest.as_ref().context("it has no manifest")?;
        let there = manifest.collections.first().context("it has nothing")?;
        let [first, rest @ ..] = &there.files[..] else {
            bail!("it has no file");
        };
        let path = self.folder.join(&first.path);
        if how == Damage::Remove {
            return fs::remove_file(&path).context("remove a file");
        }
        let mut bytes = fs::read(&path).context("read a file")?;
        let middle = bytes.len() / 2;
        match how {
            Damage::Flip => *bytes.get_mut(middle).context("it is empty")? ^= 1,
            Damage::Truncate => bytes.truncate(middle),
            Damage::Exchange | Damage::Remove => {
                let other = rest.first().context("it has one file")?;
                bytes = fs::read(self.folder.join(&other.path)).context("read a file")?;
            }
        }
        fs::write(&path, &bytes).context("write a file")?;
        if how != Damage::Exchange {
            return Ok(());
        }
        let (size, sum) = (bytes.len() as u64, sha256(&bytes));
        let mut manifest = manifest.clone();
        let file = manifest.collections.first_mut();
        let file = file.and_then(|there| there.files.first_mut());
        let file = file.context("it has no file")?;
        (file.bytes, file.sha256) = (size, sum);
        let text = serde_json::to_vec(&manifest).context("write a manifest")?;
        fs::write(self.folder.join(layout::MANIFEST), text).context("write a manifest")?;
        let part = layout::part(there.index, first.shard, first.peer);
        let part = self.folder.join(part);
        let text = fs::read(&part).context("read a part")?;
        let mut record: PartRecord = serde_json::from_slice(&text).context("read a part")?;
        let Outcome::Taken(taken) = &mut record.outcome else {
            bail!("it was not taken");
        };
        (taken.bytes, taken.sha256) = (size, sum);
        let text = serde_json::to_vec(&record).context("write a part")?;
        fs::write(part, text).context("write a part")
    }
}
