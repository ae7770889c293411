//! Blobs of the S3 store: multipart uploads.
//!
//! Whose object is there after an attempt to finish is told by a token in its metadata that every
//! writer makes for itself, so that neither a lost answer nor a repeated request can mislead.
//!
//! Uploads that a killed writer left are invisible and cost money until a lifecycle rule ends them
//! (`AbortIncompleteMultipartUpload`): the bucket needs one. This client cannot list them.

use std::ops::ControlFlow;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use object_store::multipart::{MultipartStore as _, PartId};
use object_store::path::Path;
use object_store::{
    Attribute, Attributes, GetOptions, MultipartId, ObjectStore as _, ObjectStoreExt as _, PutMode,
    PutMultipartOptions, PutOptions, PutPayload,
};
use tokio::runtime::Runtime;
use uuid::Uuid;

use super::error::{is_absent, translate};
use super::{S3Store, runtime, wait};
use crate::store::blob::Sum;
use crate::store::{
    BlobReader, BlobStore, BlobWriter, Key, Leftover, Listed, Op, Prefix, Store as _, StoreError,
    Stored,
};

/// One part is held in memory, and there may be 10,000 of them (S3 User Guide, "Amazon S3 multipart
/// upload limits"; all but the last of 5 MiB at least). So they begin with the smallest, and each
/// quarter is of parts twice as large: 183 GiB in all, with more than 5 MiB of memory only above 12 GiB.
const PARTS: usize = 10_000;
const PART: usize = 5 * 1024 * 1024;
const QUARTER: usize = PARTS / 4;

/// The metadata that names the writer.
const WRITER: &str = "entrypoint-writer";

/// A part is one request, and so is the end of an upload, which S3 may need minutes for.
const PATIENCE: Duration = Duration::from_secs(120);

impl BlobStore for S3Store {
    fn patience(&self) -> Duration {
        PATIENCE
    }

    fn begin(&self, key: &Key) -> Result<Box<dyn BlobWriter>, StoreError> {
        let path = self.path(key.as_str());
        let place = self.place(key.as_str());
        if let Some(other) = wait(who(self, &path, Op::Write, &place))?? {
            tracing::debug!("{place} is there already, written by {other:?}");
            return Err(StoreError::AlreadyThere { path: place });
        }
        Ok(Box::new(Upload {
            store: self.clone(),
            path,
            place,
            token: Uuid::new_v4().simple().to_string(),
            id: None,
            parts: Vec::new(),
            buffer: Vec::new(),
            sum: Sum::default(),
            broken: false,
        }))
    }

    fn blob(&self, key: &Key) -> Result<Option<Box<dyn BlobReader>>, StoreError> {
        let place = self.place(key.as_str());
        let runtime = runtime()?;
        let found = match runtime.block_on(self.s3.get(&self.path(key.as_str()))) {
            Ok(found) => found,
            Err(error) if is_absent(&error) => return Ok(None),
            Err(error) => return Err(translate(Op::Read, place, error)),
        };
        Ok(Some(Box::new(Download {
            place,
            size: found.meta.size,
            read: 0,
            rest: Bytes::new(),
            pieces: found.into_stream(),
            runtime: Some(runtime),
        })))
    }

    fn blobs(
        &self,
        prefix: &Prefix,
        each: &mut dyn FnMut(Listed) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        wait(self.objects(prefix, &mut |object| {
            let size = object.size;
            Ok(match self.key_of(&object) {
                Some(key) => each(Listed { key, size }),
                None => ControlFlow::Continue(()),
            })
        }))?
    }

    fn settle(&self, _: &Key) -> Result<(), StoreError> {
        // What can be seen in S3 is durable.
        Ok(())
    }

    fn prune(&self, _: &Prefix) {
        // S3 has no folders, only names with slashes.
    }

    fn remove_blob(&self, key: &Key) -> Result<bool, StoreError> {
        self.remove(key)
    }

