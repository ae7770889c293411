//! The store as a prefix of an S3 bucket.
//!
//! Owns the meaning of each store call in terms of requests. Exclusive creation is S3's own
//! (`If-None-Match: *`, Amazon S3 User Guide, "Conditional writes"), and S3 is strongly consistent
//! (the same, "Amazon S3 data consistency model"), so that a read after an attempt decides, as in
//! a directory. Credentials come from where AWS puts them: the task role, or variables.
//!
//! The task role needs `s3:GetObject`, `s3:PutObject`, `s3:DeleteObject` and
//! `s3:AbortMultipartUpload` below the prefix, and `s3:ListBucket`: without the last S3 answers 403
//! for what is not there.

mod blob;
mod error;
mod http;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::future::Future;
use std::ops::ControlFlow;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures::TryStreamExt as _;
use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey};
use object_store::list::{PaginatedListOptions, PaginatedListStore as _};
use object_store::path::Path;
use object_store::{
    BackoffConfig, ObjectMeta, ObjectStore as _, ObjectStoreExt as _, PutMode, PutOptions,
    PutPayload, RetryConfig,
};
use uuid::Uuid;

use self::error::{is_absent, translate};
use super::key::is_segment;
use super::{Created, Key, MAX_LISTED, MAX_VALUE, Op, Prefix, Store, StoreError};

/// How often a creation is tried that S3 refuses while nothing is there: 409 means that another
/// request for the key was under way, and asks to try again ("Conditional writes").
const TRIES: u32 = 4;

/// Most objects that one list of records looks at, foreign ones included.
const MAX_OBJECTS: usize = 4 * MAX_LISTED;

/// Where it is tried whether the server creates exclusively.
const PROBES: &str = ".probe";

/// A prefix in a bucket that holds one object for each key.
#[derive(Debug, Clone)]
pub struct S3Store {
    s3: AmazonS3,
    bucket: String,
    root: Prefix,
    /// Set when the server was seen to refuse a second creation.
    exclusive: Arc<OnceLock<()>>,
}

