//! Records as blobs: a plan names every collection and may be larger than the values that the store
//! keeps for the cluster's own records. Blocks; knows nothing of what a record says.

use crate::store::{BlobStore, Created, Key, Op, StoreError, read_through};

/// Largest record in bytes, for writing and for reading. A plan needs some kilobytes for each
/// collection, most of it the collection's configuration; more would be held in the memory of PID 1.
pub(super) const MAX_RECORD: usize = 16 * 1024 * 1024;

/// The bytes of a record, or `None` when the store says that there is none.
pub(super) fn load(store: &dyn BlobStore, key: &Key) -> Result<Option<Vec<u8>>, StoreError> {
    let Some(mut reader) = store.blob(key)? else {
        return Ok(None);
    };
    // It never gives more than that.
    fits(key, reader.size())?;
    let mut bytes = Vec::new();
    read_through(reader.as_mut(), |part| {
        bytes.extend_from_slice(part);
        Ok::<_, StoreError>(())
    })?;
    Ok(Some(bytes))
}

/// Creates a record if nothing is there. What is there afterwards decides, and it is durable
/// before it is called ours, also when an earlier attempt of ours made it.
pub(super) fn create(
    store: &dyn BlobStore,
    key: &Key,
    bytes: &[u8],
) -> Result<Created, StoreError> {
    fits(key, bytes.len() as u64)?;
    let Err(failed) = write(store, key, bytes) else {
        return Ok(Created::Ours);
    };
    let taken = matches!(failed, StoreError::AlreadyThere { .. });
    if !taken && !failed.is_unclear() {
        return Err(failed);
    }
    let unclear = |source| StoreError::Unclear {
        op: Op::Create,
        path: key.to_string(),
        source: Box::new(source),
    };
    match load(store, key) {
        Ok(Some(seen)) if seen == bytes => {
            store.settle(key).map_err(unclear)?;
            Ok(Created::Ours)
        }
        Ok(Some(seen)) => Ok(Created::Exists(seen)),
        // It was there a moment ago.
        Ok(None) if taken => Err(StoreError::Vanished {
            path: key.to_string(),
        }),
        // It may still come.
        Ok(None) => Err(failed),
        // What is there is not ours, or is of an earlier attempt: asking again tells.
        Err(error) if taken => Err(error),
        Err(error) => Err(unclear(error)),
    }
}

fn write(store: &dyn BlobStore, key: &Key, bytes: &[u8]) -> Result<(), StoreError> {
    let mut writer = store.begin(key)?;
    writer.write(bytes)?;
    writer.finish()?;
    Ok(())
}

fn fits(key: &Key, size: u64) -> Result<(), StoreError> {
    let limit = MAX_RECORD as u64;
    if size > limit {
        return Err(StoreError::TooLarge {
            path: key.to_string(),
            size,
            limit,
        });
    }
    Ok(())
}