    fn leftovers(&self, _: &Prefix) -> Result<Vec<Leftover>, StoreError> {
        Ok(Vec::new())
    }

    fn remove_leftover(&self, _: &Leftover, _: Duration) -> Result<bool, StoreError> {
        Ok(false)
    }
}

/// The writer and the size of what is there; the writer is empty when somebody else made it.
async fn who(
    store: &S3Store,
    path: &Path,
    op: Op,
    place: &str,
) -> Result<Option<(String, u64)>, StoreError> {
    match store
        .s3
        .get_opts(path, GetOptions::new().with_head(true))
        .await
    {
        Ok(found) => {
            let writer = found.attributes.get(&Attribute::Metadata(WRITER.into()));
            let writer = writer.map(|writer| writer.as_ref().to_owned());
            Ok(Some((writer.unwrap_or_default(), found.meta.size)))
        }
        Err(error) if is_absent(&error) => Ok(None),
        Err(error) => Err(translate(op, place.to_owned(), error)),
    }
}

/// A blob that is being uploaded.
struct Upload {
    store: S3Store,
    path: Path,
    place: String,
    token: String,
    /// The upload, once there is more than one part; it must be ended or aborted.
    id: Option<MultipartId>,
    parts: Vec<PartId>,
    buffer: Vec<u8>,
    sum: Sum,
    broken: bool,
}

impl Upload {
    fn attributes(&self) -> Attributes {
        let writer = Attribute::Metadata(WRITER.into());
        Attributes::from_iter([(writer, self.token.clone())])
    }

    /// Size of the next part.
    fn part(&self) -> usize {
        PART << (self.parts.len() / QUARTER).min(3)
    }

    /// Uploads the buffer as the next part.
    fn send(&mut self, op: Op) -> Result<(), StoreError> {
        if self.parts.len() >= PARTS {
            return Err(StoreError::BlobTooLarge {
                path: self.place.clone(),
                limit: (QUARTER * (1 + 2 + 4 + 8) * PART) as u64,
            });
        }
        let payload = PutPayload::from(std::mem::take(&mut self.buffer));
        let (s3, path) = (&self.store.s3, &self.path);
        let fail = |e| translate(op, self.place.clone(), e);
        let id = match &self.id {
            Some(id) => id,
            None => {
                let options = PutMultipartOptions::from(self.attributes());
                let id = wait(s3.create_multipart_opts(path, options))?.map_err(fail)?;
                self.id.insert(id)
            }
        };
        let part = wait(s3.put_part(path, id, self.parts.len(), payload))?.map_err(fail)?;
        self.parts.push(part);
        Ok(())
    }

    fn fill(&mut self, mut bytes: &[u8]) -> Result<(), StoreError> {
        while !bytes.is_empty() {
            if self.buffer.len() >= self.part() {
                self.send(Op::Write)?;
            }
            let size = self.part();
            let room = size.saturating_sub(self.buffer.len()).min(bytes.len());
            let (now, later) = bytes.split_at_checked(room).unwrap_or((bytes, &[]));
            self.buffer.reserve_exact(size - self.buffer.len());
            self.buffer.extend_from_slice(now);
            bytes = later;
        }
        Ok(())
    }

    /// Makes the object appear; what that came to is asked afterwards.
    fn appear(&mut self) -> Result<(), StoreError> {
        const OP: Op = Op::Publish;
        if self.id.is_some() && !self.buffer.is_empty() {
            self.send(OP)?;
        }
        let (s3, path) = (&self.store.s3, &self.path);
        let Some(id) = &self.id else {
            let options = PutOptions {
                mode: PutMode::Create,
                attributes: self.attributes(),
                ..PutOptions::default()
            };
            let payload = PutPayload::from(std::mem::take(&mut self.buffer));
            let sent = wait(s3.put_opts(path, payload, options))?;
            return sent
                .map(drop)
                .map_err(|e| translate(OP, self.place.clone(), e));
        };
        // For places that are like S3 and do not know the condition that the wire adds.
        if wait(who(&self.store, path, OP, &self.place))??.is_some() {
            return Ok(());
        }
        let parts = std::mem::take(&mut self.parts);
        let sent = wait(s3.complete_multipart(path, id, parts))?;
        sent.map(drop)
            .map_err(|e| translate(OP, self.place.clone(), e))
    }
}

