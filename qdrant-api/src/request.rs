//! One request before it is sent: owns percent-encoding and what goes into path, query and body.

use std::fmt::Write as _;
use std::time::Duration;

use serde::Serialize;

use crate::error::ErrorKind;

/// One request to a node, without the node.
pub(crate) struct Request {
    pub(crate) method: reqwest::Method,
    /// Percent-encoded, with its leading slash.
    pub(crate) path: String,
    /// Percent-encoded, empty when there is none.
    pub(crate) query: String,
    pub(crate) body: Option<Vec<u8>>,
    /// Time the answer may take on top of the client's timeout.
    pub(crate) extra_time: Duration,
    pub(crate) keyless: bool,
    /// Why this must not be sent.
    invalid: Option<ErrorKind>,
}

impl Request {
    /// A request for the path made of `segments`, each of which is percent-encoded.
    pub(crate) fn new(method: reqwest::Method, segments: &[&str]) -> Self {
        let mut path = String::new();
        let mut invalid = None;
        for segment in segments {
            // A URL parser drops "." and ".." even when encoded: DELETE /collections/.. would
            // become a request for something else.
            if matches!(*segment, "" | "." | "..") {
                invalid = Some(ErrorKind::BadName {
                    name: (*segment).to_owned(),
                });
            }
            path.push('/');
            push_encoded(&mut path, segment);
        }
        let query = String::new();
        Self {
            method,
            path,
            query,
            body: None,
            extra_time: Duration::ZERO,
            keyless: false,
            invalid,
        }
    }

    /// Adds `name=value` to the query. Both must be free of characters that need encoding.
    pub(crate) fn query(mut self, name: &str, value: impl std::fmt::Display) -> Self {
        let separator = if self.query.is_empty() { "" } else { "&" };
        // Writing to a String does not fail.
        let _ = write!(self.query, "{separator}{name}={value}");
        self
    }

    /// Sends `body` as JSON.
    pub(crate) fn json(mut self, body: &impl Serialize) -> Self {
        match serde_json::to_vec(body) {
            Ok(bytes) => self.body = Some(bytes),
            Err(source) => self.invalid = Some(ErrorKind::Encode { source }),
        }
        self
    }

    /// Gives the answer this much more time than the client's timeout.
    pub(crate) fn extra_time(mut self, time: Duration) -> Self {
        self.extra_time = time;
        self
    }

    /// Leaves the API key out.
    pub(crate) fn keyless(mut self) -> Self {
        self.keyless = true;
        self
    }

    /// The request if it may be sent, or why not.
    pub(crate) fn checked(mut self) -> Result<Self, ErrorKind> {
        match self.invalid.take() {
            Some(kind) => Err(kind),
            None => Ok(self),
        }
    }

    /// The method as a static text, as errors keep it.
    pub(crate) fn method_name(&self) -> &'static str {
        match self.method {
            reqwest::Method::GET => "GET",
            reqwest::Method::PUT => "PUT",
            reqwest::Method::POST => "POST",
            reqwest::Method::PATCH => "PATCH",
            reqwest::Method::DELETE => "DELETE",
            _ => "request",
        }
    }

    /// Path and query in one text, as errors show it.
    pub(crate) fn path_and_query(&self) -> String {
        if self.query.is_empty() {
            return self.path.clone();
        }
        format!("{}?{}", self.path, self.query)
    }
}

/// Percent-encodes everything but the unreserved characters of RFC 3986 section 2.3.
fn push_encoded(path: &mut String, segment: &str) {
    for byte in segment.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            path.push(char::from(byte));
        } else {
            // Writing to a String does not fail.
            let _ = write!(path, "%{byte:02X}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path_of(segments: &[&str]) -> Result<String, ErrorKind> {
        Request::new(reqwest::Method::GET, segments)
            .checked()
            .map(|request| request.path)
    }

    #[test]
    fn names_are_encoded_as_one_segment() {
        assert_eq!(
            path_of(&["collections", "a/b c?d#e%"]).unwrap(),
            "/collections/a%2Fb%20c%3Fd%23e%25"
        );
        assert_eq!(
            path_of(&["collections", "ü"]).unwrap(),
            "/collections/%C3%BC"
        );
    }

    #[test]
    fn names_that_a_url_parser_would_drop_are_refused() {
        for name in ["", ".", ".."] {
            let kind = path_of(&["collections", name]).unwrap_err();
            assert!(
                matches!(kind, ErrorKind::BadName { .. }),
                "{name:?}: {kind:?}"
            );
        }
    }

    #[test]
    fn query_parts_are_joined() {
        let request = Request::new(reqwest::Method::DELETE, &["cluster", "peer", "7"])
            .query("force", true)
            .query("timeout", 3);
        assert_eq!(
            request.path_and_query(),
            "/cluster/peer/7?force=true&timeout=3"
        );
    }
}
