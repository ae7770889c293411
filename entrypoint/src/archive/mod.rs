//! Whether a stream of bytes is a whole Qdrant shard snapshot, told without unpacking it.
//!
//! `GET /collections/{c}/shards/{s}/snapshot` answers 200 and then breaks off without a sign when
//! Qdrant fails (qdrant v1.19.0, shard_holder/mod.rs, `stream_shard_snapshot`: the error is only
//! logged), so the archive itself must say that it is whole: by its two end blocks, and by holding
//! what a restore needs. The `tar` crate is of no use for that, for it takes the end of the input
//! for the end of the archive, skips what it does not like, and reads on over garbage.
//!
//! Owns the format ([`tar`]) and what belongs in a shard ([`shard`]); holds a block and small JSON
//! files in memory, whatever the size. It does not look into segments: only a restore proves them,
//! and a checksum that they have not changed.

mod header;
mod refusal;
mod shard;
mod tar;
#[cfg(test)]
pub(crate) mod tests;

use std::io::{self, Read};

pub use refusal::{Fault, Refusal};

/// How much [`verify`] reads at once.
const CHUNK: usize = 256 * 1024;

/// Takes a shard snapshot in pieces of any length.
#[derive(Debug, Clone, Default)]
pub struct Verifier {
    tar: tar::Reader,
    shard: shard::Shard,
    refused: Option<Refusal>,
}

/// What a whole archive holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Summary {
    /// Its size in bytes.
    pub bytes: u64,
    /// Files and directories.
    pub entries: u64,
    /// Segments.
    pub segments: u64,
    /// Files whose meaning is not known here, as a later Qdrant may add.
    pub unknown: u64,
}

/// Why a reader could not be verified.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// It is no whole shard snapshot.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// It could not be read.
    #[error("cannot read the archive")]
    Read(#[source] io::Error),
}

impl Verifier {
    /// One that has seen nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Looks at the next bytes.
    ///
    /// # Errors
    /// [`Refusal`] as soon as it is certain, and again from then on.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        if let Some(refusal) = &self.refused {
            return Err(refusal.clone());
        }
        let pushed = self.tar.push(bytes, &mut self.shard);
        pushed.inspect_err(|refusal| self.refused = Some(refusal.clone()))
    }

    /// Says that there are no more bytes.
    ///
    /// # Errors
    /// [`Refusal`] when that is too early, or something is missing.
    pub fn finish(self) -> Result<Summary, Refusal> {
        if let Some(refusal) = self.refused {
            return Err(refusal);
        }
        let bytes = self.tar.finish()?;
        let found = self
            .shard
            .finish()
            .map_err(|fault| Refusal::new(bytes, fault))?;
        Ok(Summary { bytes, ..found })
    }
}

/// Verifies everything that `reader` gives.
///
/// # Errors
/// [`VerifyError`].
pub fn verify(mut reader: impl Read) -> Result<Summary, VerifyError> {
    let mut verifier = Verifier::new();
    let mut buffer = vec![0; CHUNK];
    loop {
        let length = match reader.read(&mut buffer) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            read => read.map_err(VerifyError::Read)?,
        };
        match buffer.get(..length) {
            Some(bytes) if !bytes.is_empty() => verifier.push(bytes)?,
            _ => return Ok(verifier.finish()?),
        }
    }
}