impl BlobWriter for Upload {
    fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.usable(Op::Write)?;
        // Until it has gone well.
        self.broken = true;
        self.fill(bytes)?;
        self.sum.add(bytes);
        self.broken = false;
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<Stored, StoreError> {
        const OP: Op = Op::Publish;
        self.usable(OP)?;
        let appeared = self.appear();
        let place = self.place.clone();
        match wait(who(&self.store, &self.path, OP, &place))? {
            Ok(Some((writer, size))) if writer == self.token => {
                // Ended: there is nothing to abort any more.
                self.id = None;
                let stored = std::mem::take(&mut self.sum).done();
                if size != stored.size {
                    return Err(StoreError::Incomplete {
                        path: place,
                        size: stored.size,
                        found: size,
                    });
                }
                Ok(stored)
            }
            Ok(Some(_)) => Err(StoreError::AlreadyThere { path: place }),
            Ok(None) => {
                let vanished = || StoreError::Vanished { path: place };
                Err(appeared.err().unwrap_or_else(vanished).after_sending(OP))
            }
            Err(error) => Err(StoreError::Unclear {
                op: OP,
                path: place,
                source: Box::new(error),
            }),
        }
    }
}

impl Upload {
    fn usable(&self, op: Op) -> Result<(), StoreError> {
        if self.broken {
            let error = std::io::Error::other("an earlier write of it failed");
            return Err(StoreError::of(op, &self.place, error));
        }
        Ok(())
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        let Some(id) = &self.id else { return };
        // On a thread of its own, because a writer may be dropped anywhere, and in the async runtime
        // a second one must not be waited for. What cannot be aborted now is ended by the bucket's
        // lifecycle rule.
        std::thread::scope(|scope| {
            let abort = || wait(self.store.s3.abort_multipart(&self.path, id));
            let _ = std::thread::Builder::new()
                .name("store-abort".to_owned())
                .spawn_scoped(scope, abort)
                .map(std::thread::ScopedJoinHandle::join);
        });
    }
}

/// A blob that is being downloaded.
struct Download {
    place: String,
    size: u64,
    read: u64,
    rest: Bytes,
    pieces: BoxStream<'static, object_store::Result<Bytes>>,
    /// Gone only when this is dropped.
    runtime: Option<Runtime>,
}

impl Drop for Download {
    fn drop(&mut self) {
        // It may be dropped anywhere; in the async runtime a plain drop of another one panics.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl BlobReader for Download {
    fn size(&self) -> u64 {
        self.size
    }

    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, StoreError> {
        let fail = |e| translate(Op::Read, self.place.clone(), e);
        while self.rest.is_empty() {
            let Some(runtime) = &self.runtime else {
                return Err(self.incomplete());
            };
            match runtime.block_on(self.pieces.next()) {
                Some(piece) => self.rest = piece.map_err(fail)?,
                None if self.read == self.size => return Ok(0),
                None => return Err(self.incomplete()),
            }
        }
        let length = self.rest.len().min(buffer.len());
        let piece = self.rest.split_to(length);
        if let Some(room) = buffer.get_mut(..length) {
            room.copy_from_slice(&piece);
        }
        self.read += length as u64;
        if self.read > self.size {
            return Err(self.incomplete());
        }
        Ok(length)
    }
}

impl Download {
    fn incomplete(&self) -> StoreError {
        StoreError::Incomplete {
            path: self.place.clone(),
            size: self.size,
            found: self.read,
        }
    }
}