impl S3Store {
    /// Names the place and asks nobody, so it may be called anywhere. `variables` are those of the
    /// environment: region, endpoint and credentials are taken from the `AWS_…` ones, with the
    /// names that AWS's own tools use, and from those that ECS sets for a task role.
    ///
    /// # Errors
    /// [`StoreError::Settings`] when they contradict each other or cannot be read.
    pub fn new(
        bucket: &str,
        root: Prefix,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, StoreError> {
        let retries = RetryConfig {
            backoff: BackoffConfig {
                init_backoff: Duration::from_millis(100),
                max_backoff: Duration::from_secs(3),
                ..BackoffConfig::default()
            },
            max_retries: 4,
            retry_timeout: Duration::from_secs(30),
        };
        let builder = AmazonS3Builder::new()
            .with_http_connector(http::Connector)
            .with_retry(retries)
            // One request for one object: nothing here removes many at once.
            .with_config(AmazonS3ConfigKey::DisableBulkDelete, "true");
        let builder = variables
            .into_iter()
            .filter(|(name, _)| name.starts_with("AWS_"))
            .filter_map(|(name, value)| Some((name.to_ascii_lowercase().parse().ok()?, value)))
            .fold(builder, |builder, (name, value)| {
                builder.with_config(name, value)
            });
        let place = format!("s3://{bucket}/{}", root.as_str());
        let s3 =
            builder
                .with_bucket_name(bucket)
                .build()
                .map_err(|source| StoreError::Settings {
                    place,
                    source: Box::new(source),
                })?;
        Ok(Self {
            s3,
            bucket: bucket.to_owned(),
            root,
            exclusive: Arc::default(),
        })
    }

    /// Before the first creation: does the server keep its word? One that does not know conditional
    /// writes answers each of two founders that it was the first.
    async fn proves_exclusive(&self) -> Result<(), StoreError> {
        const OP: Op = Op::Create;
        if self.exclusive.get().is_some() {
            return Ok(());
        }
        // A name that no key has, and no list shows.
        let below = format!("{PROBES}/{}", Uuid::new_v4().simple());
        let (path, place) = (self.path(&below), self.place(&below));
        let fail = |e| translate(OP, place.clone(), e);
        let create = || {
            let options = PutOptions::from(PutMode::Create);
            self.s3
                .put_opts(&path, PutPayload::from_static(b"x"), options)
        };
        create().await.map_err(fail)?;
        let again = create().await;
        let removed = self.s3.delete(&path).await;
        match again {
            Err(object_store::Error::AlreadyExists { .. }) => {}
            Ok(_) => return Err(StoreError::Unconditional { path: place }),
            Err(error) => return Err(fail(error)),
        }
        // Whoever may not remove anything should hear it before there is much.
        removed.map_err(|e| translate(Op::Remove, place.clone(), e))?;
        // Two that prove it at once have proven it.
        let _ = self.exclusive.set(());
        Ok(())
    }

    fn path(&self, below: &str) -> Path {
        Path::from(format!("{}/{below}", self.root.as_str()))
    }

    fn place(&self, below: &str) -> String {
        format!("s3://{}/{}", self.bucket, self.path(below))
    }

    /// The key of an object below the root; `None` for what is not ours.
    fn key_of(&self, object: &ObjectMeta) -> Option<Key> {
        let path = object.location.as_ref();
        let below = match self.root.as_str() {
            "" => path,
            root => path.strip_prefix(root)?.strip_prefix('/')?,
        };
        Key::new(below).ok()
    }

    /// The value under `key`, never more of it in memory than a record may have.
    async fn load(&self, op: Op, key: &Key) -> Result<Option<Vec<u8>>, StoreError> {
        let place = || self.place(key.as_str());
        let found = match self.s3.get(&self.path(key.as_str())).await {
            Ok(found) => found,
            Err(error) if is_absent(&error) => return Ok(None),
            Err(error) => return Err(translate(op, place(), error)),
        };
        fits(place, found.meta.size)?;
        let value = found.bytes().await.map_err(|e| translate(op, place(), e))?;
        fits(place, value.len() as u64)?;
        Ok(Some(value.into()))
    }

    async fn objects(
        &self,
        prefix: &Prefix,
        each: &mut dyn FnMut(ObjectMeta) -> Result<ControlFlow<()>, StoreError>,
    ) -> Result<(), StoreError> {
        let path = self.path(prefix.as_str());
        let mut objects = self.s3.list(Some(&path));
        let fail = |e| translate(Op::List, self.place(prefix.as_str()), e);
        while let Some(object) = objects.try_next().await.map_err(fail)? {
            if each(object)?.is_break() {
                break;
            }
        }
        Ok(())
    }
}

impl Store for S3Store {
    fn describe(&self) -> String {
        format!("s3://{}/{}", self.bucket, self.root.as_str())
    }

    fn read(&self, key: &Key) -> Result<Option<Vec<u8>>, StoreError> {
        wait(self.load(Op::Read, key))?
    }

    fn create(&self, key: &Key, value: &[u8]) -> Result<Created, StoreError> {
        const OP: Op = Op::Create;
        let place = self.place(key.as_str());
        fits(|| place.clone(), value.len() as u64)?;
        wait(async {
            if let Some(seen) = self.load(OP, key).await? {
                return verdict(&place, value, Ok(()), Ok(Some(seen)));
            }
            self.proves_exclusive().await?;
            let mut tried = 1;
            loop {
                let options = PutOptions::from(PutMode::Create);
                let sent = self
                    .s3
                    .put_opts(&self.path(key.as_str()), value.to_vec().into(), options)
                    .await;
                let refused = matches!(sent, Err(object_store::Error::AlreadyExists { .. }));
                let seen = self.load(OP, key).await;
                if refused && matches!(seen, Ok(None)) && tried < TRIES {
                    tokio::time::sleep(Duration::from_millis(50) * tried).await;
                    tried += 1;
                    continue;
                }
                let sent = sent.map(drop).map_err(|e| translate(OP, place.clone(), e));
                return verdict(&place, value, sent, seen);
            }
        })?
    }

    fn put(&self, key: &Key, value: &[u8]) -> Result<(), StoreError> {
        const OP: Op = Op::Put;
        let place = self.place(key.as_str());
        fits(|| place.clone(), value.len() as u64)?;
        wait(async {
            let path = self.path(key.as_str());
            match self.s3.put(&path, value.to_vec().into()).await {
                Ok(_) => Ok(()),
                Err(error) => match self.load(OP, key).await {
                    Ok(Some(seen)) if seen == value => Ok(()),
                    _ => Err(translate(OP, place, error).after_sending(OP)),
                },
            }
        })?
    }

