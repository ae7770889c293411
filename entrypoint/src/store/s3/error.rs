//! What the S3 client's errors mean for the store.

use std::error::Error as _;
use std::io;

use object_store::Error;

use crate::store::{Op, StoreError};

/// Whether S3 says that the object does not exist, and not that the bucket does not.
pub(super) fn is_absent(error: &Error) -> bool {
    // The same status, told apart by the code in the answer (S3 API reference, "Error responses").
    // HEAD has none; whoever needs to know asks with GET.
    matches!(error, Error::NotFound { .. }) && !is_bucketless(error)
}

fn is_bucketless(error: &Error) -> bool {
    // A list reports it as an error of no kind.
    matches!(error, Error::NotFound { .. } | Error::Generic { .. })
        && chain(error).contains("<Code>NoSuchBucket</Code>")
}

/// Names an error of doing `op` at `path`.
pub(super) fn translate(op: Op, path: String, error: Error) -> StoreError {
    match error {
        error if is_bucketless(&error) => StoreError::NoBucket { path },
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => StoreError::Permission {
            op,
            path,
            source: io::Error::other(error),
        },
        _ => StoreError::Remote {
            op,
            path,
            source: Box::new(error),
        },
    }
}

/// All of an error's text, its sources included.
fn chain(error: &Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}
