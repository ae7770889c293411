//! The store that the configuration names.

use std::sync::Arc;

use super::{BlobStore, DirectoryStore, S3Store, StoreError};
use crate::config::{Aws, Secret, StoreUrl, Word};

/// The store at `url`. Touches nothing, so it may be called anywhere.
///
/// # Errors
/// [`StoreError::Settings`], for S3 only.
pub fn open(url: &StoreUrl, aws: &Aws) -> Result<Arc<dyn BlobStore>, StoreError> {
    Ok(match url {
        StoreUrl::Directory(path) => Arc::new(DirectoryStore::new(path)),
        StoreUrl::Bucket { name, prefix } => {
            Arc::new(S3Store::new(name, prefix.clone(), variables(aws))?)
        }
    })
}

/// What the client of S3 is told: nothing that the documentation of the configuration does not name.
fn variables(aws: &Aws) -> Vec<(String, String)> {
    let word = |word: &Option<Word>| word.as_ref().map(|word| word.as_str().to_owned());
    let endpoint = word(&aws.s3_endpoint);
    let http = endpoint.as_ref().filter(|url| url.starts_with("http://"));
    let allowed = http.map(|_| "true".to_owned());
    let role = word(&aws.credentials_path);
    // As for the API of ECS: the keys are for where there is no role.
    let key = |key: &Option<Secret>| {
        let key = key.as_ref().filter(|_| role.is_none());
        key.map(|key| key.expose().to_owned())
    };
    [
        ("AWS_REGION", word(&aws.region)),
        ("AWS_ALLOW_HTTP", allowed),
        ("AWS_ENDPOINT_URL_S3", endpoint),
        ("AWS_ACCESS_KEY_ID", key(&aws.key_id)),
        ("AWS_SECRET_ACCESS_KEY", key(&aws.secret_key)),
        ("AWS_SESSION_TOKEN", key(&aws.session_token)),
        ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", role),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name.to_owned(), value?)))
    .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::config::Config;

    fn config(more: &[(&str, &str)]) -> Config {
        let names = [
            ("AWS_REGION", "eu-central-1"),
            ("AWS_ACCESS_KEY_ID", "id"),
            ("AWS_SECRET_ACCESS_KEY", "secret"),
        ];
        let all = names.iter().chain(more);
        let env: BTreeMap<_, _> = all
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        Config::from_env(&env).unwrap()
    }

    #[test]
    fn each_kind_is_opened_where_it_says() {
        for (url, place) in [
            ("file:///a/", "file:///a"),
            ("s3://bucket", "s3://bucket/"),
            ("s3://bucket/clusters/one/", "s3://bucket/clusters/one"),
        ] {
            let config = config(&[("ENTRYPOINT_STORE", url)]);
            let store = open(&config.store, &config.aws).unwrap();
            assert_eq!(store.describe(), place);
        }
    }

    #[test]
    fn only_what_is_documented_reaches_the_client() {
        let told = |more: &[(&str, &str)]| {
            let told = variables(&config(more).aws);
            told.into_iter().collect::<BTreeMap<_, _>>()
        };
        let plain = told(&[("AWS_SKIP_SIGNATURE", "true"), ("AWS_ENDPOINT_URL", "x")]);
        let names: Vec<_> = plain.keys().map(String::as_str).collect();
        assert_eq!(
            names,
            ["AWS_ACCESS_KEY_ID", "AWS_REGION", "AWS_SECRET_ACCESS_KEY"]
        );
        let role = told(&[("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/v2/x")]);
        let names: Vec<_> = role.keys().map(String::as_str).collect();
        assert_eq!(
            names,
            ["AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_REGION"]
        );
        let store = ("ENTRYPOINT_STORE", "s3://bucket");
        let other = |url| told(&[store, ("AWS_ENDPOINT_URL_S3", url)]);
        let http = other("http://127.0.0.1:9000");
        assert_eq!(http["AWS_ALLOW_HTTP"], "true");
        assert!(!other("https://minio.internal").contains_key("AWS_ALLOW_HTTP"));
    }
}