    fn list(&self, prefix: &Prefix) -> Result<Vec<Key>, StoreError> {
        let mut keys = Vec::new();
        let mut seen = 0;
        wait(self.objects(prefix, &mut |object| {
            seen += 1;
            keys.extend(self.key_of(&object));
            if keys.len() > MAX_LISTED || seen > MAX_OBJECTS {
                return Err(StoreError::TooMany {
                    path: self.place(prefix.as_str()),
                });
            }
            Ok(ControlFlow::Continue(()))
        }))??;
        keys.sort();
        Ok(keys)
    }

    /// Two requests, since S3 does not say whether there was anything to delete; of two that
    /// remove the same key at once, both may hear that it was there.
    fn folders(&self, prefix: &Prefix) -> Result<Vec<String>, StoreError> {
        wait(folders(self, prefix))?
    }

    fn remove(&self, key: &Key) -> Result<bool, StoreError> {
        const OP: Op = Op::Remove;
        let path = self.path(key.as_str());
        let fail = |e| translate(OP, self.place(key.as_str()), e);
        wait(async {
            match self.s3.head(&path).await {
                Ok(_) => {}
                Err(error) if is_absent(&error) => return Ok(false),
                Err(error) => return Err(fail(error)),
            }
            match self.s3.delete(&path).await {
                Ok(()) => Ok(true),
                Err(error) if is_absent(&error) => Ok(false),
                Err(error) => Err(fail(error).after_sending(OP)),
            }
        })?
    }
}

/// Runs one call to its end on this thread. Each has a runtime of its own (it is little more than a
/// timer, for the pauses between attempts): calls of several threads then never wait for each
/// other, and none may come from the async runtime anyway.
fn wait<T>(work: impl Future<Output = T>) -> Result<T, StoreError> {
    Ok(runtime()?.block_on(work))
}

fn runtime() -> Result<tokio::runtime::Runtime, StoreError> {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .map_err(|source| StoreError::Thread { source })
}

/// What an attempt to create came to: the bytes that are there decide.
fn verdict(
    place: &str,
    value: &[u8],
    sent: Result<(), StoreError>,
    seen: Result<Option<Vec<u8>>, StoreError>,
) -> Result<Created, StoreError> {
    match seen {
        Ok(Some(seen)) if seen == value => Ok(Created::Ours),
        Ok(Some(seen)) => Ok(Created::Exists(seen)),
        Ok(None) => {
            let vanished = || StoreError::Vanished { path: place.into() };
            Err(sent
                .err()
                .unwrap_or_else(vanished)
                .after_sending(Op::Create))
        }
        Err(error) => Err(StoreError::Unclear {
            op: Op::Create,
            path: place.into(),
            source: Box::new(error),
        }),
    }
}

fn fits(place: impl FnOnce() -> String, size: u64) -> Result<(), StoreError> {
    if size > MAX_VALUE as u64 {
        return Err(StoreError::TooLarge {
            path: place(),
            size,
            limit: MAX_VALUE as u64,
        });
    }
    Ok(())
}

/// [`Store::folders`], page by page, so that a foreign crowd of objects is never in memory.
async fn folders(store: &S3Store, prefix: &Prefix) -> Result<Vec<String>, StoreError> {
    let place = || store.place(prefix.as_str());
    let below = match store.path(prefix.as_str()).as_ref() {
        "" => None,
        path => Some(format!("{path}/")),
    };
    let mut names = BTreeSet::new();
    let mut seen = 0;
    let mut next = None;
    loop {
        let options = PaginatedListOptions {
            delimiter: Some("/".into()),
            page_token: next,
            ..PaginatedListOptions::default()
        };
        let page = store.s3.list_paginated(below.as_deref(), options).await;
        let page = page.map_err(|e| translate(Op::List, place(), e))?;
        let (folders, files) = (page.result.common_prefixes, page.result.objects);
        seen += folders.len() + files.len();
        let ours = folders.iter().filter_map(Path::filename);
        names.extend(ours.filter(|name| is_segment(name)).map(str::to_owned));
        if names.len() > MAX_LISTED || seen > MAX_OBJECTS {
            return Err(StoreError::TooMany { path: place() });
        }
        next = page.page_token;
        if next.is_none() {
            return Ok(names.into_iter().collect());
        }
    }
}
