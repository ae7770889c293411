//! The API key: owns the secret and keeps it out of logs. Must not print it anywhere.

use std::fmt;

use reqwest::header::HeaderValue;

/// A Qdrant API key that never shows itself in `Debug`.
///
/// Qdrant takes it in the header `api-key`. Two keys cannot be compared with `==`, which would tell
/// by its duration how much of a guess was right.
#[derive(Clone)]
pub struct ApiKey {
    secret: String,
    header: HeaderValue,
}

/// Why a text cannot be an API key. Never contains the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidApiKey {
    /// The text is empty; Qdrant 1.19 treats an empty key as no key at all, so give none instead.
    #[error("the API key is empty; leave it out when no key is wanted")]
    Empty,
    /// The text has a character that cannot travel in an HTTP header, or a space at either end.
    #[error("the API key may hold only printable ASCII without spaces at its ends")]
    NotAHeaderValue,
}

impl ApiKey {
    /// Takes the secret as the user set it, for example from `QDRANT__SERVICE__API_KEY`.
    ///
    /// # Errors
    /// [`InvalidApiKey`] when no client could ever present this key over HTTP: Qdrant reads the
    /// header as visible ASCII (src/actix/auth.rs:147) and HTTP trims spaces around a value.
    pub fn new(secret: impl Into<String>) -> Result<Self, InvalidApiKey> {
        let secret = secret.into();
        if secret.is_empty() {
            return Err(InvalidApiKey::Empty);
        }
        let printable = secret.bytes().all(|byte| (0x20..=0x7e).contains(&byte));
        if !printable || secret.trim() != secret {
            return Err(InvalidApiKey::NotAHeaderValue);
        }
        let mut header =
            HeaderValue::from_str(&secret).map_err(|_| InvalidApiKey::NotAHeaderValue)?;
        header.set_sensitive(true);
        Ok(Self { secret, header })
    }

    /// The value of the header `api-key`, marked as sensitive.
    pub(crate) fn header(&self) -> HeaderValue {
        self.header.clone()
    }

    /// The secret itself, for comparing or for handing on. Do not log it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.secret
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey(hidden)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_hides_the_secret() {
        let key = ApiKey::new("s3cret").unwrap();
        assert_eq!(format!("{key:?}"), "ApiKey(hidden)");
        assert_eq!(key.expose(), "s3cret");
    }

    #[test]
    fn keys_that_no_header_can_carry_are_refused() {
        assert_eq!(ApiKey::new("").err(), Some(InvalidApiKey::Empty));
        for bad in ["a\nb", "schlüssel", " a", "a ", "\u{7f}"] {
            assert_eq!(
                ApiKey::new(bad).err(),
                Some(InvalidApiKey::NotAHeaderValue),
                "{bad:?}"
            );
        }
    }
}
