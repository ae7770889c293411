//! Errors as Qdrant's REST API words and numbers them (src/actix/helpers.rs:244-262).

use std::fmt;

use serde::{Deserialize, Serialize};

/// An error with the HTTP status it is answered with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ApiError {
    /// HTTP status.
    pub status: u16,
    /// The text after `status.error`.
    pub message: String,
}

impl ApiError {
    fn new(status: u16, kind: &str, why: impl fmt::Display) -> Self {
        Self {
            status,
            message: format!("{kind}: {why}"),
        }
    }

    /// 400, the request contradicts the state.
    pub fn bad_request(why: impl fmt::Display) -> Self {
        Self::new(400, "Bad request", why)
    }

    /// 400, a value is wrong.
    pub fn bad_input(why: impl fmt::Display) -> Self {
        Self::new(400, "Wrong input", why)
    }

    /// 404.
    pub fn not_found(why: impl fmt::Display) -> Self {
        Self::new(404, "Not found", why)
    }

    /// 408.
    pub fn timeout(why: impl fmt::Display) -> Self {
        Self::new(408, "Timeout", why)
    }

    /// 409.
    pub fn conflict(why: impl fmt::Display) -> Self {
        Self::new(409, "Wrong input", why)
    }

    /// 500.
    pub fn service(why: impl fmt::Display) -> Self {
        Self::new(500, "Service internal error", why)
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ApiError {}
