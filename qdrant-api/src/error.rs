//! What can go wrong with one call: owns the error type, decides nothing about it.

use std::error::Error as StdError;
use std::{fmt, io};

use crate::BaseUrl;

/// A call that gave no usable answer: what was asked, of whom, and what happened.
#[derive(Debug)]
pub struct Error {
    method: &'static str,
    path: String,
    base: BaseUrl,
    kind: ErrorKind,
}

/// What happened to a call.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ErrorKind {
    /// No HTTP answer came: refused, timed out, reset, or the other side does not speak HTTP.
    #[error("no answer")]
    Unreachable {
        /// What the HTTP client saw.
        #[source]
        source: reqwest::Error,
    },
    /// The answer did not begin in time.
    #[error("no answer within {} ms", limit.as_millis())]
    Late {
        /// For how long it was waited.
        limit: std::time::Duration,
    },
    /// HTTP 401: the key is missing or wrong. Somebody is alive there.
    #[error("unauthorized (401): {message}")]
    Unauthorized {
        /// What the server said, shortened.
        message: String,
    },
    /// HTTP 403: the key may not do this, or the node is locked against it.
    #[error("forbidden (403): {message}")]
    Forbidden {
        /// What the server said, shortened.
        message: String,
    },
    /// Any other answer that is not a success.
    #[error("status {code}: {message}")]
    Status {
        /// The HTTP status code.
        code: u16,
        /// `status.error` of the body, or else the start of the body.
        message: String,
    },
    /// A success whose body is not what Qdrant answers here.
    #[error("status {code}, but the body is not as expected: {start:?}")]
    Malformed {
        /// The HTTP status code.
        code: u16,
        /// The start of the body, shortened.
        start: String,
        /// What the parser found.
        #[source]
        source: serde_json::Error,
    },
    /// A success whose `result` is `false` where only `true` means done.
    #[error("status {code}, but the result is false")]
    NotDone {
        /// The HTTP status code.
        code: u16,
    },
    /// The body was longer than this client is willing to hold.
    #[error("status {code}, but the body is longer than {limit} bytes")]
    TooLarge {
        /// The HTTP status code.
        code: u16,
        /// The limit in bytes.
        limit: usize,
    },
    /// The answer began and then broke off or timed out.
    #[error("status {code}, but the body broke off")]
    Interrupted {
        /// The HTTP status code.
        code: u16,
        /// What the HTTP client saw.
        #[source]
        source: reqwest::Error,
    },
    /// A name that cannot be one segment of a URL path; nothing was sent.
    #[error("{name:?} cannot be part of a URL: empty, \".\" and \"..\" are not names")]
    BadName {
        /// The name that was given.
        name: String,
    },
    /// The body could not be written as JSON; nothing was sent.
    #[error("the body cannot be written as JSON")]
    Encode {
        /// What the serializer found.
        #[source]
        source: serde_json::Error,
    },
}

impl Error {
    pub(crate) fn new(method: &'static str, path: String, base: BaseUrl, kind: ErrorKind) -> Self {
        Self {
            method,
            path,
            base,
            kind,
        }
    }

    /// What happened.
    #[must_use]
    pub fn kind(&self) -> &ErrorKind {
        &self.kind
    }

    /// The HTTP method of the call, such as `GET`.
    #[must_use]
    pub fn method(&self) -> &'static str {
        self.method
    }

    /// The path and query of the call, percent-encoded.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The node that was asked.
    #[must_use]
    pub fn base(&self) -> &BaseUrl {
        &self.base
    }

    /// The HTTP status code, when any HTTP answer came.
    #[must_use]
    pub fn code(&self) -> Option<u16> {
        match self.kind {
            ErrorKind::Unauthorized { .. } => Some(401),
            ErrorKind::Forbidden { .. } => Some(403),
            ErrorKind::Status { code, .. }
            | ErrorKind::Malformed { code, .. }
            | ErrorKind::NotDone { code }
            | ErrorKind::TooLarge { code, .. }
            | ErrorKind::Interrupted { code, .. } => Some(code),
            ErrorKind::Unreachable { .. }
            | ErrorKind::Late { .. }
            | ErrorKind::BadName { .. }
            | ErrorKind::Encode { .. } => None,
        }
    }

    /// True when any HTTP answer came, even a refusal or nonsense: the address is in use.
    ///
    /// False means only that no answer came this time, not that nobody is there.
    #[must_use]
    pub fn is_somebody_alive(&self) -> bool {
        self.code().is_some()
    }

    /// True when the host answered that nothing listens on the port.
    #[must_use]
    pub fn is_connect_refused(&self) -> bool {
        let ErrorKind::Unreachable { source } = &self.kind else {
            return false;
        };
        causes(source)
            .filter_map(|cause| cause.downcast_ref::<io::Error>())
            .any(|cause| cause.kind() == io::ErrorKind::ConnectionRefused)
    }

    /// True when time ran out: while connecting, while waiting for the answer, or within its body.
    ///
    /// A request that timed out may still have been carried out.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        match &self.kind {
            ErrorKind::Unreachable { source } | ErrorKind::Interrupted { source, .. } => {
                source.is_timeout()
            }
            ErrorKind::Late { .. } => true,
            _ => false,
        }
    }

    /// True when the answer was 404: no such collection, or no such call in this version.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.code() == Some(404)
    }
}

/// The error itself and everything below it.
fn causes<'a>(
    error: &'a (dyn StdError + 'static),
) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |cause: &&'a (dyn StdError + 'static)| {
        (*cause).source()
    })
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {} at {}: {}",
            self.method, self.path, self.base, self.kind
        )
    }
}

impl StdError for Error {
    /// The cause below the kind: the kind itself is already part of `Display`.
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.kind.source()
    }
}
