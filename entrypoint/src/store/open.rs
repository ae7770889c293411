//! Which kind of store a URL names. Owns the forms of the URL; opens nothing.

use std::path::{Component, Path};
use std::sync::Arc;

use super::{BlobStore, DirectoryStore, Prefix, S3Store, StoreError};

/// The store that `url` names: `file:///directory` or `s3://bucket/prefix`. Touches nothing, so it
/// may be called anywhere. `variables` are those of the environment, see [`S3Store::new`].
///
/// # Errors
/// [`StoreError::BadUrl`], and [`StoreError::Settings`] for S3.
pub fn open(
    url: &str,
    variables: impl IntoIterator<Item = (String, String)>,
) -> Result<Arc<dyn BlobStore>, StoreError> {
    let bad = |why| StoreError::BadUrl {
        url: url.chars().take(200).collect(),
        why,
    };
    if let Some(path) = url.strip_prefix("file://") {
        let path = Path::new(path);
        let plain = |part| matches!(part, Component::RootDir | Component::Normal(_));
        if !path.is_absolute() || !path.components().all(plain) {
            return Err(bad("names no absolute directory"));
        }
        return Ok(Arc::new(DirectoryStore::new(path)));
    }
    let Some(rest) = url.strip_prefix("s3://") else {
        return Err(bad("begins with neither file:// nor s3://"));
    };
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    // The form that all buckets of today have (S3 User Guide, "General purpose bucket naming
    // rules").
    let letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let inner = |byte: u8| letter(byte) || byte == b'-' || byte == b'.';
    let ends = [bucket.bytes().next(), bucket.bytes().last()];
    if !(3..=63).contains(&bucket.len())
        || !bucket.bytes().all(inner)
        || !ends.into_iter().flatten().all(letter)
    {
        return Err(bad("names no bucket (3 to 63 of a-z 0-9 - .)"));
    }
    let prefix = match prefix.trim_end_matches('/') {
        "" => Prefix::root(),
        prefix => Prefix::new(prefix)?,
    };
    Ok(Arc::new(S3Store::new(bucket, prefix, variables)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described(url: &str) -> Result<String, StoreError> {
        open(url, []).map(|store| store.describe())
    }

    #[test]
    fn each_kind_has_its_form() {
        for (url, place) in [
            (
                "file:///qdrant/snapshots/.cluster",
                "file:///qdrant/snapshots/.cluster",
            ),
            ("file:///a/", "file:///a"),
            ("s3://bucket", "s3://bucket/"),
            ("s3://my-bucket.eu/", "s3://my-bucket.eu/"),
            ("s3://bucket/clusters/one/", "s3://bucket/clusters/one"),
        ] {
            assert_eq!(described(url).unwrap(), place);
        }
    }

    #[test]
    fn others_are_refused_by_name() {
        for (url, why) in [
            ("", "neither"),
            ("/a", "neither"),
            ("https://bucket/a", "neither"),
            ("file://a", "no absolute directory"),
            ("file:///a/../b", "no absolute directory"),
            ("s3://", "no bucket"),
            ("s3://Bucket/a", "no bucket"),
            ("s3://a/b", "no bucket"),
            ("s3://-bucket/b", "no bucket"),
            ("s3://bucket/a//b", "an empty segment"),
            ("s3://bucket/.hidden", "begins with a dot"),
        ] {
            let error = described(url).unwrap_err().to_string();
            assert!(error.contains(why), "{url}: {error}");
        }
    }
}
