//! Reading a record: bytes from the store to something that can be trusted, or the one line that
//! says why not.
//!
//! The order matters: the format first, so that a newer record is called newer and not broken; the
//! shape, with nothing that is not known; then what the record says of itself against where it lies.

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::keep::ids::SetId;
use crate::keep::layout::{self, Entry};
use crate::keep::records::{FORMAT, Manifest, PartRecord, Pin, PlanRecord, ProofRecord, Tombstone};
use crate::keep::refusal::{Fault, Refusal};
use crate::keep::{check_manifest, check_plan};

/// Something that [`read`] reads.
pub trait Record: DeserializeOwned {
    /// The set that it says that it is of.
    fn set(&self) -> SetId;

    /// Where in its set it belongs.
    fn place(&self) -> String;

    /// Whether it is in accord with itself.
    ///
    /// # Errors
    /// The first thing that is not.
    fn check(&self) -> Result<(), Fault>;
}

/// Reads a record that lies at this path of the folder `sets/<folder>`.
///
/// # Errors
/// It is refused.
pub fn read<R: Record>(folder: &str, path: &str, bytes: &[u8]) -> Result<R, Refusal> {
    read_at(folder, path, bytes).map_err(|fault| Refusal {
        folder: folder.to_owned(),
        path: path.to_owned(),
        fault,
    })
}

fn read_at<R: Record>(folder: &str, path: &str, bytes: &[u8]) -> Result<R, Fault> {
    let set: SetId = folder.parse().map_err(|_| Fault::Folder)?;
    let entry = Entry::of(path).ok_or(Fault::Place)?;
    if matches!(entry, Entry::Payload(..)) {
        return Err(Fault::Place);
    }
    let value: Value = serde_json::from_slice(bytes).map_err(|why| match why.is_eof() {
        true => Fault::Truncated,
        false => Fault::NotJson(why.to_string()),
    })?;
    let format = value.get("format").and_then(Value::as_u64);
    match format.ok_or(Fault::NoFormat)? {
        format if format > u64::from(FORMAT) => return Err(Fault::Newer(format)),
        0 => return Err(Fault::Shape("there was never a format 0".to_owned())),
        _ => {}
    }
    // Once more from the bytes: this says the line, and a key that stands there twice is refused.
    let record: R = serde_json::from_slice(bytes).map_err(|why| Fault::Shape(why.to_string()))?;
    if record.set() != set {
        return Err(Fault::OtherSet(record.set()));
    }
    if record.place() != path {
        return Err(Fault::OtherPlace(record.place()));
    }
    record.check()?;
    Ok(record)
}

macro_rules! record {
    ($name:ident, |$this:ident| $place:expr, $check:expr) => {
        impl Record for $name {
            fn set(&self) -> SetId {
                self.set
            }

            fn place(&self) -> String {
                let $this = self;
                $place
            }

            fn check(&self) -> Result<(), Fault> {
                $check(self)
            }
        }
    };
}

fn sound<R>(_: &R) -> Result<(), Fault> {
    Ok(())
}

record!(
    PlanRecord,
    |_this| layout::PLAN.to_owned(),
    check_plan::check
);
record!(
    PartRecord,
    |this| layout::part(this.index, this.shard, this.holder.peer),
    check_plan::check_part
);
record!(
    Manifest,
    |_this| layout::MANIFEST.to_owned(),
    check_manifest::check
);
record!(
    ProofRecord,
    |this| layout::proof(this.level, this.at),
    sound
);
record!(Tombstone, |_this| layout::TOMBSTONE.to_owned(), sound);
record!(Pin, |_this| layout::PIN.to_owned(), sound);
